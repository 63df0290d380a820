"""The index on disk: one SQLite database that holds files, chunks, vectors and postings.

Every change is one transaction, so a reader sees the index before or after it and a killed process leaves the last
committed state. Readers never wait for a writer (write-ahead log); writers wait for one another.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, fields, replace
from itertools import chain, takewhile
from pathlib import Path
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from codekin.errors import StoreError
from codekin.search import segments, stronger
from codekin.search.coarse import Partition, nearest_centres
from codekin.search.contents import Contents, read_contents, read_partition
from codekin.search.lexical import Field, Postings
from codekin.search.model import ModelRecord
from codekin.search.segments import Matches
from codekin.search.stronger import Upgraded, Waiting

FILE_NAME = "index.sqlite"
_VERSION = 4
_WAIT_SECONDS = 60.0
_PAGE = 16_384  # bytes: a block of postings and a file's vectors each fit into one
_LOG_LIMIT = 1 << 26  # bytes that the log keeps of the disk after a large transaction
_REBUILD = "; codekin index --rebuild makes it anew"

_MODEL = ", ".join(field.name for field in fields(ModelRecord))
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE model (
    name TEXT NOT NULL, kind TEXT NOT NULL, dimensions INTEGER NOT NULL, dtype TEXT NOT NULL,
    fingerprint TEXT NOT NULL, since INTEGER NOT NULL
);
CREATE TABLE files (
    id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    digest BLOB NOT NULL, language TEXT NOT NULL
);
CREATE TABLE chunks (
    file INTEGER PRIMARY KEY, first INTEGER NOT NULL, spans BLOB NOT NULL, digests BLOB NOT NULL,
    symbols TEXT NOT NULL
);
CREATE TABLE vectors (file INTEGER PRIMARY KEY, rows BLOB NOT NULL);
CREATE TABLE partition (
    centres BLOB NOT NULL, vectors INTEGER NOT NULL, signs INTEGER NOT NULL, probes INTEGER NOT NULL,
    candidates INTEGER NOT NULL, survivors INTEGER NOT NULL, recall REAL NOT NULL
);
CREATE TABLE cells (file INTEGER PRIMARY KEY, cells BLOB NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What tells whether a file has changed since it was indexed."""

    id: int
    size: int
    mtime_ns: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class FileChunks:
    """One file's chunks, as they are stored."""

    path: str
    size: int
    mtime_ns: int
    digest: bytes
    language: str
    spans: NDArray[np.uint32]
    """(n, 3) uint32: first line, last line, number of terms."""
    chunk_digests: Sequence[bytes]
    """n digests of 16 bytes: equal text, equal vector."""
    symbols: Sequence[tuple[str, str]]
    """n pairs: the qualified name of the definition, its kind."""
    vectors: NDArray[np.int8]
    """(n, d) int8."""
    texts: Sequence[str] = ()
    """n texts, for a store that is apart from the files."""


