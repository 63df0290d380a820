"""The repositories of a store that machines share, served without a folder of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from threading import Event, Lock, Thread

from threadpoolctl import threadpool_limits

from codekin.errors import InputError, MissingExtraError, StoreError
from codekin.search import CodeIndex, Contents, Mode, Result, Status, first_stage
from codekin.search.cluster.address import EVERY, parse_address
from codekin.serve.batching import SharedEmbedders
from codekin.serve.logs import LOGGER
from codekin.serve.served import Answer, Hit, RepositoryStatus, SourceFile
from codekin.tasks import Task

_LOOK_SECONDS = 5.0  # between two looks at what the store holds
_MOST_IDLE = 32  # indexes that wait for a question, each with its threads


class StoredRepositories:
    """The repositories of the `store` at an address, by their names in it: all of them, or the one that it names.

    Any threads may ask at once: each question has an index of its own, over one connection. It is answered from the
    store as it stands, which nothing here writes; a look every few seconds finds repositories that are new, and a store
    that is away. As long as it is, every question raises StoreError at once. `model` and `models` are those of
    `Repositories`.

    Raises InputError for an address that is none, and MissingExtraError where pymilvus is not installed.
    """

    def __init__(
        self, store: str, *, model: str | None = None, models: SharedEmbedders | None = None
    ) -> None:
        # Two threads of numpy's that wait for each other on busy cores cost thrice the work of a query.
        threadpool_limits(1, user_api="blas")
        address = parse_address(store)
        self._store, self._asked = address.text, address.repository or EVERY
        self._model = model
        self._models = models or SharedEmbedders()
        self._own_models = models is None
        self._turn = Lock()
        self._idle: list[tuple[str, CodeIndex]] = []
        self._held: dict[str, Status] = {}
        self._problem = ""
        self._ended = Event()
        self._look()

    def __enter__(self) -> StoredRepositories:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._ended.set()
        with self._turn:
            idle, self._idle = self._idle, []
        for _, index in idle:
            index.close()
        if self._own_models:
            self._models.close()

    @property
    def places(self) -> dict[str, str]:
        """The store's address of each repository, by its name."""
        return {name: str(status.location) for name, status in self._known().items()}

    @property
    def ready(self) -> bool:
        """Whether the store can be asked, and holds something."""
        return not self._problem

    def start(self) -> None:
        """Begins to look after the store."""
        Thread(target=self._look_after, name="store", daemon=True).start()

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
        """`Repositories.search`: one question to the whole store, or to the indexes of those that are named."""
        self._check(repositories)
        names = list(dict.fromkeys(repositories)) or [self._asked]
        with ExitStack() as taken:
            indexes = [taken.enter_context(self._index(name)) for name in names]
            first = first_stage(
                indexes,
                query,
                top,
                mode=mode,
                task=task,
                languages=languages,
                include=include,
                exclude=exclude,
                anyway=anyway,
            )
            answered = any(index.answered for index, _ in first.found)
        name_of = {id(index): name for index, name in zip(indexes, names, strict=True)}

        def hits(found: Sequence[tuple[CodeIndex, Result]]) -> list[Hit]:
            return [_hit(name_of[id(index)], result) for index, result in found[:top]]

        return Answer(
            hits(first.found), answered, [], again=lambda second, weight: hits(first.again(second, weight))
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
        """`Repositories.related`."""
        self._check([repository])
        with self._index(repository) as index:
            found = index.related(
                path, line, top, task=task, languages=languages, include=include, exclude=exclude
            )
        return Answer([Hit(repository, result) for result in found], bool(found), [])

    def status(self) -> list[RepositoryStatus]:
        """The repositories in numbers, as they stood some seconds ago."""
        return [RepositoryStatus(name, status, whole=True) for name, status in self._known().items()]

    def contents(self, repository: str) -> Contents:
        """Raises InputError: all vectors of a repository are nowhere but in the store."""
        self._check([repository])
        raise InputError(
            f"{repository} is in a shared store, of which there is no map; index a checkout for one"
        )

    def source(self, repository: str, path: str) -> SourceFile:
        """An indexed file as it was when it was indexed, put together from its chunks; lines between them are blank."""
        self._check([repository])
        with self._index(repository) as index:
            chunks = index.chunks(path)
        lines = [""] * chunks[-1].end_line
        for chunk in chunks:
            text = chunk.text.split("\n")
            lines[chunk.start_line - 1 : chunk.start_line - 1 + len(text)] = text
        spans = [(chunk.start_line, chunk.end_line) for chunk in chunks]
        return SourceFile(chunks[0].language, "\n".join(lines), spans)

    # ---- the store

    def _known(self) -> dict[str, Status]:
        """What the store was last seen to hold. Raises StoreError where it cannot be asked."""
        if self._problem:
            raise StoreError(self._problem)
        return self._held

    def _check(self, names: Sequence[str]) -> None:
        """Raises InputError for a name that the store does not have, looked for again where it is new."""
        if not self._known().keys() >= set(names):
            self._look()
        known = self._known()
        if unknown := [name for name in names if name not in known]:
            raise InputError(f"no repository {unknown[0]!r} in {self._store}, which holds {len(known):,}")

    def _look_after(self) -> None:
        told = ""
        while not self._ended.wait(_LOOK_SECONDS):
            self._look()
            if self._problem and self._problem != told:
                LOGGER.error("the store cannot be asked", extra={"fields": {"error": self._problem}})
            told = self._problem

    def _look(self) -> None:
        problem = ""
        try:
            with self._index(self._asked) as index:
                held = index.status()
            if held.updated_at is None:
                raise StoreError(f"nothing is indexed in {held.location}; codekin index --store does it")
            self._held = held.repositories or {self._asked: held}
        except MissingExtraError:
            raise
        except Exception as error:  # whatever it is, the next look may find better
            problem = str(error) or type(error).__name__
        self._problem = problem

    @contextmanager
    def _index(self, name: str) -> Iterator[CodeIndex]:
        """The index of a repository or of all, this thread's own meanwhile; closed where it fails."""
        index = self._waiting(name)
        if index is None:
            index = CodeIndex(store=f"{self._store}#{name}", model=self._model, load=self._models)
        try:
            yield index
        except BaseException:
            index.close()
            raise
        with self._turn:
            self._idle.append((name, index))
            most = 0 if self._ended.is_set() else _MOST_IDLE
            dropped = [self._idle.pop(0) for _ in range(len(self._idle) - most)]
        for _, one in dropped:
            one.close()

    def _waiting(self, name: str) -> CodeIndex | None:
        """The index of a repository that was last asked and waits, taken from those that do."""
        with self._turn:
            for place in reversed(range(len(self._idle))):
                if self._idle[place][0] == name:
                    return self._idle.pop(place)[1]
        return None


def _hit(name: str, result: Result) -> Hit:
    """A result with the path in its repository, which one of a whole store begins with that."""
    if not result.repository:
        return Hit(name, result)
    path = result.path.removeprefix(f"{result.repository}/")
    return Hit(result.repository, replace(result, path=path, repository=""))
