"""Models on benchmarks: every form of the vectors from one pass over the texts, results kept as they come."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codekin.data import JudgedSet
from codekin.data.bm25 import BM25
from codekin.embed import Precision
from codekin.errors import CodekinError, InputError
from codekin.evaluate.benchmarks import Benchmark
from codekin.evaluate.metrics import DEPTH, METRICS, bootstrap_interval, in_order, query_figures
from codekin.evaluate.models import Encoder, Lexical, Model
from codekin.evaluate.nearest import Best, nearest
from codekin.evaluate.results import MAIN_METRIC, Form, QueryResult, Result, read_results, write_result
from codekin.evaluate.sources import Loaded
from codekin.tasks import Role, Task

Progress = Callable[[str, str, int, int], None]
"""Called with the model's name, the benchmark's, and its texts that are done, of how many."""
Rankings = dict[str, list[tuple[str, float]]]

KEPT = 10
"""Documents that a result keeps of each query's ranking."""
_BLOCK = 4_096  # documents that are scored at a time
_SLICE = 512  # texts that are encoded at a time: no more are lost where a run is interrupted
_QUERIES = 256  # that BM25 scores at a time


def evaluate(
    models: Sequence[Model],
    benchmarks: Sequence[Benchmark],
    *,
    task: Task | None = None,
    sizes: Sequence[int] = (),
    precisions: Sequence[Precision | str] = (Precision.FLOAT32,),
    output: Path | None = None,
    progress: Progress = lambda model, benchmark, done, total: None,
    on_skip: Callable[[str, Benchmark, CodekinError], None] | None = None,
) -> Iterator[Result]:
    """The results of each model on each benchmark in each form, as they come.

    `task` holds for benchmarks that do not say theirs; without it that is nl2code. `sizes` are those that vectors are
    cut to, by default all that a model has. In the folder `output` results are kept; those of an earlier run with the
    same models and data are taken from there. `on_skip` is told of what cannot be loaded, evaluated or kept, by the
    model's name, "" for all, and the rest goes on; without it the error is raised.

    Raises InputError for a size that a model cannot be cut to and for a folder that cannot be written to, before
    anything is evaluated.
    """
    kinds = list(dict.fromkeys(map(Precision.parse, precisions)))
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        raise InputError(f"two models are called {next(name for name in names if names.count(name) > 1)}")
    asked = {model.name: _sizes(model, sizes) for model in models}
    identities = {model.name: "" if isinstance(model, Lexical) else model.identity() for model in models}
    if output:
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot write to {output}: {error.strerror or error}") from None
    known = {_key(one): one for one in read_results(output)} if output else {}
    for benchmark in benchmarks:
        waiting: list[tuple[Model, str]] = []
        try:
            data = benchmark.source.identity()
        except (CodekinError, OSError):
            data = ""  # loading says what is wrong
        for model in models:
            made_of = _made_of(identities[model.name], data, benchmark.task, task)
            forms = _forms(asked[model.name], kinds)
            found = [known.get((model.name, benchmark.name, form)) for form in forms]
            kept = [one for one in found if one is not None and one.made_of == made_of]
            if len(kept) == len(forms):
                yield from kept
            else:
                waiting.append((model, made_of))
        if not waiting:
            continue
        try:
            with benchmark.load() as loaded:
                for model, made_of in waiting:
                    run = _Run(model, benchmark, loaded, task, made_of, progress)
                    try:
                        results = list(run.results(asked[model.name], kinds))
                        if output:
                            for result in results:
                                write_result(output, result)
                    except CodekinError as error:
                        if on_skip is None:
                            raise
                        on_skip(model.name, benchmark, error)
                        continue
                    yield from results
        except CodekinError as error:
            if on_skip is None:
                raise
            on_skip("", benchmark, error)


