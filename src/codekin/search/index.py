"""CodeIndex: a folder of code, its index, and questions to it."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from codekin.embed import DEFAULT_MODEL, Embedder
from codekin.errors import InputError, ModelError, StoreError
from codekin.search import indexing, ranking, upgrading
from codekin.search.contents import Contents
from codekin.search.indexing import Progress
from codekin.search.mixed import Upgrade
from codekin.search.model import Asked, IndexModel, Load, ModelRecord, absolute, open_model
from codekin.search.results import Mode, Result, Status, UpdateReport, UpgradeReport
from codekin.search.second_stage import Reranked, SecondStage
from codekin.search.store import FILE_NAME, Store, delete
from codekin.search.together import FirstStage, Part, check_top, query_vector, search_together
from codekin.search.view import View
from codekin.source import DEFAULT_MAX_BYTES
from codekin.tasks import Task

if TYPE_CHECKING:
    from codekin.search.cluster.address import Address
    from codekin.search.cluster.store import ClusterStore
    from codekin.search.stores import IndexView, Sizes


class CodeIndex:
    """The index of the folder `path`, kept in the folder `index` (default: one in the user's cache), or in a `store`.

    The first search of an object brings the index up to date (unless `update` is false); later ones answer from
    what is there until `update()` is called. An index that cannot be written is searched as it is. An object
    belongs to one thread; any number of processes may use one index.

    An index is made with one model, and one Matryoshka size of its vectors, and keeps both until it is rebuilt:
    `model`, `dimensions` and `dtype`, as `Embedder` takes them, choose for a folder that is not yet indexed (default:
    the bundled model, all its dimensions). Of the types only int8 stays with the index: the vectors of wider ones
    agree. The model is loaded when a vector is first needed, which `status` and a lexical search never do; `load` is
    called for it as `Embedder` is.

    A `store` is one that other machines share, by its address (`milvus://host:19530`). What it holds is known by a
    repository's name, not by a path: that of git's remote, `github.com/owner/name`, or what the address names,
    `milvus://host:19530#owner/name`; `#*` is all that the store holds, for searches. A search answers from it as it
    stands: bringing it up to date is for whoever calls `update`.

    Raises InputError for a path that is no folder. Once the index is used, raises StoreError for one that cannot be
    opened or that is made with another model or size than asked for, and ModelError for a model that is not there
    or that has changed since it made the index; a new version of the bundled one makes the index anew. `weights` is
    what the signals of the ranking count, `answered` whether the last search found what answers, `reranked` what its
    second stage did, None where it had none.
    """

    def __init__(
        self,
        path: str | Path = ".",
        *,
        index: str | Path | None = None,
        store: str | None = None,
        model: str | None = None,
        dimensions: int | None = None,
        dtype: str | None = None,
        max_bytes: int = DEFAULT_MAX_BYTES,
        update: bool = True,
        load: Load = Embedder,
    ) -> None:
        self.root = Path(path).resolve()
        try:
            if not self.root.is_dir():
                raise InputError(
                    f"{path} {'is a file' if self.root.exists() else 'does not exist'}; give a folder"
                )
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from None
        if index and store:
            raise InputError("an index is kept in a folder or in a store; give one of both")
        self._folder = Path(index) if index else default_location(self.root)
        self._address = _address(store) if store else None
        self._asked = Asked(absolute(model), dimensions, dtype)
        self._rebuild = _rebuild_command(path, index, store, self._asked)
        self._model: IndexModel | None = None
        self._max_bytes = max_bytes
        self._stale = update and store is None
        self._load = load
        self._opened: Store | ClusterStore | None = None
        self._view: IndexView | None = None
        self._upgrade = Upgrade(load)
        self.weights = ranking.WEIGHTS
        self.answered = False
        self.reranked: Reranked | None = None

    def __enter__(self) -> CodeIndex:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the index's database."""
        if self._opened:
            self._opened.close()
        self._opened = self._view = None
        self._upgrade.forget()

    @property
    def _store(self) -> Store | ClusterStore:
        """What keeps the index, opened when it is first asked for: a damaged one can still be rebuilt."""
        if self._opened is None:
            self._opened = Store(self._folder) if self._address is None else self._shared_store()
        return self._opened

    def _shared_store(self) -> ClusterStore:
        from codekin.search.cluster.store import ClusterStore

        assert self._address
        return ClusterStore(self._address, self.root, self._folder.name)

    @property
    def _database(self) -> Store:
        """The database on this machine; raises InputError for an index that is kept elsewhere."""
        if not isinstance(self._store, Store):
            raise InputError(f"{self._store.location} is shared; this is for an index on this machine")
        return self._store

    @property
    def did_without(self) -> str:
        """The model of an upgrade that the last search did without, since it is not at hand; "" where there is none."""
        return self._upgrade.missing

    @property
    def writable(self) -> bool:
        """Whether the index can be updated; one that cannot (a read-only folder) still answers as it stands."""
        return self._store.writable

    def update(self, *, rebuild: bool = False, progress: Progress | None = None) -> UpdateReport:
        """Brings the index up to date with the folder: reads what has changed, forgets what is gone.

        Every half megabyte of source (with a transformer, what it embeds in some seconds) is one transaction: an
        update that is killed leaves what it had committed, and the next one goes on from there. `rebuild` starts
        from nothing, a damaged index included, with the model and size that are asked for or else those that it
        had; an upgrade begins again. Files that cannot be read are reported, not raised. Raises StoreError where the
        index cannot be written.
        """
        if rebuild:
            known = upgraded = None
            with suppress(StoreError):
                known = self._store.model()
                upgraded = self._database.upgrade() if self._address is None else None
            if upgrading.is_running(self._folder / FILE_NAME):
                raise StoreError(
                    f"the index in {self._folder} is being upgraded; pause that before a rebuild"
                )
            model = self._new_model(known)
            self.close()
            if self._address is None:
                delete(self._folder)
            with self._store.writing():
                self._start(model)
            if upgraded:
                self._database.begin_upgrade(upgraded)
        model = self._settled_model()
        self._stale = False
        return indexing.update(
            self.root,
            self._store,
            model,
            max_bytes=self._max_bytes,
            progress=progress,
        )

    def upgrade(
        self,
        model: str,
        *,
        dimensions: int | None = None,
        dtype: str | None = None,
        progress: upgrading.Progress | None = None,
    ) -> UpgradeReport:
        """Fills in the vectors of a stronger model beside those that the index is made with, chunk by chunk.

        First come the files that searches have shown most, then those that the rest of the folder names most. Every
        few seconds are one transaction: a run that is ended, in whatever way, leaves what it had committed, and the
        next one goes on from there. Searches and updates go on meanwhile; a file that changes keeps the vectors of the
        chunks that stay and waits for the others. `dimensions` and `dtype` are the stronger model's. Another model
        than before begins anew.

        Raises ModelError and InputError as `Embedder` does, InputError for the model that the index is made with, and
        StoreError where another process is at it or the index cannot be written.
        """
        if self._stale:
            self.update()
        asked = Asked(absolute(model), dimensions, dtype)
        return upgrading.run(
            self.root,
            self._database,
            open_model(asked, self._database.upgrade(), f"codekin index --upgrade {model}", self._load),
            progress,
        )

    def end_upgrade(self) -> None:
        """Removes an upgrade with all its vectors."""
        self._database.drop_upgrade()

    def search(
        self,
        query: str,
        top: int = 10,
        *,
        mode: Mode | str = Mode.HYBRID,
        task: Task | str = Task.NL2CODE,
        languages: Sequence[str] = (),
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        anyway: bool = False,
        wait: bool = False,
        rerank: SecondStage | None = None,
    ) -> list[Result]:
        """The `top` chunks that answer `query` best, best first; scores are comparable within one answer.

        `mode` says which lists of candidates are ranked: nearest vectors, BM25, or both. `languages` keeps files of
        these languages; `include` and `exclude` are globs as in .gitignore, relative to the root. With vectors of a
        calibrated model (`codekin calibrate`) there are no results where nothing in the folder answers, unless `anyway`
        asks for the nearest; `answered` then says so. The vectors of an upgrade count once its model is at hand: a
        static one at once, a transformer when it has been loaded beside the second search, or for a search that is to
        `wait`; `did_without` then names it. `rerank` has a stronger model score the best again; `reranked`
        then says what came of it. Raises InputError for an empty query, an unknown mode, task or language, or a bad
        glob.
        """
        found = search_together(
            [self],
            query,
            top,
            mode=mode,
            task=task,
            languages=languages,
            include=include,
            exclude=exclude,
            anyway=anyway,
            wait=wait,
            rerank=rerank,
        )
        return [result for _, result in found]

    def related(
        self,
        path: str,
        line: int,
        top: int = 10,
        *,
        task: Task | str = Task.CODE2CODE,
        languages: Sequence[str] = (),
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        wait: bool = False,
    ) -> list[Result]:
        """The chunks most like the one at `line` (from 1) of `path` (relative to the root), itself left out.

        Filters are those of `search`, and so is `wait`. Raises InputError where the index knows no such place.
        """
        check_top(top)
        task = Task.parse(task)
        with self._reading() as view:
            row = view.row_at(path, line)
            model = self._current_model()
            text = view.results([row], [0.0], self.root)[0].text
            vector = None
            if model:
                vector = model.query(text, task)
                view = self._upgrade.joined(self._store, view, text, task, {}, wait=wait)
            kept = view.kept(languages, include, exclude)
            # One more than is asked for, where the chunk itself is among them.
            rows, signals = view.candidates(
                ranking.NO_QUERY, vector, ranking.pool(top) + 1, text=False, kept=kept
            )
            others = np.flatnonzero(rows != row)
            found = FirstStage(
                [Part(self, view, rows[others], signals.of(others))], ranking.NO_QUERY, top
            ).found
            self.answered = bool(found)
            return [result for _, result in found]

    def status(self) -> Status:
        """The index in numbers, as it stands."""
        self._current_model()
        store, model = self._store, self._store.model()

        def told(location: Path | str, sizes: Sizes) -> Status:
            files, languages, size, updated_at = sizes
            return Status(
                root=self.root,
                location=location,
                files=files,
                chunks=sum(languages.values()),
                languages=languages,
                model=model.name if model else None,
                dimensions=model.dimensions if model else None,
                bytes=size,
                updated_at=updated_at,
            )

        whole = told(store.location, store.sizes())
        if isinstance(store, Store):
            return replace(whole, upgrade=upgrading.status(store))
        parts = store.repositories().items()
        return replace(whole, repositories={name: told(store.address(name), sizes) for name, sizes in parts})

    def chunks(self, path: str) -> list[Result]:
        """The chunks of a file (relative to the root), in their order. Raises InputError where it is not indexed."""
        with self._reading() as view:
            rows = view.file_rows(path)
            return view.results(rows, [0.0] * len(rows), self.root)

    def contents(self) -> Contents:
        """All files and chunks of the index, with their vectors, at its newest generation."""
        with self._reading() as view:
            if not isinstance(view, View):
                raise InputError(f"{self._store.location} is shared; this is for an index on this machine")
            return view.contents

    def file_cosines(
        self, paths: Sequence[str], query: str, task: Task, vectors: dict[ModelRecord, NDArray[np.int8]]
    ) -> NDArray[np.float32]:
        """(n,) float32: how near the vectors of n files of the index, each the mean of its chunks', come to a query.

        `vectors` keeps the query's own by model.
        """
        with self._reading() as view:
            model = self._current_model()
            if model is None:
                return np.zeros(len(paths), np.float32)
            return view.file_cosines(query_vector(model, query, task, vectors), paths)

    def holding(self, terms: Sequence[str]) -> list[tuple[int, int, int]]:
        """For each term how many chunks there are, hold it, and define a name with it."""
        with self._reading(lexical=True) as view:
            return [(view.size, *view.holding(term)) for term in terms]

    # ---- the model

    def _settled_model(self) -> IndexModel:
        """The index's model, recorded anew where the index has none or an older version of the bundled one."""
        while True:
            made = self._current_model()
            if made and (made.record.name != DEFAULT_MODEL or made.is_unchanged):
                return made
            known = self._store.model()
            model = self._new_model(known)
            with self._store.writing():
                # Another process may have been first: what it recorded stands.
                if self._store.model() == known:
                    self._start(model)

    def _current_model(self) -> IndexModel | None:
        """The model that made the index, None where there is nothing yet; refused where another was asked for."""
        record = self._store.model()
        if record is None or not record.fingerprint:
            return None
        if difference := self._asked.difference(record):
            raise StoreError(
                f"the index at {self._store.location} is made with {difference}; {self._rebuild} makes it anew"
            )
        if self._model is None or self._model.record != record:
            self._model = IndexModel(record, dtype=self._asked.dtype, rebuild=self._rebuild, load=self._load)
        return self._model

    def _new_model(self, known: ModelRecord | None) -> IndexModel:
        """The model for an index to be made: what was asked for, else what is known, else the bundled one."""
        return open_model(self._asked, known, self._rebuild, self._load)

    def _start(self, model: IndexModel) -> None:
        """Empties the index for a model, inside a transaction."""
        model.record = self._store.start(model.record)
        self._store.set_meta(root=os.fsencode(self.root))
        self._model = model

    # ---- answers

    @contextmanager
    def _reading(self, *, lexical: bool = False) -> Iterator[IndexView]:
        """The view of the index's newest generation, inside one transaction.

        A lexical search needs no model: where an update fails for want of one, it reads the index as it is.
        """
        if self._stale and self.writable:
            try:
                self.update()
            except ModelError:
                if not lexical or self._store.model() is None:
                    raise
        with self._store.reading():
            self._current_model()
            yield self._newest_view()

    def _newest_view(self) -> IndexView:
        store, known = self._store, self._view
        if not isinstance(store, Store):
            return store.view()
        if not isinstance(known, View):
            known = None
        if known is None or known.contents.generation != store.generation():
            self._view = known = View(store, known)
        return known


def default_location(root: Path, beside: str | None = None) -> Path:
    """The folder of the user's cache that holds a root's index, keyed by its resolved path.

    `beside` names the model of a further index of the root, which stands beside it.
    """
    told = os.fsencode(root) + (b"" if beside is None else b"\0" + os.fsencode(beside))
    key = hashlib.blake2b(told, digest_size=8).hexdigest()
    return user_cache_path("codekin", appauthor=False) / "indexes" / f"{root.name or 'root'}-{key}"


def _address(store: str) -> Address:
    from codekin.search.cluster.address import parse_address

    return parse_address(store)


def _rebuild_command(path: str | Path, index: str | Path | None, store: str | None, asked: Asked) -> str:
    """The command that makes the index of `path` anew with the model that is asked for."""
    options = {"index": index, "store": store, **asdict(asked)}
    words = [(f"--{name}", str(value)) for name, value in options.items() if value is not None]
    return shlex.join(["codekin", "index", str(path), *chain.from_iterable(words), "--rebuild"])
