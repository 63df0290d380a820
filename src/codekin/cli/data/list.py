"""`codekin data list`: the catalogue of training sets and benchmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from codekin.cli import options
from codekin.cli.terminal import aligned

if TYPE_CHECKING:
    from codekin.data import DataSet


@click.command("list")
@click.option("--use", metavar="USE", help="Only for training, or benchmark.")
@click.option("--task", metavar="TASK", help="Only of this task.")
@click.option("--kind", metavar="KIND", help="Only mteb, adapted or synthetic ones.")
@click.option("--licence", metavar="NAME", help="Only under this licence: an SPDX name, or unknown.")
@options.as_json
def list_(use: str | None, task: str | None, kind: str | None, licence: str | None, as_json: bool) -> None:
    """List the training sets and benchmarks of jina-code-embeddings.

    * marks the benchmarks that MTEB(Code)'s average counts, ! what is not for commercial use, ? what may not be.
    """
    from codekin.cli.results import print_json
    from codekin.data import Kind, Use, select_sets
    from codekin.tasks import Task

    found = select_sets(
        use=Use.parse(use) if use else None,
        task=Task.parse(task) if task else None,
        kind=Kind.parse(kind) if kind else None,
        licence=licence,
    )
    if as_json:
        print_json({"sets": [described(entry) for entry in found]})
    else:
        _print(found)
    if not found:
        raise SystemExit(1)


def described(entry: DataSet) -> dict[str, object]:
    """What `--json` says of a set."""
    return {
        "name": entry.name,
        "use": entry.use.value,
        "task": entry.task.value,
        "kind": entry.kind.value,
        "licence": entry.licence,
        "commercial": entry.commercial,
        "split": entry.split,
        "fold": entry.fold.value,
        "average": entry.average,
        "page": entry.source.page,
        "obtained": entry.source.how,
        "folder": str(entry.folder),
        "note": entry.note,
    }


def _print(found: list[DataSet]) -> None:
    rows = [("name", "use", "task", "kind", "licence", "split")]
    for entry in found:
        terms = {True: "", False: " !", None: " ?"}[entry.commercial]
        average = " *" if entry.average else ""
        use, task, kind = entry.use.value, entry.task.value, entry.kind.value
        rows.append((entry.name + average, use, task, kind, entry.licence + terms, entry.split))
    for line in aligned(rows, left=len(rows[0])) if found else ():
        print(line)
