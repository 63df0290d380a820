#!/usr/bin/env python3
"""Answers above chunks, and searching every folder at once: what summaries are worth.

    python benchmarks/levels.py BENCH --mirror REPOSITORIES [--repository NAME]... [--packages FOLDER]... [--most N]

First, on the repositories of the semble benchmark: does a question find its file and its folder, in its repository, and
its repository among all of them? By the best answers alone, grouped, by the level above them alone (the vectors of
files; of repositories also their names), and by both, with the weights that are the default and, for each repository,
with those that are best on all others.

Then, with the folders below each FOLDER as repositories of their own, N at most: how many of them a search enters, what
it finds of the ten best chunks that asking all finds, and the time of both, of the first search of a process (without
what loading the modules takes) and of later ones. Questions are the benchmark's, and names that the folders define. And
how many chunks lie in the folders that a descent within one index of all of them would enter, and in the cells.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from codekin import CodeIndex, Embedder
from codekin.evaluate.repositories import Place, Repository, read_repositories
from codekin.search import Everywhere, Level, Result, coarse, known_indexes, search_together
from codekin.search.levels import WEIGHTS, Evidence, Weights, evidence
from codekin.search.summaries import Summaries
from codekin.tasks import Role, Task

TOP = 10
ALONE = 1e6
"""A weight beside which the answers' scores are nothing."""
GRID = [
    Weights(further, nearest, defines)
    for further, nearest, defines in itertools.product(
        (0.0, 0.25, 0.5), (0.0, 0.5, 1.0, 1.5, 2.0, 3.0), (0.0, 1.0, 2.0)
    )
]
ROUNDS = 6
LARGE = 30_000, 1_500_000
"""Bytes of Python between which a folder stands for a repository; a larger one is taken apart."""


@dataclass(frozen=True)
class Asked:
    """A question at a level: what is known of its places, and which of them is right."""

    repository: str
    found: Evidence
    right: list[bool]

    def rank(self, weights: Weights) -> float:
        """Of the first right place, from 1."""
        order = np.argsort(-self.found.scores(weights), kind="stable")
        return next((place + 1.0 for place, one in enumerate(order.tolist()) if self.right[one]), np.inf)


def ask(repositories: Sequence[Repository], indexes: dict[str, CodeIndex]) -> Iterator[tuple[Level, Asked]]:
    for repository in repositories:
        own = indexes[repository.name]
        paths = own.contents().paths
        for question in repository.questions:
            files = {path for path in paths if any(Place(path).meets(answer) for answer in question.answers)}
            folders = {str(PurePosixPath(path).parent) for path in files}
            for level, right in ((Level.FILE, files), (Level.FOLDER, folders)):
                found = evidence([own], question.text, TOP, level=level, anyway=True)
                places = [level.path_of(best[0][1]) for best in found.answers]
                yield level, Asked(repository.name, found, [place in right for place in places])
            found = evidence(
                list(indexes.values()), question.text, len(indexes), level=Level.REPO, anyway=True
            )
            yield Level.REPO, Asked(repository.name, found, [best[0][0] is own for best in found.answers])


def figures(asked: Sequence[Asked], weights: Callable[[str], Weights]) -> tuple[float, float]:
    """The share of questions whose first place is right, and the mean reciprocal rank: means of repositories' means."""
    ranks = defaultdict(list)
    for one in asked:
        ranks[one.repository].append(one.rank(weights(one.repository)))
    first = np.mean([np.mean(np.array(own) == 1) for own in ranks.values()])
    return float(first), float(np.mean([np.mean(1 / np.array(own)) for own in ranks.values()]))


def held_out(asked: Sequence[Asked]) -> dict[str, Weights]:
    """For each repository the weights that are best on all others."""
    reciprocal = {weights: defaultdict(list) for weights in GRID}
    for weights, one in itertools.product(GRID, asked):
        reciprocal[weights][one.repository].append(1 / one.rank(weights))
    means = {
        weights: {name: np.mean(own) for name, own in by_name.items()}
        for weights, by_name in reciprocal.items()
    }
    names = {one.repository for one in asked}
    return {
        name: max(GRID, key=lambda weights: np.mean([means[weights][other] for other in names - {name}]))
        for name in names
    }


