"""The index in memory but for its postings, as it is read from the database."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codekin.search.coarse import Partition, Plan

_ONE_BY_ONE = 4  # files of which a quarter or less is wanted are read one by one


@dataclass(frozen=True, slots=True)
class Contents:
    """The whole index in memory but for its postings: n chunks of m files, in the order of their paths."""

    generation: int
    paths: list[str]
    languages: list[str]
    file_of: NDArray[np.int32]
    """(n,) int32: the chunk's file, an index into `paths`."""
    spans: NDArray[np.uint32]
    """(n, 3) uint32: first line, last line, number of terms."""
    vectors: NDArray[np.int8]
    """(n, d) int8, rows of any length."""
    row_of: NDArray[np.int32]
    """Chunk number -> row, -1 where a number is no longer in use."""
    segments: list[tuple[int, int, int]]
    """Segments of postings: id, base, bits."""
    file_ids: list[int]
    partition: Partition | None
    """The cells that the vectors are in, in an index of many."""
    cells: NDArray[np.uint16] | None
    """(n,) uint16: each vector's cell."""


def read_contents(
    db: sqlite3.Connection, *, generation: int, dimensions: int, next_chunk: int, known: Contents | None
) -> Contents:
    """Reads an index whose chunks are numbered below `next_chunk`.

    Vectors that are `known` of an earlier generation are taken from there: chunk numbers are never used twice. Raises
    ValueError for what does not belong together.
    """
    rows = db.execute(
        "SELECT id, path, language, first, spans FROM files JOIN chunks ON chunks.file = id ORDER BY path"
    ).fetchall()
    spans = np.frombuffer(b"".join(row[4] for row in rows), np.uint32).reshape(-1, 3)
    counts = np.array([len(row[4]) // 12 for row in rows], np.int64)
    first = np.array([row[3] for row in rows], np.int64)
    starts = np.cumsum(counts) - counts
    numbers = np.repeat(first - starts, counts) + np.arange(len(spans))
    if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < next_chunk:
        raise ValueError("chunks are numbered beyond the last one")
    row_of = np.full(int(numbers.max()) + 1 if len(numbers) else 0, -1, np.int32)
    row_of[numbers] = np.arange(len(numbers), dtype=np.int32)
    places = {
        row[0]: (start, start + count)
        for row, start, count in zip(rows, starts.tolist(), counts.tolist(), strict=True)
    }
    vectors = np.empty((len(numbers), dimensions), np.int8)
    wanted = _take_over(known, numbers, vectors, places)
    _fill(vectors, places, _blobs(db, "vectors", "rows", wanted, len(places)), wanted)
    partition = read_partition(db, dimensions)
    cells = None
    if partition:
        cells = np.empty(len(numbers), np.uint16)
        _fill(cells, places, db.execute("SELECT file, cells FROM cells"), set(places))
    return Contents(
        generation=generation,
        paths=[os.fsdecode(row[1]) for row in rows],
        languages=[row[2] for row in rows],
        file_of=np.repeat(np.arange(len(rows), dtype=np.int32), counts),
        spans=spans,
        vectors=vectors,
        row_of=row_of,
        segments=db.execute("SELECT id, base, bits FROM segments ORDER BY id").fetchall(),
        file_ids=[row[0] for row in rows],
        partition=partition,
        cells=cells,
    )


def read_partition(db: sqlite3.Connection, dimensions: int) -> Partition | None:
    """The cells that the vectors are in, in an index of many."""
    row = db.execute(
        "SELECT centres, vectors, signs, probes, candidates, survivors, recall FROM partition"
    ).fetchone()
    if row is None:
        return None
    return Partition(np.frombuffer(row[0], np.float32).reshape(-1, dimensions), row[1], Plan(*row[2:]))


def _take_over(
    known: Contents | None,
    numbers: NDArray[np.int64],
    vectors: NDArray[np.int8],
    places: dict[int, tuple[int, int]],
) -> set[int]:
    """Copies what is known of the chunks into `vectors`; the files whose vectors are not."""
    if known is None or known.vectors.shape[1] != vectors.shape[1]:
        return set(places)
    had = np.full(len(numbers), -1, np.int32)
    before = numbers < len(known.row_of)
    had[before] = known.row_of[numbers[before]]
    if len(known.vectors):  # in one pass; what stands where nothing is known is written over
        np.take(known.vectors, had, axis=0, out=vectors, mode="clip")
    return {file for file, (start, end) in places.items() if start < end and had[start] < 0}


def _blobs(
    db: sqlite3.Connection, table: str, column: str, files: set[int], total: int
) -> Generator[tuple[int, bytes], None, None]:
    """What a table holds of some of `total` files, in one pass where that is many of them.

    A row at a time: together they may be large.
    """
    select = f"SELECT file, {column} FROM {table}"
    if len(files) == total:
        yield from db.execute(select)
        return
    if len(files) * _ONE_BY_ONE > total:
        yield from (row for row in db.execute(select) if row[0] in files)
        return
    for file in sorted(files):
        yield from db.execute(f"{select} WHERE file = ?", (file,))


def _fill(
    array: NDArray[np.int8] | NDArray[np.uint16],
    places: dict[int, tuple[int, int]],
    blobs: Generator[tuple[int, bytes], None, None] | sqlite3.Cursor,
    files: set[int],
) -> None:
    """Writes the blobs of `files` to their places; raises ValueError where one is missing or of another size."""
    found = 0
    with closing(blobs):
        for file, data in blobs:
            start, end = places[file]
            found += end - start
            array[start:end] = np.frombuffer(data, array.dtype).reshape(end - start, *array.shape[1:])
    if found != sum(places[file][1] - places[file][0] for file in files):
        raise ValueError("the index lacks what belongs to some chunks")
