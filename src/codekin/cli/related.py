"""`codekin related`: code like the code at a place."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click

from codekin.cli.answers import Wanted, answer, answering
from codekin.errors import InputError
from codekin.tasks import Task

# A place as search, grep, compilers and editors print it: "path:12", "path:12-40", "path:12:7".
_PLACE = re.compile(r"(.+?):(\d+)(?:[-:]\d+)?:?", re.DOTALL)


@click.command()
@click.argument("place", metavar="PATH:LINE")
@click.argument("root", type=click.Path(path_type=Path), default=Path())
@answering(Task.CODE2CODE)
def related(place: str, root: Path, wanted: Wanted) -> None:
    """Find code like the code at PATH:LINE.

    In any language, in the folder ROOT (default: here).
    """
    file, line = _read_place(place, root)
    answer(
        wanted,
        root,
        {"path": file, "line": line, "root": str(root.resolve())},
        lambda index: index.related(file, line, **wanted.filters),
    )


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
