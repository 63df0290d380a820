"""Segments of postings in the database: a log-structured merge.

Every update adds a small segment, merged with the newest ones that are no more than twice its size. Sizes so grow
geometrically from new to old: a posting is rewritten a logarithmic number of times, and a query reads a logarithmic
number of segments. A merge goes through the terms range by range, in memory that does not grow with the segments.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from codekin.search import lexical
from codekin.search.lexical import Field, Postings

Matches = tuple[NDArray[np.int64], NDArray[np.uint8]]
"""Numbers of chunks that hold a term, ascending, and how often each does; some are no longer in use."""

SCHEMA = """
CREATE TABLE segments (id INTEGER PRIMARY KEY, base INTEGER NOT NULL, bits INTEGER NOT NULL, size INTEGER NOT NULL);
CREATE TABLE postings (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
"""
"""A block of postings has the number `segment << 32 | block`."""

_MERGE_LIMIT = (
    1 << 26
)  # postings: rewritten in half a minute, by the one update in very many that comes to it
_RANGE_POSTINGS = 1 << 20  # that a merge has in memory at a time


def matches(
    db: sqlite3.Connection,
    segments: Sequence[tuple[int, int, int]],
    term: str,
    fields: Sequence[Field],
    below: int,
) -> list[Matches]:
    """The chunks numbered `below` that hold a term, for each of `fields`; segments are id, base, bits, oldest first."""
    keys = [lexical.term_hash(term, field) for field in fields]
    found: list[list[tuple[int, NDArray[np.uint32], NDArray[np.uint8]]]] = [[] for _ in keys]
    for segment, base, bits in segments:
        row = db.execute(
            "SELECT data FROM postings WHERE id = ?", (segment << 32 | lexical.block_of(keys[0], bits),)
        ).fetchone()
        if row:
            for parts, (chunks, counts) in zip(found, lexical.matches(row[0], keys), strict=True):
                if len(chunks):
                    parts.append((base, chunks, counts))
    return [_joined(parts, below) for parts in found]


def _joined(parts: list[tuple[int, NDArray[np.uint32], NDArray[np.uint8]]], below: int) -> Matches:
    total = sum(len(chunks) for _, chunks, _ in parts)
    numbers, counts = np.empty(total, np.int64), np.empty(total, np.uint8)
    start = 0
    for base, chunks, own in parts:
        end = start + len(chunks)
        np.add(chunks, base, out=numbers[start:end], dtype=np.int64)
        counts[start:end] = own
        start = end
    known = int(numbers.searchsorted(below))
    return numbers[:known], counts[:known]


def frequencies(
    db: sqlite3.Connection, segments: Sequence[tuple[int, int, int]], in_use: NDArray[np.bool_]
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The hash of every term of a field, ascending, and how many chunks of those `in_use`, by number, hold it."""
    terms, counts = [np.empty(0, np.uint32)], [np.empty(0, np.int64)]
    for segment, base, _ in segments:
        for (data,) in db.execute(
            "SELECT data FROM postings WHERE id BETWEEN ? AND ?", (segment << 32, (segment + 1 << 32) - 1)
        ):
            postings = lexical.postings_of([data])
            chunks = (postings >> np.uint64(8) & np.uint64(0xFFFFFF)).astype(np.int64) + base
            inside = np.flatnonzero(chunks < len(in_use))
            held = postings[inside[in_use[chunks[inside]]]]
            own, holding = np.unique((held >> np.uint64(32)).astype(np.uint32), return_counts=True)
            terms.append(own)
            counts.append(holding)
    found, place = np.unique(np.concatenate(terms), return_inverse=True)
    return found, np.bincount(place, np.concatenate(counts), len(found)).astype(np.int64)


def add(
    db: sqlite3.Connection, base: int, postings: Postings, alive: Callable[[int], NDArray[np.bool_]]
) -> None:
    """Adds a segment of chunks numbered from `base`.

    `alive(first)[i]` says whether chunk number `first + i` is in use: a merge leaves out the postings of others.
    """
    merged: list[tuple[int, int, int]] = []
    size = len(postings)
    for segment, own_base, bits, own_size in db.execute(
        "SELECT id, base, bits, size FROM segments ORDER BY id DESC"
    ).fetchall():
        if own_size > 2 * size or own_size + size > _MERGE_LIMIT or base - own_base >= lexical.CHUNK_LIMIT:
            break
        merged.append((segment, own_base, bits))
        size += own_size
    if not size:
        return
    oldest = min((own_base for _, own_base, _ in merged), default=base)
    in_use = alive(oldest) if merged else None
    bits = lexical.block_bits(size)
    made = db.execute("INSERT INTO segments (base, bits, size) VALUES (?, ?, 0)", (oldest, bits)).lastrowid
    assert made is not None
    parts = (size // _RANGE_POSTINGS).bit_length()
    size = 0
    for part in range(1 << parts):
        own = _of_range(postings, parts, part)
        if in_use is not None:
            held = [(own_base, _taken(db, segment, bits, parts, part)) for segment, own_base, bits in merged]
            _, own = lexical.merge([*held, (base, own)], in_use, oldest)
        db.executemany(
            "INSERT INTO postings VALUES (?, ?)",
            ((made << 32 | block, data) for block, data in lexical.blocks(own, bits)),
        )
        size += len(own)
    db.execute("UPDATE segments SET size = ? WHERE id = ?", (size, made))
    for segment in [segment for segment, _, _ in merged] + ([] if size else [made]):
        db.execute("DELETE FROM segments WHERE id = ?", (segment,))
        db.execute("DELETE FROM postings WHERE id BETWEEN ? AND ?", (segment << 32, (segment + 1 << 32) - 1))


def _taken(db: sqlite3.Connection, segment: int, bits: int, parts: int, part: int) -> Postings:
    """Takes a segment's postings of one of 2**parts ranges of terms."""
    narrower = bits - parts
    first, last = (
        (part << narrower, (part + 1 << narrower) - 1) if narrower >= 0 else (part >> -narrower,) * 2
    )
    ids = (segment << 32 | first, segment << 32 | last)
    rows = db.execute("SELECT data FROM postings WHERE id BETWEEN ? AND ? ORDER BY id", ids)
    found = lexical.postings_of(data for (data,) in rows)
    if narrower >= 0:
        db.execute(
            "DELETE FROM postings WHERE id BETWEEN ? AND ?", ids
        )  # what is written next takes its room
    return _of_range(found, parts, part)


def _of_range(postings: Postings, parts: int, part: int) -> Postings:
    edges = [part << 64 - parts, part + 1 << 64 - parts]
    low, high = (
        int(postings.searchsorted(np.uint64(edge))) if edge < 1 << 64 else len(postings) for edge in edges
    )
    return postings[low:high]
