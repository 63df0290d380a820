"""Lines as they arrive on a stream."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

_BLOCK_LINES = 1_024
_BLOCK_BYTES = 1 << 18


def read_blocks(stream: BinaryIO) -> Iterator[list[str]]:
    """The lines of a byte stream, in blocks of what has arrived: a slow writer's line is not waited on.

    Bytes that aren't UTF-8 survive as surrogate escapes (PEP 383); only "\\n" ends a line.
    """
    pending: list[bytes] = []
    while data := os.read(stream.fileno(), _BLOCK_BYTES):
        head, newline, tail = data.rpartition(b"\n")
        if newline:
            pending.append(head)
            yield from _decoded(b"".join(pending))
            pending = []
        if tail:
            pending.append(tail)
    if pending:
        yield from _decoded(b"".join(pending))


def _decoded(data: bytes) -> Iterator[list[str]]:
    lines = iter(data.decode("utf-8", "surrogateescape").split("\n"))
    while block := list(islice(lines, _BLOCK_LINES)):
        yield block