class _Run:
    """One model on one benchmark."""

    def __init__(
        self,
        model: Model,
        benchmark: Benchmark,
        loaded: Loaded,
        task: Task | None,
        made_of: str,
        progress: Progress,
    ) -> None:
        self._model, self._benchmark, self._loaded, self._made_of = model, benchmark, loaded, made_of
        self._task = benchmark.task or loaded.task or task or Task.NL2CODE
        self._total = sum(len(part.queries) + len(part.documents) for part in loaded.parts)
        self._done = 0
        self._progress = progress

    def results(self, sizes: Sequence[int], kinds: Sequence[Precision]) -> Iterator[Result]:
        """A result of each form."""
        started = time.perf_counter()
        found: dict[Form, dict[str, dict[str, QueryResult]]] = defaultdict(dict)
        for part in self._loaded.parts:
            for form, rankings in self._rankings(part, sizes, kinds):
                found[form][part.part] = _judge(part, rankings)
        seconds = time.perf_counter() - started
        for form, parts in found.items():
            yield self._result(form, parts, seconds)

    def _rankings(
        self, part: JudgedSet, sizes: Sequence[int], kinds: Sequence[Precision]
    ) -> Iterator[tuple[Form, Rankings]]:
        if isinstance(self._model, Lexical):
            yield Form(), self._lexical(part)
            return
        queries = self._encode(self._model, list(part.queries.values()), Role.QUERY)
        blocks = (self._encode(self._model, texts, Role.DOCUMENT) for texts in _blocks(part.texts()))
        for form, found in nearest(
            queries, blocks, part.documents, sizes=sizes, precisions=kinds, depth=DEPTH
        ):
            yield form, dict(zip(part.queries, found, strict=True))

    def _encode(self, model: Encoder, texts: list[str], role: Role) -> NDArray[np.float32]:
        """(n, d): equal texts once."""
        distinct = list(dict.fromkeys(texts))
        rows = []
        for start in range(0, len(distinct), _SLICE):
            some = distinct[start : start + _SLICE]
            share = len(texts) / len(distinct)

            def tell(done: float, start: int = start, count: int = len(some), share: float = share) -> None:
                self._tell(self._done + int((start + done * count) * share))

            rows.append(model.encode(some, self._task, role, tell))
            tell(1.0)
        self._done += len(texts)
        place = {text: number for number, text in enumerate(distinct)}
        return np.concatenate(rows)[[place[text] for text in texts]]

    def _lexical(self, part: JudgedSet) -> Rankings:
        index = BM25(part.texts())
        self._done += len(part.documents)
        best = Best(len(part.queries), part.documents, DEPTH)
        texts = list(part.queries.values())
        for start in range(0, len(texts), _QUERIES):
            some = texts[start : start + _QUERIES]
            best.add(slice(start, start + len(some)), 0, index.scores(some))
            self._tell(self._done + start + len(some))
        self._done += len(texts)
        # A document without a term of the query is not found.
        return {
            query: [(name, score) for name, score in ranking if score > 0]
            for query, ranking in zip(part.queries, best.rankings(), strict=True)
        }

    def _tell(self, done: int) -> None:
        self._progress(self._model.name, self._benchmark.name, done, self._total)

    def _result(self, form: Form, parts: Mapping[str, Mapping[str, QueryResult]], seconds: float) -> Result:
        means = {
            name: {metric: _mean(metric, queries) for metric in METRICS} for name, queries in parts.items()
        }
        # The mean of the parts' means, as mteb has it, is that of all queries, each weighted by its part's size.
        total = sum(map(len, parts.values()))
        weighted = [
            query.figures[MAIN_METRIC] * total / (len(parts) * len(queries))
            for queries in parts.values()
            for query in queries.values()
        ]
        return Result(
            model=self._model.name,
            benchmark=self._benchmark.name,
            task=self._task,
            split=self._loaded.split,
            form=form,
            figures={metric: float(np.mean([own[metric] for own in means.values()])) for metric in METRICS},
            intervals={MAIN_METRIC: bootstrap_interval(weighted)},
            documents=sum(len(part.documents) for part in self._loaded.parts),
            seconds=seconds,
            queries={
                in_part(name, query): found
                for name, queries in parts.items()
                for query, found in queries.items()
            },
            revision=self._loaded.revision,
            subsets=means if list(means) != [""] else {},
            parameters=self._model.parameters,
            made_of=self._made_of,
        )


def in_part(part: str, name: str) -> str:
    """The id of a query or document among those of all parts."""
    return f"{part}/{name}" if part else name


def _judge(part: JudgedSet, rankings: Rankings) -> dict[str, QueryResult]:
    figures = query_figures(part.qrels, rankings)
    return {
        query: QueryResult(
            own, tuple((in_part(part.part, name), score) for name, score in in_order(rankings[query])[:KEPT])
        )
        for query, own in figures.items()
    }


def _mean(metric: str, queries: Mapping[str, QueryResult]) -> float:
    return float(np.mean([query.figures[metric] for query in queries.values()]))


def _blocks(texts: Iterator[str]) -> Iterator[list[str]]:
    while block := list(islice(texts, _BLOCK)):
        yield block


def _sizes(model: Model, asked: Sequence[int]) -> tuple[int, ...]:
    if isinstance(model, Lexical):
        return ()
    # A model that says nothing of its sizes can be cut to any; the one that does has no others.
    allowed = model.sizes if len(model.sizes) > 1 else range(1, model.sizes[-1] + 1)
    for size in asked:
        if size not in allowed:
            said = ", ".join(map(str, model.sizes))
            raise InputError(f"model {model.name} has no vectors of {size} numbers; sizes: {said}")
    return tuple(sorted(set(asked))) or model.sizes


def _forms(sizes: Sequence[int], kinds: Sequence[Precision]) -> list[Form]:
    if not sizes:
        return [Form()]
    return [
        Form(size, kind.value, rescored)
        for size in sizes
        for kind in kinds
        for rescored in ((False,) if kind is Precision.FLOAT32 else (False, True))
    ]


def _key(result: Result) -> tuple[str, str, Form]:
    return result.model, result.benchmark, result.form


def _made_of(model: str, data: str, own_task: Task | None, task: Task | None) -> str:
    parts = (model, data, str(own_task), str(task))
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
