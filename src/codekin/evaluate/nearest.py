"""The documents nearest to each query, in every form of the vectors, while the corpus streams past once.

Memory is that of a block of documents and of the best found so far, whatever the length of the corpus.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from codekin.embed import Precision, quantise
from codekin.embed.vectors import shorten
from codekin.evaluate.results import Form

_QUERIES = 1_024  # scored at a time
_EMPTY = np.iinfo(np.int64).min
_MAGNITUDE = 0x7FFFFFFF  # of a float32: all bits but the sign
_PLACE = 0xFFFFFFFF


class Best:
    """The `depth` best of the documents with `ids` for each of `queries`; equal scores rank by id, the greatest first.

    A score and the place of its document's id among all, sorted, make one whole number, so that the order of the
    numbers is that of the ranking. With `seconds`, each has another score beside it.
    """

    def __init__(self, queries: int, ids: Sequence[str], depth: int, *, seconds: bool = False) -> None:
        self._sorted = sorted(ids)
        order = sorted(range(len(ids)), key=ids.__getitem__)
        self._places = np.empty(len(ids), np.int64)
        self._places[order] = np.arange(len(ids))
        self._depth = min(depth, len(ids))
        self._keys = np.full((queries, self._depth), _EMPTY)
        self._least = np.full(queries, -np.inf, np.float32)
        self._seconds = np.zeros((queries, self._depth if seconds else 0), np.float32)

    def add(
        self,
        rows: slice,
        start: int,
        scores: NDArray[np.float32],
        seconds: NDArray[np.float32] | None = None,
    ) -> None:
        """Takes in the scores, (r, b), of the queries `rows` for the b documents from number `start` on."""
        # Once the corpus is well under way, hardly any score is as good as the last of the best.
        row, column = np.nonzero(scores >= self._least[rows, None])
        if not len(row):
            return
        counts = np.bincount(row, minlength=len(scores))
        place = np.arange(len(row)) - (np.cumsum(counts) - counts)[row]
        fresh = np.full((len(scores), counts.max()), _EMPTY)
        fresh[row, place] = _joined(scores[row, column], self._places[start + column])
        keys = np.concatenate([self._keys[rows], fresh], axis=1)
        chosen = np.argpartition(keys, keys.shape[1] - self._depth, axis=1)[:, -self._depth :]
        self._keys[rows] = best = np.take_along_axis(keys, chosen, 1)
        last = best.min(axis=1)
        self._least[rows] = np.where(last == _EMPTY, -np.inf, _scores(last))
        if seconds is not None:
            beside = np.zeros(fresh.shape, np.float32)
            beside[row, place] = seconds[row, column]
            both = np.concatenate([self._seconds[rows], beside], axis=1)
            self._seconds[rows] = np.take_along_axis(both, chosen, 1)

    def rankings(self, *, by_seconds: bool = False) -> Iterator[list[tuple[str, float]]]:
        """Each query's documents with their scores, or their second scores, in any order."""
        for row, keys in enumerate(self._keys):
            filled = keys != _EMPTY
            scores = self._seconds[row, filled] if by_seconds else _scores(keys[filled])
            names = [self._sorted[place] for place in (keys[filled] & _PLACE).tolist()]
            yield list(zip(names, scores.tolist(), strict=True))


def _joined(scores: NDArray[np.float32], places: NDArray[np.int64]) -> NDArray[np.int64]:
    # Floats of one sign are in the order of their bits; -0 is made 0.
    bits = (scores + np.float32(0)).view(np.int32).astype(np.int64)
    return (np.where(bits < 0, bits ^ _MAGNITUDE, bits) << 32) | places


def _scores(keys: NDArray[np.int64]) -> NDArray[np.float32]:
    bits = keys >> 32
    return np.where(bits < 0, bits ^ _MAGNITUDE, bits).astype(np.int32).view(np.float32)


def nearest(
    queries: NDArray[np.float32],
    blocks: Iterable[NDArray[np.float32]],
    ids: Sequence[str],
    *,
    sizes: Sequence[int],
    precisions: Sequence[Precision],
    depth: int,
) -> Iterator[tuple[Form, list[list[tuple[str, float]]]]]:
    """Every form's rankings of the `depth` nearest documents to `queries`, (q, d), one form in memory at a time.

    `blocks` are the documents' vectors, (b, d) each, in the order of their `ids`. int8 and binary come as they are,
    queries in the same form, and rescored: the candidates in the order of the float32 vectors of that size.
    """
    wanted = {size: shorten(queries, size) for size in sizes}
    small = {
        (size, kind): quantise(wanted[size], kind) for size in sizes for kind in precisions if len(queries)
    }
    kept = {
        (size, kind): Best(len(queries), ids, depth, seconds=kind is not Precision.FLOAT32)
        for size in sizes
        for kind in precisions
    }
    start = 0
    for block in blocks:
        for size in sizes:
            documents = shorten(block, size)
            packed = {kind: quantise(documents, kind) for kind in precisions}
            for first in range(0, len(queries), _QUERIES):
                rows = slice(first, first + _QUERIES)
                exact = products(wanted[size][rows], documents)
                for kind in precisions:
                    if kind is Precision.FLOAT32:
                        kept[size, kind].add(rows, start, exact)
                    else:
                        scores = packed[kind].similarity(small[size, kind][rows])
                        kept[size, kind].add(rows, start, scores, exact)
        start += len(block)
    for (size, kind), best in kept.items():
        yield Form(size, kind.value), list(best.rankings())
        if kind is not Precision.FLOAT32:
            yield Form(size, kind.value, rescored=True), list(best.rankings(by_seconds=True))


def products(queries: NDArray[np.float32], documents: NDArray[np.float32]) -> NDArray[np.float32]:
    """(q, n) float32: the dot products, summed in float64, so that equal documents have equal scores wherever they
    stand: sums of float32 differ in their last bits, and ties would be broken by chance."""
    return np.asarray(queries.astype(np.float64) @ documents.astype(np.float64).T, np.float32)
