"""Summaries of the indexes of a user's cache, and which of them a search has to enter.

A summary is the level above an index's chunks: the centres of its vectors, and how many of its chunks hold each term
of each field, the names that it defines among them. All of them are in one small database beside the indexes, so that
a search of hundreds reads that, and opens those alone that promise an answer. An index is summed up when a search of
all of them first meets it, and again when its database has changed, which its size and time tell: who searches
single folders pays nothing for it.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codekin.embed import Precision, quantise
from codekin.errors import StoreError
from codekin.search import coarse, lexical, ranking
from codekin.search.contents import Contents
from codekin.search.index import default_location
from codekin.search.known import index_files, known_index
from codekin.search.lexical import Field
from codekin.search.model import ModelRecord
from codekin.search.ranking import Query
from codekin.search.store import Store
from codekin.search.vectors import Vectors

SUMMARIES = "summaries.sqlite"

_VERSION = 1
_BLOCK_BITS = 6  # of a term's hash: a block of all indexes is what a query reads of a term
_SETTLED_NS = (
    50_000_000  # a database written less than this before it is read may change again at the same time
)
_FEW = 4  # indexes: each that has a term that no more have is worth asking
# What it is worth that some chunk has the query's terms, beside a nearest centre's 1: of the weights that were tried,
# those with which the fewest indexes have to be asked.
_SHARES = {Field.TEXT: 0.7, Field.DEFINES: 0.4, Field.STEM: 1.0}
_NAMED = 1.5
_EACH = 4  # names of an index that it is asked for by, in measuring
_MODEL = tuple(field.name for field in fields(ModelRecord))
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS indexes (
    id INTEGER PRIMARY KEY, location BLOB NOT NULL UNIQUE, state TEXT NOT NULL, generation INTEGER NOT NULL,
    root BLOB NOT NULL, chunks INTEGER NOT NULL, {", ".join(_MODEL)}, centres BLOB NOT NULL, names TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS terms (
    block INTEGER NOT NULL, owner INTEGER NOT NULL, terms BLOB NOT NULL, chunks BLOB NOT NULL,
    PRIMARY KEY (block, owner)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS plans (
    depth INTEGER PRIMARY KEY, share REAL NOT NULL, recall REAL NOT NULL, chunks INTEGER NOT NULL
);
PRAGMA user_version = {_VERSION};
"""


@dataclass(frozen=True, slots=True)
class Summed:
    """An index that is summed up: the folder that it is of, its size and its model."""

    root: Path
    chunks: int
    model: ModelRecord
    names: tuple[str, ...]
    """Some that it defines, in words: questions that it answers."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How many of all indexes to ask: the `share` of them that promises most.

    `recall` is the share of the best answers that was found so when it was measured, with indexes of `chunks` in all.
    """

    share: float
    recall: float
    chunks: int


@dataclass(frozen=True, slots=True)
class Promise:
    """What n indexes promise for a query."""

    worth: NDArray[np.float32]
    """(n,) float32: the higher, the likelier is an answer."""
    sole: NDArray[np.bool_]
    """(n,) whether an index has a term of the query that few others have."""
    rarities: dict[str, float]
    """How rare each term of the query is among the chunks of all."""

    @property
    def order(self) -> NDArray[np.int64]:
        """(n,) the indexes to ask, best first: before all others, those that have what few have."""
        return np.lexsort((-self.worth, ~self.sole))


