"""Nearest vectors: int8 rows against an int8 query, few of them all and many coarse to fine.

Products of 8-bit integers summed over a thousand dimensions are whole numbers below 2**24, which float32 holds
exactly (over more dimensions all but those of rows that hardly vary): the scores are the same whatever the order of
rows and of sums, and so is the ranking.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from codekin.search.coarse import RECALL, Coarse, Partition

_RESIDENT_NUMBERS = 1 << 24  # up to here the rows are kept as float32 too (64 MB), and all are compared
_BLOCK_NUMBERS = 1 << 22


def is_many(rows: int, dimensions: int) -> bool:
    """Whether so many vectors are worth a coarse search: below, comparing all takes a few milliseconds."""
    return rows * dimensions > _RESIDENT_NUMBERS


class Vectors:
    """A matrix of int8 rows (n, d), and what a coarse search of it needs: the rows' partition and cells (n,)."""

    def __init__(
        self,
        rows: NDArray[np.int8],
        partition: Partition | None = None,
        cells: NDArray[np.uint16] | None = None,
    ) -> None:
        self.rows = rows
        self._partition = partition
        self._cells = cells

    def nearest(
        self, query: NDArray[np.int8], count: int, kept: NDArray[np.bool_] | None = None
    ) -> NDArray[np.int64]:
        """The rows of the `count` highest positive cosines, best first; `kept` (n,) says which are looked for."""
        if not is_many(*self.rows.shape):
            scores = self.cosines(query)
            return largest(scores if kept is None else scores * kept, count)
        if kept is not None and not is_many(int(np.count_nonzero(kept)), self.rows.shape[1]):
            rows = np.flatnonzero(kept)
        elif self._partition and self._coarse:
            share = max(1.0, count / RECALL[-1][0])
            rows = np.sort(self._coarse.survivors(query, self._partition.plan, share, kept)).astype(np.int64)
        else:
            rows = np.arange(len(self.rows)) if kept is None else np.flatnonzero(kept)
        return rows[largest(self.cosines(query, rows), count)]

    def cosines(self, query: NDArray[np.int8], rows: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """The cosines of `rows` (None: of all) to `query` (d,), float32; 0 for a zero row or query."""
        wanted = query.astype(np.float32)
        length = np.sqrt(float(wanted @ wanted)) or 1.0
        if rows is not None:
            found = np.empty(len(rows), np.float32)
            for start in range(0, len(rows), self._blocks.step):
                some = self.rows[rows[start : start + self._blocks.step]].astype(np.float32)
                # A few rows: a matrix product would wait for the threads that it shares them out to.
                products: NDArray[np.float32] = np.vecdot(some, wanted)
                found[start : start + len(some)] = products * (_inverse_lengths(some) / np.float32(length))
            return found
        if self._resident is not None:
            products = self._resident @ wanted
        else:
            products = np.empty(len(self.rows), np.float32)
            for start in self._blocks:
                block = self.rows[start : start + self._blocks.step]
                products[start : start + len(block)] = block.astype(np.float32) @ wanted
        return products * (self._inverse_lengths / np.float32(length))

    @cached_property
    def _coarse(self) -> Coarse | None:
        if self._partition is None or self._cells is None:
            return None
        return Coarse(self.rows, self._cells, self._partition.centres, self._partition.plan.signs)

    @cached_property
    def _resident(self) -> NDArray[np.float32] | None:
        return None if is_many(*self.rows.shape) else self.rows.astype(np.float32)

    @property
    def _blocks(self) -> range:
        """The first rows of blocks that fit into a cache."""
        return range(0, len(self.rows), max(1, _BLOCK_NUMBERS // max(1, self.rows.shape[1])))

    @cached_property
    def _inverse_lengths(self) -> NDArray[np.float32]:
        found = np.empty(len(self.rows), np.float32)
        for start in self._blocks:
            block = self.rows[start : start + self._blocks.step].astype(np.float32)
            found[start : start + len(block)] = _inverse_lengths(block)
        return found


def _inverse_lengths(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths: NDArray[np.float32] = np.sqrt(np.vecdot(rows, rows))
    np.divide(np.float32(1), lengths, out=lengths, where=lengths > 0)
    return lengths


def largest(scores: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """The rows of the `count` highest positive scores, best first; equal ones in the order of rows."""
    found = np.flatnonzero(scores > 0)
    if len(found) > count:
        threshold = np.partition(scores[found], len(found) - count)[len(found) - count]
        found = found[scores[found] >= threshold]
    return found[np.argsort(-scores[found], kind="stable")][:count]
