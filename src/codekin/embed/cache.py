"""Vectors that were made before, kept on disk by the digest of what they were made from."""

from __future__ import annotations

import os
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

DEFAULT_BYTES = 2 << 30
"""600,000 vectors of 896 dimensions."""
_FILE_NAME = "vectors-1.sqlite"  # another format takes another number, beside this one
_WAIT_SECONDS = 30.0
_KEYS_AT_ONCE = 500  # SQLite before 3.32 takes 999 parameters
_BYTES_AT_ONCE = 4 << 20  # of a transaction: the log stays small, and other writers have their turn
# What is thrown out at once when the cache is full, and how far the order of use may be off: shares of it all.
_EVICTED_SHARE = 16
_STALE_SHARE = 16
_PAGES_WASTE = 1.5  # rows with their index, and what of SQLite's pages stays empty, over the rows alone

_SCHEMA = """
CREATE TABLE IF NOT EXISTS vectors (key BLOB NOT NULL UNIQUE, used INTEGER NOT NULL, row BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS by_use ON vectors (used);
"""
_FLOAT32 = np.dtype("<f4")
_FAILURES = (OSError, sqlite3.Error, OverflowError)  # the last where damage makes a number too large
# Connections that were open when this process was forked: SQLite allows neither their use nor their closing here
# (https://www.sqlite.org/howtocorrupt.html, section 2.6).
_inherited: list[sqlite3.Connection] = []


