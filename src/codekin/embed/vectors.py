"""Vectors as they are stored: float32, int8 or single bits, and the cosines between any two of these kinds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codekin.errors import InputError, ModelError
from codekin.tasks import Choice

_BLOCK_ROWS = 8_192  # taken at a time: rows widened to float32 stay within tens of megabytes
# Sums of this many products of int8 numbers are whole numbers below 2**24, which float32 holds exactly.
_EXACT_DIMENSIONS = 1_024
# A row whose largest number is smaller has a scale that float32 cannot invert; it counts as zero.
_SMALLEST_PEAK = np.float32(127) / np.finfo(np.float32).max
# Of a Gaussian vector x, the expectation of |x| is sqrt(2 / pi) of its standard deviation: what signs alone keep.
_SIGN_LOSS = math.sqrt(2 / math.pi)
# What float16 loses of a length.
_LENGTH_TOLERANCE = 1e-3
_SIGNS = (2.0 * np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1) - 1).astype(np.float32)


class Precision(Choice):
    """How the numbers of a vector are kept."""

    FLOAT32 = "float32"
    INT8 = "int8"
    BINARY = "binary"


@dataclass(frozen=True)
class Quantised:
    """n vectors of d dimensions at a precision.

    `rows` is (n, d) float32 or int8, or (n, ceil(d / 8)) uint8: a bit for each sign, the first in the highest
    place, as `numpy.packbits` packs them and as embedding services call "ubinary". `scales` is (n,) float32 for
    int8 rows, whose numbers times their scale are the vector's; None for the other kinds.
    """

    rows: NDArray[Any]
    scales: NDArray[np.float32] | None
    dimensions: int
    precision: Precision

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, chosen: slice | NDArray[Any]) -> Quantised:
        """The chosen rows: a slice, indices or a mask."""
        scales = None if self.scales is None else self.scales[chosen]
        return Quantised(self.rows[chosen], scales, self.dimensions, self.precision)

    def dequantise(self) -> NDArray[np.float32]:
        """(n, d) float32: the vectors as far as their rows keep them; of bits, the signs at unit length."""
        rows = self._float32(slice(None))
        if self.scales is not None:
            return rows * self.scales[:, None]
        if self.precision is Precision.BINARY:
            return rows / np.float32(math.sqrt(self.dimensions))
        return rows

    def similarity(self, queries: NDArray[np.float32] | Quantised) -> NDArray[np.float32]:
        """(q, n) float32: the cosine of each of q queries to each row; 0 where either is all zeros.

        `queries` is (q, d) float32, or rows of any precision. Between int8 rows the products are exact, so a
        cosine is the same to the last bit whatever stands beside a row. Of two rows of bits that differ in h
        places the cosine is estimated as cos(pi h / d) (Charikar, STOC 2002); of float32 queries and bits as
        their product over what signs lose, which keeps more of the order and may pass 1: score many by bits,
        then the best again by float32 queries. Both estimates hold for vectors spread evenly over all
        directions. Raises InputError for queries of other dimensions.
        """
        if not isinstance(queries, Quantised):
            queries = quantise(queries, Precision.FLOAT32)
        if queries.dimensions != self.dimensions:
            raise InputError(f"queries of {queries.dimensions} dimensions, rows of {self.dimensions}")
        if queries.precision is not self.precision:
            queries = quantise(queries.dequantise(), Precision.FLOAT32)
        cosines = np.empty((len(queries), len(self)), np.float32)
        if queries.precision is Precision.BINARY:
            for start in range(0, len(self), _BLOCK_ROWS):
                differing = _hamming(queries.rows, self.rows[start : start + _BLOCK_ROWS])
                cosines[:, start : start + _BLOCK_ROWS] = np.cos(differing * (math.pi / self.dimensions))
            return cosines
        wanted = queries._float32(slice(None))
        for start in range(0, len(self), _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            products = _products(wanted, self._float32(block))
            cosines[:, block] = products * queries._inverse_lengths[:, None] * self._inverse_lengths[block]
        if self.precision is Precision.BINARY:
            cosines /= np.float32(_SIGN_LOSS)
        return cosines

    def _float32(self, block: slice) -> NDArray[np.float32]:
        """The rows of a block, widened; scales are left aside."""
        rows = self.rows[block]
        if self.precision is Precision.BINARY:
            rows = _SIGNS[rows].reshape(len(rows), 8 * rows.shape[1])[:, : self.dimensions]
        return np.asarray(rows, np.float32)

    @cached_property
    def _inverse_lengths(self) -> NDArray[np.float64]:
        """(n,) float64; 0 for a row of zeros."""
        if self.precision is Precision.BINARY:
            return np.full(len(self), 1 / math.sqrt(self.dimensions))
        lengths = np.empty(len(self))
        for start in range(0, len(self), _BLOCK_ROWS):
            block = self._float32(slice(start, start + _BLOCK_ROWS))
            lengths[start : start + len(block)] = np.sqrt(np.square(block).sum(axis=1, dtype=np.float64))
        return np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)


def checked(
    vectors: Any, count: int, name: str, *, size: int | None = None, zeros: bool = False
) -> NDArray[np.float32]:
    """What the model `name` gave for `count` texts as (count, d) float32, d being `size` where that is known.

    Raises ModelError, naming the model, for another shape, numbers that are not finite and rows not of unit length;
    `zeros` allows those of zeros.
    """
    try:
        rows = np.asarray(vectors)
        if rows.dtype.kind not in "fiuO":
            raise TypeError
        with np.errstate(over="ignore"):  # what is infinite is told of below
            rows = rows.astype(np.float32, copy=False)
    except (TypeError, ValueError, RuntimeError):  # the last of tensors that have a gradient
        kind = getattr(vectors, "dtype", type(vectors).__name__)
        raise ModelError(f"model {name} gives no matrix of numbers but {kind}") from None
    if rows.ndim != 2 or len(rows) != count or not rows.shape[1]:
        raise ModelError(
            f"model {name} gives vectors of shape {rows.shape} for {count} texts; (n, d) is asked for"
        )
    if size is not None and rows.shape[1] != size:
        raise ModelError(f"model {name} gives vectors of {rows.shape[1]} numbers, and of {size} before")
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise ModelError(
            f"model {name} gives NaN or infinite numbers, in {int((~finite).sum())} of {count} vectors"
        )
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    wrong = np.abs(lengths - 1) > _LENGTH_TOLERANCE
    if zeros:
        wrong &= lengths > 0
    if wrong.any():
        length = lengths[int(np.argmax(wrong))]
        how_many = f"{int(wrong.sum())} of {count}, one of {length:.4g}"
        raise ModelError(f"model {name} gives vectors that are not of unit length: {how_many}")
    return rows


def shorten(vectors: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """(n, size) float32: the leading numbers of (n, d) vectors at unit length again; rows of zeros stay so.

    Of a Matryoshka model they are vectors of their own (arXiv 2205.13147).
    """
    if size == vectors.shape[1]:
        return vectors
    short = vectors[:, :size]
    lengths = np.linalg.norm(short, axis=1, keepdims=True)
    unit: NDArray[np.float32] = np.divide(short, lengths, out=np.zeros_like(short), where=lengths > 0)
    return unit


def quantise(vectors: NDArray[np.float32], precision: Precision | str) -> Quantised:
    """(n, d) float32 vectors at `precision`, each row by itself.

    int8 stretches a row so that its largest number is +-127; binary keeps the signs, zero as negative. Raises
    InputError for an unknown precision, other shapes, and numbers that are not finite.
    """
    precision = Precision.parse(precision)
    if vectors.ndim != 2 or not vectors.shape[1]:
        raise InputError(f"vectors of shape {vectors.shape}; (n, d) is asked for")
    peak = np.abs(vectors).max(axis=1, keepdims=True)
    if not np.isfinite(peak).all():
        raise InputError(f"vector {int(np.argmin(np.isfinite(peak)))} has NaN or infinite numbers")
    dimensions = vectors.shape[1]
    if precision is Precision.FLOAT32:
        return Quantised(np.asarray(vectors, np.float32), None, dimensions, precision)
    if precision is Precision.BINARY:
        return Quantised(np.packbits(vectors > 0, axis=1), None, dimensions, precision)
    stretch = np.divide(np.float32(127), peak, out=np.zeros_like(peak), where=peak > _SMALLEST_PEAK)
    rows = np.asarray(np.rint(vectors * stretch), np.int8)
    return Quantised(rows, np.asarray(peak[:, 0] / 127, np.float32), dimensions, precision)


def _products(queries: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[Any]:
    """(q, n) float32, or float64 for many dimensions: exact where all numbers are those of int8."""
    products: NDArray[Any] = queries[:, :_EXACT_DIMENSIONS] @ rows[:, :_EXACT_DIMENSIONS].T
    for start in range(_EXACT_DIMENSIONS, rows.shape[1], _EXACT_DIMENSIONS):
        part = slice(start, start + _EXACT_DIMENSIONS)
        products = products + (queries[:, part] @ rows[:, part].T).astype(np.float64)
    return products


def _hamming(queries: NDArray[np.uint8], rows: NDArray[np.uint8]) -> NDArray[np.int32]:
    """(q, n): in how many bits each query differs from each row."""
    distances = np.zeros((len(queries), len(rows)), np.int32)
    # A column of words at a time: whole registers, and no sum over a short last axis.
    for wanted, column in zip(_words(queries), _words(rows), strict=True):
        distances += _count(wanted[:, None] ^ column)
    return distances


def _words(packed: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(n, b) bytes -> (ceil(b / 8), n) words, zeros after the last byte."""
    padded = np.zeros((len(packed), -(-packed.shape[1] // 8) * 8), np.uint8)
    padded[:, : packed.shape[1]] = packed
    return np.ascontiguousarray(padded.view(np.uint64).T)


def _count_by_arithmetic(words: NDArray[Any]) -> NDArray[np.uint8]:
    """The bits set in each uint64 word, added up in ever wider fields (Warren, Hacker's Delight, section 5-1)."""
    words = words - ((words >> 1) & 0x5555555555555555)
    words = (words & 0x3333333333333333) + ((words >> 2) & 0x3333333333333333)
    words = (words + (words >> 4)) & 0x0F0F0F0F0F0F0F0F
    return np.asarray((words * 0x0101010101010101) >> 56, np.uint8)


_count = getattr(np, "bitwise_count", _count_by_arithmetic)  # numpy 1 has none
