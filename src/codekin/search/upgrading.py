"""The background upgrade of an index: a stronger model's vectors, chunk by chunk, the most wanted files first."""

from __future__ import annotations

import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import groupby, islice
from pathlib import Path
from urllib.parse import quote

import numpy as np

from codekin.errors import InputError, StoreError
from codekin.search import lexical, ranking
from codekin.search.contents import Contents
from codekin.search.demand import times_shown
from codekin.search.extracting import embedded_texts
from codekin.search.lexical import Field
from codekin.search.model import IndexModel
from codekin.search.results import UpgradeProgress, UpgradeReport, UpgradeStatus
from codekin.search.store import Store
from codekin.search.stronger import Waiting

_BATCH = 16  # chunks: a slow model's first, until it has shown how slow it is
_BATCH_LIMITS = 4, 2048
_BATCH_SECONDS = 3.0  # what a batch is to take: what a killed process loses
_ORDER_SECONDS = 600.0  # after which it is asked again what searches show
_SHORTEST_NAME = 3  # of a definition: `x` and `id` are anybody's

_Text = tuple[Waiting, int, str]
"""A chunk that waits: its file, its place there, and what its vector is made of."""

Progress = Callable[[UpgradeProgress], None]
"""Called after every transaction."""


def run(root: Path, store: Store, model: IndexModel, progress: Progress | None) -> UpgradeReport:
    """Fills in the model's vectors; see `CodeIndex.upgrade`."""
    made, known = model.record, store.model()
    if known and (made.fingerprint, made.dimensions) == (known.fingerprint, known.dimensions):
        raise InputError(f"the index is made with {made.name} as it is; an upgrade takes another model")
    started = time.perf_counter()
    embedded = 0
    with _alone(store):
        model.record = store.begin_upgrade(made)
        order = Order(store)
        left_out: set[int] = set()
        while files := [file for file in store.waiting() if file.first not in left_out]:
            embedded += _fill(_texts(root, order.sorted(files), left_out), store, model, progress)
        chunks, total = store.upgraded_count(), store.chunk_count()
    return UpgradeReport(made.name, embedded, chunks, total, time.perf_counter() - started)


def status(store: Store) -> UpgradeStatus | None:
    """How far the upgrade is, None where there is none."""
    record = store.upgrade()
    if record is None:
        return None
    pace = store.meta("upgrade_pace")
    return UpgradeStatus(
        model=record.name,
        dimensions=record.dimensions,
        chunks=store.upgraded_count(),
        chunks_total=store.chunk_count(),
        running=is_running(store.location),
        per_second=None if pace is None else float(pace),
    )


def is_running(database: Path) -> bool:
    """Whether a process upgrades the index in `database`."""
    lock = _lock_of(database)
    if not lock.exists():
        return False
    try:
        with closing(_connect(lock, "ro", 0.0)) as held:
            held.execute("SELECT * FROM sqlite_master")
    except sqlite3.OperationalError as error:
        return "locked" in str(error)
    return False


@contextmanager
def _alone(store: Store) -> Iterator[None]:
    """Holds the upgrade for this process: a lock of the system's, which goes with it however it ends.

    It is that of a database of its own, since a transaction of the index's would keep others from writing.
    """
    if not store.writable:
        raise StoreError(f"cannot upgrade the index at {store.location}: it cannot be written")
    try:
        with closing(_connect(_lock_of(store.location), "rwc", 1.0)) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            yield
    except sqlite3.OperationalError as error:
        raise StoreError(
            f"another process is upgrading the index at {store.location}; codekin status says how far it is"
            if "locked" in str(error)
            else f"cannot upgrade the index at {store.location}: {error}"
        ) from None


def _lock_of(database: Path) -> Path:
    return database.with_name(database.name + "-upgrade")


def _connect(path: Path, mode: str, timeout: float) -> sqlite3.Connection:
    name = quote(str(path).encode("utf-8", "surrogateescape"))
    return sqlite3.connect(f"file:{name}?mode={mode}", uri=True, timeout=timeout, isolation_level=None)


