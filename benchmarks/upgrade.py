#!/usr/bin/env python3
"""How answers get better while a stronger model's vectors fill in, and what their order is worth.

    python benchmarks/upgrade.py BENCH --mirror REPOSITORIES --model MODEL [--repository NAME]... [--cache DIR]
        [--mode MODE]...

Every repository in semble's layout is indexed with the bundled model and upgraded to MODEL by `CodeIndex.upgrade`,
which is stopped at 10, 25, 50, 75 and 100 % of the chunks. At each share every question is searched: `vectors` ranks
by the cosines alone, `hybrid` as `codekin search` does. Printed are nDCG@10 by share, and the share of the questions'
answers (by file) that is upgraded by then, beside that of files in random order. Vectors are kept in DIR (default: the
user's cache), so that a second run computes nothing.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from codekin import CodeIndex, Embedder
from codekin.embed import VectorCache
from codekin.evaluate.repositories import Place, Repository, read_repositories
from codekin.evaluate.search import TOP, ndcg
from codekin.search import UpgradeProgress, upgrading
from codekin.search.ranking import WEIGHTS, Weights

SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
MODES = {
    "vectors": (
        "semantic",
        Weights(lexical=0, defines=0, stem=0, folder=0, symbol=0, support=0, unasked=False, repeat=1),
    ),
    "hybrid": ("hybrid", WEIGHTS),
}
"""A mode of search, and what its signals count."""
ORDERS = 20  # random ones
_BATCH = 8  # chunks, so that an upgrade can be stopped close to a share

Figures = dict[tuple[str, float], list[float]]
"""By what is measured and the share that is upgraded, a figure a repository."""


class _StopError(Exception):
    """Ends an upgrade between two transactions."""


def measure(
    repository: Repository, model: str, modes: Sequence[str], kept: VectorCache, figures: Figures
) -> None:
    """Adds a repository's figures."""
    with tempfile.TemporaryDirectory() as work:
        tree = Path(work, "tree")
        tree.mkdir()

        def load(name: str, *, dtype: str | None, cache: VectorCache | None) -> Embedder:
            return Embedder(name, dtype=dtype, cache=kept)

        with CodeIndex(repository.checkout(tree), index=Path(work, "index"), load=load) as index:
            index.update()
            contents = index.contents()
            counts = np.bincount(contents.file_of, minlength=len(contents.paths))
            answers = [
                {
                    number
                    for number, path in enumerate(contents.paths)
                    if any(Place(path).meets(Place(place.path)) for place in question.answers)
                }
                for question in repository.questions
            ]
            files = upgrading.Order(index._store).sorted(index._store.waiting())
            order = [contents.paths.index(file.path) for file in files]
            for share in SHARES:
                figures["answers, most central first", share].append(covered(order, counts, answers, share))
                shuffled = (np.random.default_rng(seed).permutation(len(counts)) for seed in range(ORDERS))
                figures["answers, random order", share].append(
                    float(np.mean([covered(some.tolist(), counts, answers, share) for some in shuffled]))
                )
                for shown in Path(work, "index").glob(
                    "*-shown"
                ):  # these very questions must not say what is wanted
                    shown.unlink()
                fill(index, model, share)
                for mode in modes:
                    figures[mode, share].append(asked(index, repository, mode))


def fill(index: CodeIndex, model: str, share: float) -> None:
    """Upgrades until `share` of the chunks are done."""
    if not share:
        return

    def progress(now: UpgradeProgress) -> None:
        if share < 1 and now.chunks >= share * now.chunks_total:
            raise _StopError

    with suppress(_StopError):
        index.upgrade(model, progress=progress)


def asked(index: CodeIndex, repository: Repository, mode: str) -> float:
    """The mean nDCG@10 of the questions."""
    searched, index.weights = MODES[mode]
    found = []
    for question in repository.questions:
        results = index.search(question.text, TOP, mode=searched, wait=True)
        places = [Place(one.path, one.start_line, one.end_line) for one in results]
        found.append(ndcg(places, question.answers))
    return float(np.mean(found))


def covered(order: Sequence[int], counts: np.ndarray, answers: Sequence[set[int]], share: float) -> float:
    """The share of a question's answers that are done after `share` of all chunks, files whole and in order."""
    done = {
        file
        for file, end in zip(order, np.cumsum(counts[order]).tolist(), strict=True)
        if end <= share * counts.sum()
    }
    return float(np.mean([len(files & done) / len(files) for files in answers if files]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bench", type=Path)
    parser.add_argument("--mirror", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--repository", action="append", default=[])
    parser.add_argument("--mode", action="append", choices=tuple(MODES))
    parser.add_argument("--cache", type=Path)
    args = parser.parse_args()
    upgrading._BATCH_LIMITS = (_BATCH, _BATCH)
    repositories = read_repositories(args.bench, mirror=args.mirror, names=args.repository, on_skip=print)
    figures: Figures = defaultdict(list)
    for repository in repositories:
        measure(repository, args.model, args.mode or tuple(MODES), VectorCache(args.cache), figures)
    print(f"{len(repositories)} repositories, by the share of chunks upgraded to {args.model}")
    print(f"{'':30}" + "".join(f"{share:9.0%}" for share in SHARES))
    for what in dict.fromkeys(what for what, _ in figures):
        print(f"{what:30}" + "".join(f"{np.mean(figures[what, share]):9.4f}" for share in SHARES))


if __name__ == "__main__":
    main()
