"""The vectors of a stronger model that fill in beside those that an index is made with: their tables, and in memory.

A chunk has one once its turn has come (search/upgrade.py). What is written carries the number of its batch, so that a
reader takes in what is new alone; an index's generation stays what it is. Call the functions inside a transaction.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from codekin.search.model import ModelRecord

SCHEMA = """
CREATE TABLE upgrade (
    name TEXT NOT NULL, kind TEXT NOT NULL, dimensions INTEGER NOT NULL, dtype TEXT NOT NULL,
    fingerprint TEXT NOT NULL, since INTEGER NOT NULL
);
CREATE TABLE stronger (chunk INTEGER PRIMARY KEY, batch INTEGER NOT NULL, row BLOB NOT NULL);
CREATE INDEX stronger_by_batch ON stronger (batch);
"""
_MODEL = ", ".join(field.name for field in fields(ModelRecord))
_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Upgraded:
    """The stronger vectors of u chunks, as far as `batch`; some of the chunks are no longer in use."""

    model: ModelRecord
    batch: int
    numbers: NDArray[np.int64]
    """(u,) int64: the chunks' numbers."""
    vectors: NDArray[np.int8]
    """(u, d) int8."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file of which chunks wait for their stronger vectors."""

    id: int
    path: str
    size: int
    digest: bytes
    language: str
    first: int
    """The number of its first chunk."""
    count: int
    """How many chunks it has."""
    missing: NDArray[np.int64]
    """The places in the file, from 0, of those that wait."""


def model(db: sqlite3.Connection) -> ModelRecord | None:
    """The model whose vectors fill in; `since` is the batch in which they began."""
    row = db.execute(f"SELECT {_MODEL} FROM upgrade").fetchone()
    return ModelRecord(*row) if row else None


def begin(db: sqlite3.Connection, wanted: ModelRecord) -> ModelRecord:
    """Vectors to come are those of a model; the ones of another go. Returns the record as it is kept."""
    known = model(db)
    is_same = known and (known.fingerprint, known.dimensions) == (wanted.fingerprint, wanted.dimensions)
    if not known or not is_same:
        drop(db)
    wanted = replace(wanted, since=known.since if known and is_same else _next_batch(db))
    db.execute("DELETE FROM upgrade")
    db.execute(f"INSERT INTO upgrade ({_MODEL}) VALUES (?, ?, ?, ?, ?, ?)", astuple(wanted))
    return wanted


def drop(db: sqlite3.Connection) -> None:
    """Removes the upgrade and all its vectors."""
    db.execute("DELETE FROM stronger")
    db.execute("DELETE FROM upgrade")
    db.execute("DELETE FROM meta WHERE key = 'upgrade_pace'")


def put(db: sqlite3.Connection, rows: Iterable[tuple[int, bytes]]) -> None:
    """Adds vectors by the numbers of their chunks, as a batch; a chunk keeps one that it has."""
    batch = _next_batch(db)
    db.executemany(
        "INSERT OR IGNORE INTO stronger VALUES (?, ?, ?)", ((number, batch, row) for number, row in rows)
    )


def put_alive(
    db: sqlite3.Connection, parts: Sequence[tuple[Waiting, NDArray[np.int64], NDArray[np.int8]]]
) -> None:
    """Adds the vectors of places in files, but for those that have been replaced meanwhile."""
    alive = [
        part
        for part in parts
        if db.execute("SELECT first FROM chunks WHERE file = ?", (part[0].id,)).fetchone() == (part[0].first,)
    ]
    put(
        db,
        (
            (file.first + place, row.tobytes())
            for file, places, rows in alive
            for place, row in zip(places.tolist(), rows, strict=True)
        ),
    )


def remove(db: sqlite3.Connection, paths: Sequence[tuple[bytes]]) -> dict[bytes, bytes]:
    """Removes the vectors of files that are still there; returned are they, by the digests of the chunks."""
    removed = {}
    for path in paths:
        found = db.execute(
            "SELECT first, digests FROM chunks JOIN files ON file = id WHERE path = ?", path
        ).fetchone()
        if found is None:
            continue
        first, digests = found
        numbers = (first, first + len(digests) // _DIGEST_BYTES)
        for number, row in db.execute(
            "SELECT chunk, row FROM stronger WHERE chunk >= ? AND chunk < ?", numbers
        ):
            start = _DIGEST_BYTES * (number - first)
            removed[digests[start : start + _DIGEST_BYTES]] = row
        db.execute("DELETE FROM stronger WHERE chunk >= ? AND chunk < ?", numbers)
    return removed


def count(db: sqlite3.Connection) -> int:
    """How many chunks have a stronger vector."""
    return int(db.execute("SELECT count(*) FROM stronger").fetchone()[0])


def read(db: sqlite3.Connection, known: Upgraded | None) -> Upgraded | None:
    """The stronger vectors, None where there is no upgrade; what is `known` is not read again."""
    wanted = model(db)
    if wanted is None:
        return None
    batch = _batch(db)
    if known is None or known.model != wanted:
        empty = np.empty((0, wanted.dimensions), np.int8)
        known = Upgraded(wanted, 0, np.empty(0, np.int64), empty)
    if known.batch == batch:
        return known
    newer, values = ("WHERE batch > ?", (known.batch,)) if known.batch else ("", ())
    rows = db.execute(f"SELECT chunk, row FROM stronger {newer}", values).fetchall()
    vectors = np.frombuffer(b"".join(row for _, row in rows), np.int8).reshape(len(rows), wanted.dimensions)
    return Upgraded(
        wanted,
        batch,
        np.concatenate([known.numbers, np.array([number for number, _ in rows], np.int64)]),
        np.concatenate([known.vectors, vectors]),
    )


def waiting(db: sqlite3.Connection) -> list[Waiting]:
    """The files of which chunks wait, in the order of their paths."""
    done = np.sort(np.array([row[0] for row in db.execute("SELECT chunk FROM stronger")], np.int64))
    found = []
    for id_, path, size, digest, language, first, chunks in db.execute(
        "SELECT id, path, size, digest, language, first, length(spans) / 12 FROM files JOIN chunks ON file = id"
        " ORDER BY path"
    ):
        own = done[done.searchsorted(first) : done.searchsorted(first + chunks)] - first
        if len(own) < chunks:
            missing = np.setdiff1d(np.arange(chunks), own, assume_unique=True)
            found.append(Waiting(id_, os.fsdecode(path), size, digest, language, first, chunks, missing))
    return found


def _batch(db: sqlite3.Connection) -> int:
    row = db.execute("SELECT value FROM meta WHERE key = 'batch'").fetchone()
    return int(row[0]) if row else 0


def _next_batch(db: sqlite3.Connection) -> int:
    db.execute("INSERT INTO meta VALUES ('batch', 1) ON CONFLICT (key) DO UPDATE SET value = value + 1")
    return _batch(db)
