"""One self-contained HTML page of results: no network, no build step; html/ holds its parts, this its data."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import combinations
from typing import Any, NamedTuple

from codekin.evaluate.paper import MODELS, Column
from codekin.evaluate.report import SIGNIFICANT, differing, full_results, vector_bytes
from codekin.evaluate.results import MAIN_METRIC, QueryResult, Result
from codekin.evaluate.table import averages, column_mean, in_order

MOST_QUERIES = 2000
"""How many queries a page carries with their texts, shared equally by its benchmarks."""
MOST_CHARACTERS = 1200
"""Where a text is cut."""

_BINS = 20
_PLACES = 6
# Half of a surrogate pair is what is left of broken UTF-8 (PEP 383): no file of UTF-8 can hold it.
_SURROGATE = re.compile("[\ud800-\udfff]")
_MARKER = re.compile(r"\{\{([a-z.]+)\}\}")


class Texts(NamedTuple):
    """A benchmark's texts by id, and by query the grades above 0 of its documents where they are known."""

    queries: Mapping[str, str]
    documents: Mapping[str, str]
    relevant: Mapping[str, Mapping[str, float]] = {}


def html_page(
    results: Sequence[Result], texts: Mapping[str, Texts], *, beside: Sequence[Column] = MODELS
) -> str:
    """The page of `results` `beside` the paper's columns, its wins and losses browsed by the `texts` by benchmark.

    Counts and tests are over all queries; the page carries those of `carried_queries`.
    """
    resource = files("codekin.evaluate").joinpath("html")
    parts = {
        name: resource.joinpath(name).read_text("utf-8") for name in ("page.css", "charts.js", "page.js")
    }
    # In JSON "<" occurs in strings alone; escaped, nothing in a text can end the element or open a comment.
    data = json.dumps(_data(results, texts, beside), ensure_ascii=False, separators=(",", ":")).replace(
        "<", "\\u003c"
    )
    parts["data"] = _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", data)
    whole = resource.joinpath("page.html").read_text("utf-8")
    return _MARKER.sub(lambda marker: parts[marker[1]], whole)


