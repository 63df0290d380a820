"""How far long work has come, on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
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
        self._on_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._pause = _SECONDS_BETWEEN_DRAWS if self._on_terminal else _SECONDS_BETWEEN_LINES
        self._bar: Any = None
        self.title = title
        self.begin()

    def __enter__(self: _Meter) -> _Meter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Takes the bar away; the next `show` draws another."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = None

    def begin(self, title: str | None = None, share: float = 0.0) -> None:
        """What comes now is timed by itself: other work, or what is left of work whose `share` is done already."""
        if title is not None and title != self.title:
            self.close()
            self.title = title
        self._started = self._last = time.monotonic()
        self._share = share

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
        done = (share or 0.0) - self._share
        left = (f"{duration(seconds * (1 - share) / done)} left",) if share and done > 0 else ()
        line = ", ".join((*figures, *left))
        if not self._on_terminal:
            print(f"{self.title}: {line}", file=sys.stderr)
            return
        if self._bar is None:
            self._bar = _start_bar(self.title)
        total = None if share is None else 1.0
        self._bar.update(self._bar.task_ids[0], completed=share or 0.0, total=total, line=line)


class Counting(Meter):
    """A meter of work that is counted: called with what is done, of how much (0: unknown), and another figure.

    What is done at the first call says nothing about the rate: a run before this one did it. Where the count falls,
    the next of several works has begun. `shown` writes amounts and rates, numbers by default.
    """

    def __init__(self, title: str, shown: Callable[[float], str] | None = None) -> None:
        super().__init__(title)
        self._shown = shown or _number
        self._first: int | None = None
        self._done = 0

    def __call__(self, done: int, total: int, also: str = "", *, title: str | None = None) -> None:
        share = done / total if total else None
        if self._first is None or done < self._done or title not in (None, self.title):
            self._first = done
            self.begin(title, share or 0.0)
        self._done = done
        of = f" of {self._shown(total)}" if total else ""
        speed = self._shown(self.per_second(done - self._first))
        self.show(share, f"{self._shown(done)}{of}", f"{speed} a second", *([also] if also else []))


def rate(number: float, noun: str) -> str:
    """`1,200 chunks a second`, `0.4 texts a second`."""
    return f"{_number(number)} {noun} a second"


def _number(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 or number == int(number) else f"{number:.1f}"


def _start_bar(title: str) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    title_column, line_column = (
        TextColumn(f"{{task.{what}}}", markup=False) for what in ("description", "fields[line]")
    )
    bar = Progress(title_column, BarColumn(), line_column, console=Console(stderr=True), transient=True)
    bar.start()
    bar.add_task(title, total=None, line="")
    return bar
