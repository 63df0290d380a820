"""Nearest vectors, exactly: int8 rows against an int8 query.

Products of 8-bit integers summed over a few hundred dimensions are whole numbers below 2**24, which float32 holds
exactly: the scores are the same whatever the order of rows and of sums, and so is the ranking.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

_RESIDENT_ROWS = 65_536  # up to here the rows are kept as float32 too: 64 MB at 256 dimensions
_BLOCK_ROWS = 16_384


def quantise(vectors: NDArray[np.float32]) -> NDArray[np.int8]:
    """(n, d) float32 -> (n, d) int8, each row stretched to +-127. A row's direction is kept, its length is not."""
    peak = np.abs(vectors).max(axis=1, keepdims=True, initial=0.0)
    scale = np.divide(127.0, peak, out=np.zeros_like(peak), where=peak > 0)
    return np.asarray(np.rint(vectors * scale), np.int8)


class Vectors:
    """A matrix of int8 rows, searched whole."""

    def __init__(self, rows: NDArray[np.int8]) -> None:
        self.rows = rows

    def cosines(self, query: NDArray[np.int8]) -> NDArray[np.float32]:
        """(n,) float32: the cosine of each row to `query` (d,), 0 for a zero row or query."""
        wanted = query.astype(np.float32)
        length = np.sqrt(float(wanted @ wanted)) or 1.0
        if self._resident is not None:
            products = self._resident @ wanted
        else:
            products = np.empty(len(self.rows), np.float32)
            for start in range(0, len(self.rows), _BLOCK_ROWS):
                block = self.rows[start : start + _BLOCK_ROWS]
                products[start : start + len(block)] = block.astype(np.float32) @ wanted
        return products * (self._inverse_lengths / np.float32(length))

    @cached_property
    def _resident(self) -> NDArray[np.float32] | None:
        return self.rows.astype(np.float32) if len(self.rows) <= _RESIDENT_ROWS else None

    @cached_property
    def _inverse_lengths(self) -> NDArray[np.float32]:
        squares = np.empty(len(self.rows), np.float32)
        for start in range(0, len(self.rows), _BLOCK_ROWS):
            block = self.rows[start : start + _BLOCK_ROWS].astype(np.float32)
            squares[start : start + len(block)] = np.einsum("ij,ij->i", block, block)
        lengths = np.sqrt(squares)
        return np.divide(np.float32(1), lengths, out=np.zeros_like(lengths), where=lengths > 0)


def largest(scores: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """The rows of the `count` highest positive scores, best first; equal ones in the order of rows."""
    found = np.flatnonzero(scores > 0)
    if len(found) > count:
        threshold = np.partition(scores[found], len(found) - count)[len(found) - count]
        found = found[scores[found] >= threshold]
    return found[np.argsort(-scores[found], kind="stable")][:count]
