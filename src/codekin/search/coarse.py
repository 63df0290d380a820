"""Coarse to fine: which of many vectors are worth comparing with a query in full.

A vector's coarse form is the signs of its first numbers (a short Matryoshka size, one bit a number), and the cell of a
partition that it lies in (an inverted file: Jégou, Douze and Schmid, "Product quantization for nearest neighbor
search", 2011). A query looks into the cells whose centres come nearest, counts the signs in which the vectors there
differ from its own, and only the survivors are compared in full. A vector's cell is known from its own numbers and
the centres alone, so vectors come and go without the others' being touched; the centres are made anew once there are
`GROWTH` times as many. How many cells, signs and survivors it takes is measured (`measured`), with questions of the
index's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Cosines = Callable[[NDArray[np.int8]], NDArray[np.float32]]
"""A query (d,) to the exact cosines (n,)."""

RECALL = ((10, 0.99), (100, 0.9))
"""What a coarse search has to find of so many nearest vectors, on average over an index's own questions: of people's it
finds a point less."""
GROWTH = 4

_WORD = 64  # signs in a machine's word
_SAMPLE = 64  # vectors a cell, from which its centre is made
_ROUNDS = 8
# Shares of the nearest that are in probed cells, to try.
_PROBED = (0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995, 1.0)
_GATHERED = (
    2  # what it takes to compare the signs of some cells, put together first, in those of all as they stand
)
_FULL = 3  # what it takes to compare a number in full, in bytes of signs
_BLOCK_NUMBERS = 1 << 22


@dataclass(frozen=True, slots=True)
class Plan:
    """How to search: `signs` are compared of the vectors in `probes` cells, and `survivors` of them in full.

    `recall` is the share of the ten nearest vectors that was found so when it was measured.
    """

    signs: int
    probes: int
    survivors: int
    recall: float


@dataclass(frozen=True, slots=True)
class Partition:
    """The cells that vectors are in."""

    centres: NDArray[np.float32]
    """(k, d) float32, rows of unit length."""
    vectors: int
    """How many there were when the centres were made."""
    plan: Plan

    def is_outgrown(self, count: int) -> bool:
        """Whether `count` vectors want centres of their own."""
        return not self.vectors / GROWTH <= count <= self.vectors * GROWTH


def nearest_centres(centres: NDArray[np.float32], rows: NDArray[np.int8]) -> NDArray[np.uint16]:
    """(n,) uint16: the cell of each of n rows (n, d)."""
    cells = np.empty(len(rows), np.uint16)
    step = max(1, _BLOCK_NUMBERS // max(centres.shape))
    for start in range(0, len(rows), step):
        block = rows[start : start + step].astype(np.float32)
        cells[start : start + step] = (block @ centres.T).argmax(axis=1)
    return cells


def centres_of(rows: NDArray[np.int8]) -> NDArray[np.float32]:
    """(k, d) float32 centres of unit length, about as many as the root of the number of rows; always the same ones.

    Spherical k-means (Dhillon and Modha, 2001) of a sample of the rows.
    """
    count = 1 << max(1, round(np.log2(max(len(rows), 4)) / 2))
    random = np.random.default_rng(0)
    sample = np.sort(random.choice(len(rows), min(len(rows), count * _SAMPLE), replace=False))
    vectors = _unit(rows[sample].astype(np.float32))
    centres: NDArray[np.float32] = vectors[random.choice(len(vectors), count, replace=False)]
    for _ in range(_ROUNDS):
        cells = np.concatenate(
            [
                (block @ centres.T).argmax(axis=1)
                for block in np.array_split(vectors, len(vectors) // 4096 + 1)
            ]
        )
        order = np.argsort(cells, kind="stable")
        held, starts = np.unique(cells[order], return_index=True)
        # A cell that nothing is in keeps its centre.
        centres[held] = _unit(np.add.reduceat(vectors[order], starts, axis=0))
    return centres


class Coarse:
    """The coarse forms of n vectors, in the order of their cells: d / 8 bytes a vector, and 4."""

    def __init__(
        self, rows: NDArray[np.int8], cells: NDArray[np.uint16], centres: NDArray[np.float32], signs: int
    ) -> None:
        self._centres = centres
        self.signs = signs
        self._order = np.argsort(cells, kind="stable").astype(np.int32)
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(cells, minlength=len(centres)))]).tolist()
        # By words, not by vectors: one long loop a word.
        self._words = np.empty((-(-signs // _WORD), len(rows)), np.uint64)
        step = max(1, _BLOCK_NUMBERS // max(1, rows.shape[1]))
        for start in range(0, len(rows), step):
            self._words[:, start : start + step] = _packed(rows[self._order[start : start + step], :signs]).T

    def survivors(
        self,
        query: NDArray[np.int8],
        probes: int,
        count: int,
        kept: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.int32]:
        """At least `count` rows of those in the `probes` nearest cells (fewer if there are no more), in no order.

        `kept` (n,) says which rows are looked for: with half of them, twice the cells are looked into.
        """
        if kept is not None:
            probes = int(np.ceil(probes * len(kept) / max(1, int(np.count_nonzero(kept)))))
        chosen = self.ranked_cells(query)[:probes] if probes < len(self._centres) else None
        distances = self.distances(query, chosen)
        order = self._order if chosen is None else self._gathered(self._order, chosen)
        if kept is not None:
            inside = np.flatnonzero(kept[order])
            order, distances = order[inside], distances[inside]
        if len(order) <= count:
            return order
        reach = int(np.searchsorted(np.cumsum(np.bincount(distances)), count))
        return order[np.flatnonzero(distances <= reach)]

    def ranked_cells(self, query: NDArray[np.int8]) -> NDArray[np.int64]:
        """All cells, nearest centre first."""
        return np.argsort(-(self._centres @ query.astype(np.float32)), kind="stable")

    def distances(
        self, query: NDArray[np.int8], cells: NDArray[np.int64] | None = None
    ) -> NDArray[np.uint16]:
        """The signs in which the vectors of some cells (None: all) differ from the query's, cell by cell."""
        wanted = _packed(query[None, : self.signs])[0]
        total: NDArray[np.uint16] | None = None
        for word, own in zip(self._words, wanted, strict=True):
            held = word if cells is None else self._gathered(word, cells)
            differing = np.bitwise_count(held ^ own)
            total = differing.astype(np.uint16) if total is None else total + differing
        assert total is not None
        return total

    def places(self) -> NDArray[np.int64]:
        """(n,) int64: where each row stands in the order of cells."""
        found = np.empty(len(self._order), np.int64)
        found[self._order] = np.arange(len(found))
        return found

    def _gathered(self, values: NDArray, cells: NDArray[np.int64]) -> NDArray:  # type: ignore[type-arg]
        starts = self._starts
        return np.concatenate([values[starts[cell] : starts[cell + 1]] for cell in cells.tolist()])


