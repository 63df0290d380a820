"""Bringing an index up to date: which files have changed, and their chunks, vectors and postings anew."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from codekin.embed import Embedder
from codekin.search import lexical
from codekin.search.lexical import Document
from codekin.search.results import Skipped, UpdateReport
from codekin.search.store import FileChunks, Store, StoredFile
from codekin.search.vectors import quantise
from codekin.source import Chunk, SourceFile, chunk, decode, walk
from codekin.tasks import Role, Task

_BATCH_BYTES = 4 << 20  # of source text, in one transaction: some 3,000 chunks, about 100 MB at work
_SETTLED_NS = 50_000_000  # a file written less than this before it is read may change again at the same time
_UNSETTLED = -1  # stands for a time that no file has: the file is read again at the next update

Progress = Callable[[int, int, str], None]
"""Called with the files done, the files to do, and the path of the last one."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A file as it was read: its text in chunks, and the stat that belongs to what was read."""

    file: SourceFile
    digest: bytes
    chunks: list[Chunk]
    texts: list[str]
    digests: list[bytes]


class Indexer:
    """Updates the store of one root with one embedder."""

    def __init__(
        self, root: Path, store: Store, embedder: Embedder, *, dimensions: int, max_bytes: int
    ) -> None:
        self._root = root
        self._store = store
        self._embedder = embedder
        self._dimensions = dimensions
        self._max_bytes = max_bytes
        self._lexical = lexical.Indexer()
        self._generation = store.generation()

    def update(self, progress: Progress | None) -> UpdateReport:
        """Brings the store up to date; see `CodeIndex.update`.

        With one BLAS thread: a batch's matrices are small, and threads that wait for one another on a busy machine
        cost many times the work.
        """
        with threadpool_limits(limits=1, user_api="blas"):
            return self._update(progress)

    def _update(self, progress: Progress | None) -> UpdateReport:
        """Reads what has changed below the root, a batch a transaction."""
        started = time.perf_counter()
        skipped: list[Skipped] = []
        before = self._store.files()
        found = list(
            walk(
                self._root,
                max_bytes=self._max_bytes,
                on_skip=lambda path, reason: skipped.append(Skipped(path, reason)),
            )
        )
        stale = [file for file in found if not _is_current(file, before.get(file.path))]
        indexed: set[str] = set()
        left_out: set[str] = set()
        embedded = 0
        for batch in _batches(stale):
            reads = []
            for file in self._not_yet_current(batch):
                read = self._read(file, skipped)
                if read is None:
                    left_out.add(file.path)
                else:
                    reads.append(read)
                if progress:
                    progress(len(indexed) + len(left_out) + len(reads), len(stale), file.path)
            changed, vectors_made = self._write(reads)
            indexed |= changed
            embedded += vectors_made
        gone = before.keys() - ({file.path for file in found} - left_out)
        if gone:
            with self._store.writing():
                self._store.remove(sorted(gone))
        return UpdateReport(
            added=len(indexed - before.keys()),
            changed=len(indexed & before.keys()),
            removed=len(gone),
            unchanged=len(found) - len(indexed) - len(left_out),
            chunks_embedded=embedded,
            skipped=tuple(skipped),
            seconds=time.perf_counter() - started,
        )

    def _not_yet_current(self, batch: list[SourceFile]) -> list[SourceFile]:
        """The files of a batch that no other process has indexed since this update began."""
        if self._store.generation() == self._generation:
            return batch
        self._generation = self._store.generation()
        known = self._store.files()
        return [file for file in batch if not _is_current(file, known.get(file.path))]

    def _read(self, file: SourceFile, skipped: list[Skipped]) -> _Read | None:
        """The file's chunks, or None with the reason noted where it cannot be read or is no text."""
        try:
            data, size, mtime_ns = _read_bytes(self._root / file.path, self._max_bytes)
        except OSError as error:
            skipped.append(Skipped(file.path, f"cannot be read: {error.strerror}"))
            return None
        if len(data) > self._max_bytes:
            skipped.append(Skipped(file.path, f"larger than {self._max_bytes} bytes"))
            return None
        text = decode(data)
        chunks = [] if text is None else chunk(text, file.language)
        texts = [_embedded_text(file.path, part) for part in chunks]
        return _Read(
            file=SourceFile(file.path, size, mtime_ns, file.language),
            digest=_digest(data),
            chunks=chunks,
            texts=texts,
            digests=[_digest(text.encode("utf-8", "surrogatepass")) for text in texts],
        )

    def _write(self, reads: list[_Read]) -> tuple[set[str], int]:
        """Writes what was read: the paths whose content had changed, and the number of vectors made."""
        known = self._store.files()
        same = [r for r in reads if (old := known.get(r.file.path)) and old.digest == r.digest]
        changed = [r for r in reads if not ((old := known.get(r.file.path)) and old.digest == r.digest)]
        reused: dict[bytes, NDArray[np.int8]] = {}
        for read in changed:
            if old := known.get(read.file.path):
                reused |= self._store.chunk_vectors(old.id)
        fresh = {
            digest: text
            for read in changed
            for digest, text in zip(read.digests, read.texts, strict=True)
            if digest not in reused
        }
        vectors = quantise(
            self._embedder.encode(list(fresh.values()), Task.NL2CODE, Role.DOCUMENT, self._dimensions)
        )
        reused |= dict(zip(fresh, vectors, strict=True))
        documents = [_document(read.file.path, part) for read in changed for part in read.chunks]
        postings, lengths = self._lexical.postings(documents)
        files, start = [], 0
        for read in changed:
            end = start + len(read.chunks)
            files.append(self._stored(read, lengths[start:end], reused))
            start = end
        if files or same:
            with self._store.writing():
                for read in same:
                    self._store.touch(known[read.file.path].id, read.file.size, read.file.mtime_ns)
                if files:
                    self._store.replace(files, postings)
                self._store.set_meta(updated_at=time.time())
            self._generation += 1
        return {read.file.path for read in changed}, len(fresh)

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
                len(read.digests), self._dimensions
            ),
        )


def _is_current(file: SourceFile, known: StoredFile | None) -> bool:
    return known is not None and (known.size, known.mtime_ns) == (file.size, file.mtime_ns)


def _batches(files: list[SourceFile]) -> Iterator[list[SourceFile]]:
    batch: list[SourceFile] = []
    size = 0
    for file in files:
        if batch and size + file.size > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += file.size
    if batch:
        yield batch


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


def _embedded_text(path: str, part: Chunk) -> str:
    """What a chunk's vector is made of: its text, and the names it goes by."""
    return f"{PurePosixPath(path).stem} {part.symbol}\n{part.text}"


def _document(path: str, part: Chunk) -> Document:
    location = PurePosixPath(path)
    stem = lexical.words(location.stem)
    folders = [word for folder in location.parts[-4:-1] for word in lexical.words(folder)]
    return Document(
        text=lexical.words(part.text),
        defines=[word for name in part.defines for word in lexical.words(name)],
        stem=stem,
        folders=folders,
    )


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _one_line(text: str) -> str:
    return " ".join(text.split())
