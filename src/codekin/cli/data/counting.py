"""What is said while files are fetched, and pairs read, cleaned or written."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from codekin.cli.terminal import duration

_SECONDS_BETWEEN_LINES = 5.0


class Counting:
    """A bar on a terminal, a line now and then elsewhere; called with what is done, of how much (0: unknown).

    `shown` writes amounts and rates, numbers by default.
    """

    def __init__(self, what: str, shown: Callable[[float], str] | None = None) -> None:
        self._what = what
        self._shown = shown or _number
        self._began = self._last_line = time.monotonic()
        self._at_first: int | None = None
        self._on_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._bar: Any = None

    def __enter__(self) -> Counting:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: int, total: int, also: str = "") -> None:
        now = time.monotonic()
        if self._at_first is None:
            self._at_first = done  # what a run before this one did says nothing about the rate
        rate = (done - self._at_first) / max(now - self._began, 1e-3)
        of = f" of {self._shown(total)}" if total else ""
        figures = [f"{self._shown(done)}{of}", f"{self._shown(rate)} a second"]
        if total and rate:
            figures.append(f"{duration((total - done) / rate)} left")
        line = ", ".join([*figures, *([also] if also else [])])
        if self._on_terminal:
            if self._bar is None:
                self._bar = _start_bar(self._what)
            self._bar.update(self._bar.task_ids[0], completed=done, total=total or None, line=line)
        elif now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            print(f"{self._what}: {line}", file=sys.stderr)


def _number(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 or number == int(number) else f"{number:.1f}"


def _start_bar(what: str) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = TextColumn(what), BarColumn(), TextColumn("{task.fields[line]}")
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    bar.start()
    bar.add_task(what, total=None, line="")
    return bar
