"""Answers at a level above chunks: the files, folders or repositories in which the answers are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from codekin.search.index import CodeIndex, search_together
from codekin.search.results import Result
from codekin.tasks import Choice

_DEPTH = 20  # answers to look at for each place that is wanted
_FURTHER = (
    0.25  # what each further answer of a place counts of the one before; of 0 to 0.75 the best, for folders
)


class Level(Choice):
    """What a search looks for."""

    CHUNK = "chunk"
    FILE = "file"
    FOLDER = "folder"
    REPO = "repo"

    def path_of(self, result: Result) -> str:
        """The place of this level, relative to the root, that a chunk of a file is in: "." is the root."""
        if self is Level.REPO:
            return "."
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
    next one, and so on. `options` are those of `search_together`, and raise what they raise there.
    """
    level = Level.parse(level)
    found = search_together(indexes, query, top * _DEPTH, **options)
    answers: dict[tuple[int, str], list[tuple[CodeIndex, Result]]] = {}
    for index, result in found:
        answers.setdefault((id(index), level.path_of(result)), []).append((index, result))
    made = []
    for (_, path), own in answers.items():
        score = sum(result.score * _FURTHER**place for place, (_, result) in enumerate(own))
        index, best = own[0]
        made.append((index, Place(path, level, score, len(own), best)))
    made.sort(key=lambda pair: -pair[1].score)
    return made[:top]
