"""Contrastive and distillation losses over query and document vectors, and their Matryoshka sum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the field's name for it)

# Similarities held at once: 16 MB in float32, however large the batch.
_BLOCK = 1 << 22


def info_nce(queries: Tensor, documents: Tensor, temperature: float, *, symmetric: bool = False) -> Tensor:
    """InfoNCE (arXiv 1807.03748; arXiv 2508.21290, section 4), the mean over the queries. A scalar.

    `queries` are (b, d) and `documents` (m, d), m >= b, rows of unit length: document i answers query i, and all
    others are its negatives; those from b on, hard negatives, answer none. The cosine over `temperature` is the
    logit. `symmetric` takes the mean with the other direction, where each answer looks for its query. Of the
    (b, m) similarities only a block of rows is held, in the backward pass as well.
    """
    loss: Tensor = _BlockedCrossEntropy.apply(queries, documents, temperature)  # type: ignore[no-untyped-call]
    if not symmetric:
        return loss
    answers = documents[: len(queries)]
    other: Tensor = _BlockedCrossEntropy.apply(answers, queries, temperature)  # type: ignore[no-untyped-call]
    return (loss + other) / 2


class _BlockedCrossEntropy(torch.autograd.Function):
    """-mean_i log( exp(S_ii / t) / sum_k exp(S_ik / t) ) of S = queries documents^T.

    Both gradients are made with the loss, while a block of S is there: it never has to be computed again.
    """

    @staticmethod
    def forward(ctx: Any, queries: Tensor, documents: Tensor, temperature: float) -> Tensor:
        wanted = queries.requires_grad or documents.requires_grad
        query_gradient, document_gradient = torch.zeros_like(queries), torch.zeros_like(documents)
        total = queries.new_zeros(())
        rows = max(1, _BLOCK // len(documents))
        for start in range(0, len(queries), rows):
            block = queries[start : start + rows]
            logits = block @ documents.T / temperature
            answers = torch.arange(start, start + len(block), device=block.device)[:, None]
            normaliser = logits.logsumexp(1, keepdim=True)
            total += (normaliser - logits.gather(1, answers)).sum()
            if wanted:
                # Of the sum by the similarities: softmax, less one at the answer.
                by_logit = (logits - normaliser).exp_()
                by_logit.scatter_add_(1, answers, torch.full_like(normaliser, -1))
                query_gradient[start : start + rows] = by_logit @ documents
                document_gradient += by_logit.T @ block
        scale = 1 / (temperature * len(queries))
        ctx.save_for_backward(query_gradient * scale, document_gradient * scale)
        return total / len(queries)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        queries, documents = ctx.saved_tensors
        return gradient * queries, gradient * documents, None


def cosine_distance(vectors: Tensor, targets: Tensor) -> Tensor:
    """One minus the cosine of row i of both, averaged. A scalar."""
    return (1 - F.cosine_similarity(vectors, targets, dim=1)).mean()


def matryoshka(
    loss: Callable[..., Tensor], sizes: Sequence[int], *vectors: Tensor, weights: Sequence[float] = ()
) -> Tensor:
    """The weighted mean of `loss` at each size of arXiv 2205.13147; equal weights by default. A scalar.

    The vectors are cut to their first numbers, then brought to unit length.
    """
    terms = [loss(*(F.normalize(rows[:, :size], dim=1) for rows in vectors)) for size in sizes]
    shares = torch.tensor(weights or [1.0] * len(terms), dtype=terms[0].dtype, device=terms[0].device)
    return torch.stack(terms) @ (shares / shares.sum())
