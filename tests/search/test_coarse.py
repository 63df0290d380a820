"""Coarse to fine: what is found against all compared, in the store too, as vectors come and go."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from trees import write

from codekin.search import CodeIndex, coarse, vectors
from codekin.search.coarse import Coarse, Partition
from codekin.search.vectors import Vectors, largest


def spectrum(count: int, seed: int, dimensions: int = 128) -> NDArray[np.int8]:
    """Rows about common centres, with numbers that vary less the later they come, as Matryoshka vectors do."""
    generator = np.random.default_rng(seed)
    scale = np.arange(1, dimensions + 1) ** -0.4
    centres = np.random.default_rng(99).standard_normal((300, dimensions)) * scale
    rows = (
        centres[generator.integers(0, 300, count)]
        + 0.5 * generator.standard_normal((count, dimensions)) * scale
    )
    return np.clip(np.round(40 * rows), -127, 127).astype(np.int8)


@pytest.fixture(scope="module")
def rows() -> NDArray[np.int8]:
    return spectrum(20_000, 1)


@pytest.fixture(scope="module")
def partition(rows: NDArray[np.int8]) -> tuple[Partition, NDArray[np.uint16]]:
    centres = coarse.centres_of(rows)
    cells = coarse.nearest_centres(centres, rows)
    plan = coarse.measured(rows, cells, centres, spectrum(64, 2))
    return Partition(centres, len(rows), plan), cells


def test_centres_are_unit_vectors_and_every_row_is_in_its_nearest_cell(
    rows: NDArray[np.int8], partition: tuple[Partition, NDArray[np.uint16]]
):
    (made, cells) = partition
    assert len(made.centres) == 128
    assert np.linalg.norm(made.centres, axis=1) == pytest.approx(1, abs=1e-5)
    products = rows[:500].astype(np.float64) @ made.centres.T.astype(np.float64)
    assert products[np.arange(500), cells[:500]] == pytest.approx(products.max(axis=1), abs=1e-2)
    assert np.array_equal(coarse.centres_of(rows), made.centres)
    assert np.array_equal(coarse.nearest_centres(made.centres, rows[7000:7100]), cells[7000:7100])


def test_distances_are_the_differing_signs(rows: NDArray[np.int8]):
    few, query = rows[:300, :100], rows[1, :100]
    cells = (np.arange(300) % 7).astype(np.uint16)
    made = Coarse(few, cells, np.eye(7, 100, dtype=np.float32), 100)
    expected = ((few > 0) != (query > 0)).sum(axis=1)
    order = np.argsort(cells, kind="stable")
    assert np.array_equal(made.distances(query), expected[order])
    assert np.array_equal(made.distances(query)[made.places()], expected)
    some = np.array([5, 2])
    assert np.array_equal(made.distances(query, some), np.concatenate([expected[cells == c] for c in some]))


def test_differing_signs_count_as_much_as_the_query_is_large(rows: NDArray[np.int8]):
    few, query = rows[:300, :100], rows[1, :100].astype(np.int64)
    made = Coarse(few, np.zeros(300, np.uint16), np.ones((1, 100), np.float32), 100)
    sizes = np.floor(7 * np.abs(query) / np.abs(query).max() + 0.5)
    expected = ((few > 0) != (query > 0)) @ sizes
    assert np.array_equal(made.weighted(query.astype(np.int8)), expected)
    some = np.array([250, 3, 77])
    assert np.array_equal(made.weighted(query.astype(np.int8), some), expected[some])
    nothing = np.zeros(100, np.int8)
    assert not made.weighted(nothing).any()


def test_all_compared_finds_the_nearest_of_every_block(
    rows: NDArray[np.int8], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(coarse, "_BLOCK_NUMBERS", 700 * rows.shape[1])
    queries = spectrum(20, 8)
    for query, found in zip(queries, coarse.nearest_of_all(rows, queries, 30), strict=True):
        cosines = Vectors(rows).cosines(query)
        assert cosines[found] == pytest.approx(cosines[largest(cosines, 30)], abs=1e-6)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1])
def test_a_plan_finds_what_it_was_measured_to_find(
    rows: NDArray[np.int8],
    partition: tuple[Partition, NDArray[np.uint16]],
    share: float,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(vectors, "_RESIDENT_NUMBERS", 100_000)
    made, cells = partition
    assert made.plan.recall >= 0.98
    assert made.plan.survivors < 10_000
    kept = None if share == 1 else np.random.default_rng(4).random(len(rows)) < share
    searched = Vectors(rows, made, cells)
    exact = Vectors(rows)
    for depth, wanted in coarse.RECALL:
        found = []
        for query in spectrum(60, 5):
            scores = exact.cosines(query)
            best = largest(scores if kept is None else scores * kept, depth)
            got = searched.nearest(query, depth, kept)
            assert kept is None or kept[got].all()
            assert np.all(np.diff(scores[got]) <= 0)
            found.append(len(np.intersect1d(best, got)) / depth)
        assert np.mean(found) >= wanted - 0.01


def test_few_that_are_kept_are_all_compared(
    rows: NDArray[np.int8],
    partition: tuple[Partition, NDArray[np.uint16]],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(vectors, "_RESIDENT_NUMBERS", 100_000)
    kept = np.random.default_rng(4).random(len(rows)) < 0.03
    for query in spectrum(20, 6):
        expected = largest(Vectors(rows).cosines(query) * kept, 50)
        assert np.array_equal(Vectors(rows, *partition).nearest(query, 50, kept), expected)


def questions() -> list[str]:
    return ["open the cache of a session", "retry_queue", "write lines to a file", "where are users sorted"]


def test_an_index_of_many_answers_like_one_that_compares_all(
    large_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Cells stand in the store: through edits, removals and another process's reading of it."""
    with CodeIndex(large_tree, index=tmp_path / "all") as index:
        exact = [index.search(query, 10, mode="semantic") for query in questions()]
    monkeypatch.setattr(vectors, "_RESIDENT_NUMBERS", 20_000)
    with CodeIndex(large_tree, index=tmp_path / "coarse") as index:
        contents = index.contents()
        assert contents.partition is not None
        assert contents.cells is not None and len(contents.cells) == len(contents.file_of)
        found = [index.search(query, 10, mode="semantic") for query in questions()]
        shared = [
            len({(r.path, r.start_line) for r in a} & {(r.path, r.start_line) for r in b})
            for a, b in zip(exact, found, strict=True)
        ]
        assert sum(shared) >= 36
        edited = sorted(large_tree.rglob("*.py"))
        for path in random.Random(3).sample(edited, 20):
            path.unlink()
        write(large_tree, {"new/place.py": 'def sort_users_by_age():\n    """Sort users by age."""\n'})
        index.update()
        after = index.contents()
        assert after.partition is not None and after.cells is not None
        assert np.array_equal(coarse.nearest_centres(after.partition.centres, after.vectors), after.cells)
        results = [index.search(query, 10) for query in questions()]
        assert index.search("sort users by age")[0].path == "new/place.py"
    with CodeIndex(large_tree, index=tmp_path / "coarse", update=False) as again:
        assert np.array_equal(again.contents().vectors, after.vectors)
        assert np.array_equal(again.contents().cells, after.cells)
        assert [again.search(query, 10) for query in questions()] == results
