"""How a model's vectors lie in their space: what says nothing, how many dimensions are at work, how narrow the cone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""(n, d) float32, rows of unit length."""


def noise_floor(queries: Vectors, documents: Vectors, related: float, pairs: int) -> float:
    """The mean cosine of a query and a document that does not answer it: a score that says nothing.

    Over all pairs of n queries and m documents but the `pairs` that answer, whose cosines add up to `related`.
    nan where there are no others.
    """
    others = len(queries) * len(documents) - pairs
    if others <= 0:
        return float("nan")
    total = queries.sum(axis=0, dtype=np.float64) @ documents.sum(axis=0, dtype=np.float64)
    return float((total - related) / others)


def effective_dimensions(vectors: Vectors) -> float:
    """The participation ratio of the covariance's eigenvalues l: (sum l)^2 / sum l^2.

    d for vectors spread alike in all d dimensions, 1 for vectors along one line, 0 for equal ones.
    """
    centred = vectors.astype(np.float64)
    centred -= centred.mean(axis=0)
    # The sum of squares of a symmetric matrix is that of its eigenvalues, and the smaller Gram matrix has the same.
    products = centred.T @ centred if len(centred) > centred.shape[1] else centred @ centred.T
    squares = float(np.square(products).sum())
    return float(np.trace(products)) ** 2 / squares if squares > 0 else 0.0


def anisotropy(vectors: Vectors) -> float:
    """The mean cosine of two different vectors (Ethayarajh, 2019): 0 in all directions alike, 1 in one direction.

    nan for fewer than two vectors.
    """
    count = len(vectors)
    if count < 2:
        return float("nan")
    total = vectors.sum(axis=0, dtype=np.float64)
    own = float(np.square(vectors, dtype=np.float64).sum())
    return (float(total @ total) - own) / (count * (count - 1))
