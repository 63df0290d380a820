"""Nearest vectors, exactly: int8 rows against an int8 query.

Products of 8-bit integers summed over a thousand dimensions are whole numbers below 2**24, which float32 holds
exactly (over more dimensions all but those of rows that hardly vary): the scores are the same whatever the order of
rows and of sums, and so is the ranking.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

_RESIDENT_NUMBERS = 1 << 24  # up to here the rows are kept as float32 too: 64 MB
_BLOCK_NUMBERS = 1 << 22


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
            for start in self._blocks:
                block = self.rows[start : start + self._blocks.step]
                products[start : start + len(block)] = block.astype(np.float32) @ wanted
        return products * (self._inverse_lengths / np.float32(length))

    @cached_property
    def _resident(self) -> NDArray[np.float32] | None:
        return self.rows.astype(np.float32) if self.rows.size <= _RESIDENT_NUMBERS else None

    @property
    def _blocks(self) -> range:
        """The first rows of blocks that fit into a cache."""
        return range(0, len(self.rows), max(1, _BLOCK_NUMBERS // max(1, self.rows.shape[1])))

    @cached_property
    def _inverse_lengths(self) -> NDArray[np.float32]:
        squares = np.empty(len(self.rows), np.float32)
        for start in self._blocks:
            block = self.rows[start : start + self._blocks.step].astype(np.float32)
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
