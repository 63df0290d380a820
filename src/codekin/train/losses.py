"""Contrastive and distillation losses over a batch of query and document vectors, and their Matryoshka sum."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the field's name for it)


def info_nce(queries: Tensor, documents: Tensor, temperature: float) -> Tensor:
    """InfoNCE (arXiv 1807.03748) with in-batch negatives, averaged over both directions.

    `queries` and `documents` are (b, d), rows of unit length, row i of one answering row i of the other; the
    cosine over `temperature` is the logit. A scalar.
    """
    logits = queries @ documents.T / temperature
    target = torch.arange(len(logits))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def cosine_distance(vectors: Tensor, targets: Tensor) -> Tensor:
    """One minus the cosine of row i of both, averaged. A scalar."""
    return (1 - F.cosine_similarity(vectors, targets, dim=1)).mean()


def matryoshka(loss: Callable[..., Tensor], sizes: Sequence[int], *vectors: Tensor) -> Tensor:
    """The mean of `loss` at each size of arXiv 2205.13147: vectors cut to their first numbers, then unit length."""
    terms = [loss(*(F.normalize(rows[:, :size], dim=1) for rows in vectors)) for size in sizes]
    return torch.stack(terms).mean()
