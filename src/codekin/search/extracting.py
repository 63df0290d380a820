"""From files to what the index stores of them: chunks, vectors, postings. Reads the files, touches no database."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codekin.search import lexical
from codekin.search.lexical import Document, Postings
from codekin.search.model import IndexModel, ModelRecord
from codekin.search.store import FileChunks
from codekin.source import Chunk, SourceFile, chunk, decode

_SETTLED_NS = 50_000_000  # a file written less than this before it is read may change again at the same time
_FOLDERS_OWN = frozenset({"__init__", "index", "init", "mod"})  # Python, JavaScript, Lua, Rust
_UNSETTLED = -1  # stands for a time that no file has: the file is read again at the next update


Embedding = Callable[[str, float, int], None]
"""Called while a job's chunks are embedded: a path, the bytes of source and the chunks that are done."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the index already holds of a file: the digest of its content, and its chunks' vectors by theirs."""

    digest: bytes
    vectors: dict[bytes, NDArray[np.int8]]


@dataclass(frozen=True, slots=True)
class Job:
    """Some files to read, and what is known of those that the index holds, by path."""

    files: Sequence[SourceFile]
    known: Mapping[str, Known]


@dataclass(slots=True)
class Extracted:
    """What a job yields. `postings` count the chunks of `files` from 0 in their order."""

    files: list[FileChunks] = field(default_factory=list)
    postings: Postings = field(default_factory=lambda: np.empty(0, np.uint64))
    same: list[SourceFile] = field(default_factory=list)
    """Files whose content is what the index holds, with the size and time that belong to it."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Files that could not be read, and why."""
    vectors_made: int = 0


@dataclass(frozen=True, slots=True)
class _Read:
    """A file as it was read: its text in chunks, and the size and time that belong to what was read."""

    file: SourceFile
    digest: bytes
    chunks: list[Chunk]
    texts: list[str]
    digests: list[bytes]


class Extractor:
    """Extracts files below one root with one model, with the chunks' texts where `keep_texts` says so.

    Pickled, it is what it takes to make it again.
    """

    def __init__(self, root: Path, model: IndexModel, *, max_bytes: int, keep_texts: bool = False) -> None:
        self._root = root
        self._model = model
        self._max_bytes = max_bytes
        self._keep_texts = keep_texts
        self._lexical = lexical.Indexer()

    def __reduce__(self) -> tuple[Any, ...]:
        return _extractor, (self._root, self._model.record, self._max_bytes, self._keep_texts)

    def extract(self, job: Job, embedding: Embedding | None = None) -> Extracted:
        """Reads a job's files; a chunk that the index holds keeps its vector, equal chunks are embedded once."""
        found = Extracted()
        reads: list[_Read] = []
        vectors: dict[bytes, NDArray[np.int8]] = {}
        for file in job.files:
            known = job.known.get(file.path)
            read = self._read(file, known, found)
            if read:
                reads.append(read)
                if known:
                    vectors |= known.vectors
        fresh = {
            digest: text
            for read in reads
            for digest, text in zip(read.digests, read.texts, strict=True)
            if digest not in vectors
        }
        found.vectors_made = len(fresh)
        made = self._model.documents(list(fresh.values()), _watch(job, len(fresh), embedding))
        vectors |= dict(zip(fresh, made, strict=True))
        found.postings, lengths = self._lexical.postings(
            [_document(read.file.path, part) for read in reads for part in read.chunks]
        )
        start = 0
        for read in reads:
            end = start + len(read.chunks)
            found.files.append(self._stored(read, lengths[start:end], vectors))
            start = end
        return found

    def _read(self, file: SourceFile, known: Known | None, found: Extracted) -> _Read | None:
        """The file's chunks; None, with a note in `found`, where it is the same or cannot be read."""
        try:
            data, size, mtime_ns = _read_bytes(self._root / file.path, self._max_bytes)
        except OSError as error:
            found.left_out[file.path] = f"cannot be read: {error.strerror}"
            return None
        if len(data) > self._max_bytes:
            found.left_out[file.path] = f"larger than {self._max_bytes} bytes"
            return None
        file = SourceFile(file.path, size, mtime_ns, file.language)
        digest = _digest(data)
        if known and known.digest == digest:
            found.same.append(file)
            return None
        chunks, texts = _cut(file.path, file.language, data)
        digests = [_digest(part.encode("utf-8", "surrogatepass")) for part in texts]
        return _Read(file, digest, chunks, texts, digests)

    def _stored(
        self, read: _Read, lengths: NDArray[np.uint32], vectors: dict[bytes, NDArray[np.int8]]
    ) -> FileChunks:
        lines = np.array([(part.start_line, part.end_line) for part in read.chunks], np.uint32)
        return FileChunks(
            path=read.file.path,
            size=read.file.size,
            mtime_ns=read.file.mtime_ns,
            digest=read.digest,
            language=read.file.language,
            spans=np.column_stack([lines.reshape(-1, 2), lengths]).astype(np.uint32),
            chunk_digests=read.digests,
            symbols=[(_one_line(part.symbol), part.kind) for part in read.chunks],
            vectors=np.array([vectors[digest] for digest in read.digests], np.int8).reshape(
                len(read.digests), self._model.record.dimensions
            ),
            texts=[part.text for part in read.chunks] if self._keep_texts else (),
        )


