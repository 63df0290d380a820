"""How far long work has come, on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import Any

from codekin.cli.terminal import duration

# Work that is over sooner needs no bar: it would only flash.
_QUIET_SECONDS = 0.25
_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BETWEEN_DRAWS = 0.1


class Meter:
    """Shows the count of what is done, its rate and, where the whole is known, the time left."""

    def __init__(self, title: str, noun: str) -> None:
        self._title, self._noun = title, noun
        self._started = time.monotonic()
        self._last = self._started
        self._on_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._pause = _SECONDS_BETWEEN_DRAWS if self._on_terminal else _SECONDS_BETWEEN_LINES
        self._bar: Any = None

    def __enter__(self) -> Meter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, number: int, share: float | None) -> None:
        """`number` things are done, which is `share` of all the work, 0 to 1; None where that is not known."""
        now = time.monotonic()
        seconds = now - self._started
        if seconds < _QUIET_SECONDS or now - self._last < self._pause:
            return
        self._last = now
        rate = number / seconds
        told = [
            f"{number:,} {self._noun}",
            f"{rate:,.0f} a second" if rate >= 10 else f"{rate:.1f} a second",
        ]
        if share:
            told.append(f"{duration(seconds * (1 - share) / share)} left")
        if not self._on_terminal:
            print(f"{self._title}: {', '.join(told)}", file=sys.stderr)
            return
        if self._bar is None:
            self._bar = _start_bar(self._title)
        total = None if share is None else 1.0
        self._bar.update(self._bar.task_ids[0], completed=share or 0.0, total=total, told=", ".join(told))


def _start_bar(title: str) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    bar = Progress(
        TextColumn(title),
        BarColumn(),
        TextColumn("{task.fields[told]}"),
        console=Console(stderr=True),
        transient=True,
    )
    bar.start()
    bar.add_task(title, total=None, told="")
    return bar
