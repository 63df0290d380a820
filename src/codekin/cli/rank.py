"""`codekin rank`: lines that another tool printed, best first."""

from __future__ import annotations

import sys

import click

from codekin.cli import options
from codekin.cli.streams import read_blocks
from codekin.errors import InputError
from codekin.tasks import Task


@click.command()
@options.query
@click.option("-n", "--top", type=click.IntRange(min=1), metavar="N", help="Only the best N.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    metavar="SCORE",
    help="Only lines that score at least this, from 0 to 1. Without --top they are printed as they are read, in "
    "their order, so that endless input can be filtered.",
)
@options.task(Task.NL2CODE)
@options.model
@click.option("--scores", is_flag=True, help="Print each score before its line.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def rank(
    query: str,
    top: int | None,
    threshold: float | None,
    task: str,
    model: str | None,
    scores: bool,
    as_json: bool,
) -> None:
    """Re-rank lines from stdin by meaning.

    The lines of grep -n, ripgrep, git log --oneline, a list of files, or any others: those that answer QUERY best
    come first, printed just as they were, colours included.
    """
    from codekin.cli.results import print_json
    from codekin.embed import DEFAULT_MODEL, Embedder
    from codekin.search.lines import parse_line, rank_lines

    if query == "-":
        raise InputError("stdin holds the lines to rank; give the query as an argument")
    if sys.stdin.isatty():
        raise InputError("pipe the lines to rank into this command: grep -rn error src | codekin rank QUERY")
    text = options.read_query(query)
    blocks = read_blocks(sys.stdin.buffer)
    # Whoever filters a stream waits for each line; a ranking comes in one piece.
    follows = threshold is not None and top is None
    found = False
    embedder = Embedder(DEFAULT_MODEL if model is None else model)
    for ranked in rank_lines(blocks, text, embedder, task, top=top, threshold=threshold):
        found = True
        if as_json:
            parts = parse_line(ranked.line)
            print_json(
                {
                    "number": ranked.number,
                    "score": round(ranked.score, 4),
                    "line": ranked.line,
                    "path": parts.path or None,
                    "line_number": parts.line_number,
                }
            )
        else:
            line = f"{ranked.score:.3f}\t{ranked.line}" if scores else ranked.line
            print(line, flush=follows)
    sys.stdout.flush()
    raise SystemExit(0 if found else 1)
