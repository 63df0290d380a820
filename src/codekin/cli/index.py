"""`codekin index`: bring an index up to date, once or as files change."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from codekin.cli import options
from codekin.cli.terminal import count, duration
from codekin.errors import MissingExtraError

if TYPE_CHECKING:
    from codekin.search import CodeIndex, UpdateReport


@click.command()
@options.root
@click.option("--rebuild", is_flag=True, help="Start from nothing.")
@click.option("--watch", is_flag=True, help="Stay, and follow every change.")
@click.option("-v", "--verbose", is_flag=True, help="List what is skipped, and why.")
@options.model
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

    with options.open_index(
        path, folder, max_size, store=store, model=model, dimensions=dimensions, dtype=dtype
    ) as code_index:
        report = update_index(code_index, rebuild=rebuild)
        tell_skipped(report, each=verbose)
        print(_summary(report), flush=True)
        if watch:
            _follow(path, code_index)


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
