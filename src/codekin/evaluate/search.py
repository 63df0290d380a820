"""Code search measured on repositories with questions: what is found, for how many tokens, and how fast."""

from __future__ import annotations

import math
import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from codekin.embed import DEFAULT_MODEL, Embedder, VectorCache
from codekin.errors import InputError, ModelError
from codekin.evaluate.metrics import bootstrap_interval, paired_p_value
from codekin.evaluate.repositories import Place, Question, Repository
from codekin.rerank import open_reranker
from codekin.search import CodeIndex, Mode, Result, SecondStage

TOP = 10
"""Results that nDCG looks at."""
TOKEN = 4
"""Characters of code that make a token, as a rule of thumb for language models' tokenizers."""

_DEPTH = 50  # results that a budget is spent on
_SECONDS = 600.0  # that a peer may take for an answer


@dataclass(frozen=True, slots=True)
class Hit:
    """A place that was found, and how many tokens there are to read."""

    place: Place
    tokens: int


Search = Callable[[str, int], Sequence[Hit]]
"""A question and a number to that many hits, if there are as many, best first; what prints all it has may give more."""


class System(Protocol):
    """Something that searches folders, in one or several ways."""

    runs: int
    """How often a question is asked, for the clock's sake."""
    indexes: bool
    """Whether opening a folder is indexing it, and worth timing."""

    def open(self, root: Path, work: Path) -> AbstractContextManager[Mapping[str, Search]]:
        """Its searches of `root` by name; `work` is an empty folder for what it keeps."""
        ...


