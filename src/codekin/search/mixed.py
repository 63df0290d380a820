"""Answers of two models as one: cosines of an index of which some chunks have a stronger model's vectors as well.

Cosines of two models lie differently. Over the chunks that have both, the stronger model's, and its mixture with the
first one's, are brought to the mean and the deviation of the first one's for the query at hand: a chunk gains by what
the stronger model says of it beside the others, not by having been its turn. `benchmarks/upgrade.py` measures what is
found by the share of chunks that have both.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import MutableMapping
from copy import copy
from dataclasses import dataclass, replace
from threading import Thread
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from codekin.embed import VectorCache
from codekin.errors import CodekinError, ModelError
from codekin.search.model import IndexModel, Load, ModelRecord
from codekin.search.store import Store
from codekin.search.stronger import Upgraded
from codekin.search.vectors import Vectors, is_many, largest
from codekin.search.view import View
from codekin.tasks import Task

if TYPE_CHECKING:
    from codekin.search.cluster.store import ClusterStore
    from codekin.search.stores import IndexView

WEIGHT = 0.5
"""What the stronger model counts beside the first one. With all-MiniLM-L6-v2 half finds most of 0.3 to 1: the errors of
two models are not the same."""
_LEAST = 1e-3  # scores that deviate less say nothing
_SAMPLE = 4096  # chunks, evenly spread, that means and deviations are of


class Mixed(Vectors):
    """`Vectors` of n chunks, of which those in `upgraded`, (u,) ascending, have `stronger` vectors as well.

    It is for one query: it is asked by the first model's, and `wanted`, (d,) int8, is the stronger model's.
    """

    def __init__(
        self, vectors: Vectors, upgraded: NDArray[np.int64], stronger: Vectors, wanted: NDArray[np.int8]
    ) -> None:
        super().__init__(vectors.rows)
        self._vectors, self._upgraded, self._stronger, self._wanted = vectors, upgraded, stronger, wanted
        self._scales: tuple[_Scale, _Scale, _Scale] | None = None

    def nearest(
        self, query: NDArray[np.int8], count: int, kept: NDArray[np.bool_] | None = None
    ) -> NDArray[np.int64]:
        """The rows of the `count` highest positive cosines, best first; `kept` (n,) says which are looked for.

        Of many vectors they are looked for among the nearest by either model.
        """
        if not (is_many(*self.rows.shape) or is_many(*self._stronger.rows.shape)):
            scores = self.cosines(query)
            return largest(scores if kept is None else scores * kept, count)
        lacking = np.ones(len(self.rows), np.bool_) if kept is None else kept.copy()
        lacking[self._upgraded] = False
        rows = np.unique(
            np.concatenate(
                [
                    self._vectors.nearest(query, count, kept),
                    self._vectors.nearest(query, count, lacking),
                    self._upgraded[
                        self._stronger.nearest(
                            self._wanted, count, None if kept is None else kept[self._upgraded]
                        )
                    ],
                ]
            )
        )
        return rows[largest(self.cosines(query, rows), count)]

    def cosines(self, query: NDArray[np.int8], rows: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """The cosines of `rows` (None: of all) in the first model's measure, float32."""
        found = self._vectors.cosines(query, rows)
        if rows is None:
            held, places = self._upgraded, None
        else:
            places = np.minimum(self._upgraded.searchsorted(rows), len(self._upgraded) - 1)
            held = np.flatnonzero(self._upgraded[places] == rows)
            places = places[held]
        if self._scales is None:
            self._scales = self._measured(query)
        first, second, both = self._scales
        blend = first.apart(found[held]) * (1 - WEIGHT)
        blend += second.apart(self._stronger.cosines(self._wanted, places)) * WEIGHT
        found[held] = both.apart(blend) * first.deviation + first.mean
        return found

    def _measured(self, query: NDArray[np.int8]) -> tuple[_Scale, _Scale, _Scale]:
        """How the first model's cosines lie, the stronger one's, and their mixture."""
        count = len(self._upgraded)
        places = np.linspace(0, count - 1, min(count, _SAMPLE)).astype(np.int64)
        cosines = (
            self._vectors.cosines(query, self._upgraded[places]),
            self._stronger.cosines(self._wanted, places),
        )
        first, second = map(_Scale.of, cosines)
        blend = first.apart(cosines[0]) * (1 - WEIGHT) + second.apart(cosines[1]) * WEIGHT
        return first, second, _Scale.of(blend)


