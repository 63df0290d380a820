"""What is asked of the repositories that are served, be they folders here or in a store that machines share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from codekin.search import Contents, Mode, Reranked, Result, Status, UpdateProgress
from codekin.tasks import Task


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that answers, and the name of its repository."""

    repository: str
    result: Result


@dataclass(frozen=True, slots=True)
class Answer:
    """The best chunks, best first; whether they answer; the repositories whose index is not yet whole.

    `left_out` says what is wrong with repositories that could not be asked, a line each. `again` takes a second stage's
    scores of the first m hits, (m,) float32, and what they weigh, and gives the hits in the order of both; `reranked`
    is what that stage did, where there was one.
    """

    hits: list[Hit]
    answered: bool
    indexing: list[str]
    left_out: Mapping[str, str] = field(default_factory=dict)
    again: Callable[[NDArray[np.float32], float], list[Hit]] | None = None
    reranked: Reranked | None = None


@dataclass(frozen=True, slots=True)
class RepositoryStatus:
    """A repository in numbers: its index, how far a running update is, and what the last one failed at."""

    name: str
    index: Status
    whole: bool
    """Whether the index has been brought up to date since serving began, which a store leaves to others."""
    progress: UpdateProgress | None = None
    problem: str | None = None

    @property
    def place(self) -> Path | str:
        """Its folder, or where it is in a store."""
        return self.index.location if isinstance(self.index.location, str) else self.index.root


@dataclass(frozen=True, slots=True)
class SourceFile:
    """An indexed file: its text, and the first and last line (from 1) of each of its chunks."""

    language: str
    text: str
    spans: list[tuple[int, int]]


class Served(Protocol):
    """Repositories by their names, asked by any threads at once.

    Raises InputError for the name of no repository, and StoreError where nothing can be asked.
    """

    @property
    def places(self) -> Mapping[str, Path | str]:
        """The repositories by their names: the folder of each, or where it is in a store."""

    @property
    def ready(self) -> bool:
        """Whether every repository has an index to answer from."""

    def start(self) -> None:
        """Begins what keeps answers fresh, and returns."""

    def close(self) -> None:
        """Ends it."""

    def search(
        self,
        query: str,
        top: int = 10,
        *,
        repositories: Sequence[str] = (),
        mode: Mode | str = Mode.HYBRID,
        task: Task | str = Task.NL2CODE,
        languages: Sequence[str] = (),
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        anyway: bool = False,
    ) -> Answer:
        """The best chunks of `repositories` (default: all) together; see `CodeIndex.search` for the rest."""

    def related(
        self,
        repository: str,
        path: str,
        line: int,
        top: int = 10,
        *,
        task: Task | str = Task.CODE2CODE,
        languages: Sequence[str] = (),
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> Answer:
        """The chunks of a repository that are most like the one at a line of a file; see `CodeIndex.related`."""

    def status(self) -> list[RepositoryStatus]:
        """The repositories in numbers, as they stand."""

    def contents(self, repository: str) -> Contents:
        """All chunks of a repository with their vectors; raises InputError where they are not on this machine."""

    def source(self, repository: str, path: str) -> SourceFile:
        """An indexed file whole; raises InputError for one that is not in the index."""
