"""`codekin related`: code like the code at a place."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import click

from codekin.cli import options
from codekin.cli.terminal import wants_color
from codekin.errors import InputError
from codekin.tasks import Task

# A place as search, grep, compilers and editors print it: "path:12", "path:12-40", "path:12:7".
_PLACE = re.compile(r"(.+?):(\d+)(?:[-:]\d+)?:?", re.DOTALL)


@click.command()
@click.argument("place", metavar="PATH:LINE")
@click.argument("root", type=click.Path(path_type=Path), default=Path())
@options.top
@options.languages
@options.globs
@options.task(Task.CODE2CODE)
@options.context
@options.as_json
@options.no_update
@options.index_folder
@options.max_size
@options.color
def related(
    place: str,
    root: Path,
    top: int,
    languages: tuple[str, ...],
    globs: tuple[str, ...],
    task: str,
    context: int,
    as_json: bool,
    no_update: bool,
    folder: Path | None,
    max_size: str | None,
    color: str,
) -> None:
    """Find code like the code at PATH:LINE.

    In any language, in the folder ROOT (default: here).
    """
    from codekin.cli.progress import freshen_index
    from codekin.cli.results import as_json as results_as_json
    from codekin.cli.results import print_json, print_results

    started = time.perf_counter()
    colored = wants_color(color)
    file, line = _read_place(place, root)
    with options.open_index(root, folder, max_size) as code_index:
        if not no_update:
            freshen_index(code_index)
        results = code_index.related(
            file, line, top, task=task, languages=languages, **options.split_globs(globs)
        )
    top_folder = root.resolve()
    if as_json:
        print_json(
            {
                "path": file,
                "line": line,
                "root": str(top_folder),
                "task": task,
                "elapsed_ms": round(1000 * (time.perf_counter() - started), 1),
                "results": results_as_json(results, "", top_folder, context),
            }
        )
    else:
        print_results(results, "", top_folder, root, context, color=colored)
    raise SystemExit(0 if results else 1)


def _read_place(place: str, root: Path) -> tuple[str, int]:
    """The file, relative to `root`, and the line. A relative path is looked for from here, then from `root`."""
    match = _PLACE.fullmatch(place)
    if not match:
        raise InputError(f"{place!r} is no PATH:LINE, like src/app.py:120")
    path, line = Path(match[1]), int(match[2])
    folder = root.resolve()
    for candidate in (path, folder / path):
        if candidate.is_file():
            inside = os.path.relpath(candidate.resolve(), folder)
            if inside.startswith(".."):
                raise InputError(f"{path} is outside {root}; name its folder: codekin related {place} FOLDER")
            return Path(inside).as_posix(), line
    raise InputError(f"no file {path}")
