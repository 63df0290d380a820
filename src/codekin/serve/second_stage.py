"""The second stage of many searches at once: its model is loaded once, and scores for one search after the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from codekin.embed import VectorCache
from codekin.errors import ModelError
from codekin.rerank import DEFAULT_RERANKER, Reranker, open_reranker
from codekin.search import CANDIDATES, WEIGHT, Reranked, SecondStage
from codekin.serve.batching import BusyError
from codekin.serve.logs import LOGGER
from codekin.serve.names import ServedName
from codekin.serve.served import Answer
from codekin.serve.threads import Threads
from codekin.tasks import Task

_MOST_WAITING = 64
_SLICE = 32  # texts of a request that are scored before others have their turn
_PAUSE_SECONDS = 10.0  # after a model that could not be loaded


class SharedStage:
    """`SecondStage` by one model, for many clients: one after the other, on a thread of its own.

    Searches without a second stage never wait for it. Nothing waits for the model to be loaded: until it is, where it
    cannot be or fails, and where there is no time left, an answer is the first stage's, and says why. Searches are
    scored one by one, since the candidates of one fill a batch: those of eight in one take as long.

    A `budget` is in seconds from the call on, waiting for others included, and no answer takes twice as long;
    `budget` here is that of searches that give none, and `most_seconds` what a request may take. `on_reranked` is
    called with what was done.
    """

    candidates = CANDIDATES
    """How many of the best are scored, where nobody says."""

    def __init__(
        self, model: str = DEFAULT_RERANKER, *, budget: float | None = None, most_seconds: float = 120.0
    ) -> None:
        self.name = ServedName(model)
        self.on_reranked: Callable[[Reranked], None] = lambda done: None
        self._model = model
        self._longest = most_seconds / 2
        self._budget = budget or self._longest
        self._threads = Threads("second stage", 1, _MOST_WAITING)
        self._reranker: Reranker | None = None
        self._loading: Future[None] | None = None
        self._problem = ""
        self._failed_at = 0.0

    def start(self) -> None:
        """Begins to load the model, and returns."""
        if self._loading is None or self._loading.done():
            self._loading = self._threads.submit(self._load)

    def close(self) -> None:
        """Waits for what was begun."""
        self._threads.close()

    @property
    def problem(self) -> str:
        """Why the model cannot score now, in a line; "" where it can."""
        if self._reranker:
            return ""
        return self._problem or f"{self.name.id} is still being loaded"

    @property
    def settled(self) -> bool:
        """Whether the model is loaded, or cannot be."""
        return bool(self._reranker or self._problem)

    async def rerank(
        self,
        query: str,
        task: Task,
        answer: Answer,
        *,
        top: int,
        candidates: int = CANDIDATES,
        budget: float | None = None,
    ) -> Answer:
        """The best `top` of an answer, of which `candidates` are scored, and what came of it."""
        began = time.monotonic()
        seconds = min(budget or self._budget, self._longest)
        found = [hit.result for hit in answer.hits]

        def score(reranker: Reranker) -> tuple[NDArray[np.float32], Reranked] | None:
            left = began + seconds - time.monotonic()
            if left <= 0:
                return None
            return SecondStage(reranker, candidates=candidates, budget=left).score(query, found, task)

        problem = f"no time for it in {seconds:g} s"
        scored = None
        try:
            ready = self._ready()
            scored = await asyncio.wait_for(self._threads.run(lambda: score(ready)), 2 * seconds)
        except (TimeoutError, asyncio.TimeoutError):
            pass
        except (ModelError, BusyError) as error:
            problem = str(error)
        second = np.empty(0, np.float32)
        if scored is None:
            done = Reranked(self.name.id, min(candidates, len(found)), 0, time.monotonic() - began, problem)
        else:
            second, done = scored
            missed = problem if done.candidates > done.scored == 0 else ""
            done = replace(done, model=self.name.id, problem=done.problem or missed)
        self.on_reranked(done)
        hits = answer.again(second, WEIGHT) if answer.again else answer.hits
        return replace(answer, hits=hits[:top], reranked=done)

    async def score(self, query: str, texts: Sequence[str], task: Task) -> NDArray[np.float32]:
        """(n,) float32: the model's scores, a higher one for a better answer.

        Raises ModelError where it cannot score, BusyError where too much waits.
        """
        reranker = self._ready()
        made = []
        for first in range(0, len(texts), _SLICE):
            some = texts[first : first + _SLICE]
            made.append(await self._threads.run(partial(reranker.score, query, some, task)))
        return np.concatenate(made)

    def _ready(self) -> Reranker:
        """The model; raises ModelError where it is not loaded. One that could not be is tried again."""
        if self._reranker:
            return self._reranker
        told = self.problem
        if self._problem and time.monotonic() > self._failed_at + _PAUSE_SECONDS:
            self.start()
        raise ModelError(told)

    def _load(self) -> None:
        try:
            reranker = open_reranker(self._model, cache=VectorCache())
            reranker.load()
            self._reranker = reranker
        except Exception as error:  # of any model: searches go on without it
            self._problem = f"{error}".partition("\n")[0] or type(error).__name__
            self._failed_at = time.monotonic()
            LOGGER.error("the second stage cannot be loaded", extra={"fields": {"error": self._problem}})
