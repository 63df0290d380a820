"""The second stage of a search: a stronger model scores the best of what the first one has found."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codekin.embed import VectorCache
from codekin.errors import CodekinError, InputError
from codekin.rerank import DEFAULT_RERANKER, Reranker, open_reranker
from codekin.search.extracting import embedded_text
from codekin.search.ranking import Scores
from codekin.search.results import Result
from codekin.tasks import Task

CANDIDATES = 50
CHARACTERS = 400
"""Of a candidate's text: its names and what it says of itself stand there. With all-MiniLM-L6-v2 it ranks better than
the whole text, in less than half of the time."""
WEIGHT = 0.7
"""`benchmarks/reranking.py` prints what others are worth."""


@dataclass(frozen=True, slots=True)
class Reranked:
    """What a second stage did: of `candidates` it has `scored` the best ones, in `seconds` without loading its model.

    `problem` says in one line why it failed, "" where it did not; then the results are those of the first stage.
    """

    model: str
    candidates: int
    scored: int
    seconds: float
    problem: str = ""


class SecondStage:
    """Scores the best `candidates` of a search again by `reranker`, opened and loaded when it is first needed.

    The scores are one more list beside those of the first stage (nearest vectors, BM25), scaled to 0..1 as they are;
    it counts `weight` where the vectors count 1. Few models are so good that their score alone ranks better than what
    is known of paths, names and words. `budget` is in seconds, for scoring: candidates that it has no time for count
    as the last of that list. Raises InputError for numbers that are none.
    """

    def __init__(
        self,
        reranker: Reranker | str = DEFAULT_RERANKER,
        *,
        candidates: int = CANDIDATES,
        weight: float = WEIGHT,
        budget: float | None = None,
    ) -> None:
        if candidates < 1:
            raise InputError(f"candidates is {candidates}; rerank at least 1")
        if not (np.isfinite(weight) and weight > 0):
            raise InputError(f"weight is {weight}; it has to be above 0")
        if budget is not None and not budget > 0:
            raise InputError(f"budget is {budget}; it has to be above 0 seconds")
        self.candidates, self.weight, self.budget = candidates, weight, budget
        self._reranker = reranker

    def score(self, query: str, found: Sequence[Result], task: Task) -> tuple[Scores, Reranked]:
        """What the model gives the best of `found`, best first, (m,) float32 of those scored; and what was done.

        What is scored of a result is the head of what its vector is made of. A stage that fails, in whatever way,
        gives no scores.
        """
        texts = [
            embedded_text(result.path, result.symbol, result.text)[:CHARACTERS]
            for result in found[: self.candidates]
        ]
        none = np.empty(0, np.float32)
        name = self._reranker if isinstance(self._reranker, str) else self._reranker.name
        if not texts:
            return none, Reranked(name, 0, 0, 0.0)
        started = time.monotonic()
        try:
            if isinstance(self._reranker, str):
                self._reranker = open_reranker(self._reranker, cache=VectorCache())
            self._reranker.load()
            started = time.monotonic()
            scores = self._reranker.score(query, texts, task, self.budget)
            if scores.ndim != 1 or len(scores) > len(texts) or not np.isfinite(scores).all():
                raise ArithmeticError("scores that are no number a text")
        except Exception as error:  # of any model: the first stage's answer stands
            told = f"{error}" if isinstance(error, CodekinError) else f"{type(error).__name__}: {error}"
            seconds = time.monotonic() - started
            return none, Reranked(name, len(texts), 0, seconds, told.partition("\n")[0])
        return scores, Reranked(name, len(texts), len(scores), time.monotonic() - started)
