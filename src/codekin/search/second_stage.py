"""The second stage of a search: a stronger model scores the best of what the first one has found."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from codekin.embed import VectorCache
from codekin.errors import CodekinError, InputError
from codekin.rerank import DEFAULT_RERANKER, Reranker, open_reranker
from codekin.search.extracting import embedded_text
from codekin.search.results import Result
from codekin.tasks import Task

CANDIDATES = 50
WEIGHT = 0.5
"""With all-MiniLM-L6-v2 a gain of 0.02 nDCG@10 over the bundled model's vectors alone, and within chance of hybrid
search, which more weight harms; `benchmarks/reranking.py` prints both, by weight."""

_Place = TypeVar("_Place")


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
    """Reranks the best `candidates` of a search by `reranker`, opened and loaded when it is first needed.

    A result's score is that of the first stage, which knows paths, names and words, and `weight` times that of the
    second, scaled to 0..1 over the candidates: it counts as one more list beside the first stage's own, whose weights
    are 1. Few models are so good that their score alone ranks better. `budget` is in seconds, for scoring: candidates
    that it has no time for keep their order, below those that are scored. Raises InputError for numbers that are none.
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

    def rerank(
        self, query: str, found: Sequence[tuple[_Place, Result]], task: Task
    ) -> tuple[list[tuple[_Place, Result]], Reranked]:
        """`found`, best first, in the order of both stages, and what was done.

        What is scored of a result is what its vector is made of. A stage that fails, in whatever way, leaves `found`
        as it is.
        """
        texts = [
            embedded_text(result.path, result.symbol, result.text) for _, result in found[: self.candidates]
        ]
        first = [(place, replace(result, first_score=result.score)) for place, result in found]
        name = self._reranker if isinstance(self._reranker, str) else self._reranker.name
        if not texts:
            return first, Reranked(name, 0, 0, 0.0)
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
            return first, Reranked(name, len(texts), 0, seconds, told.partition("\n")[0])
        seconds = time.monotonic() - started
        low, high = scores.min(initial=np.inf), scores.max(initial=-np.inf)
        scaled = (scores - low) / max(high - low, 1e-9)
        both = [
            (place, replace(result, score=result.score + self.weight * more, second_score=score))
            for (place, result), more, score in zip(first, scaled.tolist(), scores.tolist(), strict=False)
        ]
        both.sort(key=lambda one: -one[1].score)
        return [*both, *first[len(scores) :]], Reranked(name, len(texts), len(scores), seconds)