def carried_queries(results: Sequence[Result]) -> dict[str, list[str]]:
    """By benchmark the queries that a page has the texts of: those of all of its models that they differ most in.

    There are at most MOST_QUERIES divided by the number of benchmarks.
    """
    measured: dict[str, list[Result]] = {}
    for own in full_results(results).values():
        for name, result in own.items():
            measured.setdefault(name, []).append(result)
    most = max(1, MOST_QUERIES // max(1, len(measured)))
    return {name: _most_differing(found)[:most] for name, found in measured.items()}


def _most_differing(results: Sequence[Result]) -> list[str]:
    def order(query: str) -> tuple[float, str]:
        figures = [_figure(result.queries[query]) for result in results]
        return min(figures) - max(figures), query

    return sorted(_shared(results), key=order)


def _shared(results: Sequence[Result]) -> set[str]:
    return set.intersection(*(set(result.queries) for result in results))


def _data(results: Sequence[Result], texts: Mapping[str, Texts], beside: Sequence[Column]) -> dict[str, Any]:
    full = full_results(results)
    names = in_order({name for own in full.values() for name in own})
    published = [column for column in beside if any(name in column.figures for name in names)]
    models = list(full)
    carried = carried_queries(results)
    return {
        "significant": SIGNIFICANT,
        "characters": MOST_CHARACTERS,
        "models": [_model(model, list(own.values())) for model, own in full.items()],
        "published": [
            {"name": column.name, "short": column.short, "parameters": column.parameters}
            for column in published
        ],
        "benchmarks": [_benchmark(name, full, published) for name in names],
        "averages": [
            {
                "label": average.label,
                "members": [names.index(name) for name in average.benchmarks],
                "published": [column_mean(column, average.benchmarks) for column in published],
            }
            for average in averages(full)
        ],
        "forms": _forms(results, models, names),
        "pairs": [
            _pair(models.index(first), models.index(second), place, full[first][name], full[second][name])
            for place, name in enumerate(names)
            for first, second in combinations(models, 2)
            if name in full[first] and name in full[second]
        ],
        "queries": [
            _queries(carried[name], [own.get(name) for own in full.values()], texts.get(name, Texts({}, {})))
            for name in names
        ],
    }


def _model(name: str, results: Sequence[Result]) -> dict[str, Any]:
    return {
        "name": name,
        "parameters": next((result.parameters for result in results if result.parameters), None),
        "dimensions": results[0].form.dimensions,
        "precision": results[0].form.precision,
        "seconds": round(sum(result.seconds for result in results), 1),
    }


def _benchmark(
    name: str, full: Mapping[str, Mapping[str, Result]], published: Sequence[Column]
) -> dict[str, Any]:
    own = [results.get(name) for results in full.values()]
    any_result = next(result for result in own if result)
    return {
        "name": name,
        "task": any_result.task.value,
        "split": any_result.split,
        "queries": len(any_result.queries),
        "documents": any_result.documents,
        "figures": [None if result is None else result.figures[MAIN_METRIC] for result in own],
        "intervals": [
            None if result is None else [*map(_rounded, result.intervals.get(MAIN_METRIC, ()))]
            for result in own
        ],
        "published": [column.figures.get(name) for column in published],
    }


def _forms(results: Sequence[Result], models: list[str], names: list[str]) -> list[dict[str, Any]]:
    """Every size and precision of each model, with its figure by benchmark."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for result in results:
        form = result.form
        member = found.setdefault(
            (result.model, form),
            {
                "model": models.index(result.model),
                "dimensions": form.dimensions,
                "precision": form.precision,
                "rescored": form.rescored,
                "bytes": vector_bytes(form),
                "figures": [None] * len(names),
            },
        )
        member["figures"][names.index(result.benchmark)] = result.figures[MAIN_METRIC]
    return list(found.values())


def _pair(first: int, second: int, benchmark: int, one: Result, other: Result) -> dict[str, Any]:
    """How two models differ on a benchmark: wins of the first, losses, ties, and differences in bins from -1 to 1."""
    bins = [0] * _BINS
    wins = losses = ties = 0
    shared = one.queries.keys() & other.queries.keys()
    for query in shared:
        gap = _figure(one.queries[query]) - _figure(other.queries[query])
        wins, losses, ties = wins + (gap > 0), losses + (gap < 0), ties + (gap == 0)
        if gap:
            bins[min(_BINS - 1, int((gap + 1) / 2 * _BINS))] += 1
    return {
        "first": first,
        "second": second,
        "benchmark": benchmark,
        "wins": wins,
        "losses": losses,
        "ties": ties,
        "p": float(f"{differing(one, other):.3g}"),
        "bins": bins,
    }


@dataclass(slots=True)
class _Documents:
    """The documents that a benchmark's rows name, each once."""

    texts: Mapping[str, str]
    places: dict[str, int] = field(default_factory=dict)

    def place(self, name: str) -> int:
        return self.places.setdefault(name, len(self.places))

    def data(self) -> list[dict[str, Any]]:
        return [{"id": name, **_cut(self.texts.get(name, ""))} for name in self.places]


def _queries(carried: Sequence[str], results: Sequence[Result | None], texts: Texts) -> dict[str, Any]:
    """The carried queries, each with its text, its figures and every model's best document."""
    documents = _Documents(texts.documents)
    rows = []
    for query in carried:
        relevant = texts.relevant.get(query, {})
        answers = sorted(
            (name for name, grade in relevant.items() if grade > 0), key=lambda name: -relevant[name]
        )
        rows.append(
            {
                "id": query,
                **_cut(texts.queries.get(query, "")),
                "figures": [
                    _rounded(_figure(result.queries[query])) if result else None for result in results
                ],
                "best": [_best(result, query, documents, answers) for result in results],
                "answer": documents.place(answers[0]) if answers else None,
            }
        )
    total = len(_shared([result for result in results if result]))
    return {"total": total, "rows": rows, "documents": documents.data()}


def _best(
    result: Result | None, query: str, documents: _Documents, answers: Sequence[str]
) -> dict[str, Any] | None:
    """A model's first document, whether it answers (None: not known), and the rank of the first that does."""
    if result is None or not result.queries[query].ranking:
        return None
    ranking = result.queries[query].ranking
    name, score = ranking[0]
    ranks = (rank for rank, (found, _) in enumerate(ranking, 1) if found in answers)
    return {
        "document": documents.place(name),
        "score": _rounded(score),
        "right": name in answers if answers else None,
        "rank": next(ranks, None),
        "depth": len(ranking),
    }


def _cut(text: str) -> dict[str, Any]:
    """A text of at most MOST_CHARACTERS, and how many there were where that is more."""
    if len(text) <= MOST_CHARACTERS:
        return {"text": text}
    return {"text": text[:MOST_CHARACTERS], "length": len(text)}


def _figure(query: QueryResult) -> float:
    return query.figures[MAIN_METRIC]


def _rounded(figure: float) -> float:
    return round(figure, _PLACES)
