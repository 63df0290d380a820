#!/usr/bin/env python3
"""What a second stage adds on the repositories of the semble benchmark, and what it costs in time.

    python benchmarks/reranking.py BENCH --mirror REPOSITORIES [--reranker MODEL] [--mode MODE]... [--candidates N]
        [--repository NAME]... [--cache DIR]

Every question is searched with the bundled model, and its best candidates are scored by MODEL, by default
all-MiniLM-L6-v2 of the hub. MODE is what the first stage is: `vectors`, the bundled model's cosines alone, or
`semantic` or `hybrid` search (default: the first and the last). Printed are nDCG@10 of the first stage, of both stages
by the weight of the second, and of the second alone; then of the weight that is best on all other repositories, for
each repository: what it is worth where it was not chosen. Vectors are kept in DIR (default: nowhere); the times of
the second stage are those of vectors that are not yet there.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codekin import CodeIndex
from codekin.embed import VectorCache
from codekin.evaluate import paired_p_value
from codekin.evaluate.repositories import Place, Question, Repository, read_repositories
from codekin.evaluate.search import TOP, ndcg
from codekin.rerank import DEFAULT_RERANKER, Reranker, open_reranker
from codekin.search import Result, SecondStage
from codekin.search.ranking import WEIGHTS, Weights
from codekin.search.second_stage import CANDIDATES, WEIGHT
from codekin.tasks import Task

MODES = {
    "vectors": (
        "semantic",
        Weights(lexical=0, defines=0, stem=0, folder=0, symbol=0, support=0, unasked=False, repeat=1),
    ),
    "semantic": ("semantic", WEIGHTS),
    "hybrid": ("hybrid", WEIGHTS),
}
"""A mode of search, and what its signals count."""
SHARES = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
ALONE = 1e6
"""A weight beside which the first stage's score is nothing."""


@dataclass(frozen=True)
class Asked:
    """A question's nDCG@10 by weight, 0 being the first stage, and the seconds of both stages."""

    repository: str
    ndcg: dict[float, float]
    first_seconds: float
    second_seconds: float


class Remembering:
    """A reranker that scores a text for a question once."""

    def __init__(self, reranker: Reranker) -> None:
        self._reranker = reranker
        self.name = reranker.name
        self._known: dict[tuple[str, str], float] = {}

    def load(self) -> None:
        self._reranker.load()

    def score(
        self, query: str, texts: Sequence[str], task: Task, seconds: float | None = None
    ) -> NDArray[np.float32]:
        fresh = [text for text in texts if (query, text) not in self._known]
        if fresh:
            scores = self._reranker.score(query, fresh, task, seconds)
            self._known |= {(query, text): score for text, score in zip(fresh, scores.tolist(), strict=True)}
        return np.array([self._known[query, text] for text in texts], np.float32)


def ask(repository: Repository, reranker: Reranker, mode: str, candidates: int) -> list[Asked]:
    """All questions of a repository."""
    asked = []
    with tempfile.TemporaryDirectory() as work:
        tree = Path(work, "tree")
        tree.mkdir()
        with CodeIndex(repository.checkout(tree), index=Path(work, "index")) as index:
            index.update()
            searched, index.weights = MODES[mode]
            for question in repository.questions:
                started = time.perf_counter()
                found = index.search(question.text, TOP, mode=searched)
                figures = {0.0: found_of(found, question)}
                seconds = time.perf_counter() - started
                index.search(
                    question.text, TOP, mode=searched, rerank=SecondStage(reranker, candidates=candidates)
                )
                assert index.reranked is not None
                if index.reranked.problem:
                    raise SystemExit(index.reranked.problem)
                second_seconds = index.reranked.seconds
                for weight in (*SHARES, ALONE):
                    stage = SecondStage(reranker, candidates=candidates, weight=weight)
                    figures[weight] = found_of(
                        index.search(question.text, TOP, mode=searched, rerank=stage), question
                    )
                asked.append(Asked(repository.name, figures, seconds, second_seconds))
    return asked