def _texts(root: Path, files: Sequence[Waiting], left_out: set[int]) -> Iterator[_Text]:
    """The chunks that wait, in order; files that are not as they were indexed are `left_out`."""
    for file in files:
        texts = embedded_texts(root, file.path, file.size, file.language, file.digest)
        if texts is None or len(texts) != file.count:
            left_out.add(file.first)
            continue
        for place in file.missing.tolist():
            yield file, place, texts[place]


def _fill(texts: Iterator[_Text], store: Store, model: IndexModel, progress: Progress | None) -> int:
    """Embeds texts and keeps their vectors, batch by batch, until it is time to order them anew; how many it did."""
    least, most = _BATCH_LIMITS
    size = most if model.is_fast else _BATCH
    embedded = 0
    end = time.monotonic() + _ORDER_SECONDS
    while time.monotonic() < end and (batch := list(islice(texts, size))):
        started = time.monotonic()
        distinct = list(dict.fromkeys(text for _, _, text in batch))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of texts that are cut: the whole ones have their other vector
            vectors = dict(zip(distinct, model.documents(distinct), strict=True))
        parts = [
            (file, np.array([place for _, place, _ in part]), np.stack([vectors[text] for *_, text in part]))
            for part in (list(part) for _, part in groupby(batch, lambda text: text[0].id))
            for file in (part[0][0],)
        ]
        pace = len(batch) / max(time.monotonic() - started, 1e-3)
        store.put_upgraded(model.record, parts, pace)
        embedded += len(batch)
        if not model.is_fast:
            size = min(max(least, round(pace * _BATCH_SECONDS)), 2 * size, most)
        if progress:
            progress(UpgradeProgress(store.upgraded_count(), store.chunk_count(), batch[-1][0].path))
    return embedded


class Order:
    """Which files come first: those that searches have shown most, then those that the rest of the folder names most.

    A file is as central as the names that it defines: each counts the other files whose text has it, shared among
    those that define it. What counts is the sum by chunk, since chunks are what time is spent on, times what ranking
    makes of tests, prose and the like.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._contents: Contents | None = None
        self._central: dict[int, float] = {}
        self._named: dict[str, tuple[frozenset[int], int]] = {}

    def sorted(self, files: Sequence[Waiting]) -> list[Waiting]:
        """The files, most wanted first."""
        fresh = [file for file in files if file.first not in self._central]
        if fresh:
            with self._store.reading():
                self._contents = self._store.contents(self._contents)
                self._named.clear()
                own = {file: number for number, file in enumerate(self._contents.file_ids)}
                for file in fresh:
                    self._central[file.first] = self._centrality(file, own.get(file.id), self._contents)
        shown = times_shown(self._store.location, [file.path for file in files]).tolist()
        keyed = [
            (-times, -self._central[file.first], file.path, file)
            for times, file in zip(shown, files, strict=True)
        ]
        return [file for *_, file in sorted(keyed, key=lambda key: key[:3])]

    def _centrality(self, file: Waiting, own: int | None, contents: Contents) -> float:
        total = 0.0
        for name in {name for symbol, _ in self._store.symbols(file.id) if (name := _name(symbol))}:
            if name not in self._named:
                self._named[name] = (
                    self._files(contents, lexical.terms(name)[0], Field.TEXT),
                    len(self._files(contents, name.lower(), Field.NAME)),
                )
            naming, defining = self._named[name]
            total += len(naming - {own}) / max(1, defining)
        return total / file.count * ranking.unasked(file.path, frozenset())

    def _files(self, contents: Contents, term: str, field: Field) -> frozenset[int]:
        """The files in which a field has a term."""
        [(chunks, _)] = self._store.matches(contents, term, [field])
        rows = contents.row_of[chunks]
        return frozenset(np.unique(contents.file_of[rows[rows >= 0]]).tolist())


def _name(symbol: str) -> str:
    """The name that a chunk defines, without what it is in; "" for headings, operators and what is anybody's name."""
    words = [] if any(map(str.isspace, symbol)) else lexical.words(symbol)
    return words[-1] if words and len(words[-1]) >= _SHORTEST_NAME and lexical.terms(words[-1]) else ""