class VectorCache:
    """Rows of float32 by key, in one SQLite database that any number of processes and threads use at once.

    It lies in `folder`, by default the user's cache folder, and takes at most `max_bytes` on disk, a log of a few
    megabytes aside: where it would take more, the rows least recently used go. Rows may differ in size. A killed
    process leaves whole what was committed. The cache never fails its user: one that is damaged, cannot be
    written or has no room is warned of once, by the logger "codekin", and from then on holds nothing.
    """

    def __init__(self, folder: Path | None = None, max_bytes: int = DEFAULT_BYTES) -> None:
        self.path = (folder or user_cache_path("codekin", appauthor=False)) / _FILE_NAME
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._db: sqlite3.Connection | None = None
        self._failed = False

    def get(self, keys: Sequence[bytes]) -> dict[bytes, NDArray[np.float32]]:
        """The rows that are there, (d,) float32 each, read-only, by their keys."""
        found: dict[bytes, NDArray[np.float32]] = {}
        with self._database() as db:
            if db is None or not keys:
                return found
            clock = _clock(db)
            stale: list[bytes] = []
            for some in _slices(keys):
                marks = ",".join("?" * len(some))
                rows = db.execute(
                    f"SELECT key, CAST(used AS INTEGER), row FROM vectors WHERE key IN ({marks})", some
                )
                for key, used, data in rows:
                    row = _unpack(key, data)
                    if row is None:
                        continue
                    found[key] = row
                    # Most rows are far from the end of the queue: reading them writes nothing.
                    if clock - used > self.max_bytes // (len(data) * _STALE_SHARE):
                        stale.append(key)
            if stale:
                with _transaction(db):
                    db.executemany(
                        "UPDATE vectors SET used = ? WHERE key = ?", zip(count(_clock(db) + 1), stale)
                    )
        wanted = set(keys)
        return {key: row for key, row in found.items() if key in wanted}

    def put(self, keys: Sequence[bytes], rows: NDArray[np.float32]) -> None:
        """Keeps `rows`, (n, d) float32, under their n keys, in place of what lay there."""
        with self._database() as db:
            if db is None or not keys:
                return
            step = max(1, _BYTES_AT_ONCE // max(1, rows[0].nbytes))
            for start in range(0, len(keys), step):
                some, theirs = keys[start : start + step], rows[start : start + step]
                with _transaction(db):
                    # Room is made first, so that emptied pages are used again; and again where it was too little.
                    self._evict(db, theirs.nbytes * _PAGES_WASTE)
                    db.executemany(
                        "INSERT OR REPLACE INTO vectors (key, used, row) VALUES (?, ?, ?)",
                        (
                            (key, used, _pack(key, row))
                            for used, key, row in zip(count(_clock(db) + 1), some, theirs)
                        ),
                    )
                    self._evict(db)
                self._shrink(db)

    def close(self) -> None:
        """Closes the database; the next use opens it again."""
        with self._lock:
            if self._db is not None:
                self._db.close()
            self._db = None

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection | None]:
        """The open database, for this thread alone; None where it failed before. Its failures end here."""
        if self._process != os.getpid():
            if self._db is not None:
                _inherited.append(self._db)
            self._db, self._lock, self._process = None, threading.Lock(), os.getpid()
        with self._lock:
            try:
                if self._db is None and not self._failed:
                    self._db = _connect(self.path)
            except _FAILURES as error:
                self._fail(error)
            try:
                yield self._db
            except _FAILURES as error:
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        import logging  # no cost to those whose cache is sound

        self._failed = True
        if self._db is not None:
            self._db.close()
        self._db = None
        logging.getLogger("codekin").warning(
            "codekin: the cache of vectors %s cannot be used (%s): this goes on without it; if it is damaged, delete "
            "that file and those beside it with the same beginning",
            self.path,
            error,
        )

    def _evict(self, db: sqlite3.Connection, coming: float = 0) -> None:
        """Throws out the rows least recently used until `coming` bytes more are within the limit."""
        limit = (self.max_bytes - coming) / _pragma(db, "page_size")
        while _pragma(db, "page_count") - _pragma(db, "freelist_count") > limit:
            rows = db.execute("SELECT count(*) FROM vectors").fetchone()[0]
            evicted = db.execute(
                "DELETE FROM vectors WHERE rowid IN (SELECT rowid FROM vectors ORDER BY used LIMIT ?)",
                (rows // _EVICTED_SHARE + 1,),
            )
            if not evicted.rowcount:
                break

    def _shrink(self, db: sqlite3.Connection) -> None:
        """Gives pages back to the file system where the file has more than it may; `_evict` has emptied them."""
        excess = _pragma(db, "page_count") - self.max_bytes // _pragma(db, "page_size")
        if excess > 0:
            # A script, because `execute` takes one step of a statement without columns: here, one page.
            db.executescript(f"PRAGMA incremental_vacuum({excess})")


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # means something before the first table alone
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute(f"PRAGMA journal_size_limit = {_BYTES_AT_ONCE}")
        if not _pragma(db, "schema_version"):
            with _transaction(db):
                for statement in _SCHEMA.strip().split(";\n"):
                    db.execute(statement)
    except BaseException:
        db.close()
        raise
    return db


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    """One transaction that writes: it waits for others' first, and whatever interrupts it undoes it."""
    with db:
        db.execute("BEGIN IMMEDIATE")
        yield


def _clock(db: sqlite3.Connection) -> int:
    """Time as the cache counts it: each use of a row is later than all before it."""
    return int(db.execute("SELECT CAST(max(used) AS INTEGER) FROM vectors").fetchone()[0] or 0)


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])


def _slices(keys: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
    return (keys[start : start + _KEYS_AT_ONCE] for start in range(0, len(keys), _KEYS_AT_ONCE))


def _pack(key: bytes, row: NDArray[np.float32]) -> bytes:
    """A checksum of the key and the numbers, then the numbers: SQLite does not notice a byte that a disk changed."""
    data = row.astype(_FLOAT32, copy=False).tobytes()
    return zlib.crc32(data, zlib.crc32(key)).to_bytes(4, "little") + data


def _unpack(key: object, data: object) -> NDArray[np.float32] | None:
    """What `_pack` packed; None where it is not what it was."""
    if not isinstance(key, bytes) or not isinstance(data, bytes) or len(data) % 4 or not data:
        return None
    numbers = memoryview(data)[4:]
    if zlib.crc32(numbers, zlib.crc32(key)) != int.from_bytes(data[:4], "little"):
        return None
    return np.frombuffer(numbers, _FLOAT32)
