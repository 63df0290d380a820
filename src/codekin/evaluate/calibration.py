"""A model's calibration from labelled sets: which cosines say that a document answers, and which say nothing."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codekin.data import Files, choose_split, read_pairs, retrievals
from codekin.data.beir import is_retrieval
from codekin.embed import Embedder
from codekin.embed.calibration import Calibration, Distribution, Geometry, TaskCalibration
from codekin.embed.vectors import checked, shorten
from codekin.errors import InputError
from codekin.evaluate.geometry import anisotropy, effective_dimensions, noise_floor
from codekin.tasks import Role, Task

RATES = (0.1, 0.01, 0.001, 0.0001)
QUANTILES = (1, 5, 25, 50, 75, 95, 99)
HARD = 5
"""Documents nearest to a query that do not answer it, where its pairs name none themselves."""

# Five million unrelated pairs: at a rate of 0.0001 still five hundred of them.
_MAX_QUERIES, _MAX_DOCUMENTS = 1_000, 5_000

Cosines = NDArray[np.float32]


@dataclass(slots=True)
class LabelledSet:
    """Queries and documents of one task, each text once. By the query's number, the numbers of the documents that
    answer it, and of those that look alike and do not, where that is known."""

    task: Task
    queries: list[str] = field(default_factory=list)
    documents: list[str] = field(default_factory=list)
    answers: list[set[int]] = field(default_factory=list)
    hard: list[set[int]] = field(default_factory=list)


class _Builder:
    """Numbers texts as they come."""

    def __init__(self, task: Task) -> None:
        self.set = LabelledSet(task)
        self._queries: dict[str, int] = {}
        self._documents: dict[str, int] = {}

    def query(self, text: str) -> int:
        number = self._queries.setdefault(text, len(self._queries))
        if number == len(self.set.queries):
            self.set.queries.append(text)
            self.set.answers.append(set())
            self.set.hard.append(set())
        return number

    def document(self, text: str) -> int:
        number = self._documents.setdefault(text, len(self._documents))
        if number == len(self.set.documents):
            self.set.documents.append(text)
        return number


def read_labelled(where: str | Path, task: Task | None = None) -> list[LabelledSet]:
    """The labelled sets of a folder in BEIR's layout or a file of pairs, one a task.

    `task` is that of queries or pairs that do not say theirs (default: nl2code). Of a folder in splits, dev is read,
    or else test. Raises InputError as `read_pairs` does, and where nothing is labelled.
    """
    builders: dict[Task, _Builder] = {}
    default = task or Task.NL2CODE
    if Path(where).is_dir() and _is_retrieval(Path(where)):
        _read_retrieval(Path(where), default, builders)
    else:
        for pair in read_pairs(where, task=default):
            own = builders.setdefault(pair.task, _Builder(pair.task))
            query, document = own.query(pair.query), own.document(pair.document)
            own.set.answers[query].add(document)
            own.set.hard[query] |= {own.document(text) for text in pair.negatives}
    found = [_sample(builder.set) for builder in builders.values() if any(builder.set.answers)]
    if not found:
        raise InputError(f"{where}: nothing is labelled")
    return found


def _is_retrieval(folder: Path) -> bool:
    with Files(folder) as files:
        return is_retrieval(files)


def _read_retrieval(folder: Path, default: Task, builders: dict[Task, _Builder]) -> None:
    with Files(folder) as files:
        for part in retrievals(files, choose_split(files, ("dev", "test"))):
            judged = part.read()
            task = judged.task or default
            own = builders.setdefault(task, _Builder(task))
            numbers = dict(zip(judged.documents, map(own.document, judged.texts()), strict=True))
            for key, text in judged.queries.items():
                answers = {numbers[document] for document, grade in judged.qrels[key].items() if grade > 0}
                own.set.answers[own.query(text)] |= answers


def _sample(one: LabelledSet) -> LabelledSet:
    """The set itself, or a part of it that is the same in every run: queries, what is labelled for them, and others."""
    asked = _drawn([n for n, answers in enumerate(one.answers) if answers], one.queries, _MAX_QUERIES)
    needed = {d for n in asked for d in (*one.answers[n], *one.hard[n])}
    others = [n for n in range(len(one.documents)) if n not in needed]
    kept = sorted([*needed, *_drawn(others, one.documents, max(0, _MAX_DOCUMENTS - len(needed)))])
    place = {number: at for at, number in enumerate(kept)}
    return LabelledSet(
        one.task,
        [one.queries[n] for n in asked],
        [one.documents[n] for n in kept],
        [{place[d] for d in one.answers[n]} for n in asked],
        [{place[d] for d in one.hard[n] - one.answers[n]} for n in asked],
    )


def _drawn(numbers: Sequence[int], texts: Sequence[str], count: int) -> list[int]:
    if len(numbers) <= count:
        return list(numbers)
    return sorted(
        sorted(numbers, key=lambda n: hashlib.blake2b(texts[n].encode("utf-8", "replace")).digest())[:count]
    )


def calibrate(
    embedder: Embedder,
    sets: Iterable[LabelledSet],
    *,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Calibration:
    """The calibration of a model at each of its sizes, for the tasks of the sets; sets of one task count together.

    `progress` is called with the task, and the tokens done of all that a transformer reads of its queries, then of its
    documents. Raises ModelError for a model of unsound vectors.
    """
    by_task: dict[Task, list[_Encoded]] = {}
    for one in sets:
        by_task.setdefault(one.task, []).append(_Encoded.of(one, embedder, progress))
    tasks: dict[Task, dict[int, TaskCalibration]] = {}
    for task, encoded in by_task.items():
        for size in embedder.sizes:
            cut = [one.cut(size) for one in encoded]
            tasks.setdefault(task, {})[size] = measure_scores(*_pooled(cut), geometry=_geometry(cut))
    return Calibration(embedder.fingerprint, tasks)


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A labelled set and its vectors, (queries, d) and (documents, d)."""

    labels: LabelledSet
    queries: Cosines
    documents: Cosines

    @classmethod
    def of(
        cls, labels: LabelledSet, embedder: Embedder, progress: Callable[[str, int, int], None]
    ) -> _Encoded:
        def vectors(texts: list[str], role: Role) -> Cosines:
            found = embedder.encode(
                texts,
                labels.task,
                role,
                progress=lambda done, total: progress(labels.task.value, done, total),
            )
            return checked(found, len(texts), embedder.name, zeros=embedder.kind == "static")

        return cls(labels, vectors(labels.queries, Role.QUERY), vectors(labels.documents, Role.DOCUMENT))

    def cut(self, size: int) -> _Encoded:
        return _Encoded(self.labels, shorten(self.queries, size), shorten(self.documents, size))


