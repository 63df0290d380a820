"""`codekin search`: a question to a folder of code."""

from __future__ import annotations

from pathlib import Path

import click

from codekin.cli import options
from codekin.cli.answers import Wanted, answer, answering
from codekin.tasks import Task


@click.command()
@options.query
@options.root
@options.mode
@click.option("--anyway", is_flag=True, help="Show what comes nearest, even where nothing seems to answer.")
@answering(Task.NL2CODE)
def search(query: str, path: Path, mode: str, anyway: bool, wanted: Wanted) -> None:
    """Find the code that answers QUERY.

    QUERY is a question, a description or a name; "-" reads it from stdin. PATH is the folder to search (default:
    here).

    The first search of a folder indexes it; later ones look only at what changed.
    """
    text = options.read_query(query)
    answer(
        wanted,
        path,
        {"query": text, "root": str(path.resolve()), "mode": mode},
        lambda index: index.search(text, mode=mode, anyway=anyway, **wanted.filters),
        query=text,
        lexical=mode == "lexical",
        advice="" if anyway or mode == "lexical" else "; --anyway shows what comes nearest",
    )
