"""`codekin search`: a question to a folder of code."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from codekin.cli import options
from codekin.cli.terminal import count, duration, wants_color
from codekin.tasks import Task


@click.command()
@options.query
@options.root
@options.top
@options.languages
@options.globs
@options.mode
@options.task(Task.NL2CODE)
@options.context
@options.as_json
@options.no_update
@options.index_folder
@options.max_size
@options.color
def search(
    query: str,
    path: Path,
    top: int,
    languages: tuple[str, ...],
    globs: tuple[str, ...],
    mode: str,
    task: str,
    context: int,
    as_json: bool,
    no_update: bool,
    folder: Path | None,
    max_size: str | None,
    color: str,
) -> None:
    """Find the code that answers QUERY.

    QUERY is a question, a description or a name; "-" reads it from stdin. PATH is the folder to search (default:
    here).

    The first search of a folder indexes it; later ones look only at what changed.
    """
    from codekin.cli.progress import freshen_index
    from codekin.cli.results import as_json as results_as_json
    from codekin.cli.results import print_json, print_results

    started = time.perf_counter()
    colored = wants_color(color)
    text = options.read_query(query)
    with options.open_index(path, folder, max_size) as code_index:
        if not no_update:
            freshen_index(code_index)
        results = code_index.search(
            text, top, mode=mode, task=task, languages=languages, **options.split_globs(globs)
        )
    elapsed = time.perf_counter() - started
    root = path.resolve()
    if as_json:
        print_json(
            {
                "query": text,
                "root": str(root),
                "mode": mode,
                "task": task,
                "elapsed_ms": round(1000 * elapsed, 1),
                "results": results_as_json(results, text, root, context),
            }
        )
    else:
        print_results(results, text, root, path, context, color=colored)
        if sys.stderr.isatty():
            print(f"{count(len(results), 'result')} in {duration(elapsed)}", file=sys.stderr)
    raise SystemExit(0 if results else 1)
