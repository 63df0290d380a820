"""`codekin repos`: the folders that are indexed."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from codekin.cli import options
from codekin.cli.terminal import age, aligned, count, size, visible

if TYPE_CHECKING:
    from codekin.search import KnownIndex


@click.command()
@click.option("--forget", is_flag=True, help="Delete the indexes of folders that are gone.")
@options.as_json
def repos(forget: bool, as_json: bool) -> None:
    """List the folders that are indexed here.

    Those that `codekin search --all` asks, and those that are gone.
    """
    from codekin.cli.results import print_json
    from codekin.search import forget_index, known_indexes

    problems: list[str] = []
    found = known_indexes(problems.append)
    if forget:
        gone = [known for known in found if not known.exists]
        for known in gone:
            forget_index(known)
        found = [known for known in found if known.exists]
        freed = size(sum(known.bytes for known in gone))
        print(f"codekin: {count(len(gone), 'folder')} forgotten, {freed} freed", file=sys.stderr)
    if as_json:
        print_json(
            {
                "repositories": [
                    {
                        "root": str(known.root),
                        "location": str(known.location),
                        "exists": known.exists,
                        "files": known.files,
                        "chunks": known.chunks,
                        "model": known.model,
                        "bytes": known.bytes,
                        "updated_at": known.updated_at,
                        "age_seconds": None
                        if known.updated_at is None
                        else round(max(0.0, time.time() - known.updated_at), 1),
                    }
                    for known in found
                ]
            }
        )
    elif found:
        rows = [
            (
                visible(str(known.root)),
                visible(known.model or ""),
                count(known.files, "file"),
                count(known.chunks, "chunk"),
                size(known.bytes),
                _state(known),
            )
            for known in found
        ]
        for line in aligned(rows, left=2):
            print(line)
    for problem in problems:
        print(f"codekin: left out: {visible(problem)}", file=sys.stderr)
    raise SystemExit(0 if found else 1)


def _state(known: KnownIndex) -> str:
    if not known.exists:
        return "gone"
    return "empty" if known.updated_at is None else age(known.updated_at)