@dataclass(frozen=True, slots=True)
class Answered:
    """A question's figures from 0 to 1, and the seconds of each time it was asked."""

    question: Question
    ndcg: float
    """nDCG@10 of binary relevance: every place that answers takes the rank of the first hit that meets it."""
    recall: float
    """The share of those places among the hits that fit into the budget of tokens, read from the first one on."""
    seconds: tuple[float, ...]
    hits: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """One search on one repository."""

    search: str
    repository: str
    language: str
    index_seconds: float | None
    """None for what makes no index."""
    answers: tuple[Answered, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """One search over several repositories: means of their means; the median of all times of a question."""

    search: str
    repositories: int
    questions: int
    ndcg: float
    interval: tuple[float, float]
    """95%, by bootstrap over the questions."""
    recall: float
    kinds: dict[str, float]
    """nDCG@10 by the kind of question."""
    index_seconds: float | None
    query_seconds: float


class Codekin:
    """codekin's own search with one model, in several modes over one index."""

    runs, indexes = 5, True

    def __init__(self, model: str = DEFAULT_MODEL, modes: Sequence[Mode] = tuple(Mode)) -> None:
        self._model = model
        self.modes = modes

    @contextmanager
    def open(self, root: Path, work: Path) -> Iterator[Mapping[str, Search]]:
        with CodeIndex(root, index=work, model=self._model) as index:
            index.update()
        # A question is embedded each time that it is asked: how soon a cache answers it says nothing.
        with CodeIndex(root, index=work, model=self._model, update=False, load=_uncached) as index:
            yield {self.name(mode): self._search(index, mode) for mode in self.modes}

    def name(self, mode: Mode) -> str:
        """What its search in a mode is called."""
        return mode.value if mode is Mode.LEXICAL else f"{self._model} {mode.value}"

    def _search(self, index: CodeIndex, mode: Mode) -> Search:
        return lambda question, top: _hits(index.search(question, top, mode=mode))


class TwoStages(Codekin):
    """codekin's own search with a second stage by `reranker`, as `open_reranker` takes it, which has `seconds` for it.

    A candidate is scored anew for each question: its time is that of one that nobody has asked about. Raises ModelError
    where the second stage fails.
    """

    runs = 1

    def __init__(
        self,
        reranker: str,
        model: str = DEFAULT_MODEL,
        modes: Sequence[Mode] = tuple(Mode),
        *,
        seconds: float | None = None,
    ) -> None:
        super().__init__(model, modes)
        scorer = open_reranker(reranker)
        scorer.load()
        self._stage = SecondStage(scorer, candidates=_DEPTH, budget=seconds)
        self._added = f"{reranker}{'' if seconds is None else f' in {seconds:g} s'}"

    def name(self, mode: Mode) -> str:
        return f"{self.first(mode)} + {self._added}"

    def first(self, mode: Mode) -> str:
        """What `Codekin`'s search in that mode is called, which has the first stage alone."""
        return super().name(mode)

    def _search(self, index: CodeIndex, mode: Mode) -> Search:
        # All candidates, however few are asked for: their scores cost the same.
        def search(question: str, top: int) -> Sequence[Hit]:
            found = index.search(question, _DEPTH, mode=mode, rerank=self._stage)
            if index.reranked and index.reranked.problem:
                raise ModelError(index.reranked.problem)
            return _hits(found)

        return search


def _hits(found: Sequence[Result]) -> list[Hit]:
    return [Hit(Place(one.path, one.start_line, one.end_line), -(-len(one.text) // TOKEN)) for one in found]


def _uncached(name: str, *, dtype: str | None, cache: VectorCache | None) -> Embedder:
    return Embedder(name, dtype=dtype)


class Command:
    """A peer: a command that is run for every question and prints a place a line, best first.

    `{query}` and `{repository}` stand for the question and the folder in the words of the template. A line is
    `path`, `path:line` or `path:first-last`, absolute or relative to the repository, whatever follows; lines that
    name no file are passed over. Of a path alone the whole file is to be read, of a line that line.

    Raises InputError for a template without {query}, and once it is asked, for a command that cannot be run or
    ends with a status other than 0 and 1.
    """

    runs, indexes = 1, False

    def __init__(self, name: str, template: str) -> None:
        self.name = name
        try:
            self._words = shlex.split(template)
        except ValueError as error:
            raise InputError(f"peer {name}: {error} in {template!r}") from None
        if not any("{query}" in word for word in self._words):
            raise InputError(f"peer {name}: there is no {{query}} in {template!r}")

    @contextmanager
    def open(self, root: Path, work: Path) -> Iterator[Mapping[str, Search]]:
        yield {self.name: lambda question, top: self._search(root, question)}

    def _search(self, root: Path, question: str) -> list[Hit]:
        values = {"query": question, "repository": str(root)}
        words = [re.sub(r"\{(query|repository)\}", lambda m: values[m[1]], word) for word in self._words]
        try:
            done = subprocess.run(
                words, cwd=root, capture_output=True, stdin=subprocess.DEVNULL, timeout=_SECONDS, check=False
            )
        except OSError as error:
            raise InputError(f"peer {self.name}: {words[0]} cannot be run: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise InputError(f"peer {self.name}: no answer in {_SECONDS:g} s to {question!r}") from None
        if done.returncode not in (0, 1):
            said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise InputError(f"peer {self.name}: {words[0]} ended with status {done.returncode}: {said}")
        lines = done.stdout.decode("utf-8", "surrogateescape").splitlines()
        return [hit for line in lines if (hit := _hit(root, line))]


_LINES = re.compile(r"(?P<path>.+?):(?P<first>\d+)(?:-(?P<last>\d+))?(?!\w)")


def _hit(root: Path, line: str) -> Hit | None:
    match = _LINES.match(line)
    path, first, last = (
        (match["path"], match["first"], match["last"]) if match else (line.strip(), None, None)
    )
    file = root / path
    try:
        if not path or not file.is_file():
            return None
        text = file.read_text(encoding="utf-8", errors="replace")
        inside = file.resolve().relative_to(root.resolve()).as_posix()
    except (OSError, ValueError):
        return None
    start = int(first) if first else None
    end = int(last) if last else start
    read = text if start is None else "\n".join(text.split("\n")[start - 1 : end])
    return Hit(Place(inside, start, end), -(-len(read) // TOKEN))


def measure(
    repository: Repository,
    system: System,
    *,
    budget: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Measured]:
    """A system's searches on one repository, in a temporary folder.

    Each question is asked for the best ten, `system.runs` times by the clock, and once more for as many as `budget`
    tokens may be spent on. `progress` is called with the questions done, and all of them.
    """
    found: list[Measured] = []
    with tempfile.TemporaryDirectory() as tree, tempfile.TemporaryDirectory() as kept:
        root = repository.checkout(Path(tree))
        started = time.perf_counter()
        with system.open(root, Path(kept)) as searches:
            seconds = time.perf_counter() - started if system.indexes else None
            total = len(searches) * len(repository.questions)
            for name, search in searches.items():
                answers = []
                for question in repository.questions:
                    answers.append(_answer(search, question, system.runs, budget))
                    progress(len(found) * len(repository.questions) + len(answers), total)
                found.append(Measured(name, repository.name, repository.language, seconds, tuple(answers)))
    return found


def _answer(search: Search, question: Question, runs: int, budget: int) -> Answered:
    times: list[float] = []
    hits: Sequence[Hit] = ()
    for _ in range(runs):
        started = time.perf_counter()
        hits = search(question.text, TOP)
        times.append(time.perf_counter() - started)
    best = tuple(hit.place for hit in hits[:TOP])
    if len(hits) == TOP:  # there is more
        hits = search(question.text, _DEPTH)
    return Answered(
        question=question,
        ndcg=ndcg(best, question.answers),
        recall=_recall(hits, question.answers, budget),
        seconds=tuple(times),
        hits=best,
    )


def _rank(hits: Sequence[Place], answer: Place) -> int | None:
    return next((rank for rank, hit in enumerate(hits, 1) if hit.meets(answer)), None)


def ndcg(hits: Sequence[Place], answers: Sequence[Place]) -> float:
    """A hit that meets two answers counts once (as in the benchmark's published figures)."""
    ranks = {rank for answer in answers if (rank := _rank(hits, answer))}
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(TOP, len(answers)) + 1))
    return sum(1 / math.log2(rank + 1) for rank in ranks) / ideal if ideal else 0.0


def _recall(hits: Sequence[Hit], answers: Sequence[Place], budget: int) -> float:
    spent = np.cumsum([hit.tokens for hit in hits])
    read = [hit.place for hit in hits[: int(np.searchsorted(spent, budget, side="right"))]]
    return sum(_rank(read, answer) is not None for answer in answers) / len(answers) if answers else 0.0


def summarise(measured: Sequence[Measured]) -> list[Summary]:
    """A summary of each search, in the order of first appearance."""
    summaries = []
    for name in dict.fromkeys(one.search for one in measured):
        own = [one for one in measured if one.search == name]
        kinds = dict.fromkeys(answer.question.kind for one in own for answer in one.answers)
        indexed = [one.index_seconds for one in own if one.index_seconds is not None]
        values = _weighted(own)
        summaries.append(
            Summary(
                search=name,
                repositories=len(own),
                questions=len(values),
                ndcg=float(np.mean(values)),
                interval=bootstrap_interval(values),
                recall=_mean_of_means([[answer.recall for answer in one.answers] for one in own]),
                kinds={
                    kind: _mean_of_means(
                        [[a.ndcg for a in one.answers if a.question.kind == kind] for one in own]
                    )
                    for kind in kinds
                },
                index_seconds=float(np.mean(indexed)) if indexed else None,
                query_seconds=float(np.median([s for one in own for a in one.answers for s in a.seconds])),
            )
        )
    return summaries


@dataclass(frozen=True, slots=True)
class Gain:
    """What a second stage adds to the first: in nDCG@10, how likely by chance, and in seconds a question (medians)."""

    first: str
    both: str
    ndcg: float
    p: float
    seconds: float


def gain(measured: Sequence[Measured], first: str, both: str) -> Gain:
    """Of two searches, what the one of both stages has more than the first."""
    one, other = summarise([found for found in measured if found.search in (first, both)])
    if one.search != first:
        one, other = other, one
    seconds = other.query_seconds - one.query_seconds
    return Gain(first, both, other.ndcg - one.ndcg, chance(measured, first, both), seconds)


def chance(measured: Sequence[Measured], one: str, other: str) -> float:
    """How likely a difference in nDCG@10 as large as that of two searches is by chance, paired by question, 0 to 1."""
    first, second = ([found for found in measured if found.search == name] for name in (one, other))
    return paired_p_value(_weighted(first), _weighted(second))


def _weighted(measured: Sequence[Measured]) -> NDArray[np.float64]:
    """Every question's nDCG, weighted so that their mean is that of the repositories' means."""
    total = sum(len(one.answers) for one in measured)
    return np.array(
        [
            answer.ndcg * total / (len(measured) * len(one.answers))
            for one in measured
            for answer in one.answers
        ]
    )


def _mean_of_means(groups: Sequence[Sequence[float]]) -> float:
    return float(np.mean([np.mean(group) for group in groups if group]))