class Summaries:
    """The summaries of all indexes in the user's cache, as the last `refresh` has them.

    Raises StoreError where they cannot be read. `indexes` are those that hold anything and whose folders are there.
    """

    def __init__(self) -> None:
        self._folder = default_location(Path("/")).parent
        self._db = _open(self._folder / SUMMARIES)
        self._version: int | None = None  # of the database, as it was read last
        self.indexes: list[Summed] = []
        self._place: dict[int, int] = {}
        self._centres: dict[ModelRecord, tuple[NDArray[np.int64], NDArray[np.int64], Vectors]] = {}

    def close(self) -> None:
        """Closes the database."""
        self._db.close()

    def refresh(self, progress: Callable[[int, int], None] | None = None) -> list[str]:
        """Sums up the indexes that have changed and forgets those that are gone; what is wrong with those left out.

        `progress` is told how many are done, and of how many.
        """
        with _errors(self._folder):
            known = {
                os.fsdecode(location): (key, state, generation)
                for key, location, state, generation in self._db.execute(
                    "SELECT id, location, state, generation FROM indexes"
                )
            }
            found = {path.parent.name: path for path in index_files()}
            states = {name: _state(path) for name, path in found.items()}
            changed = [name for name in found if name not in known or known[name][1] != states[name]]
            gone = [known[name][0] for name in known if name not in found]
            left_out = []
            for number, name in enumerate(changed):
                if progress:
                    progress(number, len(changed))
                key, _, generation = known.get(name, (None, "", -1))
                try:
                    held = known_index(found[name])
                    made = _sum_up(found[name], generation) if held and held.model else None
                except StoreError as error:
                    left_out.append(str(error))
                    held = None
                if held is None:
                    gone += [] if key is None else [key]
                    continue
                with self._writing():
                    if made:
                        self._keep(name, states[name], held.root, made)
                    else:
                        self._db.execute("UPDATE indexes SET state = ? WHERE id = ?", (states[name], key))
            if gone:
                with self._writing():
                    self._forget(gone)
            version = self._db.execute("PRAGMA data_version").fetchone()[0]
            if (
                changed
                or gone
                or version != self._version
                or not all(one.root.is_dir() for one in self.indexes)
            ):
                self._read()
            self._version = version
        return left_out

    @property
    def models(self) -> list[ModelRecord]:
        """The models of the indexes, with `since` 0."""
        return list(self._centres)

    def promise(self, query: Query, vectors: Mapping[ModelRecord, NDArray[np.int8]]) -> Promise:
        """What each of `indexes` promises for a query; `vectors` are its own, by the model (with `since` 0)."""
        count = len(self.indexes)
        nearest = np.zeros(count, np.float32)
        for model, (owners, starts, centres) in self._centres.items():
            if model in vectors:
                nearest[owners] = np.maximum.reduceat(centres.cosines(vectors[model]), starts)
        low, high = float(nearest.min(initial=0)), float(nearest.max(initial=0))
        worth = (nearest - low) / max(high - low, 1e-9)
        total = sum(index.chunks for index in self.indexes)
        sole = np.zeros(count, np.bool_)
        shares = np.zeros(count, np.float32)
        rarities = {}
        for term in query.terms:
            held = self._holding(term, tuple(_SHARES))
            rarities[term] = ranking.rarity(float(held[Field.TEXT].sum()), total)
            for field, chunks in held.items():
                shares += _SHARES[field] * rarities[term] * (chunks > 0)
            if np.count_nonzero(held[Field.TEXT]) <= _FEW:
                sole |= held[Field.TEXT] > 0
        worth += shares / max(sum(rarities.values()), 1e-9)
        for name in query.names:
            worth[self._holding(name, (Field.NAME,))[Field.NAME] > 0] += _NAMED
        return Promise(worth.astype(np.float32), sole, rarities)

    def _holding(self, term: str, of: Sequence[Field]) -> dict[Field, NDArray[np.float32]]:
        """How many chunks of each index hold a term, by field."""
        keys = {field: lexical.term_hash(term, field) for field in of}
        block = lexical.block_of(next(iter(keys.values())), _BLOCK_BITS)
        with _errors(self._folder):
            rows = [
                row
                for row in self._db.execute(
                    "SELECT owner, terms, chunks FROM terms WHERE block = ?", (block,)
                )
                if row[0] in self._place
            ]
        terms = np.frombuffer(b"".join(row[1] for row in rows), np.uint32)
        counts = np.frombuffer(b"".join(row[2] for row in rows), np.uint16)
        ends = np.cumsum([len(row[1]) // 4 for row in rows])
        owners = np.array([self._place[row[0]] for row in rows], np.int64)
        found = {}
        for field, key in keys.items():
            hits = np.flatnonzero(terms == key)
            found[field] = np.zeros(len(self.indexes), np.float32)
            found[field][owners[np.searchsorted(ends, hits, side="right")]] = counts[hits]
        return found

    def plan(self, depth: int) -> Plan | None:
        """The plan for so many best answers, None where none is kept."""
        with _errors(self._folder):
            row = self._db.execute(
                "SELECT share, recall, chunks FROM plans WHERE depth = ?", (depth,)
            ).fetchone()
        return Plan(*row) if row else None

    def keep_plan(self, depth: int, plan: Plan) -> None:
        """Keeps a plan for so many best answers."""
        with _errors(self._folder), self._writing():
            self._db.execute("INSERT OR REPLACE INTO plans VALUES (?, ?, ?, ?)", (depth, *astuple(plan)))

    def _read(self) -> None:
        """Reads all but the terms."""
        self.indexes, self._place = [], {}
        centres: dict[ModelRecord, list[tuple[int, NDArray[np.int8]]]] = {}
        for key, root, chunks, names, blob, *model in self._db.execute(
            f"SELECT id, root, chunks, names, centres, {', '.join(_MODEL)} FROM indexes ORDER BY root"
        ):
            one = Summed(
                Path(os.fsdecode(root)),
                chunks,
                ModelRecord(*model),
                tuple(names.split("\n")) if names else (),
            )
            if not chunks or not one.root.is_dir():
                continue
            self._place[key] = len(self.indexes)
            same = replace(one.model, since=0)
            rows = np.frombuffer(blob, np.int8).reshape(-1, one.model.dimensions)
            centres.setdefault(same, []).append((len(self.indexes), rows))
            self.indexes.append(one)
        self._centres = {}
        for record, parts in centres.items():
            lengths = [len(rows) for _, rows in parts]
            self._centres[record] = (
                np.array([owner for owner, _ in parts], np.int64),
                np.cumsum([0, *lengths[:-1]]),
                Vectors(np.concatenate([rows for _, rows in parts])),
            )

    def _keep(self, name: str, state: str, root: Path, made: _Made) -> None:
        """Puts a summary in the place of what was known of its index."""
        known = self._db.execute("SELECT id FROM indexes WHERE location = ?", (os.fsencode(name),)).fetchall()
        self._forget([key for (key,) in known])
        columns = (
            os.fsencode(name),
            state,
            made.generation,
            os.fsencode(root),
            made.chunks,
            *astuple(made.model),
        )
        owner = self._db.execute(
            f"INSERT INTO indexes VALUES (NULL, {', '.join('?' * (len(columns) + 2))})",
            (*columns, made.centres.tobytes(), "\n".join(made.names)),
        ).lastrowid
        blocks = made.terms >> np.uint32(32 - _BLOCK_BITS)
        edges = np.searchsorted(blocks, np.arange((1 << _BLOCK_BITS) + 1)).tolist()
        self._db.executemany(
            "INSERT INTO terms VALUES (?, ?, ?, ?)",
            (
                (block, owner, made.terms[start:end].tobytes(), made.holding[start:end].tobytes())
                for block, (start, end) in enumerate(pairwise(edges))
                if end > start
            ),
        )

    def _forget(self, keys: Sequence[int]) -> None:
        for key in keys:
            self._db.execute("DELETE FROM indexes WHERE id = ?", (key,))
            self._db.executemany(
                "DELETE FROM terms WHERE block = ? AND owner = ?",
                ((block, key) for block in range(1 << _BLOCK_BITS)),
            )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise


@dataclass(frozen=True, slots=True)
class _Made:
    """A summary as it is kept."""

    generation: int
    chunks: int
    model: ModelRecord
    centres: NDArray[np.int8]
    names: Sequence[str]
    terms: NDArray[np.uint32]
    """Hashes of terms and fields, ascending."""
    holding: NDArray[np.uint16]
    """How many chunks hold each, saturating."""


def _sum_up(path: Path, known: int) -> _Made | None:
    """The summary of an index, None where it is that of the generation that is `known`.

    Raises StoreError for one that cannot be read.
    """
    store = Store(path.parent)
    try:
        with store.reading():
            generation = store.generation()
            if generation == known:
                return None
            model = store.model()
            assert model is not None  # as `known_index` has seen
            contents = store.contents()
            rows = contents.vectors
            terms, holding = store.frequencies(contents)
            centres = quantise(coarse.centres_of(rows), Precision.INT8).rows if len(rows) else rows
            names = _names(store, contents)
            return _Made(
                generation,
                len(rows),
                model,
                centres,
                names,
                terms,
                np.minimum(holding, 0xFFFF).astype(np.uint16),
            )
    finally:
        store.close()


def _names(store: Store, contents: Contents) -> list[str]:
    """Names of several words that an index defines, of files that are drawn at random; always the same ones."""
    names: list[str] = []
    for place in np.random.default_rng(0).permutation(len(contents.file_ids)).tolist():
        asked = (
            " ".join(lexical.parts(symbol)).lower() for symbol, _ in store.symbols(contents.file_ids[place])
        )
        names += [name for name in asked if " " in name][:1]
        if len(names) == _EACH:
            break
    return names


def _open(path: Path) -> sqlite3.Connection:
    """The database of summaries: one of another version, or that is none, is made anew.

    Where it cannot be kept, it is in memory.
    """
    for place in (path, path, None):
        try:
            db = _connect(place)
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
            if version in (0, _VERSION):
                db.executescript("BEGIN IMMEDIATE; ROLLBACK;")  # fails where it cannot be written
                return db
            db.close()
        except sqlite3.OperationalError:
            continue
        except sqlite3.DatabaseError:
            pass
        for old in path.parent.glob(f"{path.name}*"):
            with suppress(OSError):
                old.unlink()
    raise StoreError(f"cannot make summaries of the indexes in {path.parent}")


def _connect(path: Path | None) -> sqlite3.Connection:
    db = sqlite3.connect(path or ":memory:", timeout=60, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA mmap_size = 67108864")
    return db


def _state(path: Path) -> str:
    """What tells whether a database may have changed: sizes and times of it and its log."""
    state = []
    for part in (path, path.with_name(f"{path.name}-wal")):
        with suppress(OSError):
            found = part.stat()
            if not found.st_size:
                continue
            if found.st_mtime_ns > time.time_ns() - _SETTLED_NS:
                return ""
            state.append(f"{found.st_size}@{found.st_mtime_ns}")
    return " ".join(state)


@contextmanager
def _errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError, ValueError) as error:
        raise StoreError(f"cannot use the summaries in {folder}: {' '.join(str(error).split())}") from error
