"""What every reranker is, and how a local one keeps to a budget of time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from codekin.tasks import Task

Scores = NDArray[np.float32]

_FIRST = 1  # text, whose time says how many more there is time for
_GROWTH = 4


@runtime_checkable
class Reranker(Protocol):
    """A model that says how well texts answer a query. One thread uses it at a time."""

    name: str

    def load(self) -> None:
        """Brings the model into memory, which otherwise the first `score` does. Raises what that raises."""
        ...

    def score(self, query: str, texts: Sequence[str], task: Task, seconds: float | None = None) -> Scores:
        """(k,) float32: the scores of the first k texts, a higher one for a better answer.

        All n of them, or as many as `seconds` suffice for. Scores of one query can be compared. Raises CodekinError
        where there are none to be had.
        """
        ...


def paced(score: Callable[[Sequence[str]], Scores], texts: Sequence[str], seconds: float | None) -> Scores:
    """`Reranker.score` of a model that scores some texts at a time: no batch is begun that would take too long."""
    if seconds is None:
        return score(texts)
    ends = time.monotonic() + seconds
    made = [np.empty(0, np.float32)]
    done, size = 0, _FIRST
    while done < len(texts) and size and time.monotonic() < ends:
        started = time.monotonic()
        batch = texts[done : done + size]
        made.append(score(batch))
        done += len(batch)
        now = time.monotonic()
        pace = max(now - started, 1e-6) / len(batch)
        size = min(_GROWTH * size, max(0, int((ends - now) / pace)))
    return np.concatenate(made)
