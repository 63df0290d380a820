"""How well rankings answer: figures of the gains that stand rank by rank, as trec_eval and MTEB compute them.

Gains are (q, n) float, a row a query, the best document first and zeros where there is none. What is judged below 0
counts as 0. A figure is (q,) float64, from 0 to 1, and 0 for a query that nothing answers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Gains = NDArray[np.floating[Any]]
Figures = NDArray[np.float64]


def ndcg(gains: Gains, ideal: Gains, k: int) -> Figures:
    """nDCG@k (Järvelin and Kekäläinen, 2002) with the gain itself over log2(rank + 1), trec_eval's `ndcg_cut`.

    `ideal` are the gains of all that is judged, largest first.
    """
    return _ratio(_dcg(gains, k), _dcg(ideal, k))


def recall(gains: Gains, relevant: NDArray[Any], k: int) -> Figures:
    """The share of the `relevant` documents, (q,), that stand among the first k."""
    return _ratio((gains[:, :k] > 0).sum(axis=1), relevant)


def reciprocal_rank(gains: Gains, k: int) -> Figures:
    """One over the rank of the first relevant document, if it is at most k; its mean is MRR@k."""
    found = gains[:, :k] > 0
    return np.where(found.any(axis=1), 1.0 / (found.argmax(axis=1) + 1.0), 0.0) if k else np.zeros(len(gains))


def average_precision(gains: Gains, relevant: NDArray[Any], k: int) -> Figures:
    """The precision at each relevant document among the first k, summed, over `relevant`, (q,); its mean is MAP@k."""
    found = gains[:, :k] > 0
    precision = found.cumsum(axis=1) / np.arange(1, found.shape[1] + 1)
    return _ratio((precision * found).sum(axis=1), relevant)


def _dcg(gains: Gains, k: int) -> Figures:
    top = np.maximum(gains[:, :k], 0).astype(np.float64)
    return np.asarray(top @ (1 / np.log2(np.arange(2, top.shape[1] + 2))))


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> Figures:
    shares: Figures = np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
    return shares
