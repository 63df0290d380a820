#!/usr/bin/env python3
"""How many functions a second the miner looks at, and what it makes of them.

    python benchmarks/mining.py FOLDER... [--each] [--workers N]

Each FOLDER is a tree (with --each, every folder in it is one). Prints functions and pairs a second, functions for a
second of processor time (which other work on the machine changes less), and the pairs of every task by language and by
kind.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

from codekin.data import MiningProgress, SourceTree, mine
from codekin.tasks import Task


def processor_seconds() -> float:
    """Of this process and those that it has waited for."""
    return sum(used.ru_utime + used.ru_stime for used in map(getrusage, (RUSAGE_SELF, RUSAGE_CHILDREN)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--each", action="store_true")
    parser.add_argument("--workers", type=int)
    arguments = parser.parse_args()
    folders = arguments.folders
    if arguments.each:
        folders = [path for folder in folders for path in sorted(folder.iterdir()) if path.is_dir()]
    trees = [SourceTree.open(folder) for folder in folders]
    state = MiningProgress()

    def note(now: MiningProgress) -> None:
        nonlocal state
        state = now

    by_language: Counter[tuple[str, str]] = Counter()
    by_kind: Counter[tuple[str, str]] = Counter()
    started, began = time.perf_counter(), processor_seconds()
    for pair in mine(trees, per_source=None, workers=arguments.workers, progress=note):
        by_language[pair.language, pair.task.value] += 1
        by_kind[pair.kind, pair.task.value] += 1
    seconds, worked = time.perf_counter() - started, processor_seconds() - began
    print(
        f"{len(trees):,} trees, {state.files:,} files, {state.commits:,} commits, {state.functions:,} functions, "
        f"{by_kind.total():,} pairs in {seconds:.1f} s"
    )
    print(
        f"{state.functions / seconds:,.0f} functions a second, {by_kind.total() / seconds:,.0f} pairs a second; "
        f"{state.functions / worked:,.0f} functions for a second of processor time ({worked:.1f} s in all processes)"
    )
    for title, counts in (("language", by_language), ("kind", by_kind)):
        print(f"\n{title:16}" + "".join(f"{task.value:>17}" for task in Task))
        totals = Counter({row: 0 for row, _ in counts})
        for (row, _), number in counts.items():
            totals[row] += number
        for row, _ in totals.most_common():
            print(f"{row:16}" + "".join(f"{counts[row, task.value]:17,}" for task in Task))


if __name__ == "__main__":
    main()
