"""How far long work has come, on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import Any, TypeVar

from codekin.cli.terminal import duration

_Meter = TypeVar("_Meter", bound="Meter")

# Work that is over sooner needs no bar: it would only flash.
_QUIET_SECONDS = 0.25
_SECONDS_BETWEEN_DRAWS = 0.1
_SECONDS_BETWEEN_LINES = 5.0


class Meter:
    """Figures of the work that `title` names and, where the whole of it is known, the time left."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._started = self._last = time.monotonic()
        self._on_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._pause = _SECONDS_BETWEEN_DRAWS if self._on_terminal else _SECONDS_BETWEEN_LINES
        self._bar: Any = None

    def __enter__(self: _Meter) -> _Meter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def per_second(self, number: float) -> float:
        """The rate of `number` since the work began."""
        return number / max(time.monotonic() - self._started, 1e-3)

    def show(self, share: float | None, *figures: str) -> None:
        """Shows the figures, and of `share`, from 0 to 1, how much is done and how long the rest will take.

        May be called at any rate: what comes too soon after the last is not shown.
        """
        now = time.monotonic()
        seconds = now - self._started
        if seconds < _QUIET_SECONDS or now - self._last < self._pause:
            return
        self._last = now
        left = (f"{duration(seconds * (1 - share) / share)} left",) if share else ()
        line = ", ".join((*figures, *left))
        if not self._on_terminal:
            print(f"{self._title}: {line}", file=sys.stderr)
            return
        if self._bar is None:
            self._bar = _start_bar(self._title)
        total = None if share is None else 1.0
        self._bar.update(self._bar.task_ids[0], completed=share or 0.0, total=total, line=line)


def rate(number: float, noun: str) -> str:
    """`1,200 chunks a second`, `0.4 texts a second`."""
    return f"{number:,.0f} {noun} a second" if number >= 10 else f"{number:.1f} {noun} a second"


def _start_bar(title: str) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = TextColumn(title), BarColumn(), TextColumn("{task.fields[line]}")
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    bar.start()
    bar.add_task(title, total=None, line="")
    return bar
