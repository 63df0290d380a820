"""What a model's vectors depend on, in 32 digits: the content of its files, read once and then remembered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from platformdirs import user_cache_path

from codekin.errors import ModelError
from codekin.replacing import replacing

# Below this, reading is cheaper than the memo's own file.
_MEMO_BYTES = 1 << 20
_MEMO_ENTRIES = 256


def fingerprint(files: Iterable[Path]) -> str:
    """32 hexadecimal digits that change with any byte of any of the files.

    The digest of a large file is remembered in the user's cache folder by its path, size and times, so that the
    gigabytes of a model are read for it only once. Raises ModelError where a file cannot be read.
    """
    memo = user_cache_path("codekin", appauthor=False) / "fingerprints.json"
    known = _remembered(memo)
    digest = hashlib.sha256()
    learnt = False
    for file in files:
        try:
            status = file.stat()
            key = f"{file.resolve()}:{status.st_size}:{status.st_mtime_ns}:{status.st_ino}"
            content = known.get(key)
            if content is None:
                with file.open("rb") as stream:
                    content = _digest(stream)
                if status.st_size >= _MEMO_BYTES:
                    known[key] = content
                    learnt = True
        except OSError as error:
            raise ModelError(f"{file}: cannot be read: {error.strerror}") from None
        digest.update(bytes.fromhex(content))
    if learnt:
        _remember(memo, known)
    return digest.hexdigest()[:32]


def _digest(stream: BinaryIO) -> str:
    digest = hashlib.sha256()
    while block := stream.read(1 << 22):
        digest.update(block)
    return digest.hexdigest()


def _remembered(memo: Path) -> dict[str, str]:
    try:
        known = json.loads(memo.read_text(encoding="utf-8"))
        return {str(key): bytes.fromhex(content).hex() for key, content in known.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _remember(memo: Path, known: dict[str, str]) -> None:
    """One that cannot be written costs the next process a read, no more."""
    newest = dict(list(known.items())[-_MEMO_ENTRIES:])
    with suppress(OSError), replacing(memo) as partial:
        partial.write_text(json.dumps(newest), encoding="utf-8")
