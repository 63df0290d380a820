"""Bringing an index up to date: which files have changed, and their chunks, vectors and postings anew."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from codekin.errors import StoreError
from codekin.search import coarse, lexical, ranking
from codekin.search.contents import Contents
from codekin.search.extracting import Extracted, Extractor, Job, Known, digest_of
from codekin.search.model import IndexModel, ModelRecord
from codekin.search.results import Skipped, UpdateProgress, UpdateReport
from codekin.search.store import Store, StoredFile
from codekin.search.vectors import is_many
from codekin.search.workers import extract_all, worker_count
from codekin.source import SourceFile, walk
from codekin.tasks import Task

if TYPE_CHECKING:
    from codekin.search.stores import IndexStore

_BATCH_BYTES = 1 << 19  # of source text: a job, and a transaction, of some 500 chunks
_SLOW_BATCH_BYTES = 1 << 13  # a slow model's first, until it has shown how slow it is
_SLOW_BATCH_LIMIT = 1 << 16
_SLOW_BATCH_SECONDS = 3.0  # what a slow model's batches are to take: what a killed process loses

_QUESTIONS = 64  # that a coarse search is measured with

Progress = Callable[[UpdateProgress], None]
"""Called after every transaction, and while a slow model embeds."""


def update(
    root: Path,
    store: IndexStore,
    model: IndexModel,
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
    if store.is_shared:  # by machines whose files have other times
        digests = {path: known.digest for path, known in before.items()}
        stale = [file for file in stale if digests.get(file.path) != digest_of(root / file.path, max_bytes)]
    if not model.is_fast:
        stale.sort(key=_urgency)
    sizes = {file.path: file.size for file in stale}
    size_total = sum(sizes.values())
    done = size = embedded = 0

    def tell(path: str, part: float = 0.0, chunks: int = 0) -> None:
        if progress:
            now = UpdateProgress(done, len(stale), size + round(part), size_total, embedded + chunks, path)
            progress(now)

    indexed: set[str] = set()
    left_out: dict[str, str] = {}
    for extracted in extract_all(
        _jobs(stale, store, model),
        worker_count(size_total) if model.is_fast else 0,
        Extractor(root, model, max_bytes=max_bytes, keep_texts=store.is_shared),
        tell,
    ):
        _write(store, extracted, model.record)
        indexed |= {file.path for file in extracted.files}
        left_out |= extracted.left_out
        embedded += extracted.vectors_made
        finished = [
            *(file.path for file in extracted.same),
            *extracted.left_out,
            *(file.path for file in extracted.files),
        ]
        done += len(finished)
        size += sum(sizes[path] for path in finished)
        if extracted.files:
            tell(finished[-1])
    gone = before.keys() - ({file.path for file in found} - left_out.keys())
    if gone:
        with store.writing():
            store.remove(sorted(gone))
    if (indexed or gone) and isinstance(store, Store):
        partition_vectors(store, model)
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


def _own_files(root: Path, store: IndexStore) -> Callable[[str], bool]:
    """Tells the index's own files, which may lie in the tree: every update would find them changed."""
    location = None if isinstance(store.location, str) else store.location.resolve()
    if location is None or not location.is_relative_to(root):
        return lambda path: False
    own = location.relative_to(root).as_posix()
    return lambda path: path.startswith(own)


def _urgency(file: SourceFile) -> tuple[float, int]:
    """Orders files by what is worth most in an index that is not yet whole: what answers, and what is at work."""
    return -ranking.unasked(file.path, frozenset()), -file.mtime_ns


def _jobs(stale: list[SourceFile], store: IndexStore, model: IndexModel) -> Iterator[Job]:
    """The stale files in batches, less those that another process has indexed meanwhile.

    A slow model's batches follow its pace: between a CPU and a GPU lies a factor of a thousand.
    """
    todo = deque(stale)
    limit = _BATCH_BYTES if model.is_fast else _SLOW_BATCH_BYTES
    while todo:
        batch = _take(todo, limit)
        known = store.files([file.path for file in batch])
        batch = [file for file in batch if not _is_current(file, known.get(file.path))]
        if not batch:
            continue
        started = time.monotonic()
        yield Job(
            batch, {path: Known(file.digest, store.chunk_vectors(file.id)) for path, file in known.items()}
        )
        if not model.is_fast:
            pace = sum(file.size for file in batch) / max(time.monotonic() - started, 1e-3)
            limit = min(round(pace * _SLOW_BATCH_SECONDS), 2 * limit, _SLOW_BATCH_LIMIT)


def _take(files: deque[SourceFile], limit: int) -> list[SourceFile]:
    """The first files, of `limit` bytes together at most, or one."""
    batch = [files.popleft()]
    size = batch[0].size
    while files and size + files[0].size <= limit:
        batch.append(files.popleft())
        size += batch[-1].size
    return batch


def _write(store: IndexStore, extracted: Extracted, model: ModelRecord) -> None:
    """One transaction: a job's result in the place of what was known of its files."""
    if not (extracted.files or extracted.same):
        return
    with store.writing():
        if store.model() != model:
            raise StoreError(
                f"another process has given the index at {store.location} another model; run this again"
            )
        for file in extracted.same:
            store.touch(file.path, file.size, file.mtime_ns)
        if extracted.files:
            store.replace(extracted.files, extracted.postings)
        store.set_meta(updated_at=time.time())


def partition_vectors(store: Store, model: IndexModel) -> None:
    """Puts the vectors of an index of many into cells, in one transaction, unless they fit those that they are in.

    How to search them is measured with questions of the index's own.
    """
    if not is_many(store.chunk_count(), model.record.dimensions):
        return
    known = store.partition()
    if known and not known.is_outgrown(store.chunk_count()):
        return
    with store.writing():
        contents = store.contents()
        rows = contents.vectors
        centres = coarse.centres_of(rows)
        cells = coarse.nearest_centres(centres, rows)
        plan = coarse.measured(rows, cells, centres, _questions(store, model, contents))
        store.set_partition(contents, coarse.Partition(centres, len(rows), plan), cells)


def _questions(store: Store, model: IndexModel, contents: Contents) -> NDArray[np.int8]:
    """(m, d) int8: queries for names that the index defines, in words; always the same ones."""
    texts: list[str] = []
    for place in np.random.default_rng(0).permutation(len(contents.file_ids)).tolist():
        symbols = store.symbols(contents.file_ids[place])
        asked = (" ".join(lexical.parts(symbol)).lower() for symbol, _ in symbols)
        texts += [text for text in asked if text][:1]
        if len(texts) == _QUESTIONS:
            break
    # Files that define nothing are asked for by what they hold.
    return (
        np.stack([model.query(text, Task.NL2CODE) for text in texts])
        if texts
        else contents.vectors[:_QUESTIONS]
    )


def _is_current(file: SourceFile, known: StoredFile | None) -> bool:
    return known is not None and (known.size, known.mtime_ns) == (file.size, file.mtime_ns)
