"""Cosines against float64, and the promise that they are exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_st
from numpy.typing import NDArray

from codekin.search import vectors
from codekin.search.vectors import Vectors, largest

FLOATS = st.just(0.0) | st.floats(2**-20, 2**10, width=32) | st.floats(-(2**10), -(2**-20), width=32)


def rows_of(count: int, dimensions: int = 256, seed: int = 0) -> NDArray[np.int8]:
    return np.random.default_rng(seed).integers(-127, 128, (count, dimensions)).astype(np.int8)


def float64_cosines(rows: NDArray[np.int8], query: NDArray[np.int8]) -> NDArray[np.float64]:
    wide, wanted = rows.astype(np.float64), query.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1) * np.linalg.norm(wanted)
    return np.divide(wide @ wanted, lengths, out=np.zeros(len(rows)), where=lengths > 0)


@pytest.mark.parametrize("dimensions", [1, 64, 256])
def test_cosines_are_those_of_float64(dimensions: int):
    rows = rows_of(3000, dimensions)
    rows[17] = 0
    query = rows_of(1, dimensions, seed=9)[0]
    found = Vectors(rows).cosines(query)
    assert found.dtype == np.float32
    assert np.abs(found - float64_cosines(rows, query)).max() < 1e-6
    assert found[17] == 0


def test_extreme_rows_stay_exact():
    rows = np.full((3, 512), 127, np.int8)
    rows[1] = -127
    rows[2, 256:] = -127
    found = Vectors(rows).cosines(np.full(512, 127, np.int8))
    assert found == pytest.approx([1, -1, 0], abs=1e-6)


def test_a_zero_query_is_like_nothing():
    assert not Vectors(rows_of(5)).cosines(np.zeros(256, np.int8)).any()


def test_no_rows():
    assert Vectors(np.empty((0, 256), np.int8)).cosines(rows_of(1)[0]).shape == (0,)


def test_a_cosine_is_the_same_in_any_order_and_company():
    rows, query = rows_of(4000), rows_of(1, seed=5)[0]
    whole = Vectors(rows).cosines(query)
    order = np.random.default_rng(3).permutation(len(rows))
    assert np.array_equal(Vectors(rows[order]).cosines(query), whole[order])
    for start, end in ((0, 1), (13, 14), (100, 1777), (3999, 4000)):
        assert np.array_equal(Vectors(rows[start:end]).cosines(query), whole[start:end])


def test_a_cosine_is_the_same_beyond_the_resident_rows():
    count = (vectors._RESIDENT_NUMBERS + vectors._BLOCK_NUMBERS) // 256 + 5
    rows, query = rows_of(count), rows_of(1, seed=5)[0]
    whole = Vectors(rows).cosines(query)
    parts = [Vectors(rows[start : start + 10_000]).cosines(query) for start in range(0, len(rows), 10_000)]
    assert np.array_equal(np.concatenate(parts), whole)


@given(
    numpy_st.arrays(
        np.float32, st.integers(0, 60), elements=st.sampled_from([-1.0, 0.0, 0.25, 0.5, 2.0, 3.0])
    ),
    st.integers(1, 70),
)
def test_largest_is_what_sorting_says(scores: NDArray[np.float32], count: int):
    order = sorted(range(len(scores)), key=lambda row: (-scores[row], row))
    assert largest(scores, count).tolist() == [row for row in order if scores[row] > 0][:count]


@given(numpy_st.arrays(np.float32, st.integers(0, 200), elements=FLOATS), st.integers(1, 20))
def test_largest_of_any_scores(scores: NDArray[np.float32], count: int):
    order = sorted(range(len(scores)), key=lambda row: (-scores[row], row))
    assert largest(scores, count).tolist() == [row for row in order if scores[row] > 0][:count]
