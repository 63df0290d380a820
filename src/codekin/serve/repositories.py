"""The indexed folders that are served, by name: asked by many threads at once, and fresh without being asked."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from types import TracebackType

import numpy as np
from threadpoolctl import threadpool_limits

from codekin.errors import CodekinError, InputError, StoreError
from codekin.search import (
    CodeIndex,
    Contents,
    FirstStage,
    Load,
    Mode,
    Result,
    UpdateProgress,
    count_shown,
    default_location,
    first_stage,
)
from codekin.serve.batching import SharedEmbedders
from codekin.serve.served import Answer, Hit, RepositoryStatus, SourceFile
from codekin.source import DEFAULT_MAX_BYTES, decode
from codekin.tasks import Task

_PATIENCE_SECONDS = 5.0  # that queries wait for an update; a longer one goes on beside them
_REST = 10  # times what it takes to see that nothing has changed: looking takes a tenth of one core at most
_PAUSE_SECONDS = 10.0  # after an update that failed


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """A file of a repository: its path relative to the root, and into how many chunks it is cut."""

    path: str
    language: str
    chunks: int


class Repositories:
    """The indexes of the folders `paths`, each under a name of its own: the folder's, or with a number after it.

    Any threads may use it at once. Before a query, files that changed are read again, where the last look is longer
    ago than ten times what a look takes; an update that takes longer than some seconds goes on beside the queries,
    which are then answered from what is there. `model` is that of `CodeIndex`; `models` are those that are loaded
    already, by default none. `beside` says that the indexes are further ones, made with `model` to be compared with
    those that the folders have. Nothing outside the folders is read: a link that leads out of its folder has no
    results and no lines.

    Raises InputError for a path that is no folder, and StoreError where an index is made with another model.
    """

    def __init__(
        self,
        paths: Iterable[str | Path],
        *,
        model: str | None = None,
        models: SharedEmbedders | None = None,
        beside: bool = False,
    ) -> None:
        # Two threads of numpy's that wait for each other on busy cores cost thrice the work of a query.
        threadpool_limits(1, user_api="blas")
        self._models = models or SharedEmbedders()
        self._own_models = models is None
        self._by_name: dict[str, _Repository] = {}
        served = set()
        for path in paths:
            repository = _Repository(path, model, self._models, beside=beside)
            if repository.root in served:
                repository.close()
                continue
            served.add(repository.root)
            folder = os.fsencode(repository.root.name).decode("utf-8", "replace") or "root"
            name, number = folder, 1
            while name in self._by_name:
                number += 1
                name = f"{folder}-{number}"
            self._by_name[name] = repository

    def __enter__(self) -> Repositories:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends updates at what they have committed, and closes the indexes."""
        for repository in self._by_name.values():
            repository.close()
        if self._own_models:
            self._models.close()

    @property
    def places(self) -> dict[str, Path]:
        """The folders by the names of their repositories."""
        return {name: repository.root for name, repository in self._by_name.items()}

    @property
    def ready(self) -> bool:
        """Whether every repository has an index to answer from."""
        return all(repository.is_searchable for repository in self._by_name.values())

    def start(self) -> None:
        """Begins to bring every index up to date, and returns."""
        for repository in self._by_name.values():
            repository.freshen()

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
        """The best chunks of `repositories` (default: all) together; see `CodeIndex.search` for the rest.

        Those that cannot be asked are left out; where none can, StoreError says why. Raises InputError for the name of
        no repository, and what `CodeIndex.search` raises.
        """
        chosen = self._chosen(repositories)
        with _Asking(chosen) as asking:
            find = partial(
                first_stage,
                asking.indexes,
                query,
                mode=mode,
                task=task,
                languages=languages,
                include=include,
                exclude=exclude,
                anyway=anyway,
                on_skip=asking.leave_out,
            )
            first = _inside(find, top)
            asking.check()
            count_shown(first.found)
            answered = any(index.answered for index, _ in first.found)

        def hits(found: Sequence[tuple[CodeIndex, Result]]) -> list[Hit]:
            return [Hit(asking.names[id(index)], result) for index, result in found[:top]]

        return Answer(
            hits(first.found),
            answered,
            self._indexing(chosen),
            asking.left_out,
            lambda second, weight: hits(first.again(second, weight)),
        )

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
        chosen = self._chosen([repository])
        with _Asking(chosen) as asking:
            asking.check()
            index = chosen[repository].index
            _check_inside(index.root, path)
            find = partial(
                index.related, path, line, task=task, languages=languages, include=include, exclude=exclude
            )
            found = find(top)
        hits = [Hit(repository, result) for result in found if _is_inside(index.root, result.path)]
        return Answer(hits, bool(hits), self._indexing(chosen))

    def status(self) -> list[RepositoryStatus]:
        """The repositories in numbers, as they stand."""
        return [repository.status(name) for name, repository in self._by_name.items()]

    def contents(self, repository: str) -> Contents:
        """All chunks of a repository with their vectors, as the index stands; to be read, not changed."""
        [served] = self._chosen([repository]).values()
        with served.lock:
            return served.index.contents()

    def files(self, repository: str) -> list[IndexedFile]:
        """The indexed files of a repository, sorted by path."""
        contents = self.contents(repository)
        counts = np.bincount(contents.file_of, minlength=len(contents.paths)).tolist()
        return [
            IndexedFile(*file)
            for file in zip(contents.paths, contents.languages, counts, strict=True)
            if _is_inside(self._by_name[repository].root, file[0])
        ]

    def lines(self, repository: str, path: str, first: int = 1, last: int | None = None) -> str:
        """Lines `first` to `last` (from 1, inclusive) of an indexed file as it is now.

        Raises InputError for a file that is not in the index, or can no longer be read as text.
        """
        [served] = self._chosen([repository]).values()
        if path not in self.contents(repository).paths:
            raise InputError(f"{path} is not in the index of {repository}")
        _check_inside(served.root, path)
        text = _read(served.root / path)
        if text is None:
            raise InputError(f"{path} can no longer be read; the next search forgets it")
        return "\n".join(text.split("\n")[max(0, first - 1) : last])

    def source(self, repository: str, path: str) -> SourceFile:
        """An indexed file as it is now; see `lines`."""
        text = self.lines(repository, path)
        contents = self.contents(repository)
        if path not in contents.paths:  # the index has changed meanwhile
            raise InputError(f"{path} is not in the index of {repository}")
        place = contents.paths.index(path)
        spans = contents.spans[contents.file_of == place, :2].tolist()
        return SourceFile(contents.languages[place], text, spans)

    def _chosen(self, names: Sequence[str]) -> dict[str, _Repository]:
        """The repositories of these names, or all, in one order for all threads."""
        if unknown := [name for name in names if name not in self._by_name]:
            raise InputError(
                f"no repository {unknown[0]!r}; served here: {', '.join(self._by_name) or 'none'}"
            )
        return {name: one for name, one in self._by_name.items() if not names or name in names}

    @staticmethod
    def _indexing(chosen: dict[str, _Repository]) -> list[str]:
        return [name for name, repository in chosen.items() if not repository.is_whole]


