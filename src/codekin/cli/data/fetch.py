"""`codekin data fetch`: a set's files, and pairs made of them."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import click

from codekin.cli.terminal import count, duration, size

_SECONDS_BETWEEN_LINES = 5.0


@click.command()
@click.argument("name")
@click.option("--benchmark", is_flag=True, help="The benchmark of that name, not the training set.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep the files here, not in the user's cache.",
)
@click.option(
    "--from",
    "local",
    type=click.Path(exists=True, path_type=Path),
    metavar="PATH",
    help="Take the original files from here; nothing is downloaded.",
)
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the set's pairs: .jsonl, .jsonl.gz, .parquet, or a folder in BEIR's layout.",
)
def fetch(name: str, benchmark: bool, folder: Path | None, local: Path | None, target: Path | None) -> None:
    """Fetch the files of a set, and make pairs of them.

    An interrupted download goes on where it stopped; what arrives is checked for its size, and its digest where
    that is known. HF_TOKEN opens gated sets, HF_ENDPOINT names another hub.
    """
    from codekin.data import Use, find_set, write_pairs

    entry = find_set(name, Use.BENCHMARK if benchmark else None)
    if local is None:
        with _Downloading() as progress:
            local = entry.fetch(folder, progress)
        total = sum(path.stat().st_size for path in local.rglob("*") if path.is_file())
        print(f"{entry.name}: {size(total)} in {local}", flush=True)
    if target is not None:
        written = write_pairs(target, entry.pairs(local), split=entry.split)
        print(f"{target}: {count(written, 'pair')}")


class _Downloading:
    """Called with (bytes there, bytes in all or 0, path): a bar on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._last_line = time.monotonic()
        self._on_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._bar: Any = None
        self._file, self._began, self._at_first = "", 0.0, 0

    def __enter__(self) -> _Downloading:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: int, total: int, path: str) -> None:
        now = time.monotonic()
        if self._on_terminal:
            if self._bar is None:
                self._bar = _start_bar()
            self._bar.update(self._bar.task_ids[0], completed=done, total=total or None, description=path)
            return
        if path != self._file:
            self._file, self._began, self._at_first = path, now, done
        if now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            rate = (done - self._at_first) / max(now - self._began, 1e-3)
            left = f", {duration((total - done) / rate)} left" if total and rate else ""
            of = f" of {size(total)}" if total else ""
            print(f"{path}: {size(done)}{of}, {size(int(rate))} a second{left}", file=sys.stderr)


def _start_bar() -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
        transient=True,
    )
    bar.start()
    bar.add_task("", total=None)
    return bar
