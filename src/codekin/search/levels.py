"""Answers at a level above chunks: the files, folders or repositories in which the answers are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codekin.search import ranking
from codekin.search.index import CodeIndex
from codekin.search.model import ModelRecord
from codekin.search.results import Mode, Result
from codekin.search.together import search_together
from codekin.tasks import Choice, Task

DEPTH = 20
"""Answers to look at for each place that is wanted."""

_HALF = 0.005  # of an index's chunks: a term that the names of so many have counts half


class Level(Choice):
    """What a search looks for."""

    CHUNK = "chunk"
    FILE = "file"
    FOLDER = "folder"
    REPO = "repo"

    def path_of(self, result: Result) -> str:
        """The place of this level, relative to the root, that a chunk of a file is in: "." is the root."""
        if self is Level.REPO:
            return result.repository or "."
        return result.path if self is Level.FILE else str(PurePosixPath(result.path).parent)


@dataclass(frozen=True, slots=True)
class Place:
    """A file, folder or repository (`path`, relative to the root) in which answers are, and the best of them."""

    path: str
    level: Level
    score: float
    answers: int
    """How many of the best answers are in it."""
    best: Result


@dataclass(frozen=True, slots=True)
class Weights:
    """What the signals of a place count: 0 switches one off.

    Chosen on the repositories of the semble benchmark; `benchmarks/levels.py` prints what each is worth, and what they
    are worth on a repository where they are chosen on all others.
    """

    further: float = 0.25
    """Each further answer, of the one before."""
    nearest: float = 1.5
    """The file whose vector comes nearest."""
    defines: float = 2.0
    """How densely a repository defines names with the query's terms."""


WEIGHTS = Weights()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of n places for one query, and the answers in each, best first."""

    level: Level
    answers: list[list[tuple[CodeIndex, Result]]]
    nearest: NDArray[np.float64]
    """(n,) the cosine of the nearest of the files that answers are in, whose vectors are the means of their chunks'."""
    defines: NDArray[np.float64]
    """(n,) of a repository, how densely it defines names with the query's terms."""

    def scores(self, weights: Weights = WEIGHTS) -> NDArray[np.float64]:
        """(n,) what each place is worth."""
        answers = [
            sum(result.score * weights.further**place for place, (_, result) in enumerate(own))
            for own in self.answers
        ]
        signals = weights.nearest * _scaled(self.nearest) + weights.defines * _scaled(self.defines)
        return np.array(answers, np.float64) + signals


def places(
    indexes: Sequence[CodeIndex],
    query: str,
    top: int = 10,
    *,
    level: Level | str = Level.FILE,
    **options: Any,
) -> list[tuple[CodeIndex, Place]]:
    """The `top` places of several folders, best first, each with its index.

    A folder is the one that a file lies in, not those above it. A place is worth its best answer, and a quarter of its
    next one, and so on, and what the levels between say: how near the vector of a file of it comes, and of a
    repository, how many of its names have the query's terms. `options` are those of `search_together`, and raise what
    they raise there.
    """
    found = evidence(indexes, query, top, level=Level.parse(level), **options)
    scores = found.scores()
    made = []
    for place in np.argsort(-scores, kind="stable")[:top].tolist():
        own = found.answers[place]
        index, best = own[0]
        made.append(
            (index, Place(found.level.path_of(best), found.level, float(scores[place]), len(own), best))
        )
    return made


def evidence(indexes: Sequence[CodeIndex], query: str, top: int, *, level: Level, **options: Any) -> Evidence:
    """What is known of the places of the best answers, of which there are `DEPTH` for each of `top` places."""
    held: dict[tuple[CodeIndex, str], list[tuple[CodeIndex, Result]]] = {}
    for index, result in search_together(indexes, query, top * DEPTH, **options):
        held.setdefault((index, level.path_of(result)), []).append((index, result))
    answers = list(held.values())
    nearest = defines = np.zeros(len(answers))
    if Mode.parse(options.get("mode", Mode.HYBRID)) is not Mode.LEXICAL:
        nearest = _nearest(answers, query, Task.parse(options.get("task", Task.NL2CODE)))
    if level is Level.REPO:
        defines = _defining([index for index, _ in held], query)
    return Evidence(level, answers, nearest, defines)


def _nearest(
    held: Sequence[Sequence[tuple[CodeIndex, Result]]], query: str, task: Task
) -> NDArray[np.float64]:
    """(n,) the highest cosine of a query to the vectors of the files in which each place's answers are."""
    paths: dict[CodeIndex, dict[str, float]] = {}
    for own in held:
        for index, result in own:
            paths.setdefault(index, {})[result.path] = 0.0
    vectors: dict[ModelRecord, NDArray[np.int8]] = {}
    for index, known in paths.items():
        cosines = index.file_cosines(list(known), query, task, vectors)
        known.update(zip(known, cosines.tolist(), strict=True))
    return np.array([max(paths[index][result.path] for index, result in own) for own in held])


def _defining(indexes: Sequence[CodeIndex], query: str) -> NDArray[np.float64]:
    """(n,) the `density` of a query's terms among the names of indexes, of which it takes two to compare."""
    terms = ranking.parse(query).terms
    held = np.array([index.holding(terms) for index in indexes], np.float64).reshape(
        len(indexes), len(terms), 3
    )
    sizes, text, defines = held.transpose(2, 0, 1)
    total = float(sizes[:, :1].sum())
    idf = np.array([ranking.rarity(number, total) for number in text.sum(axis=0).tolist()])
    return density(defines, sizes[:, :1], idf)


def density(
    defines: NDArray[np.float64], sizes: NDArray[np.float64], idf: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(n,) 0 to 1: how many of the chunks of n indexes of these sizes (n, 1) define names with t terms (n, t).

    A term counts its `idf` (t,), half of it where one chunk in 200 defines it.
    """
    share = defines / (defines + _HALF * np.maximum(sizes, 1))
    return np.asarray(share @ idf / max(float(idf.sum()), 1e-9))


def _scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scaled to 0..1, as the scores of answers are."""
    if not len(values):
        return values
    low, high = float(values.min()), float(values.max())
    return (values - low) / max(high - low, 1e-9)
