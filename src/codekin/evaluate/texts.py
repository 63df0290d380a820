"""The texts that a page of results shows, read from the benchmarks again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from codekin.errors import CodekinError
from codekin.evaluate.benchmarks import Benchmark
from codekin.evaluate.page import Texts, carried_queries
from codekin.evaluate.report import full_results
from codekin.evaluate.results import Result
from codekin.evaluate.runner import in_part


def page_texts(results: Sequence[Result], benchmarks: Iterable[Benchmark]) -> dict[str, Texts]:
    """By benchmark the texts of `carried_queries`, of the documents that the models found first, and of the answers.

    The corpora stream. A benchmark whose data are not to be had any more is left out.
    """
    carried = {name: set(queries) for name, queries in carried_queries(results).items()}
    full = full_results(results)
    found = {}
    for benchmark in benchmarks:
        if queries := carried.get(benchmark.name):
            own = [
                by_benchmark[benchmark.name]
                for by_benchmark in full.values()
                if benchmark.name in by_benchmark
            ]
            try:
                found[benchmark.name] = _texts(benchmark, queries, own)
            except CodekinError:
                continue
    return found


def _texts(benchmark: Benchmark, carried: set[str], results: Sequence[Result]) -> Texts:
    wanted = {
        name for result in results for query in carried for name, _ in result.queries[query].ranking[:1]
    }
    queries: dict[str, str] = {}
    documents: dict[str, str] = {}
    relevant: dict[str, dict[str, float]] = {}
    with benchmark.load() as loaded:
        for part in loaded.parts:
            for name, text in part.queries.items():
                query = in_part(part.part, name)
                if query in carried:
                    queries[query] = text
                    relevant[query] = {
                        in_part(part.part, key): grade for key, grade in part.qrels[name].items()
                    }
                    wanted.update(key for key, grade in relevant[query].items() if grade > 0)
            for name, text in zip(part.documents, part.texts(), strict=True):
                if (document := in_part(part.part, name)) in wanted:
                    documents[document] = text
    return Texts(queries, documents, relevant)
