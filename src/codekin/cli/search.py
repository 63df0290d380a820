"""`codekin search`: a question to a folder of code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from codekin.cli import options, second_stage
from codekin.cli.answers import Wanted, answer, answering
from codekin.errors import InputError
from codekin.tasks import Task


@click.command(cls=second_stage.ByEquals)
@options.query
@options.root
@options.mode
@click.option(
    "--rerank",
    "reranker",
    metavar="[=MODEL]",
    help="Have a stronger model score the best 50 again: an embedding model, a CrossEncoder, a language model, or "
    "https://HOST/v1#MODEL.  [default: all-MiniLM-L6-v2, from the hub]",
)
@click.option("--budget", metavar="TIME", help="Rerank as many as that suffices for: 300ms, 2s.")
@click.option(
    "--level",
    type=click.Choice(["chunk", "file", "folder", "repo"]),
    default="chunk",
    show_default=True,
    help="What to find: code, or the files, folders or repositories it is in.",
)
@click.option(
    "--all",
    "everywhere",
    is_flag=True,
    help="Search every folder that is indexed, as its index stands; with --store every repository in it.",
)
@click.option("--anyway", is_flag=True, help="Show what comes nearest, even where nothing seems to answer.")
@answering(Task.NL2CODE)
def search(
    query: str,
    path: Path,
    mode: str,
    reranker: str | None,
    budget: str | None,
    level: str,
    everywhere: bool,
    anyway: bool,
    wanted: Wanted,
) -> None:
    """Find the code that answers QUERY.

    QUERY is a question, a description or a name; "-" reads it from stdin. PATH is the folder to search (default:
    here).

    The first search of a folder indexes it; later ones look only at what changed.
    """
    text = options.read_query(query)
    if reranker == "" and not path.exists():
        raise InputError(f"no folder {path}; the model of a second stage is named as --rerank=MODEL")
    stage = second_stage.of_search(reranker, budget)
    advice = "" if anyway or mode == "lexical" else "; --anyway shows what comes nearest"
    if everywhere and wanted.store:
        wanted, everywhere = replace(wanted, store=f"{wanted.store.partition('#')[0]}#*"), False
    if everywhere or level != "chunk":
        if everywhere and (path != Path() or wanted.folder):
            raise InputError("--all searches every folder that is indexed; leave out PATH and --index")
        from codekin.cli.places import answer_widely

        answer_widely(
            wanted,
            None if everywhere else path,
            {"query": text, "root": None if everywhere else str(path.resolve()), "mode": mode},
            text,
            level,
            advice=advice,
            mode=mode,
            anyway=anyway,
            rerank=stage,
        )
    answer(
        wanted,
        path,
        {"query": text, "root": str(path.resolve()), "mode": mode},
        lambda index: index.search(text, mode=mode, anyway=anyway, rerank=stage, **wanted.filters),
        query=text,
        lexical=mode == "lexical",
        advice=advice,
    )