def _extractor(root: Path, record: ModelRecord, max_bytes: int, keep_texts: bool) -> Extractor:
    return Extractor(root, IndexModel(record), max_bytes=max_bytes, keep_texts=keep_texts)


def _watch(job: Job, chunks: int, embedding: Embedding | None) -> Callable[[float], None] | None:
    """What the model calls to say how far it is with a job's chunks."""
    if embedding is None:
        return None
    path, size = job.files[-1].path, sum(file.size for file in job.files)
    return lambda share: embedding(path, share * size, int(share * chunks))


def _read_bytes(path: Path, limit: int) -> tuple[bytes, int, int]:
    """At most `limit` + 1 bytes of a regular file, its size, and its time (`_UNSETTLED` where it may be changing)."""
    with open(
        path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))
    ) as file:
        before = os.fstat(file.fileno())
        if not stat.S_ISREG(before.st_mode):
            raise OSError(0, "not a regular file")
        data = file.read(limit + 1)
        settled = len(data) == before.st_size and before.st_mtime_ns < time.time_ns() - _SETTLED_NS
    return data, before.st_size, before.st_mtime_ns if settled else _UNSETTLED


def embedded_texts(root: Path, path: str, size: int, language: str, digest: bytes) -> list[str] | None:
    """What the vectors of a file's chunks are made of; None where it no longer has the content of that digest."""
    try:
        data, _, _ = _read_bytes(root / path, size)
    except OSError:
        return None
    return _cut(path, language, data)[1] if _digest(data) == digest else None


def _cut(path: str, language: str, data: bytes) -> tuple[list[Chunk], list[str]]:
    """A file's chunks, and what their vectors are made of."""
    text = decode(data)
    chunks = [] if text is None else chunk(text, language)
    return chunks, [embedded_text(path, part.symbol, part.text) for part in chunks]


def embedded_text(path: str, symbol: str, text: str) -> str:
    """What a chunk's vector is made of: its text, and the names it goes by."""
    return f"{_names(path)[0]} {symbol}\n{text}"


def digest_of(path: Path, limit: int) -> bytes | None:
    """The digest of a file's content, as the index keeps it; None where it cannot be read."""
    try:
        return _digest(_read_bytes(path, limit)[0])
    except OSError:
        return None


def _document(path: str, part: Chunk) -> Document:
    _, stem, folders = _names(path)
    return Document(
        text=lexical.words(part.text),
        defines=lexical.words(" ".join(part.defines)),
        stem=stem,
        folders=folders,
    )


@lru_cache(maxsize=1024)
def _names(path: str) -> tuple[str, list[str], list[str]]:
    """The name a file goes by, its words, and those of its last three folders.

    The name is the stem, or the folder's name where the stem only says that the file stands for its folder.
    """
    location = PurePosixPath(path)
    name = location.parent.name if location.stem in _FOLDERS_OWN and location.parent.name else location.stem
    return name, lexical.words(name), lexical.words(" ".join(location.parts[-4:-1]))


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _one_line(text: str) -> str:
    return " ".join(text.split())
