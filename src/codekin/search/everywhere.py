"""Every folder that is indexed, searched as one: their summaries first, then the indexes that promise most.

How many that takes is measured: names that the indexes define are asked of every one of them, and the share to ask is
the one that has what `RECALL` wants of the best answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import zip_longest
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from codekin.embed import Embedder, VectorCache
from codekin.errors import CodekinError, InputError, MissingExtraError, ModelError, StoreError
from codekin.search import ranking
from codekin.search.index import CodeIndex
from codekin.search.known import index_files, known_indexes
from codekin.search.levels import DEPTH, Level, Place, places
from codekin.search.model import IndexModel
from codekin.search.results import Mode, Result
from codekin.search.second_stage import Reranked
from codekin.search.summaries import Plan, Promise, Summaries
from codekin.search.together import first_stage, search_together
from codekin.tasks import Task

RECALL = {10: 0.98, 100: 0.9}
"""What a search has to find of so many best answers that asking every index finds, on average over an index's own
questions: of people's it finds a point more."""

_FEW = 16  # indexes: asking every one takes less than choosing
_GROWTH = 2  # of the indexes' chunks, after which the share is measured anew
_QUESTIONS = 40
_STEP = 1.2  # times as many indexes, where so many do not suffice
_SAMPLE_CHUNKS, _SAMPLE_INDEXES = 200_000, 400  # at most, to measure with: the others promise as these do

_FILES_EACH, _OWN_FILES = 3, 256  # that an open database has open: itself, its log, and its log's index

Progress = Callable[[str, int, int], None]
"""Called with what is done before a search for the first time, how much of it, and of how much."""

_Found = TypeVar("_Found")


