"""A query and texts to scores: stronger models, which re-score what a search has found."""

from __future__ import annotations

from codekin.rerank.opening import DEFAULT_RERANKER, open_reranker
from codekin.rerank.reranker import Reranker

__all__ = ["DEFAULT_RERANKER", "Reranker", "open_reranker"]
