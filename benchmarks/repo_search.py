#!/usr/bin/env python3
"""Code search on the repositories of the semble benchmark: codekin and semble in one process, and each signal's worth.

    python benchmarks/repo_search.py BENCH --mirror REPOSITORIES [--semble] [--ablation] [--repository NAME]...
        [--model NAME]

`codekin evaluate search BENCH --mirror REPOSITORIES` measures codekin alone, or beside commands. This adds what no
command can: with `--semble` (pip install semble) semble as a library, with the bundled model and its index warm; with
`--ablation` the ranking with each signal off.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

from codekin import CodeIndex, embed
from codekin.evaluate.repositories import Place, Repository, read_repositories
from codekin.evaluate.search import Codekin, Hit, Measured, Search, System, measure, summarise
from codekin.search.ranking import WEIGHTS, Weights

BUNDLED = Path(embed.__file__).parent / "models" / embed.DEFAULT_MODEL
BUDGET = 2000


class Semble:
    """The peer, with codekin's static model, which is in the format that it reads."""

    runs, indexes = 5, True

    @contextmanager
    def open(self, root: Path, work: Path) -> Iterator[Mapping[str, Search]]:
        from semble import SembleIndex

        index = SembleIndex.from_path(str(root), model_path=str(BUNDLED))

        def search(question: str, top: int) -> list[Hit]:
            chunks = [hit.chunk for hit in index.search(question, top_k=top)]
            return [
                Hit(
                    Place(
                        str(Path(root, chunk.file_path).relative_to(root)), chunk.start_line, chunk.end_line
                    ),
                    len(chunk.content) // 4,
                )
                for chunk in chunks
            ]

        yield {"semble": search}


class Ablation:
    """Hybrid search with each signal off, over one index."""

    runs, indexes = 1, True
    # What switches a signal off where that is not 0.
    off: Mapping[str, object] = {"unasked": False, "repeat": 1.0}

    def __init__(self, model: str) -> None:
        self.model = model

    @contextmanager
    def open(self, root: Path, work: Path) -> Iterator[Mapping[str, Search]]:
        names = [field.name for field in fields(Weights)]
        without = {name: replace(WEIGHTS, **{name: self.off.get(name, 0.0)}) for name in names}
        fusion = replace(WEIGHTS, **{name: self.off.get(name, 0.0) for name in names[2:]})
        variants = {"all signals": WEIGHTS, **{f"without {name}": w for name, w in without.items()}}
        with CodeIndex(root, index=work, model=self.model) as index:
            index.update()
            yield {
                label: search_with(index, weights)
                for label, weights in (variants | {"fusion alone": fusion}).items()
            }


def search_with(index: CodeIndex, weights: Weights) -> Search:
    def search(question: str, top: int) -> list[Hit]:
        index.weights = weights
        return [Hit(Place(hit.path, hit.start_line, hit.end_line), 0) for hit in index.search(question, top)]

    return search


def run(repositories: Sequence[Repository], systems: Sequence[System]) -> list[Measured]:
    return [
        found
        for repository in repositories
        for system in systems
        for found in measure(repository, system, budget=BUDGET)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bench", type=Path)
    parser.add_argument("--mirror", type=Path)
    parser.add_argument("--repository", action="append", default=[])
    parser.add_argument("--model", default=embed.DEFAULT_MODEL)
    parser.add_argument("--semble", action="store_true")
    parser.add_argument("--ablation", action="store_true")
    args = parser.parse_args()
    repositories = read_repositories(args.bench, mirror=args.mirror, names=args.repository, on_skip=print)
    if args.ablation:
        first, *others = summarise(run(repositories, [Ablation(args.model)]))
        for one in (first, *others):
            print(f"{one.search:22}{one.ndcg:10.4f}{one.ndcg - first.ndcg:+10.4f}")
        return
    systems: list[System] = [Codekin(args.model), *([Semble()] if args.semble else [])]
    print(f"{'':28}{'nDCG@10':>8}{f'recall in {BUDGET} tokens':>24}{'index ms':>10}{'query ms':>10}")
    for one in summarise(run(repositories, systems)):
        index = f"{1000 * one.index_seconds:.0f}" if one.index_seconds else ""
        print(f"{one.search:28}{one.ndcg:8.4f}{one.recall:24.3f}{index:>10}{1000 * one.query_seconds:10.2f}")


if __name__ == "__main__":
    main()
