"""Answers from every folder that is indexed, and answers that are files, folders or repositories."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codekin.cli import options
from codekin.cli.answers import Wanted, as_member, tell
from codekin.cli.terminal import DIM, PATH, count, duration, linked, styled, visible, wants_color
from codekin.errors import InputError, StoreError

if TYPE_CHECKING:
    from codekin.search import CodeIndex, Place, Result


def answer_widely(
    wanted: Wanted,
    root: Path | None,
    about: dict[str, object],
    query: str,
    level: str,
    *,
    advice: str,
    **asked: Any,
) -> None:
    """Finds chunks or places in `root`, or (None) in every folder that is indexed, shows what is found, and exits.

    Of many folders, each is searched as its index stands.
    """
    from codekin.cli.progress import freshen_index
    from codekin.cli.results import as_json, print_json, print_results
    from codekin.search import Level, places, search_together

    started = time.perf_counter()
    with ExitStack() as stack:
        indexes = [stack.enter_context(index) for index in _indexes(wanted, root)]
        if root is not None and not wanted.no_update:
            freshen_index(indexes[0], lexical=asked["mode"] == "lexical")
        asked |= wanted.filters
        found: Sequence[tuple[CodeIndex, Place]] = []
        chunks: list[Result] = []
        if Level(level) is Level.CHUNK:
            # By their whole paths: there is no one folder that they are below.
            chunks = [
                replace(result, path=str(index.root / result.path))
                for index, result in search_together(indexes, query, **asked)
            ]
        else:
            found = places(indexes, query, level=level, **asked)
        answered = any(index.answered for index in indexes)
    elapsed = time.perf_counter() - started
    reranked = indexes[0].reranked  # one stage, over what all have found
    tell(reranked)
    shown = len(chunks) + len(found)
    if wanted.as_json:
        members = as_json(chunks, query, Path("/"), wanted.context) or [
            _member(index, place, query, wanted.context) for index, place in found
        ]
        told = {"task": wanted.task, "elapsed_ms": round(1000 * elapsed, 1), "answered": answered}
        print_json({**about, "level": level, **told, **as_member(reranked), "results": members})
    elif not shown:
        print(f"codekin: nothing here answers this{advice}", file=sys.stderr)
    else:
        color = wants_color(wanted.color)
        if chunks:
            print_results(chunks, query, Path("/"), Path("/"), wanted.context, color=color)
        for index, place in found:
            print(_row(index, place, root, color))
        if sys.stderr.isatty():
            print(f"{count(shown, 'result')} in {duration(elapsed)}", file=sys.stderr)
    raise SystemExit(0 if shown else 1)


def _indexes(wanted: Wanted, root: Path | None) -> list[CodeIndex]:
    if root is not None:
        return [options.open_index(root, wanted.folder, wanted.max_size, model=wanted.model)]
    from codekin.search import known_indexes

    opened = []
    for known in known_indexes():
        if not known.exists:
            continue
        index = options.open_index(known.root, None, wanted.max_size, model=wanted.model)
        try:
            index.status()
        except StoreError as error:
            print(f"codekin: left out: {error}", file=sys.stderr)
            continue
        opened.append(index)
    if not opened:
        raise InputError("no folder is indexed here; codekin index FOLDER does it")
    return opened


def _member(index: CodeIndex, place: Place, query: str, context: int) -> dict[str, Any]:
    from codekin.cli.results import as_json

    return {
        "root": str(index.root),
        "path": place.path,
        "level": place.level.value,
        "score": round(place.score, 4),
        "answers": place.answers,
        "best": as_json([place.best], query, index.root, context)[0],
    }


def _row(index: CodeIndex, place: Place, root: Path | None, color: bool) -> str:
    """The place, its score, and where the best of it is."""
    best = place.best
    path = visible(os.path.normpath((index.root if root is None else root) / place.path))
    where = f"{visible(best.path)}:{best.start_line}  {visible(best.symbol)}".rstrip()
    if not color:
        return f"{path}  {place.score:.2f}  {where}"
    name = linked(styled(path, PATH), index.root / best.path, best.start_line)
    return f"{name}  {styled(f'{place.score:.2f}  {where}', DIM)}"
