"""Answers from every folder that is indexed, and answers that are files, folders or repositories."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codekin.cli import options
from codekin.cli.answers import Wanted, as_member, tell
from codekin.cli.terminal import DIM, PATH, count, duration, linked, styled, visible, wants_color

if TYPE_CHECKING:
    from codekin.search import CodeIndex, Level, Place, Reranked, Result

_TOLD = 3  # folders that are left out, by name


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
    from codekin.cli.results import as_json, print_json, print_results
    from codekin.search import Level

    started = time.perf_counter()
    find = _everywhere if root is None else partial(_inside, root)
    found = find(wanted, query, Level(level), {**asked, **wanted.filters})
    elapsed = time.perf_counter() - started
    tell(found.reranked)
    shown = len(found.chunks) + len(found.places)
    if wanted.as_json:
        members = as_json(found.chunks, query, Path("/"), wanted.context) or [
            _member(index, place, query, wanted.context) for index, place in found.places
        ]
        told = {"task": wanted.task, "elapsed_ms": round(1000 * elapsed, 1), "answered": found.answered}
        print_json({**about, "level": level, **told, **as_member(found.reranked), "results": members})
    elif not shown:
        print(f"codekin: nothing here answers this{advice}", file=sys.stderr)
    else:
        color = wants_color(wanted.color)
        if found.chunks:
            print_results(found.chunks, query, Path("/"), Path("/"), wanted.context, color=color)
        for index, place in found.places:
            print(_row(index, place, root, color))
        if sys.stderr.isatty():
            asked_of = f" from {found.asked}" if found.asked else ""
            print(f"{count(shown, 'result')}{asked_of} in {duration(elapsed)}", file=sys.stderr)
    raise SystemExit(0 if shown else 1)


@dataclass(frozen=True, slots=True)
class _Found:
    """Chunks, by their whole paths (there is no one folder that they are below), or places."""

    chunks: list[Result]
    places: Sequence[tuple[CodeIndex, Place]]
    answered: bool
    reranked: Reranked | None
    asked: str = ""


def _inside(root: Path, wanted: Wanted, query: str, level: Level, asked: dict[str, Any]) -> _Found:
    """The places of one folder, brought up to date."""
    from codekin.cli.progress import freshen_index
    from codekin.search import places

    with options.open_index(
        root, wanted.folder, wanted.max_size, store=wanted.store, model=wanted.model
    ) as index:
        if not (wanted.no_update or wanted.store):
            freshen_index(index, lexical=asked["mode"] == "lexical")
        return _Found([], places([index], query, level=level, **asked), index.answered, index.reranked)


def _everywhere(wanted: Wanted, query: str, level: Level, asked: dict[str, Any]) -> _Found:
    """The chunks or places of every folder that is indexed; what is left out is told."""
    from codekin.cli.meter import Counting
    from codekin.search import Everywhere, Level

    found: Sequence[tuple[CodeIndex, Place]] = []
    chunks: list[Result] = []
    with (
        Counting("") as meter,
        Everywhere(
            model=wanted.model, progress=lambda doing, done, total: meter(done, total, title=doing)
        ) as everywhere,
    ):
        if level is Level.CHUNK:
            chunks = [
                replace(result, path=str(index.root / result.path))
                for index, result in everywhere.search(query, **asked)
            ]
        else:
            found = everywhere.places(query, level=level, **asked)
    if left_out := everywhere.left_out:
        more = f"; and {len(left_out) - _TOLD} more" if len(left_out) > _TOLD else ""
        print(f"codekin: left out: {visible('; '.join(left_out[:_TOLD]))}{more}", file=sys.stderr)
    of = f"{everywhere.asked:,} of {count(everywhere.known, 'folder')}"
    return _Found(chunks, found, everywhere.answered, everywhere.reranked, of)


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