def measured(
    rows: NDArray[np.int8],
    cells: NDArray[np.uint16],
    centres: NDArray[np.float32],
    cosines: Cosines,
    queries: NDArray[np.int8],
) -> Plan:
    """The cheapest plan with which `queries` (m, d) find what `RECALL` asks for.

    For each query and each of its nearest vectors two ranks say what it takes to find it: of its cell among the
    cells, and of its signs among those of all vectors.
    """
    depth = min(RECALL[-1][0], len(rows))
    nearest = [_best(cosines(query), depth) for query in queries]
    dimensions = rows.shape[1]
    cheapest, plan = np.inf, None
    for signs in sorted({dimensions, -(-dimensions // 2)}):
        coarse = Coarse(rows, cells, centres, signs)
        places = coarse.places()
        cell_ranks = np.empty((len(queries), depth), np.int64)
        sign_ranks = np.empty((len(queries), depth), np.int64)
        for number, (query, best) in enumerate(zip(queries, nearest, strict=True)):
            cell_ranks[number] = np.argsort(coarse.ranked_cells(query))[cells[best]] + 1
            distances = coarse.distances(query)
            sign_ranks[number] = np.cumsum(np.bincount(distances))[distances[places[best]]]
        tried = np.unique(np.quantile(cell_ranks, _PROBED, method="higher")).tolist()
        for probes in [*(few for few in tried if _GATHERED * few < len(centres)), len(centres)]:
            survivors = _needed(np.where(cell_ranks <= probes, sign_ranks, len(rows) + 1))
            scanned = len(rows) * min(1, _GATHERED * probes / len(centres))
            cost = scanned * signs / 8 + _FULL * survivors * dimensions
            if survivors <= len(rows) and cost < cheapest:
                found = (cell_ranks[:, : RECALL[0][0]] <= probes) & (
                    sign_ranks[:, : RECALL[0][0]] <= survivors
                )
                cheapest, plan = cost, Plan(signs, probes, survivors, float(found.mean()))
    assert plan is not None  # all cells have all vectors
    return plan


def _needed(ranks: NDArray[np.int64]) -> int:
    """The rank up to which enough of the nearest vectors (m, depth) come for each of `RECALL`."""
    return max(int(np.quantile(ranks[:, :depth], recall, method="higher")) for depth, recall in RECALL)


def _best(scores: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    best = np.argpartition(-scores, count - 1)[:count]
    return best[np.argsort(-scores[best], kind="stable")]


def _packed(rows: NDArray[np.int8]) -> NDArray[np.uint64]:
    """(n, d) int8 -> (n, ceil(d / 64)) uint64: which numbers are positive."""
    packed = np.packbits(rows > 0, axis=1)
    words = np.zeros((len(rows), -(-rows.shape[1] // _WORD) * (_WORD // 8)), np.uint8)
    words[:, : packed.shape[1]] = packed
    return words.view(np.uint64)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    return np.asarray(vectors / np.maximum(lengths, np.float32(1e-9)), np.float32)