class _Asking(ExitStack):
    """Fresh repositories, held by this thread: their `indexes`, and the `names` of these by their identity.

    All threads take them in the same order, so that no two wait for each other. `left_out` are those that cannot be
    asked, and why.
    """

    def __init__(self, chosen: dict[str, _Repository]) -> None:
        super().__init__()
        self.indexes: list[CodeIndex] = []
        self.names = {id(repository.index): name for name, repository in chosen.items()}
        self.left_out: dict[str, str] = {}
        updates = [repository.freshen() for repository in chosen.values()]
        for (name, repository), update in zip(chosen.items(), updates, strict=True):
            if problem := repository.wait(update):
                self.left_out[name] = problem
        for name, repository in chosen.items():
            if name not in self.left_out:
                self.enter_context(repository.lock)
                self.indexes.append(repository.index)

    def leave_out(self, index: CodeIndex, error: CodekinError) -> None:
        self.left_out[self.names[id(index)]] = str(error)

    def check(self) -> None:
        """Raises StoreError, with what is wrong with the first, where none can be asked."""
        if self.names and len(self.left_out) == len(self.names):
            raise StoreError(next(iter(self.left_out.values())))


class _EndedError(Exception):
    """Ends an update between two transactions."""


class _Repository:
    """A folder, the index that answers (one thread at a time, by `lock`), and another that a thread of its own updates.

    A second index for a second thread would answer 1.4 times as many queries (most of what a query does holds
    Python's lock) and hold the vectors twice.
    """

    def __init__(self, path: str | Path, model: str | None, load: Load, *, beside: bool) -> None:
        location = default_location(Path(path).resolve(), model) if beside else None
        self.index = CodeIndex(path, index=location, model=model, update=False, load=load)
        self.root = self.index.root
        self.lock = Lock()
        self._has_chunks = self.index.status().chunks > 0
        self._writer = CodeIndex(path, index=location, model=model, load=load)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"index {self.root.name}")
        self._turn = Lock()
        self._update: Future[None] | None = None
        self._began = self._due = self._looking = 0.0
        self._progress: UpdateProgress | None = None
        self._problem: str | None = None
        self._ended = False
        self.is_whole = False

    def close(self) -> None:
        self._ended = True
        self._thread.shutdown(cancel_futures=True)
        self._writer.close()
        with self.lock:
            self.index.close()

    @property
    def is_searchable(self) -> bool:
        return self.is_whole or self._has_chunks

    def status(self, name: str) -> RepositoryStatus:
        with self.lock:
            index = self.index.status()
        return RepositoryStatus(name, index, self.is_whole, self._progress, self._problem)

    def freshen(self) -> Future[None] | None:
        """The update that runs now, begun if it is time for one; None if it is not."""
        with self._turn:
            if (self._update is None or self._update.done()) and not self._ended:
                if time.monotonic() < self._due:
                    return None
                self._began = time.monotonic()
                self._update = self._thread.submit(self._bring_up_to_date)
            return self._update

    def wait(self, update: Future[None] | None) -> str:
        """Waits until an update is done, or has had its time.

        Returns what it failed at where there is nothing to answer from, else "".
        """
        if update:
            wait([update], max(0.0, self._began + _PATIENCE_SECONDS - time.monotonic()))
        return self._problem if self._problem and not self.is_searchable else ""

    def _bring_up_to_date(self) -> None:
        rest = 0.0
        try:
            if self._writer.writable:
                report = self._writer.update(progress=self._note)
                if not (report.added or report.changed or report.removed):
                    self._looking = report.seconds
            self._problem, self.is_whole = None, True
        except _EndedError:
            pass
        except Exception as error:  # whatever it is, queries are answered from what is there
            self._problem, rest = str(error) or type(error).__name__, _PAUSE_SECONDS
        finally:
            self._progress = None
            self._due = time.monotonic() + max(rest, _REST * self._looking)

    def _note(self, progress: UpdateProgress) -> None:
        if self._ended:
            raise _EndedError
        self._progress = progress
        self._has_chunks = self._has_chunks or progress.files > 0


def _inside(find: Callable[[int], FirstStage], top: int) -> FirstStage:
    """What `find` has when it is asked for so many that `top` are left without links that lead out of their folders."""
    wanted = top
    while True:
        first = find(wanted)
        dropped = first.keep(lambda index, result: _is_inside(index.root, result.path))
        if not dropped or len(first.found) >= top or len(first.found) + dropped < wanted:
            return first
        wanted += dropped


def _is_inside(root: Path, path: str) -> bool:
    """Whether a path of an index leads to a file below its root, links followed."""
    return "\0" not in path and os.path.realpath(root / path).startswith(f"{str(root).rstrip('/')}/")


def _check_inside(root: Path, path: str) -> None:
    if not _is_inside(root, path):
        raise InputError(f"{path} is not in the index of this folder")


def _read(path: Path) -> str | None:
    """The text of a file, None where it is none any longer."""
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            data = file.read(DEFAULT_MAX_BYTES + 1)
    except OSError:
        return None
    return None if len(data) > DEFAULT_MAX_BYTES else decode(data)


def _open_without_waiting(path: str, flags: int) -> int:
    """Opens a pipe, too, at once."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
