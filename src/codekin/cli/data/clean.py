"""`codekin data clean`: pairs without duplicates and without leaks from benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from codekin.cli import options
from codekin.cli.meter import Counting
from codekin.cli.terminal import count

if TYPE_CHECKING:
    from codekin.data import CleanReport

_SHOWN_SOURCES = 5
_SHOWN_TEXT = 100  # characters


@click.command()
@click.argument("source")
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--against",
    multiple=True,
    metavar="BENCHMARK",
    help="Leave out what holds texts of this benchmark: a folder in BEIR's layout, a name of `codekin data list`, "
    "or fetched for all that are. Repeatable.",
)
@options.as_json
def clean(source: str, target: Path, against: tuple[str, ...], as_json: bool) -> None:
    """Take duplicates and leaks out of a set of pairs.

    SOURCE is a file or folder of pairs, or hf:owner/name; TARGET gets those that stay. Reports what went, from
    where, and why; --json reports all of it.
    """
    from codekin.cli.results import print_json
    from codekin.data import benchmarks, clean

    with Counting("cleaning") as progress:
        report = clean(source, target, against=benchmarks(against), progress=progress)
    if as_json:
        print_json(_described(report))
        return
    print(f"{target}: {count(report.kept, 'pair')} of {report.read:,}")
    for reason, sources in sorted(report.dropped.items(), key=lambda item: -item[1].total()):
        most = ", ".join(
            f"{name or 'no source'} {number:,}" for name, number in sources.most_common(_SHOWN_SOURCES)
        )
        rest = len(sources) - _SHOWN_SOURCES
        print(f"{reason}: {sources.total():,} ({most}{f', {rest:,} more' if rest > 0 else ''})")
        for example in report.examples[reason]:
            text = " ".join(example.pair.query.split())[:_SHOWN_TEXT]
            print(f"  {example.number + 1:,}: {text}")


def _described(report: CleanReport) -> dict[str, object]:
    examples = {
        reason: [
            {
                "number": example.number,
                "repeats": example.repeats,
                "query": example.pair.query,
                "document": example.pair.document,
            }
            for example in found
        ]
        for reason, found in report.examples.items()
    }
    return {"read": report.read, "kept": report.kept, "dropped": report.dropped, "examples": examples}
