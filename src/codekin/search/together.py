"""One search of several indexes, and its two stages: candidates of each, ranked as those of one, and scored again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from codekin.errors import CodekinError, InputError, MissingExtraError, ModelError, StoreError
from codekin.search import ranking
from codekin.search.demand import note_shown
from codekin.search.model import IndexModel, ModelRecord
from codekin.search.ranking import Query, Scores, Signals
from codekin.search.results import Mode, Result
from codekin.search.second_stage import SecondStage
from codekin.search.store import Store
from codekin.tasks import Task

if TYPE_CHECKING:
    from codekin.search.index import CodeIndex
    from codekin.search.stores import IndexView

_SHOWN = 10  # results of a search that say which files are searched for


@dataclass(frozen=True, slots=True)
class Part:
    """One index's part in an answer: its candidates and what they are worth."""

    index: CodeIndex
    view: IndexView
    rows: NDArray[np.int64]
    signals: Signals


OnSkip = Callable[["CodeIndex", CodekinError], None]
"""Told of an index that cannot be asked, and what is wrong with it."""


@contextmanager
def _skipping(index: CodeIndex, on_skip: OnSkip | None) -> Iterator[None]:
    try:
        yield
    except (ModelError, StoreError, MissingExtraError) as error:
        if on_skip is None:
            raise
        on_skip(index, error)


def search_together(
    indexes: Sequence[CodeIndex],
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
    rarities: Mapping[str, float] | None = None,
    on_skip: OnSkip | None = None,
) -> list[tuple[CodeIndex, Result]]:
    """`CodeIndex.search` of several folders at once: the best chunks of all, ranked as those of one folder.

    What is rare in one folder may be common in another: a term weighs what it does among the chunks of all, or what
    `rarities` says, where more are known of than are asked. An index in which nothing answers takes no part, unless
    `anyway` asks for it; nor does one that cannot be asked, its model not being there or its database damaged, where
    there is an `on_skip` to be told. Raises what `CodeIndex.search` does.
    """
    check_top(top)
    depth = max(top, rerank.candidates) if rerank else top
    task = Task.parse(task)
    first = first_stage(
        indexes,
        query,
        depth,
        mode=mode,
        task=task,
        languages=languages,
        include=include,
        exclude=exclude,
        anyway=anyway,
        wait=wait,
        rarities=rarities,
        on_skip=on_skip,
    )
    found = first.found
    reranked = None
    if rerank:
        second, reranked = rerank.score(query, [result for _, result in found], task)
        found = first.again(second, rerank.weight)
    found = found[:top]
    count_shown(found)
    hit = {index for index, _ in found}
    for index in indexes:
        index.answered = index.answered and index in hit
        index.reranked = reranked
    return found


def first_stage(
    indexes: Sequence[CodeIndex],
    query: str,
    top: int,
    *,
    mode: Mode | str = Mode.HYBRID,
    task: Task | str = Task.NL2CODE,
    languages: Sequence[str] = (),
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    anyway: bool = False,
    wait: bool = False,
    rarities: Mapping[str, float] | None = None,
    on_skip: OnSkip | None = None,
) -> FirstStage:
    """`search_together` without a second stage, and without counting what it shows."""
    if not query.strip():
        raise InputError("the query is empty")
    mode, task = Mode.parse(mode), Task.parse(task)
    parsed = ranking.parse(query)
    made: dict[ModelRecord, NDArray[np.int8]] = {}
    upgraded: dict[ModelRecord, NDArray[np.int8] | None] = {}
    parts = []
    with ExitStack() as stack:
        asked: list[tuple[CodeIndex, IndexView]] = []
        for index in indexes:
            index.answered = False
            with _skipping(index, on_skip):
                asked.append((index, stack.enter_context(index._reading(lexical=mode is Mode.LEXICAL))))
        if rarities is not None:
            parsed = replace(parsed, rarity=tuple(rarities[term] for term in parsed.terms))
        elif len(asked) > 1:
            parsed = replace(parsed, rarity=_rarity([view for _, view in asked], parsed))
        for index, view in asked:
            with _skipping(index, on_skip):
                kept = view.kept(languages, include, exclude)
                model = None if mode is Mode.LEXICAL else index._current_model()
                vector = None
                if model:
                    vector = query_vector(model, query, task, made)
                    view = index._upgrade.joined(index._store, view, query, task, upgraded, wait=wait)
                find = partial(
                    view.candidates, parsed, vector, ranking.pool(top), text=mode is not Mode.SEMANTIC
                )
                rows, signals = find()
                # Of the whole folder: whoever narrows a search wants the best of what is left.
                index.answered = model is None or ranking.answers(signals, model.calibration(task))
                if index.answered or anyway:
                    if kept is not None:
                        rows, signals = find(kept=kept)
                    parts.append(Part(index, view, rows, signals))
        return FirstStage(parts, parsed, top)


