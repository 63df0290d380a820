"""What is said while pairs are read, cleaned or written."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import Any

from codekin.cli.terminal import duration

_SECONDS_BETWEEN_LINES = 5.0


class Counting:
    """A bar on a terminal, a line now and then elsewhere; called with what is done, of how much (0: unknown)."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._began = self._last_line = time.monotonic()
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
        rate = done / max(now - self._began, 1e-3)
        figures = [f"{done:,}{f' of {total:,}' if total else ''}", f"{rate:,.1f} a second"]
        if total and done:
            figures.append(f"{duration((total - done) / rate)} left")
        line = ", ".join([*figures, *([also] if also else [])])
        if self._on_terminal:
            if self._bar is None:
                self._bar = _start_bar(self._what)
            self._bar.update(self._bar.task_ids[0], completed=done, total=total or None, line=line)
        elif now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            print(f"{self._what}: {line}", file=sys.stderr)


def _start_bar(what: str) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = TextColumn(what), BarColumn(), TextColumn("{task.fields[line]}")
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    bar.start()
    bar.add_task(what, total=None, line="")
    return bar
