"""Which files of an index searches have shown: counted without waiting for anything, beside the database.

A search appends eight bytes a file, seven of a digest of its path, and nothing of the query. A write that fails is a
count that is lost; two that meet do not harm each other.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codekin.replacing import replacing

_SUFFIX = "-shown"
_KEY_BYTES = 8
_MOST_BYTES = 1 << 20  # of which the newer half is kept: some 13,000 searches


def note_shown(database: Path, paths: Iterable[str]) -> None:
    """Counts files that a search of the index in `database` has shown."""
    keys = b"".join(map(_key, paths))
    log = _log(database)
    with suppress(OSError):
        file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(file, keys)
            is_full = os.fstat(file).st_size > _MOST_BYTES
        finally:
            os.close(file)
        if is_full:
            newer = log.read_bytes()
            with replacing(log) as partial:
                partial.write_bytes(newer[len(newer) // (2 * _KEY_BYTES) * _KEY_BYTES :])


def times_shown(database: Path, paths: Sequence[str]) -> NDArray[np.int64]:
    """(n,) int64: how often searches have shown each of n files."""
    try:
        log = _log(database).read_bytes()
    except OSError:
        log = b""
    shown, counts = np.unique(
        np.frombuffer(log[: len(log) // _KEY_BYTES * _KEY_BYTES], np.uint64), return_counts=True
    )
    if not len(shown):
        return np.zeros(len(paths), np.int64)
    keys = np.frombuffer(b"".join(map(_key, paths)), np.uint64)
    places = np.minimum(shown.searchsorted(keys), len(shown) - 1)
    return np.where(shown[places] == keys, counts[places], 0)


def _log(database: Path) -> Path:
    """Its name begins with the database's, with which it goes."""
    return database.with_name(database.name + _SUFFIX)


def _key(path: str) -> bytes:
    """The zero tells whoever indexes the folder that this is no text."""
    return hashlib.blake2b(os.fsencode(path), digest_size=_KEY_BYTES - 1).digest() + b"\0"