def found_of(found: Sequence[Result], question: Question) -> float:
    return ndcg([Place(one.path, one.start_line, one.end_line) for one in found], question.answers)


def mean(asked: Sequence[Asked], figures: Sequence[float]) -> float:
    """The mean of the repositories' means, as the benchmark has it."""
    return float(weighted(asked, figures).mean())


def weighted(asked: Sequence[Asked], figures: Sequence[float]) -> NDArray[np.float64]:
    """Every question's figure, weighted so that their mean is that of the repositories' means."""
    names = [one.repository for one in asked]
    counts = {name: names.count(name) for name in dict.fromkeys(names)}
    share = [len(names) / (len(counts) * counts[name]) for name in names]
    return np.array(figures) * np.array(share)


def held_out(asked: Sequence[Asked]) -> list[float]:
    """Each question's figure at the weight that is best on all other repositories."""
    chosen = {}
    for name in dict.fromkeys(one.repository for one in asked):
        others = [one for one in asked if one.repository != name]
        chosen[name] = max(SHARES, key=lambda weight: mean(others, [one.ndcg[weight] for one in others]))
    print(f"    weights chosen: {', '.join(f'{weight:g}' for weight in sorted(chosen.values()))}")
    return [one.ndcg[chosen[one.repository]] for one in asked]


def report(mode: str, asked: Sequence[Asked]) -> None:
    first = [one.ndcg[0.0] for one in asked]

    def line(label: str, figures: Sequence[float]) -> None:
        p = paired_p_value(weighted(asked, figures), weighted(asked, first))
        better = sum(one > other + 1e-9 for one, other in zip(figures, first, strict=True))
        worse = sum(one < other - 1e-9 for one, other in zip(figures, first, strict=True))
        gain = mean(asked, figures) - mean(asked, first)
        print(f"    {label:28}{mean(asked, figures):8.4f}{gain:+9.4f}{better:8}{worse:8}{p:9.2g}")

    print(f"{mode}: {len(asked)} questions")
    print(f"    {'':28}{'nDCG@10':>8}{'gain':>9}{'better':>8}{'worse':>8}{'p':>9}")
    line("first stage", first)
    for weight in SHARES:
        used = " (the default)" if weight == WEIGHT else ""
        line(f"weight {weight:g}{used}", [one.ndcg[weight] for one in asked])
    line("second stage alone", [one.ndcg[ALONE] for one in asked])
    if len({one.repository for one in asked}) > 1:
        line("weight of other repositories", held_out(asked))
    of_first, of_second = (
        1000 * np.array(seconds)
        for seconds in ([one.first_seconds for one in asked], [one.second_seconds for one in asked])
    )
    print(f"    first stage {np.median(of_first):.1f} ms a question (median)")
    print(f"    second stage {np.median(of_second):.0f} ms (median), {of_second.mean():.0f} ms (mean) more")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bench", type=Path)
    parser.add_argument("--mirror", type=Path)
    parser.add_argument("--repository", action="append", default=[])
    parser.add_argument("--reranker", default=DEFAULT_RERANKER)
    parser.add_argument("--mode", action="append", choices=tuple(MODES))
    parser.add_argument("--candidates", type=int, default=CANDIDATES)
    parser.add_argument("--cache", type=Path)
    args = parser.parse_args()
    repositories = read_repositories(args.bench, mirror=args.mirror, names=args.repository, on_skip=print)
    cache = VectorCache(args.cache) if args.cache else None
    reranker = Remembering(open_reranker(args.reranker, cache=cache))
    for mode in args.mode or ("vectors", "hybrid"):
        asked = [
            one for repository in repositories for one in ask(repository, reranker, mode, args.candidates)
        ]
        report(mode, asked)


if __name__ == "__main__":
    main()
