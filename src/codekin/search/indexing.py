"""Bringing an index up to date: which files have changed, and their chunks, vectors and postings anew."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from codekin.embed import Embedder
from codekin.search.extracting import Extracted, Job, Known
from codekin.search.results import Skipped, UpdateReport
from codekin.search.store import Store, StoredFile
from codekin.search.workers import extract_all, worker_count
from codekin.source import SourceFile, walk

_BATCH_BYTES = 1 << 19  # of source text: a job, and a transaction, of some 500 chunks

Progress = Callable[[int, int, str], None]
"""Called with the files done, the files to do, and the path of the last one."""


def update(
    root: Path,
    store: Store,
    embedder: Embedder,
    *,
    max_bytes: int,
    progress: Progress | None,
) -> UpdateReport:
    """Brings the store up to date with the root; see `CodeIndex.update`."""
    started = time.perf_counter()
    skipped: list[Skipped] = []
    before = store.files()
    is_own = _own_files(root, store)
    walked = walk(
        root,
        max_bytes=max_bytes,
        on_skip=lambda path, reason: None if is_own(path) else skipped.append(Skipped(path, reason)),
    )
    found = [file for file in walked if not is_own(file.path)]
    stale = [file for file in found if not _is_current(file, before.get(file.path))]
    indexed: set[str] = set()
    done = embedded = 0
    left_out: dict[str, str] = {}
    for extracted in extract_all(
        _jobs(stale, store),
        worker_count(sum(file.size for file in stale)),
        root=root,
        embedder=embedder,
        max_bytes=max_bytes,
    ):
        _write(store, extracted)
        indexed |= {file.path for file in extracted.files}
        left_out |= extracted.left_out
        embedded += extracted.vectors_made
        done += len(extracted.files) + len(extracted.same) + len(extracted.left_out)
        if progress and extracted.files:
            progress(done, len(stale), extracted.files[-1].path)
    gone = before.keys() - ({file.path for file in found} - left_out.keys())
    if gone:
        with store.writing():
            store.remove(sorted(gone))
    skipped += [Skipped(path, left_out[path]) for path in sorted(left_out)]
    return UpdateReport(
        added=len(indexed - before.keys()),
        changed=len(indexed & before.keys()),
        removed=len(gone),
        unchanged=len(found) - len(indexed) - len(left_out),
        chunks_embedded=embedded,
        skipped=tuple(skipped),
        seconds=time.perf_counter() - started,
    )


def _own_files(root: Path, store: Store) -> Callable[[str], bool]:
    """Tells the index's own files, which may lie in the tree: every update would find them changed."""
    location = store.location.resolve()
    if not location.is_relative_to(root):
        return lambda path: False
    own = location.relative_to(root).as_posix()
    return lambda path: path.startswith(own)


def _jobs(stale: list[SourceFile], store: Store) -> Iterator[Job]:
    """The stale files in batches, less those that another process has indexed meanwhile."""
    for batch in _batches(stale):
        known = store.files([file.path for file in batch])
        todo = [file for file in batch if not _is_current(file, known.get(file.path))]
        if todo:
            yield Job(
                todo, {path: Known(file.digest, store.chunk_vectors(file.id)) for path, file in known.items()}
            )


def _write(store: Store, extracted: Extracted) -> None:
    """One transaction: a job's result in the place of what was known of its files."""
    if not (extracted.files or extracted.same):
        return
    with store.writing():
        for file in extracted.same:
            store.touch(file.path, file.size, file.mtime_ns)
        if extracted.files:
            store.replace(extracted.files, extracted.postings)
        store.set_meta(updated_at=time.time())


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