class Everywhere:
    """The indexes of the user's cache, each at the default place of its folder, as they stand: none is updated.

    `model` asks those alone that are made with it. It belongs to one thread, and is closed after use. After a search
    `answered` says whether anything answers, `asked` how many indexes of `known` were asked, `reranked` what a second
    stage did, and `left_out` what is wrong with those that could not be asked, a line each.
    """

    def __init__(self, *, model: str | None = None, progress: Progress | None = None) -> None:
        self._model = model
        self._progress = progress
        self._load = _SharedModels()
        self._opened: dict[Path, CodeIndex] = {}
        self._summaries: Summaries | None = None
        self.answered = False
        self.asked = self.known = 0
        self.left_out: list[str] = []
        self.reranked: Reranked | None = None

    def __enter__(self) -> Everywhere:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the databases of the indexes that were asked, and of the summaries."""
        for index in self._opened.values():
            index.close()
        self._opened.clear()
        if self._summaries:
            self._summaries.close()
        self._summaries = None

    def search(self, query: str, top: int = 10, **options: Any) -> list[tuple[CodeIndex, Result]]:
        """The `top` chunks of all folders, best first, each with its index.

        `options` are those of `search_together`. An index that cannot be asked is left out; raises InputError where
        there is none, StoreError where none can be asked, and else what `CodeIndex.search` does.
        """
        return self._answer(search_together, query, top, top, options)

    def places(
        self, query: str, top: int = 10, *, level: Level | str = Level.FILE, **options: Any
    ) -> list[tuple[CodeIndex, Place]]:
        """The `top` files, folders or repositories of all folders, as `search` has their chunks."""
        return self._answer(places, query, top, top * DEPTH, {**options, "level": level})

    def _answer(
        self, find: Callable[..., list[_Found]], query: str, top: int, depth: int, options: dict[str, Any]
    ) -> list[_Found]:
        """What `find` has in the indexes that promise most; or else, where that is nothing, in all."""
        if not query.strip():
            raise InputError("the query is empty")
        self.left_out = []
        roots, rarities = self._roots(), None
        few = len(roots)
        if self._summaries:
            task, mode = (
                Task.parse(options.get("task", Task.NL2CODE)),
                Mode.parse(options.get("mode", Mode.HYBRID)),
            )
            promise = self._promise(self._summaries, query, None if mode is Mode.LEXICAL else task)
            rarities = promise.rarities
            if self._model is None and _is_plain(options):
                few = self._few(self._summaries, promise, depth)
            ranked = [self._summaries.indexes[place].root for place in promise.order.tolist()]
            roots = sorted(roots, key={root: place for place, root in enumerate(ranked)}.__getitem__)
        for some in (few, len(roots)):
            indexes = self._open(roots[:some])
            found = find(indexes, query, top, **options, rarities=rarities, on_skip=self._leave_out)
            if found or some == len(roots):
                break
        self.known, self.asked = len(roots), len(indexes)
        if not found and len(self.left_out) >= len(roots):
            raise StoreError(self.left_out[0])
        self.answered = any(index.answered for index in indexes)
        self.reranked = indexes[0].reranked if indexes else None
        return found

    def _roots(self) -> list[Path]:
        """The folders to ask. Where they are many, their summaries are brought up to date."""
        if self._summaries is None and len(index_files()) > _FEW:
            self._summaries = Summaries()
        if self._summaries is None:
            known = known_indexes(self.left_out.append)
            roots = [one.root for one in known if one.exists and self._model in (None, one.model)]
        else:
            self.left_out += self._summaries.refresh(partial(self._tell, "summing up folders"))
            roots = [one.root for one in self._summaries.indexes if self._model in (None, one.model.name)]
        if not roots and not self.left_out:
            raise InputError("no folder is indexed here; codekin index FOLDER does it")
        return roots

    def _promise(self, summaries: Summaries, query: str, task: Task | None) -> Promise:
        """What the summaries promise: without a task, and of a model that cannot be loaded, by words alone."""
        vectors = {}
        for record in summaries.models if task else ():
            with suppress(ModelError, MissingExtraError):
                vectors[record] = IndexModel(record, load=self._load).query(query, task or Task.NL2CODE)
        return summaries.promise(ranking.parse(query), vectors)

    def _few(self, summaries: Summaries, promise: Promise, depth: int) -> int:
        """How many of the indexes that promise most to ask for so many best answers."""
        measured = next((tried for tried in RECALL if tried >= depth), None)
        if measured is None:
            return len(promise.order)
        plan = summaries.plan(measured)
        chunks = sum(one.chunks for one in summaries.indexes)
        if plan is None or not chunks / _GROWTH <= plan.chunks <= chunks * _GROWTH:
            plan = self._measured(summaries, measured, chunks)
            summaries.keep_plan(measured, plan)
        return max(1, round(plan.share * len(promise.order)), int(np.count_nonzero(promise.sole)))

    def _measured(self, summaries: Summaries, depth: int, chunks: int) -> Plan:
        """The least share of the indexes with which questions of their own find what `RECALL` asks for."""
        sample: list[int] = []
        held = 0
        most = min(_SAMPLE_INDEXES, _room(_SAMPLE_INDEXES))
        for place in np.random.default_rng(0).permutation(len(summaries.indexes)).tolist():
            held += summaries.indexes[place].chunks
            if sample and (held > _SAMPLE_CHUNKS or len(sample) == most):
                break
            sample.append(place)
        indexes = dict(
            zip(sample, self._open([summaries.indexes[place].root for place in sample]), strict=True)
        )
        names = [summaries.indexes[place].names for place in sample]
        texts = [name for some in zip_longest(*names) for name in some if name][:_QUESTIONS]
        promises = [self._promise(summaries, text, Task.NL2CODE) for text in texts]
        orders = [[place for place in promise.order.tolist() if place in indexes] for promise in promises]

        def found(some: int) -> list[set[tuple[CodeIndex, str, int]]]:
            """The best answers of so many indexes that promise most, for each question."""
            answers = []
            for number, (text, promise, order) in enumerate(zip(texts, promises, orders, strict=True)):
                self._tell("measuring how many folders to ask", number, len(texts))
                best = first_stage(
                    [indexes[place] for place in order[:some]],
                    text,
                    depth,
                    anyway=True,
                    rarities=promise.rarities,
                    on_skip=lambda *_: None,
                )
                answers.append({(index, result.path, result.start_line) for index, result in best.found})
            return answers

        every = found(len(sample))
        place_of = {index: place for place, index in indexes.items()}
        ranks = [
            order.index(place_of[index]) + 1
            for order, answers in zip(orders, every, strict=True)
            for index, _, _ in answers
        ]
        if not ranks:
            return Plan(1.0, 1.0, chunks)
        # What the best answers lie in is the least; among fewer indexes scores are scaled otherwise.
        some = int(np.quantile(ranks, RECALL[depth], method="higher"))
        while some < len(sample):
            pairs = zip(every, found(some), strict=True)
            recall = float(np.mean([len(one & other) / len(one) for one, other in pairs if one]))
            if recall >= RECALL[depth]:
                return Plan(some / len(sample), recall, chunks)
            some = math.ceil(some * _STEP)
        return Plan(1.0, 1.0, chunks)

    def _open(self, roots: Sequence[Path]) -> list[CodeIndex]:
        """The indexes of some folders, and of no more others than the system lets a process have open."""
        room = _room(len(roots))
        if len(roots) > room:
            self.left_out.append(
                f"{len(roots) - room} folders that promise less: more files than a process may have open here"
            )
            roots = roots[:room]
        if len(self._opened.keys() | roots) > room:
            for root in self._opened.keys() - roots:
                self._opened.pop(root).close()
        for root in roots:
            if root not in self._opened:
                self._opened[root] = CodeIndex(root, model=self._model, update=False, load=self._load)
        return [self._opened[root] for root in roots]

    def _leave_out(self, index: CodeIndex, error: CodekinError) -> None:
        self.left_out.append(f"{index.root}: {error}")

    def _tell(self, doing: str, done: int, total: int) -> None:
        if self._progress:
            self._progress(doing, done, total)


def _is_plain(options: dict[str, Any]) -> bool:
    """Whether a search is one of those for which the share to ask is measured: hybrid, and of everything."""
    narrowed = any(options.get(name) for name in ("languages", "include", "exclude"))
    return not narrowed and Mode.parse(options.get("mode", Mode.HYBRID)) is Mode.HYBRID


def _room(count: int) -> int:
    """How many indexes may be open, where `count` are wanted: the limit of open files is raised, if it can be."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return count
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES_EACH * count + _OWN_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return count if soft == resource.RLIM_INFINITY else max(1, (soft - _OWN_FILES) // _FILES_EACH)


class _SharedModels:
    """Loads each model once for all indexes, and says the same of one that cannot be loaded."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str | None], Embedder | ModelError | MissingExtraError] = {}

    def __call__(self, name: str, *, dtype: str | None = None, cache: VectorCache | None = None) -> Embedder:
        key = (name, dtype)
        if key not in self._known:
            try:
                self._known[key] = Embedder(name, dtype=dtype, cache=cache)
            except (ModelError, MissingExtraError) as error:
                self._known[key] = error
        found = self._known[key]
        if isinstance(found, Exception):
            raise found
        return found
