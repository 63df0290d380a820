"""Segments of postings against a dictionary, through updates, removals and merges of every shape."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import numpy as np
import pytest

from codekin.search import lexical, segments
from codekin.search.lexical import Document, Field, Indexer

WORDS = [f"q{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"] + [
    "common"
] * 20  # of which none is stemmed
FIELDS = (Field.TEXT, Field.STEM)


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    made = sqlite3.connect(":memory:", isolation_level=None)
    made.executescript(segments.SCHEMA)
    yield made
    made.close()


class Model:
    """What the segments are to hold, by number of chunk."""

    def __init__(self, db: sqlite3.Connection, seed: int) -> None:
        self.db = db
        self.random = np.random.default_rng(seed)
        self.indexer = Indexer()
        self.texts: dict[int, list[str]] = {}
        self.next = 0

    def add(self, chunks: int) -> None:
        texts = [list(self.random.choice(WORDS, self.random.integers(1, 30))) for _ in range(chunks)]
        postings, _ = self.indexer.postings([Document(text, (), text[:1], ()) for text in texts])
        base, self.next = self.next, self.next + chunks
        self.texts |= dict(enumerate(texts, base))
        segments.add(self.db, base, postings, self.alive)

    def remove(self, share: float) -> None:
        for number in [number for number in self.texts if self.random.random() < share]:
            del self.texts[number]

    def alive(self, first: int) -> np.ndarray:
        return np.array([number in self.texts for number in range(first, self.next)], np.bool_)

    def check(self) -> None:
        held = self.db.execute("SELECT id, base, bits FROM segments ORDER BY id").fetchall()
        for word in [*WORDS[:27], "nowhere"]:
            for field, (numbers, counts) in zip(
                FIELDS, segments.matches(self.db, held, word, FIELDS, self.next), strict=True
            ):
                assert np.all(np.diff(numbers) > 0)
                found = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
                parts = {
                    number: (text if field is Field.TEXT else text[:1]) for number, text in self.texts.items()
                }
                expected = {number: part.count(word) for number, part in parts.items() if word in part}
                assert {number: count for number, count in found.items() if number in self.texts} == expected


@pytest.mark.parametrize("range_postings", [32, 100, 1 << 20])
@pytest.mark.parametrize("limit", [500, 1 << 26])
def test_every_chunk_in_use_is_found_whatever_was_merged(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, range_postings: int, limit: int
):
    monkeypatch.setattr(segments, "_RANGE_POSTINGS", range_postings)
    monkeypatch.setattr(segments, "_MERGE_LIMIT", limit)
    monkeypatch.setattr("codekin.search.lexical._BLOCK_POSTINGS", 32)
    model = Model(db, seed=range_postings)
    for chunks in (40, 1, 3, 2, 90, 0, 25, 1, 1, 1, 60):
        model.add(chunks)
        model.remove(0.1)
        model.check()
    stored = db.execute("SELECT sum(size) FROM segments").fetchone()[0]
    ids = {segment for (segment,) in db.execute("SELECT id FROM segments")}
    assert {number >> 32 for (number,) in db.execute("SELECT id FROM postings")} == ids
    assert stored == sum(
        len(lexical.postings_of([data])) for (data,) in db.execute("SELECT data FROM postings")
    )


def test_segments_are_few_and_what_is_gone_goes_with_a_merge(db: sqlite3.Connection):
    model = Model(db, seed=1)
    for _ in range(60):
        model.add(3)
    assert db.execute("SELECT count(*) FROM segments").fetchone()[0] <= 7
    model.remove(1.0)
    model.add(1000)
    [(size,)] = db.execute("SELECT size FROM segments").fetchall()
    assert size == sum(len(set(text)) + 1 for text in model.texts.values())


def test_nothing_is_left_of_segments_whose_chunks_are_all_gone(db: sqlite3.Connection):
    model = Model(db, seed=2)
    model.add(5)
    model.remove(1.0)
    segments.add(db, model.next, np.empty(0, np.uint64), model.alive)
    model.add(1)
    model.remove(1.0)
    model.add(1)
    model.check()


def test_a_reader_of_an_earlier_state_does_not_see_later_chunks(db: sqlite3.Connection):
    model = Model(db, seed=3)
    model.add(20)
    held = db.execute("SELECT id, base, bits FROM segments").fetchall()
    [(numbers, counts)] = segments.matches(db, held, "common", [Field.TEXT], 7)
    assert len(numbers) == len(counts) and numbers.max() < 7
