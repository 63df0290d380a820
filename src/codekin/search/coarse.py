"""Coarse to fine: which of many vectors are worth comparing with a query in full.

A vector's coarse form is the signs of its first numbers (a short Matryoshka size, one bit a number), and the cell of a
partition that it lies in (an inverted file: Jégou, Douze and Schmid, "Product quantization for nearest neighbor
search", 2011). A query looks into the cells whose centres come nearest and counts the signs in which the vectors there
differ from its own. Those with the fewest are the candidates: their differing signs are added up again, each as much
as the query's number is large, which tells far more than signs against signs. The best of them, the survivors, are
compared in full.

A vector's cell is known from its own numbers and the centres alone, so vectors come and go without the others' being
touched; the centres are made anew once there are `GROWTH` times as many. How many cells, candidates and survivors it
takes is measured (`measured`), with questions of the index's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RECALL = ((10, 0.99), (100, 0.97))
"""What a coarse search has to find of so many nearest vectors, on average over an index's own questions: of people's it
finds a point less."""
GROWTH = 4

_WORD = 64  # signs in a machine's word
_SAMPLE = 64  # vectors a cell, from which its centre is made
_ROUNDS = 8
# Shares of the nearest that are in probed cells, to try.
_PROBED = (0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995, 1.0)
# Shares of the nearest in probed cells that are candidates, to try.
_CANDIDATES = (0.98, 0.985, 0.99, 0.993, 0.996, 0.998, 1.0)
_PLANES = 3  # bits of a query's number, by which a differing sign counts
# What it takes, in units of comparing a word of signs.
_GATHERED = 2  # ... of some cells, put together first
_WEIGHTED = 12  # ... by the query's numbers
_FULL = 1  # to compare a number in full
_BLOCK_NUMBERS = 1 << 22
_ALL = slice(None)


@dataclass(frozen=True, slots=True)
class Plan:
    """How to search: how many signs are compared, of the vectors in how many cells, and how many go on from there.

    `recall` is the share of the ten nearest vectors that was found so when it was measured.
    """

    signs: int
    probes: int
    candidates: int
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
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(cells, minlength=len(centres)))])
        # By words, not by vectors: one long loop a word.
        self._words = np.empty((-(-signs // _WORD), len(rows)), np.uint64)
        step = max(1, _BLOCK_NUMBERS // max(1, rows.shape[1]))
        for start in range(0, len(rows), step):
            self._words[:, start : start + step] = _packed(rows[self._order[start : start + step], :signs]).T

    def survivors(
        self,
        query: NDArray[np.int8],
        plan: Plan,
        share: float = 1.0,
        kept: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.int32]:
        """The rows that come through a plan with `share` times its candidates and survivors, in no order.

        `kept` (n,) says which rows are looked for: with half of them, twice the cells are looked into.
        """
        probes = plan.probes
        if kept is not None:
            probes = int(np.ceil(probes * len(kept) / max(1, int(np.count_nonzero(kept)))))
        cells = self.ranked_cells(query)[:probes] if probes < len(self._centres) else None
        distances = self.distances(query, cells)
        inside = None
        if kept is not None:
            inside = np.flatnonzero(
                kept[self._order if cells is None else self._gathered(self._order, cells)]
            )
            distances = distances[inside]
        places = _lowest(distances, round(share * plan.candidates))
        if inside is not None:
            places = inside[places]
        if cells is not None:  # from places in these cells to places in all
            sizes = np.diff(self._starts)[cells]
            places = places + np.repeat(self._starts[cells] - np.cumsum(sizes) + sizes, sizes)[places]
        weighted = self.weighted(query, places)
        return self._order[places[_lowest(weighted, round(share * plan.survivors))]]

    def ranked_cells(self, query: NDArray[np.int8]) -> NDArray[np.int64]:
        """All cells, nearest centre first."""
        return np.argsort(-np.vecdot(self._centres, query.astype(np.float32)), kind="stable")

    def distances(
        self, query: NDArray[np.int8], cells: NDArray[np.int64] | None = None
    ) -> NDArray[np.uint16]:
        """The signs in which the vectors of some cells (None: all) differ from the query's, cell by cell."""
        wanted = _packed(query[None, : self.signs])[0]
        parts = self._words if cells is None else (self._gathered(word, cells) for word in self._words)
        first, *others = (np.bitwise_count(word ^ own) for word, own in zip(parts, wanted, strict=True))
        total: NDArray[np.uint16] = first.astype(np.uint16)
        for differing in others:
            total += differing
        return total

    def weighted(
        self, query: NDArray[np.int8], places: NDArray[np.int64] | slice = _ALL
    ) -> NDArray[np.uint16]:
        """The sum of the query's numbers, in a few bits each, whose signs differ at some places of the cells' order."""
        numbers = query[: self.signs].astype(np.int32)
        sizes = np.abs(numbers)
        sizes = (sizes * ((2 << _PLANES) - 2) // max(1, int(sizes.max())) + 1) // 2
        signs = _packed(query[None, : self.signs])[0]
        planes = _packed((sizes[None] >> np.arange(_PLANES)[:, None] & 1).astype(np.int8))
        total = np.zeros(self._order[places].shape, np.uint16)
        for number, (word, own) in enumerate(zip(self._words, signs, strict=True)):
            differing = word[places] ^ own
            for plane in range(_PLANES):
                count = np.bitwise_count(differing & planes[plane, number])
                total += count.astype(np.uint16) << np.uint16(plane)
        return total

    def places(self) -> NDArray[np.int64]:
        """(n,) int64: where each row stands in the order of cells."""
        found = np.empty(len(self._order), np.int64)
        found[self._order] = np.arange(len(found))
        return found

    def _gathered(self, values: NDArray, cells: NDArray[np.int64]) -> NDArray:  # type: ignore[type-arg]
        starts, ends = self._starts[cells].tolist(), self._starts[cells + 1].tolist()
        return np.concatenate([values[start:end] for start, end in zip(starts, ends, strict=True)])


def measured(
    rows: NDArray[np.int8],
    cells: NDArray[np.uint16],
    centres: NDArray[np.float32],
    queries: NDArray[np.int8],
) -> Plan:
    """The cheapest plan with which `queries` (m, d) find what `RECALL` asks for.

    For each query and each of its nearest vectors three ranks say what it takes to find it: of its cell among the
    cells, and of its signs, and its signs by the query's numbers, among those of all vectors.
    """
    depth = min(RECALL[-1][0], len(rows))
    nearest = nearest_of_all(rows, queries, depth)
    dimensions = rows.shape[1]
    cheapest, plan = np.inf, None
    for signs in sorted({dimensions, -(-dimensions // 2)}):
        coarse = Coarse(rows, cells, centres, signs)
        places = coarse.places()
        cell_ranks, sign_ranks, ranks = (np.empty((len(queries), depth), np.int64) for _ in range(3))
        for number, (query, best) in enumerate(zip(queries, nearest, strict=True)):
            cell_ranks[number] = np.argsort(coarse.ranked_cells(query))[cells[best]] + 1
            for found, distances in ((sign_ranks, coarse.distances(query)), (ranks, coarse.weighted(query))):
                found[number] = np.cumsum(np.bincount(distances))[distances[places[best]]]
        tried = np.unique(np.quantile(cell_ranks, _PROBED, method="higher")).tolist()
        for probes in [*(few for few in tried if _GATHERED * few < len(centres)), len(centres)]:
            inside = cell_ranks <= probes
            for candidates in np.unique(
                np.quantile(sign_ranks[inside], _CANDIDATES, method="higher")
            ).tolist():
                near = inside & (sign_ranks <= candidates)
                survivors = _needed(np.where(near, ranks, len(rows) + 1))
                words = len(rows) * min(1, _GATHERED * probes / len(centres)) + _WEIGHTED * candidates
                cost = words * -(-signs // _WORD) + _FULL * survivors * dimensions
                if survivors <= len(rows) and cost < cheapest:
                    found = (near & (ranks <= survivors))[:, : RECALL[0][0]]
                    cheapest, plan = cost, Plan(signs, probes, candidates, survivors, float(found.mean()))
    assert plan is not None  # all cells have all vectors
    return plan


def _lowest(values: NDArray[np.uint16], count: int) -> NDArray[np.int64]:
    """Where the `count` lowest values are, and those that equal the last of them; all where there are no more."""
    if len(values) <= count:
        return np.arange(len(values))
    reach = int(np.searchsorted(np.cumsum(np.bincount(values)), count))
    return np.flatnonzero(values <= reach)


def _needed(ranks: NDArray[np.int64]) -> int:
    """The rank up to which enough of the nearest vectors (m, depth) come for each of `RECALL`."""
    return max(int(np.quantile(ranks[:, :depth], recall, method="higher")) for depth, recall in RECALL)


def nearest_of_all(rows: NDArray[np.int8], queries: NDArray[np.int8], count: int) -> NDArray[np.int64]:
    """(m, count) int64: the rows (n, d) of the highest cosines to each of m queries, best first, all compared."""
    wanted = queries.astype(np.float32)
    best = np.empty((len(queries), 0), np.int64)
    scores = np.empty((len(queries), 0), np.float32)
    step = max(count, _BLOCK_NUMBERS // max(1, rows.shape[1]))
    for start in range(0, len(rows), step):
        block = _unit(rows[start : start + step].astype(np.float32))
        best = np.hstack(
            [best, np.broadcast_to(np.arange(start, start + len(block)), (len(queries), len(block)))]
        )
        scores = np.hstack([scores, wanted @ block.T])
        kept = np.argpartition(-scores, min(count, scores.shape[1]) - 1, axis=1)[:, :count]
        best, scores = np.take_along_axis(best, kept, 1), np.take_along_axis(scores, kept, 1)
    return np.take_along_axis(best, np.argsort(-scores, axis=1), 1)


def _packed(rows: NDArray[np.int8]) -> NDArray[np.uint64]:
    """(n, d) int8 -> (n, ceil(d / 64)) uint64: which numbers are positive."""
    packed = np.packbits(rows > 0, axis=1)
    words = np.zeros((len(rows), -(-rows.shape[1] // _WORD) * (_WORD // 8)), np.uint8)
    words[:, : packed.shape[1]] = packed
    return words.view(np.uint64)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    return np.asarray(vectors / np.maximum(lengths, np.float32(1e-9)), np.float32)