def levels(repositories: Sequence[Repository], indexes: dict[str, CodeIndex]) -> None:
    by_level: dict[Level, list[Asked]] = defaultdict(list)
    for level, asked in ask(repositories, indexes):
        by_level[level].append(asked)
    print(f"{'':44}{'first is right':>16}{'MRR':>8}")
    for level, asked in by_level.items():
        ways = {
            "answers": Weights(WEIGHTS.further, 0.0, 0.0),
            "the level above": Weights(0.0, ALONE * WEIGHTS.nearest, ALONE * WEIGHTS.defines),
            "both": WEIGHTS,
        }
        for way, weights in ways.items():
            first, mrr = figures(asked, lambda name, weights=weights: weights)
            print(f"{level.value:8}{way:36}{first:16.3f}{mrr:8.3f}")
        if len(repositories) > 2:
            chosen = held_out(asked)
            first, mrr = figures(asked, chosen.__getitem__)
            print(f"{level.value:8}{'both, weights of other repositories':36}{first:16.3f}{mrr:8.3f}")


def packages(folders: Sequence[Path], most: int) -> list[Path]:
    """Folders of source below others, each of a size that a repository has; evenly drawn, `most` of them."""
    found = []
    for folder in folders:
        for path in sorted(folder.iterdir()):
            if not path.is_dir() or path.is_symlink():
                continue
            size = source_bytes(path)
            if LARGE[0] <= size <= LARGE[1]:
                found.append(path)
            elif size > LARGE[1]:
                below = [
                    inner for inner in sorted(path.iterdir()) if inner.is_dir() and not inner.is_symlink()
                ]
                found += [inner for inner in below if LARGE[0] <= source_bytes(inner) <= LARGE[1]]
    step = max(1, len(found) // most)
    return found[::step][:most]


def source_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.py") if path.is_file())


def everywhere(questions: Sequence[str]) -> None:
    """What promises most is asked, and all."""
    started = time.process_time()
    with Everywhere() as some:
        some.search(questions[0], TOP)
    seconds = time.process_time() - started
    summaries = Summaries()
    summaries.refresh()
    held = summaries.indexes
    plan = summaries.plan(TOP)
    assert plan is not None
    print(
        f"\n{len(held)} folders, {sum(one.chunks for one in held):,} chunks; {seconds:.1f} s of CPU to sum them up,"
    )
    print(
        f"and to measure that {plan.share:.0%} of them have {plan.recall:.2%} of the best {TOP} of their own names"
    )
    drawn = np.random.default_rng(1).permutation([name for one in held for name in one.names]).tolist()
    with Everywhere() as some, ExitStack() as stack:
        every = [stack.enter_context(index) for index in opened([one.root for one in held])]
        for kind, texts in (("questions", questions), ("names", drawn[: len(questions)])):
            recalls, entered = [], []
            for text in texts:
                found = {key(one) for one in some.search(text, TOP, anyway=True)}
                entered.append(some.asked)
                wanted = {key(one) for one in search_together(every, text, TOP, anyway=True)}
                recalls.append(len(found & wanted) / max(1, len(wanted)))
            asked = f"{np.mean(entered):.0f} of {len(held)} entered"
            print(f"{len(texts)} {kind}: recall@{TOP} {np.mean(recalls):.4f}, {asked}")
    times = {"all": timed(all_asked, questions), "what promises most": timed(most_promising, questions)}
    print(f"{'CPU ms a search (median)':28}{'a first one':>12}{'later ones':>12}")
    for label, (first, later) in times.items():
        print(f"{label:28}{1000 * first:12.0f}{1000 * later:12.0f}")
    ratio = np.divide(*times.values())
    print(f"{'ratio':28}{ratio[0]:12.1f}{ratio[1]:12.1f}")


def descent(questions: Sequence[str]) -> None:
    """Folders as branches within one index, beside the cells of a partition: all chunks are taken as those of one."""
    vectors, folder_of, folders = [], [], 0
    for index in opened([one.root for one in known_indexes()]):
        with index:
            contents = index.contents()
        parents = [str(PurePosixPath(path).parent) for path in contents.paths]
        _, own = np.unique(parents, return_inverse=True)
        vectors.append(contents.vectors)
        folder_of.append(own[contents.file_of] + folders)
        folders += len(set(parents))
    rows, groups = np.concatenate(vectors), np.concatenate(folder_of)
    wanted = Embedder().encode(questions, Task.NL2CODE, Role.QUERY)
    cosines = unit(rows.astype(np.float32)) @ wanted.T
    nearest = np.argpartition(-cosines, TOP, axis=0)[:TOP]
    means = np.zeros((folders, rows.shape[1]), np.float32)
    np.add.at(means, groups, unit(rows.astype(np.float32)))
    centres = coarse.centres_of(rows)
    print(
        f"{len(rows):,} chunks as one index: to meet 99 % of the {TOP} nearest, so many branches, with so many chunks"
    )
    for label, of, middles in (
        ("folders", groups, unit(means)),
        ("cells", coarse.nearest_centres(centres, rows).astype(np.int64), centres),
    ):
        ranks = np.argsort(np.argsort(-(middles @ wanted.T), axis=0), axis=0) + 1
        columns = np.arange(len(questions))
        entered = int(np.quantile(ranks[of[nearest], columns], 0.99, method="higher"))
        share = (
            ((ranks <= entered) * np.bincount(of, minlength=len(middles))[:, None]).sum()
            / ranks.shape[1]
            / len(rows)
        )
        print(f"{label:12}{entered:6} of {len(middles):,}{share:8.0%}")


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9))


