"""The kinds of vectors: what each keeps, and cosines against float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_st
from numpy.typing import NDArray

from codekin.embed import Precision, Quantised, quantise, vectors
from codekin.errors import InputError

FLOATS = st.just(0.0) | st.floats(2**-20, 2**10, width=32) | st.floats(-(2**10), -(2**-20), width=32)
MATRICES = numpy_st.arrays(np.float32, st.tuples(st.integers(0, 6), st.integers(1, 32)), elements=FLOATS)


def unit_rows(count: int, dimensions: int = 256, seed: int = 0) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def float64_cosines(queries: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float64]:
    lengths = np.outer(
        np.linalg.norm(queries.astype(float), axis=1), np.linalg.norm(rows.astype(float), axis=1)
    )
    products = queries.astype(float) @ rows.astype(float).T
    return np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)


def test_rows_and_scales_of_a_small_matrix():
    matrix = np.array([[0.5, -1.0, 0.25], [0, 0, 0], [3, 3, -4]], np.float32)
    stretched = quantise(matrix, "int8")
    assert stretched.rows.tolist() == [[64, -127, 32], [0, 0, 0], [95, 95, -127]]
    assert stretched.scales == pytest.approx([1 / 127, 0, 4 / 127])
    bits = quantise(matrix, "binary")
    assert bits.rows.tolist() == [[0b10100000], [0], [0b11000000]]
    assert bits.scales is None
    assert np.array_equal(quantise(matrix, "float32").rows, matrix)


@given(MATRICES)
def test_int8_keeps_every_number_to_half_a_step(matrix: NDArray[np.float32]):
    found = quantise(matrix, Precision.INT8)
    assert found.rows.dtype == np.int8
    assert found.rows.shape == matrix.shape
    peaks = np.abs(matrix).max(axis=1, keepdims=True)
    assert np.array_equal(np.abs(found.rows).max(axis=1), np.where(peaks[:, 0] > 0, 127, 0))
    assert (np.abs(found.dequantise() - matrix) <= peaks * (0.5 + 1e-3) / 127).all()


@given(MATRICES)
def test_binary_keeps_the_signs(matrix: NDArray[np.float32]):
    found = quantise(matrix, Precision.BINARY)
    assert np.array_equal(found.rows, np.packbits(matrix > 0, axis=1))
    assert np.array_equal(found.dequantise() > 0, matrix > 0)
    if len(matrix):
        assert np.linalg.norm(found.dequantise(), axis=1) == pytest.approx(1, abs=1e-5)


@given(st.integers(1, 200), st.integers(0, 5), st.integers(0, 5), st.randoms(use_true_random=False))
def test_bits_that_differ_are_counted(dimensions: int, rows: int, queries: int, random):
    bits = np.array([[random.getrandbits(1) for _ in range(dimensions)] for _ in range(rows + queries)], bool)
    bits = bits.reshape(-1, dimensions)
    packed = np.packbits(bits, axis=1)
    expected = (bits[rows:, None] != bits[None, :rows]).sum(axis=-1)
    assert np.array_equal(vectors._hamming(packed[rows:], packed[:rows]), expected)


@given(numpy_st.arrays(np.uint64, st.tuples(st.integers(0, 3), st.integers(1, 9))))
def test_bits_are_counted_where_numpy_does_not(words: NDArray[np.uint64]):
    expected = [[int(word).bit_count() for word in row] for row in words]
    assert np.array_equal(vectors._count_by_arithmetic(words), np.array(expected).reshape(words.shape))


@pytest.mark.parametrize("dimensions", [1, 64, 896, 1536])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_cosines_are_those_of_float64(dimensions: int, precision: str):
    rows = unit_rows(vectors._BLOCK_ROWS + 7, dimensions)
    rows[17] = 0
    queries = unit_rows(3, dimensions, seed=9) * 5
    stored, asked = quantise(rows, precision), quantise(queries, precision)
    found = stored.similarity(asked)
    assert found.dtype == np.float32
    assert np.abs(found - float64_cosines(asked.dequantise(), stored.dequantise())).max() < 1e-5
    assert not found[:, 17].any()
    by_floats = stored.similarity(queries)
    assert np.abs(by_floats - float64_cosines(queries, stored.dequantise())).max() < 1e-5
    assert not stored.similarity(np.zeros((1, dimensions), np.float32)).any()


def test_int8_products_are_exact_at_any_size():
    random = np.random.default_rng(4)
    rows, queries = (random.integers(-127, 128, (n, 4_096)).astype(np.float32) for n in (50, 3))
    rows[0] = queries[0] = 127
    exact = queries.astype(np.int64) @ rows.astype(np.int64).T
    assert np.array_equal(vectors._products(queries, rows), exact)


def test_a_cosine_of_int8_rows_is_the_same_in_any_company():
    stored, asked = quantise(unit_rows(4_000), "int8"), quantise(unit_rows(2, seed=5), "int8")
    whole = stored.similarity(asked)
    order = np.random.default_rng(3).permutation(len(stored))
    assert np.array_equal(stored[order].similarity(asked), whole[:, order])
    for part in (slice(0, 1), slice(13, 14), slice(100, 1777)):
        assert np.array_equal(stored[part].similarity(asked[:1]), whole[:1, part])


def test_quantised_unit_vectors_keep_their_cosines():
    rows, queries = unit_rows(500), unit_rows(20, seed=1)
    rows[:20] = queries + unit_rows(20, seed=2)
    exact = float64_cosines(queries, rows)
    error = {
        (stored, asked): np.abs(quantise(rows, stored).similarity(quantise(queries, asked)) - exact)
        for stored in ("int8", "binary")
        for asked in ("float32", stored)
    }
    assert error["int8", "float32"].max() < 0.01
    assert error["int8", "int8"].max() < 0.01
    # Signs of 256 dimensions: an estimate, the better one where the query is whole.
    assert error["binary", "float32"].mean() < error["binary", "binary"].mean() < 0.09


def test_float32_queries_order_bits_as_their_products():
    rows, queries = quantise(unit_rows(300), "binary"), unit_rows(4, seed=1)
    products = queries @ rows.dequantise().T
    assert np.array_equal(np.argsort(rows.similarity(queries)), np.argsort(products))


def test_equal_and_opposite_bits_have_the_cosines_1_and_minus_1():
    row = unit_rows(1)
    stored = quantise(np.concatenate([row, -row]), "binary")
    assert stored.similarity(quantise(row, "binary"))[0] == pytest.approx([1, -1])


@pytest.mark.parametrize("precision", list(Precision))
def test_a_row_means_the_same_whatever_stands_beside_it(precision: Precision):
    matrix = unit_rows(40, 64)
    whole = quantise(matrix, precision)
    assert np.array_equal(whole[7:8].rows, quantise(matrix[7:8], precision).rows)
    assert np.array_equal(whole[7:8].dequantise(), quantise(matrix[7:8], precision).dequantise())


@pytest.mark.parametrize("precision", list(Precision))
def test_no_rows_and_no_queries(precision: Precision):
    none, some = quantise(np.empty((0, 8), np.float32), precision), quantise(unit_rows(2, 8), precision)
    assert none.dequantise().shape == (0, 8)
    assert none.similarity(some).shape == (2, 0)
    assert some.similarity(none).shape == (0, 2)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones(3, np.float32), r"shape \(3,\)"),
        (np.ones((3, 0), np.float32), r"shape \(3, 0\)"),
        (np.array([[1, 2], [1, np.nan]], np.float32), "vector 1 has"),
        (np.array([[np.inf, 2], [1, 1]], np.float32), "vector 0 has"),
    ],
)
@pytest.mark.parametrize("precision", list(Precision))
def test_what_are_no_vectors_is_refused(matrix: NDArray[np.float32], message: str, precision: Precision):
    with pytest.raises(InputError, match=message):
        quantise(matrix, precision)


def test_mistakes_are_named():
    with pytest.raises(InputError, match="unknown precision 'int4'; precisions: float32, int8, binary"):
        quantise(unit_rows(1), "int4")
    with pytest.raises(InputError, match="queries of 64 dimensions, rows of 256"):
        quantise(unit_rows(1), "int8").similarity(unit_rows(1, 64))


def test_the_tiniest_numbers_do_not_overflow():
    tiny = np.full((1, 4), np.finfo(np.float32).smallest_subnormal)
    found: Quantised = quantise(tiny, "int8")
    assert not found.rows.any()
    assert np.isfinite(found.dequantise()).all()
