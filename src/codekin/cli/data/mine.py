"""`codekin data mine`: pairs from source trees and git histories."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from codekin.cli import options
from codekin.cli.meter import Counting
from codekin.cli.terminal import aligned, count, visible

if TYPE_CHECKING:
    from codekin.data import MiningProgress, Pair

_SHOWN_SKIPPED = 5


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@click.option(
    "-o",
    "--output",
    "target",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the pairs here: .jsonl, .jsonl.gz, .parquet, or a folder in BEIR's layout.",
)
@options.as_json
def mine(paths: tuple[Path, ...], target: Path, as_json: bool) -> None:
    """Make pairs of all five tasks from source code and its history.

    Each PATH is one tree: a folder of source, a git repository or a part of one, a bare repository. Licence and
    revision are kept with each pair. Left out are tests, generated and other people's code, what holds a secret, and
    the repositories that search quality is measured on.
    """
    from codekin.cli.results import print_json
    from codekin.data import SourceTree, load_corpus, mine, write_pairs

    trees = [SourceTree.open(path) for path in paths]
    skipped: list[tuple[str, str]] = []
    found: Counter[tuple[str, str]] = Counter()
    with Counting("mining functions") as bar:

        def tell(now: MiningProgress) -> None:
            tree = (
                f", tree {now.trees + 1:,} of {now.trees_total:,}" if now.trees < now.trees_total > 1 else ""
            )
            bar(now.functions, 0, f"{count(found.total(), 'pair')}, {count(now.commits, 'commit')}{tree}")

        pairs = mine(
            trees,
            held_out=load_corpus().held_out,
            per_source=None,
            progress=tell,
            on_skip=lambda *what: skipped.append(what),
        )
        write_pairs(target, _counted(pairs, found))
    if as_json:
        tasks: dict[str, dict[str, int]] = {}
        for (task, language), number in sorted(found.items()):
            tasks.setdefault(task, {})[language] = number
        described = [{"path": visible(place), "reason": reason} for place, reason in skipped]
        print_json({"pairs": found.total(), "tasks": tasks, "skipped": described})
    else:
        _print(target, found)
        for place, reason in skipped[:_SHOWN_SKIPPED]:
            print(f"skipped {visible(place)}: {reason}", file=sys.stderr)
        if len(skipped) > _SHOWN_SKIPPED:
            print(f"skipped {len(skipped) - _SHOWN_SKIPPED:,} more; --json lists them", file=sys.stderr)
    if not found:
        raise SystemExit(1)


def _counted(pairs: Iterable[Pair], found: Counter[tuple[str, str]]) -> Iterator[Pair]:
    for pair in pairs:
        found[pair.task.value, pair.language] += 1
        yield pair


def _print(target: Path, found: Counter[tuple[str, str]]) -> None:
    from codekin.tasks import Task

    print(f"{target}: {count(found.total(), 'pair')}")
    totals: Counter[str] = Counter()
    for (_, language), number in found.items():
        totals[language] += number
    tasks = [task.value for task in Task]
    rows = [["", *tasks, "all"]] if found else []
    for language, number in totals.most_common():
        rows.append([language, *(f"{found[task, language]:,}" for task in tasks), f"{number:,}"])
    sums = [sum(number for (of, _), number in found.items() if of == task) for task in tasks]
    if found:
        rows.append(["all", *(f"{number:,}" for number in sums), f"{found.total():,}"])
    for line in aligned(rows):
        print(line)