Search = Callable[[str], object]


def timed(searching: Callable[[ExitStack], Search], questions: Sequence[str]) -> tuple[float, float]:
    """Seconds of CPU of the first search of a process that has loaded its modules, and of a later one: medians."""
    first, later = [], []
    for start in range(0, min(len(questions), 5 * ROUNDS), ROUNDS):
        with ExitStack() as stack:
            started = time.process_time()
            search = searching(stack)
            for place, text in enumerate(questions[start : start + ROUNDS]):
                search(text)
                (later if place else first).append(time.process_time() - started)
                started = time.process_time()
    return float(np.median(first)), float(np.median(later))


def all_asked(stack: ExitStack) -> Search:
    indexes = [stack.enter_context(index) for index in opened([one.root for one in known_indexes()])]
    return lambda text: search_together(indexes, text, TOP)


def most_promising(stack: ExitStack) -> Search:
    search = stack.enter_context(Everywhere())
    return lambda text: search.search(text, TOP)


def opened(roots: Sequence[Path]) -> list[CodeIndex]:
    embedder = Embedder()
    return [CodeIndex(root, update=False, load=lambda *name, **how: embedder) for root in roots]


def key(found: tuple[CodeIndex, Result]) -> tuple[Path, str, int]:
    index, result = found
    return index.root, result.path, result.start_line


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bench", type=Path)
    parser.add_argument("--mirror", type=Path)
    parser.add_argument("--repository", action="append", default=[])
    parser.add_argument("--packages", type=Path, action="append", default=[])
    parser.add_argument("--most", type=int, default=300)
    args = parser.parse_args()
    repositories = read_repositories(args.bench, mirror=args.mirror, names=args.repository, on_skip=print)
    threadpool_limits(1, user_api="blas")
    with tempfile.TemporaryDirectory() as work, ExitStack() as stack:
        os.environ["XDG_CACHE_HOME"] = str(Path(work, "cache"))
        indexes = {}
        for repository in repositories:
            tree = Path(work, repository.name)
            tree.mkdir()
            indexes[repository.name] = stack.enter_context(CodeIndex(repository.checkout(tree)))
            indexes[repository.name].update()
        levels(repositories, indexes)
        if args.packages:
            for folder in packages(args.packages, args.most):
                with CodeIndex(folder) as index:
                    index.update()
            questions = [question.text for one in repositories for question in one.questions][::4]
            everywhere(questions)
            descent(questions)


if __name__ == "__main__":
    main()