@dataclass(frozen=True, slots=True)
class _Scale:
    """How scores lie."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, scores: NDArray[np.float32]) -> _Scale:
        return cls(float(scores.mean()), max(float(scores.std()), _LEAST))

    def apart(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """How many deviations scores are from the mean."""
        return np.asarray((scores - self.mean) / self.deviation, np.float32)


class StrongerModel:
    """The model of an index's upgrade, as searches meet it: they do without until it is at hand.

    A static model is loaded for the first search. A transformer, which takes seconds, is loaded beside the second one,
    by a thread, since a process that searches again is one that stays; or at once for a search that waits. Where it
    cannot be loaded, that is logged once and the vectors of the index's own model answer.
    """

    def __init__(self, record: ModelRecord, load: Load) -> None:
        self.record = record
        self._load = load
        self._model: IndexModel | None = None
        self._thread: Thread | None = None
        self._asked = self._failed = False

    def query(self, text: str, task: Task, *, wait: bool) -> NDArray[np.int8] | None:
        """(d,) int8: what a query is compared by; None where the model is not at hand."""
        if self._model is None and not self._failed:
            self._bring(wait or self.record.kind == "static")
        if self._model is None:
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a text that is cut
                return self._model.query(text, task)
        except Exception as error:  # of any model
            self._fail(error)
            return None

    def _bring(self, wait: bool) -> None:
        if self._thread is None and (wait or self._asked):
            self._thread = Thread(target=self._open, name=f"model {self.record.name}")
            self._thread.start()
        if self._thread and wait:
            self._thread.join()
        self._asked = True

    def _open(self) -> None:
        try:
            embedder = self._load(self.record.name, dtype=self.record.narrow, cache=VectorCache())
            if embedder.fingerprint != self.record.fingerprint:
                raise ModelError(f"the model {self.record.name} has changed since the upgrade began")
            embedder.load()
            self._model = IndexModel(self.record, embedder)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._model, self._failed = None, True
        told = f"{error}" if isinstance(error, CodekinError) else f"{type(error).__name__}: {error}"
        logging.getLogger("codekin").warning(
            "codekin: %s: this answers without the vectors of the upgrade", told.partition("\n")[0]
        )


class Upgrade:
    """What the searches of one index hold of its upgrade: the model, and the vectors by row.

    `missing` names the model that the last one did without, "" where there is none.
    """

    def __init__(self, load: Load) -> None:
        self.missing = ""
        self._load = load
        self._model: StrongerModel | None = None
        self._upgraded: Upgraded | None = None
        self._placed: tuple[Upgraded, View, NDArray[np.int64], Vectors] | None = None

    def forget(self) -> None:
        """Lets go of the vectors: those that come are of another database."""
        self._upgraded = self._placed = None

    def joined(
        self,
        store: Store | ClusterStore,
        view: View | IndexView,
        query: str,
        task: Task,
        made: MutableMapping[ModelRecord, NDArray[np.int8] | None],
        *,
        wait: bool,
    ) -> View | IndexView:
        """The view for a query, its vectors joined with those of the upgrade where there are any.

        `made` holds what models have made of the query for other indexes. Call it inside `store.reading`.
        """
        self.missing = ""
        if not (isinstance(store, Store) and isinstance(view, View)):
            return view
        record = store.upgrade()
        if record is None:
            return view
        if self._model is None or self._model.record != record:
            self._model = StrongerModel(record, self._load)
        of_model = replace(record, since=0)
        if of_model not in made:
            made[of_model] = self._model.query(query, task, wait=wait)
        wanted = made[of_model]
        if wanted is None:
            self.missing = record.name
            return view
        self._upgraded = store.upgraded(self._upgraded)
        if self._upgraded is None:
            return view
        if self._placed is None or self._placed[0] is not self._upgraded or self._placed[1] is not view:
            self._placed = (self._upgraded, view, *_placed(self._upgraded, view.contents.row_of))
        _, _, rows, vectors = self._placed
        if not len(rows):
            return view
        joined = copy(view)
        joined.vectors = Mixed(view.vectors, rows, vectors, wanted)
        return joined


def _placed(upgraded: Upgraded, row_of: NDArray[np.int32]) -> tuple[NDArray[np.int64], Vectors]:
    """The rows, ascending, that have stronger vectors, and those vectors."""
    inside = np.flatnonzero(upgraded.numbers < len(row_of))
    rows = row_of[upgraded.numbers[inside]].astype(np.int64)
    inside, rows = inside[rows >= 0], rows[rows >= 0]
    order = np.argsort(rows)
    return rows[order], Vectors(upgraded.vectors[inside[order]])