def _rarity(views: Sequence[IndexView], query: Query) -> tuple[float, ...] | None:
    """How rare a query's terms are in all folders together; None where there is nothing in them."""
    total = sum(view.size for view in views)
    if not total:
        return None
    return tuple(ranking.rarity(sum(view.holding(term)[0] for view in views), total) for term in query.terms)


def query_vector(
    model: IndexModel, query: str, task: Task, made: dict[ModelRecord, NDArray[np.int8]]
) -> NDArray[np.int8]:
    """The query's vector, made once for all indexes of a model."""
    record = replace(model.record, since=0)
    if record not in made:
        made[record] = model.query(query, task)
    return made[record]


def count_shown(found: Sequence[tuple[CodeIndex, Result]]) -> None:
    """Counts the files of the best results as searched for, which an upgrade begins with."""
    shown: dict[CodeIndex, set[str]] = {}
    for index, result in found[:_SHOWN]:
        shown.setdefault(index, set()).add(result.path)
    for index, paths in shown.items():
        if isinstance(index._store, Store) and index.writable:
            note_shown(index._store.location, paths)


class FirstStage:
    """The candidates of several indexes ranked as those of one: `found`, the best of them, each with its index.

    Made inside the transactions of the indexes, which it reads the results from.
    """

    def __init__(self, parts: Sequence[Part], query: Query, top: int) -> None:
        self.found: list[tuple[CodeIndex, Result]] = []
        self._rows = np.empty(0, np.int64)
        if not parts:
            return
        paths: list[str] = []
        file_of = []
        for part in parts:
            own, own_paths = part.view.files(part.rows)
            file_of.append(own + np.int32(len(paths)))
            paths += own_paths
        signals = Signals.joined([part.signals for part in parts])
        self._ranking = ranking.Ranking(
            signals, np.concatenate(file_of), paths, query, top, parts[0].index.weights
        )
        self._candidates = len(signals.semantic)
        self._rows, scores = self._ranking.best(top)
        self.found = _results(parts, self._rows, scores)

    def keep(self, wanted: Callable[[CodeIndex, Result], bool]) -> int:
        """Leaves out of `found` what is not wanted; returns how many that are."""
        kept = [place for place, one in enumerate(self.found) if wanted(*one)]
        dropped = len(self.found) - len(kept)
        if dropped:
            self.found, self._rows = [self.found[place] for place in kept], self._rows[kept]
        return dropped

    def again(self, second: Scores, weight: float) -> list[tuple[CodeIndex, Result]]:
        """`found` in the order of both stages; `second` (m,) are the second one's scores of the first m of them.

        They are one more list beside the first stage's own, scaled as those are, and what is known of paths and files
        counts as before. A result that was not scored counts as the last of that list.
        """
        given = [*second.tolist(), *[None] * (len(self.found) - len(second))]
        both = {
            place: replace(result, first_score=result.score, second_score=given[place])
            for place, (_, result) in enumerate(self.found)
        }
        if not len(second):
            return [(index, both[place]) for place, (index, _) in enumerate(self.found)]
        further = np.zeros(self._candidates, np.float32)
        further[self._rows[: len(second)]] = (
            weight * (second - second.min()) / max(float(np.ptp(second)), 1e-9)
        )
        places = {row: place for place, row in enumerate(self._rows.tolist())}
        rows, scores = self._ranking.best(self._candidates, further)
        return [
            (self.found[place][0], replace(both[place], score=score))
            for row, score in zip(rows.tolist(), scores.tolist(), strict=True)
            if (place := places.get(row)) is not None
        ]


def _results(
    parts: Sequence[Part], rows: NDArray[np.int64], scores: Scores
) -> list[tuple[CodeIndex, Result]]:
    """The chunks of some rows, counted through all parts, each with its index."""
    first_row = np.cumsum([0, *(len(part.rows) for part in parts)])
    part_of = np.searchsorted(first_row, rows, side="right") - 1
    found: list[tuple[CodeIndex, Result] | None] = [None] * len(rows)
    for number in np.unique(part_of).tolist():
        part, places = parts[number], np.flatnonzero(part_of == number)
        own_rows = part.rows[rows[places] - first_row[number]].tolist()
        results = part.view.results(own_rows, scores[places].tolist(), part.index.root)
        for place, result in zip(places.tolist(), results, strict=True):
            found[place] = (part.index, result)
    return [one for one in found if one]


def check_top(top: int) -> None:
    """Raises InputError for a number of results that is none."""
    if top < 1:
        raise InputError(f"top is {top}; ask for at least 1 result")
