"""Figures of rankings by query, and what chance has to do with them.

Equal scores rank by id, the greatest first, as pytrec_eval and MTEB break ties. A judged query without a ranking has
0 for every figure (trec_eval's -c). A document that a ranking has twice stands where its best score puts it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codekin import ranked
from codekin.errors import InputError

Qrels = Mapping[str, Mapping[str, float]]
"""By query and document the grade of what is judged; above 0 is relevant."""
Ranking = Sequence[tuple[str, float]]
"""Documents with their scores, in any order."""

DEPTH = 100
"""How many documents a ranking has to have for its figures."""
METRICS = ("ndcg_at_10", "recall_at_1", "recall_at_10", "recall_at_100", "mrr_at_10", "map_at_100")
"""The figures of every query, by MTEB's names."""

_RESAMPLES = 2_000
_ASSIGNMENTS = 10_000
_NUMBERS_AT_ONCE = 1 << 22


def ndcg(qrels: Qrels, rankings: Mapping[str, Ranking], k: int = 10) -> dict[str, float]:
    """nDCG@k by judged query."""
    judged = _Judged(qrels)
    return judged.by_query(ranked.ndcg(judged.gains(rankings, k), judged.ideal(k), k))


def recall(qrels: Qrels, rankings: Mapping[str, Ranking], k: int = 10) -> dict[str, float]:
    """Recall@k by judged query."""
    judged = _Judged(qrels)
    return judged.by_query(ranked.recall(judged.gains(rankings, k), judged.relevant, k))


def reciprocal_rank(qrels: Qrels, rankings: Mapping[str, Ranking], k: int = 10) -> dict[str, float]:
    """The reciprocal rank by judged query, of which the mean is MRR@k."""
    judged = _Judged(qrels)
    return judged.by_query(ranked.reciprocal_rank(judged.gains(rankings, k), k))


def average_precision(qrels: Qrels, rankings: Mapping[str, Ranking], k: int = 100) -> dict[str, float]:
    """The average precision by judged query, of which the mean is MAP@k."""
    judged = _Judged(qrels)
    return judged.by_query(ranked.average_precision(judged.gains(rankings, k), judged.relevant, k))


def query_figures(qrels: Qrels, rankings: Mapping[str, Ranking]) -> dict[str, dict[str, float]]:
    """All METRICS by judged query."""
    judged = _Judged(qrels)
    gains = judged.gains(rankings, DEPTH)
    columns = (
        ranked.ndcg(gains, judged.ideal(10), 10),
        ranked.recall(gains, judged.relevant, 1),
        ranked.recall(gains, judged.relevant, 10),
        ranked.recall(gains, judged.relevant, 100),
        ranked.reciprocal_rank(gains, 10),
        ranked.average_precision(gains, judged.relevant, 100),
    )
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return {query: dict(zip(METRICS, row, strict=True)) for query, row in zip(qrels, rows, strict=True)}


def in_order(ranking: Ranking) -> list[tuple[str, float]]:
    """The ranking best first, each document once; raises InputError for a score that is NaN."""
    if any(math.isnan(score) for _, score in ranking):
        raise InputError("a ranking has a score that is NaN")
    found: dict[str, float] = {}
    for document, score in sorted(ranking, key=lambda one: (one[1], one[0]), reverse=True):
        found.setdefault(document, score)
    return list(found.items())


class _Judged:
    """The judgements of queries, as rows."""

    def __init__(self, qrels: Qrels) -> None:
        self._qrels = qrels
        counts = [sum(grade > 0 for grade in judged.values()) for judged in qrels.values()]
        self.relevant = np.array(counts, np.int64)

    def gains(self, rankings: Mapping[str, Ranking], depth: int) -> NDArray[np.float64]:
        gains = np.zeros((len(self._qrels), depth))
        for row, (query, judged) in zip(gains, self._qrels.items(), strict=True):
            for place, (document, _) in enumerate(in_order(rankings.get(query, ()))[:depth]):
                row[place] = judged.get(document, 0)
        return gains

    def ideal(self, depth: int) -> NDArray[np.float64]:
        ideal = np.zeros((len(self._qrels), depth))
        for row, judged in zip(ideal, self._qrels.values(), strict=True):
            best = sorted(judged.values(), reverse=True)[:depth]
            row[: len(best)] = best
        return ideal

    def by_query(self, figures: ranked.Figures) -> dict[str, float]:
        return dict(zip(self._qrels, figures.tolist(), strict=True))


def bootstrap_interval(values: ArrayLike, *, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """The percentile bootstrap interval (Efron, 1979) of the mean of `values`, (n,); (nan, nan) for none."""
    numbers = np.asarray(values, np.float64)
    if not len(numbers):
        return math.nan, math.nan
    random = np.random.default_rng(seed)
    step = max(1, _NUMBERS_AT_ONCE // len(numbers))
    means = [
        numbers[random.integers(len(numbers), size=(min(step, _RESAMPLES - start), len(numbers)))].mean(
            axis=1
        )
        for start in range(0, _RESAMPLES, step)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_p_value(first: ArrayLike, second: ArrayLike, *, seed: int = 0) -> float:
    """How likely a difference of means as large as that of two systems on the same queries, (n,) each, is by chance.

    Fisher's randomisation test, two-sided: the two figures of each query change places at random (Smucker, Allan and
    Carterette, CIKM 2007). Raises InputError where the numbers of queries differ.
    """
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.shape != other.shape:
        raise InputError(f"a paired test of {len(one)} and {len(other)} queries")
    differences = one - other
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    # Sums of the same numbers in another order differ in their last bits.
    least = abs(differences.sum()) * (1 - 1e-9)
    random = np.random.default_rng(seed)
    step = max(1, _NUMBERS_AT_ONCE // len(differences))
    reached = 0
    for start in range(0, _ASSIGNMENTS, step):
        bits = random.integers(2, size=(min(step, _ASSIGNMENTS - start), len(differences)), dtype=np.int8)
        reached += int((np.abs((2 * bits - 1) @ differences) >= least).sum())
    return (reached + 1) / (_ASSIGNMENTS + 1)