def _pooled(encoded: Sequence[_Encoded]) -> tuple[Cosines, Cosines, Cosines]:
    """The cosines of related, hard and unrelated pairs of several sets."""
    kinds: tuple[list[Cosines], ...] = ([], [], [])
    for one in encoded:
        for kind, cosines in zip(kinds, _cosines(one), strict=True):
            kind.append(cosines)
    related, hard, unrelated = (np.concatenate(kind) for kind in kinds)
    return related, hard, unrelated


def _cosines(one: _Encoded) -> tuple[Cosines, Cosines, Cosines]:
    scores = one.queries @ one.documents.T
    answers = np.zeros(scores.shape, np.bool_)
    for row, documents in enumerate(one.labels.answers):
        answers[row, list(documents)] = True
    related, unrelated = scores[answers], scores[~answers]
    scores[answers] = -np.inf
    hard = [_hardest(row, known) for row, known in zip(scores, one.labels.hard, strict=True)]
    return related, np.concatenate(hard), unrelated


def _hardest(scores: Cosines, known: set[int]) -> Cosines:
    found = scores[list(known)] if known else -np.sort(-scores)[:HARD]
    kept: Cosines = found[np.isfinite(found)]
    return kept


def measure_scores(
    related: Cosines, hard: Cosines, unrelated: Cosines, *, geometry: Geometry
) -> TaskCalibration:
    """Distributions, AUC and thresholds of cosines, each (n,)."""
    others = np.sort(unrelated)
    thresholds = {f"{rate:g}": score for rate in RATES if (score := threshold(others, rate)) is not None}
    return TaskCalibration(
        related=_distribution(related),
        hard=_distribution(hard),
        unrelated=_distribution(others),
        auc=auc(related, others),
        hard_auc=auc(related, np.sort(hard)),
        thresholds=thresholds,
        balanced=balanced(related, others),
        geometry=geometry,
    )


def auc(related: Cosines, others: Cosines) -> float:
    """The probability that a related pair scores above another, ties by half; `others` ascending. nan for none."""
    if not (len(related) and len(others)):
        return math.nan
    below, up_to = (np.searchsorted(others, related, side) for side in ("left", "right"))
    return float((below + up_to).mean() / (2 * len(others)))


def threshold(others: Cosines, rate: float) -> float | None:
    """The lowest score, to four places, that at most this share of `others`, ascending, reach.

    None where they are too few for one of them to be such a share.
    """
    count = int(rate * len(others) + 1e-9)
    if not count:
        return None
    # One step above the score of the first that is one too many.
    score = math.floor(float(others[-count - 1]) * 1e4) / 1e4 if count < len(others) else -1.0
    while np.searchsorted(others, np.float32(score), "left") < len(others) - count:
        score = round(score + 1e-4, 4)
    return score


def balanced(related: Cosines, others: Cosines) -> float:
    """The score at which the share of related pairs that reach it, less that of others, is largest (Youden's J)."""
    scores = np.sort(related)
    reached = 1 - np.arange(len(scores)) / max(1, len(scores))
    wrong = 1 - np.searchsorted(others, scores, "left") / max(1, len(others))
    return float(scores[int(np.argmax(reached - wrong))]) if len(scores) else math.nan


def _distribution(cosines: Cosines) -> Distribution:
    if not len(cosines):
        return Distribution(0, math.nan, math.nan, {})
    levels = np.percentile(cosines, QUANTILES)
    return Distribution(
        len(cosines),
        float(cosines.mean(dtype=np.float64)),
        float(cosines.std(dtype=np.float64)),
        {str(percent): float(level) for percent, level in zip(QUANTILES, levels, strict=True)},
    )


def _geometry(encoded: Sequence[_Encoded]) -> Geometry:
    """Means over the sets."""
    floors, dimensions, cones = zip(*map(_lie, encoded), strict=True)
    return Geometry(float(np.mean(floors)), float(np.mean(dimensions)), float(np.mean(cones)))


def _lie(one: _Encoded) -> Iterator[float]:
    pairs = [(row, document) for row, documents in enumerate(one.labels.answers) for document in documents]
    rows, columns = np.array(pairs).T
    related = float((one.queries[rows] * one.documents[columns]).sum())
    yield noise_floor(one.queries, one.documents, related, len(pairs))
    yield effective_dimensions(one.documents)
    yield anisotropy(one.documents)