class Store:
    """One open database. Raises StoreError for whatever keeps it from being read or written."""

    is_shared = False

    def __init__(self, folder: Path) -> None:
        self.location = folder / FILE_NAME
        with self._decoding("open"):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._db = self._connect(f"file:{quote(os.fsencode(self.location))}?mode=rwc")
                # On a read-only file system a database with a log opens all the same.
                self.writable = os.access(self.location, os.W_OK)
            except (OSError, sqlite3.OperationalError) as error:
                if not os.access(self.location, os.R_OK):
                    raise StoreError(
                        f"cannot create an index in {folder}: {_reason(error)}; choose a folder with --index DIR"
                    ) from error
                self.writable = False
                self._db = self._connect(f"file:{quote(os.fsencode(self.location))}?mode=ro&immutable=1")

    def _connect(self, uri: str) -> sqlite3.Connection:
        db = sqlite3.connect(
            uri, uri=True, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            if "immutable" not in uri:
                db.execute(f"PRAGMA page_size = {_PAGE}")  # of a new database
                db.execute("PRAGMA journal_mode = WAL")
                db.execute(f"PRAGMA journal_size_limit = {_LOG_LIMIT}")
                db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA cache_size = -32768")
            db.execute("PRAGMA mmap_size = 67108864")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version != _VERSION and "immutable" not in uri:
                _create(db)
            elif version != _VERSION:
                raise StoreError(
                    f"there is no index of this version at {self.location}, and its folder cannot be written; "
                    "choose another with --index DIR"
                )
        except BaseException:
            db.close()
            raise
        return db

    def close(self) -> None:
        """Closes the database; what was committed stays."""
        self._db.close()

    # ---- reading

    @contextmanager
    def reading(self) -> Iterator[None]:
        """One consistent view for every read inside, whatever other processes commit meanwhile."""
        with self._errors("read"):
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")

    def meta(self, key: str) -> str | float | None:
        """A setting of the index, or None."""
        with self._decoding():
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
            return row[0] if row else None

    def model(self) -> ModelRecord | None:
        """The model that makes the vectors; None in a new index."""
        with self._decoding():
            row = self._db.execute(f"SELECT {_MODEL} FROM model").fetchone()
            return ModelRecord(*row) if row else None

    def generation(self) -> int:
        """A number that every committed change increments."""
        return int(self.meta("generation") or 0)

    def files(self, paths: Sequence[str] | None = None) -> dict[str, StoredFile]:
        """Indexed files by their path: all of them, or those of `paths`."""
        select = "SELECT path, id, size, mtime_ns, digest FROM files"
        with self._decoding():
            if paths is None:
                rows = self._db.execute(select).fetchall()
            else:
                keys = (os.fsencode(path) for path in paths)
                found = (self._db.execute(f"{select} WHERE path = ?", (key,)).fetchone() for key in keys)
                rows = [row for row in found if row]
            return {os.fsdecode(path): StoredFile(*rest) for path, *rest in rows}

    def chunk_vectors(self, file: int) -> dict[bytes, NDArray[np.int8]]:
        """The vectors of a file's chunks by the chunks' digests, to be reused when the file has changed."""
        with self._decoding():
            row = self._db.execute(
                "SELECT digests, rows FROM chunks JOIN vectors USING (file) WHERE file = ?", (file,)
            ).fetchone()
            if row is None or not row[0]:
                return {}
            digests = [row[0][start : start + 16] for start in range(0, len(row[0]), 16)]
            vectors = np.frombuffer(row[1], np.int8).reshape(len(digests), -1)
            return dict(zip(digests, vectors, strict=True))

    def contents(self, known: Contents | None = None) -> Contents:
        """Reads all but the postings; call inside `reading`.

        What is `known` of an earlier generation is not read again.
        """
        with self._decoding():
            model = self.model()
            return read_contents(
                self._db,
                generation=self.generation(),
                dimensions=model.dimensions if model else 0,
                next_chunk=int(self.meta("next_chunk") or 0),
                known=known,
            )

    def partition(self) -> Partition | None:
        """The cells that the vectors are in, in an index of many."""
        with self._decoding():
            model = self.model()
            return read_partition(self._db, model.dimensions) if model else None

    def symbols(self, file: int) -> list[tuple[str, str]]:
        """The (symbol, kind) of each chunk of a file."""
        with self._decoding():
            row = self._db.execute("SELECT symbols FROM chunks WHERE file = ?", (file,)).fetchone()
            pairs = (line.split("\t") for line in row[0].split("\n")) if row and row[0] else ()
            return [(symbol, kind) for symbol, kind in pairs]

    def matches(self, contents: Contents, term: str, fields: Sequence[Field]) -> list[Matches]:
        """The chunks that hold a term, for each of `fields`."""
        with self._decoding():
            return segments.matches(self._db, contents.segments, term, fields, len(contents.row_of))

    def frequencies(self, contents: Contents) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """The hash of every term of a field, ascending, and how many chunks hold it."""
        with self._decoding():
            return segments.frequencies(self._db, contents.segments, contents.row_of >= 0)

    def upgrade(self) -> ModelRecord | None:
        """The model of the upgrade, None where there is none."""
        with self._decoding():
            return stronger.model(self._db)

    def upgraded(self, known: Upgraded | None) -> Upgraded | None:
        """The stronger vectors, None where there is no upgrade; call inside `reading`."""
        with self._decoding():
            return stronger.read(self._db, known)

    def upgraded_count(self) -> int:
        """How many chunks have stronger vectors."""
        with self._errors("read"):
            return stronger.count(self._db)

    def waiting(self) -> list[Waiting]:
        """The files of which chunks have none yet."""
        with self._decoding():
            return stronger.waiting(self._db)

    def sizes(self) -> tuple[int, dict[str, int], int, float | None]:
        """Files, chunks by language, bytes on disk, and when the index last changed (Unix seconds)."""
        with self._errors("read"):
            files = self._db.execute("SELECT count(*) FROM files").fetchone()[0]
            languages = dict(
                self._db.execute(
                    "SELECT language, sum(length(spans)) / 12 AS n FROM files JOIN chunks ON file = id"
                    " WHERE length(spans) > 0 GROUP BY language ORDER BY n DESC, language"
                ).fetchall()
            )
        updated = self.meta("updated_at")
        size = sum(
            path.stat().st_size for path in self.location.parent.glob(FILE_NAME + "*") if path.is_file()
        )
        return files, languages, size, None if updated is None else float(updated)

    # ---- writing

    @contextmanager
    def writing(self, *, is_change: bool = True) -> Iterator[None]:
        """One transaction: all of what is written inside is kept, or nothing.

        `is_change` false leaves the generation: what readers hold of files and chunks is as it was.
        """
        if not self.writable:
            raise StoreError(
                f"cannot update the index at {self.location}: it cannot be written; --no-update searches it as it is"
            )
        with self._errors("write"):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                if is_change:
                    self._db.execute(
                        "INSERT INTO meta VALUES ('generation', 1)"
                        " ON CONFLICT (key) DO UPDATE SET value = value + 1"
                    )
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    def set_meta(self, **settings: str | float | bytes) -> None:
        """Writes settings of the index."""
        self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", settings.items())

    def start(self, model: ModelRecord) -> ModelRecord:
        """Removes every file, chunk and posting: from here on, `since`, vectors are those of the model.

        An upgrade stays, and begins again.
        """
        for table in ("files", "chunks", "vectors", "cells", "partition", "segments", "postings", "model"):
            self._db.execute(f"DELETE FROM {table}")
        self._db.execute("DELETE FROM stronger")
        model = replace(model, since=self.generation() + 1)
        self._db.execute(f"INSERT INTO model ({_MODEL}) VALUES (?, ?, ?, ?, ?, ?)", astuple(model))
        return model

    def touch(self, path: str, size: int, mtime_ns: int) -> None:
        """Notes a new size and time of a file whose content is the same."""
        self._db.execute(
            "UPDATE files SET size = ?, mtime_ns = ? WHERE path = ?", (size, mtime_ns, os.fsencode(path))
        )

    def remove(self, paths: Sequence[str]) -> None:
        """Removes files with their chunks; their postings go when their segment is merged."""
        self._remove(paths)

    def _remove(self, paths: Sequence[str]) -> dict[bytes, bytes]:
        """Removes files; returned are the stronger vectors that they had, by the chunks' digests."""
        keys = [(os.fsencode(path),) for path in paths]
        with self._decoding():
            upgraded = stronger.remove(self._db, keys) if stronger.model(self._db) else {}
        for table in ("chunks", "vectors", "cells"):
            self._db.executemany(
                f"DELETE FROM {table} WHERE file = (SELECT id FROM files WHERE path = ?)", keys
            )
        self._db.executemany("DELETE FROM files WHERE path = ?", keys)
        return upgraded

    def replace(self, files: Sequence[FileChunks], postings: Postings) -> None:
        """Puts files in the place of what was known of them.

        `postings` count the chunks of `files` from 0 in their order.
        """
        upgraded = self._remove([file.path for file in files])
        with self._decoding():
            base = int(self._db.execute("SELECT value FROM meta WHERE key = 'next_chunk'").fetchone()[0])
        first = base
        partition = self.partition()
        for file in files:
            row = self._db.execute(
                "INSERT INTO files (path, size, mtime_ns, digest, language) VALUES (?, ?, ?, ?, ?)",
                (os.fsencode(file.path), file.size, file.mtime_ns, file.digest, file.language),
            ).lastrowid
            self._db.execute(
                "INSERT INTO chunks VALUES (?, ?, ?, ?, ?)",
                (
                    row,
                    first,
                    file.spans.tobytes(),
                    b"".join(file.chunk_digests),
                    "\n".join(f"{symbol}\t{kind}" for symbol, kind in file.symbols),
                ),
            )
            self._db.execute("INSERT INTO vectors VALUES (?, ?)", (row, file.vectors.tobytes()))
            if partition:
                cells = nearest_centres(partition.centres, file.vectors)
                self._db.execute("INSERT INTO cells VALUES (?, ?)", (row, cells.tobytes()))
            first += len(file.spans)
        self.set_meta(next_chunk=first)
        if upgraded:
            digests = chain.from_iterable(file.chunk_digests for file in files)
            numbered = ((base + place, upgraded.get(digest)) for place, digest in enumerate(digests))
            stronger.put(self._db, ((number, row) for number, row in numbered if row is not None))
        with self._decoding():
            segments.add(self._db, base, postings, self._alive)

    def begin_upgrade(self, model: ModelRecord) -> ModelRecord:
        """Vectors that are put from here on are the model's; those of another one go."""
        with self.writing(is_change=False):
            return stronger.begin(self._db, model)

    def drop_upgrade(self) -> None:
        """Removes the upgrade and its vectors."""
        with self.writing(is_change=False):
            stronger.drop(self._db)

    def put_upgraded(
        self,
        model: ModelRecord,
        parts: Sequence[tuple[Waiting, NDArray[np.int64], NDArray[np.int8]]],
        pace: float,
    ) -> None:
        """One transaction: the stronger vectors of places in files, made at so many a second."""
        with self.writing(is_change=False):
            if stronger.model(self._db) != model:
                raise StoreError(f"another process has ended this upgrade of the index at {self.location}")
            stronger.put_alive(self._db, parts)
            self.set_meta(upgrade_pace=pace)

    def set_partition(self, contents: Contents, partition: Partition, cells: NDArray[np.uint16]) -> None:
        """Puts the vectors of `contents` into cells (n,): in the transaction in which they were read."""
        plan = partition.plan
        self._db.execute("DELETE FROM partition")
        self._db.execute(
            "INSERT INTO partition VALUES (?, ?, ?, ?, ?, ?, ?)",
            (partition.centres.tobytes(), partition.vectors, *astuple(plan)),
        )
        ends = np.cumsum(np.bincount(contents.file_of, minlength=len(contents.file_ids))).tolist()
        self._db.execute("DELETE FROM cells")
        self._db.executemany(
            "INSERT INTO cells VALUES (?, ?)",
            (
                (file, cells[start:end].tobytes())
                for file, start, end in zip(contents.file_ids, [0, *ends[:-1]], ends, strict=True)
            ),
        )

    def chunk_count(self) -> int:
        """How many chunks the index holds."""
        with self._errors("read"):
            return int(self._db.execute("SELECT sum(length(spans)) / 12 FROM chunks").fetchone()[0] or 0)

    def _alive(self, first: int) -> NDArray[np.bool_]:
        """Whether chunk number `first + i` is in use."""
        # The later a file is put, the higher are its own number and those of its chunks.
        newest = self._db.execute("SELECT first, length(spans) / 12 FROM chunks ORDER BY file DESC")
        rows = list(takewhile(lambda row: row[0] >= first, newest))
        alive = np.zeros(max((start + count for start, count in rows), default=first) - first, np.bool_)
        for start, count in rows:
            alive[start - first : start - first + count] = True
        return alive

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            reason = " ".join(str(error).split())
            damaged = not isinstance(error, sqlite3.OperationalError) or reason.startswith(
                ("Could not decode", "no such")
            )
            advice = _REBUILD if damaged else ""
            raise StoreError(f"cannot {doing} the index at {self.location}: {reason}{advice}") from error

    @contextmanager
    def _decoding(self, doing: str = "read") -> Iterator[None]:
        """Reads what SQLite cannot judge: values of another type or size than what was written are damage too."""
        try:
            with self._errors(doing):
                yield
        except (TypeError, ValueError, LookupError) as error:
            raise StoreError(
                f"cannot {doing} the index at {self.location}: its contents are damaged{_REBUILD}"
            ) from error


def delete(folder: Path) -> None:
    """Deletes the index in a folder, whatever state it is in.

    The database goes before its log: a log alone is ignored, a database without its log may lack what was committed.
    """
    try:
        for path in sorted(folder.glob(FILE_NAME + "*")):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"cannot delete the index in {folder}: {error.strerror}") from error


def is_readable(db: sqlite3.Connection) -> bool:
    """Whether a database is an index of this version."""
    return bool(db.execute("PRAGMA user_version").fetchone()[0] == _VERSION)


def _create(db: sqlite3.Connection) -> None:
    """Creates the tables, in the place of those of another version, of which the choice of a model is kept."""
    db.execute("BEGIN IMMEDIATE")
    if db.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
        models = []
        with suppress(sqlite3.Error):
            models = db.execute("SELECT name, kind, dimensions, dtype FROM model").fetchall()
        tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            db.execute(f'DROP TABLE "{table}"')
        for statement in (_SCHEMA + segments.SCHEMA + stronger.SCHEMA).split(";"):
            db.execute(statement)
        db.execute("INSERT INTO meta VALUES ('next_chunk', 0)")
        db.executemany(f"INSERT INTO model ({_MODEL}) VALUES (?, ?, ?, ?, '', 0)", models)
        db.execute(f"PRAGMA user_version = {_VERSION}")
    db.execute("COMMIT")


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
