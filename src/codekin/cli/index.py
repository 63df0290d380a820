"""`codekin index`: bring an index up to date, once or as files change."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codekin.cli import options
from codekin.cli.terminal import count, duration, visible
from codekin.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from codekin.search import CodeIndex, UpdateReport

_NICENESS = 10  # of an upgrade: others' work comes first


@click.command()
@options.root
@click.option("--rebuild", is_flag=True, help="Start from nothing.")
@click.option("--watch", is_flag=True, help="Stay, and follow every change.")
@click.option("-v", "--verbose", is_flag=True, help="List what is skipped, and why.")
@options.model
@click.option(
    "--upgrade",
    "stronger",
    metavar="MODEL",
    help="Fill in the vectors of a stronger model beside those of the index's own, which answers meanwhile; "
    "--dimensions and --dtype are then this one's. What was interrupted goes on; none removes them.",
)
@click.option(
    "--dimensions",
    type=click.IntRange(min=1),
    metavar="N",
    help="Keep vectors of N numbers, one of the model's Matryoshka sizes.  [default: all]",
)
@options.dtype
@options.index_folder
@options.store
@options.max_size
def index(
    path: Path,
    rebuild: bool,
    watch: bool,
    verbose: bool,
    model: str | None,
    stronger: str | None,
    dimensions: int | None,
    dtype: str | None,
    folder: Path | None,
    store: str | None,
    max_size: str | None,
) -> None:
    """Bring the index of a folder up to date.

    What changed since last time, or all of it; PATH is the folder (default: here). An index keeps its model, its
    dimensions and int8: to change them takes --rebuild.
    """
    from codekin.cli.progress import tell_skipped, update_index

    if stronger and watch:
        raise InputError("--upgrade and --watch are two commands: each stays until it is done")
    sizes = {"dimensions": dimensions, "dtype": dtype}
    own = {} if stronger else sizes
    with options.open_index(path, folder, max_size, store=store, model=model, **own) as code_index:
        report = update_index(code_index, rebuild=rebuild)
        tell_skipped(report, each=verbose)
        print(_summary(report), flush=True)
        if stronger == "none":
            code_index.end_upgrade()
        elif stronger:
            _upgrade(code_index, stronger, sizes)
        if watch:
            _follow(path, code_index)


def _upgrade(code_index: CodeIndex, model: str, sizes: dict[str, Any]) -> None:
    """Fills in the stronger model's vectors, when the machine has nothing better to do; Ctrl-C pauses it."""
    from codekin.cli.meter import Counting

    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    with Counting("upgrading") as meter:
        try:
            report = code_index.upgrade(
                model, **sizes, progress=lambda now: meter(now.chunks, now.chunks_total)
            )
        except KeyboardInterrupt:
            meter.close()
            if held := code_index.status().upgrade:
                done = f"{held.chunks:,} of {count(held.chunks_total, 'chunk')}"
                print(f"codekin: paused at {done}; the same command goes on", file=sys.stderr)
            raise
    done = f"{report.chunks:,} of {count(report.chunks_total, 'chunk')}"
    left = "; the others' files have changed: the same command takes them in"
    print(
        f"{done} upgraded to {visible(report.model)}, {report.chunks_embedded:,} in {duration(report.seconds)}"
        f"{left if report.chunks < report.chunks_total else ''}"
    )


def _follow(path: Path, code_index: CodeIndex) -> None:
    try:
        from watchfiles import DefaultFilter
        from watchfiles import watch as changes
    except ImportError:
        raise MissingExtraError("codekin index --watch", "watch") from None
    # An index kept inside the folder must not wake its own update.
    own = DefaultFilter(ignore_paths=[code_index.status().location])
    print(f"watching {path}; Ctrl-C ends it", flush=True)
    for _ in changes(path, watch_filter=own, raise_interrupt=False):
        report = code_index.update()
        if report.added or report.changed or report.removed:
            print(f"{time.strftime('%H:%M:%S')}  {_summary(report)}", flush=True)


def _summary(report: UpdateReport) -> str:
    files = report.added + report.changed + report.unchanged
    changes = [
        f"{number:,} {what}"
        for number, what in (
            (report.added, "added"),
            (report.changed, "changed"),
            (report.removed, "removed"),
        )
        if number
    ]
    detail = ", ".join(changes) or "nothing changed"
    embedded = count(report.chunks_embedded, "chunk")
    return f"{count(files, 'file')} ({detail}), {embedded} embedded in {duration(report.seconds)}"
