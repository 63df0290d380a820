"""What is said while an index is brought up to date, and after."""

from __future__ import annotations

import os
import re
import sys
import time
from collections import Counter
from types import TracebackType
from typing import TYPE_CHECKING, Any

from codekin.cli.terminal import count, duration, visible
from codekin.errors import ModelError

if TYPE_CHECKING:
    from codekin.search import CodeIndex, UpdateProgress, UpdateReport

# Work that is over sooner needs no bar: it would only flash.
_QUIET_SECONDS = 0.25
_SECONDS_BETWEEN_LINES = 5.0


class IndexingProgress:
    """A bar with rate and time left on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._last_line = self._started
        self._on_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._bar: Any = None

    def __enter__(self) -> IndexingProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, now: UpdateProgress) -> None:
        seconds = time.monotonic() - self._started
        if seconds < _QUIET_SECONDS or not now.size:
            return
        rate = now.chunks / seconds
        figures: dict[str, Any] = {
            "files": f"{now.files:,} of {now.files_total:,} files",
            "rate": f"{rate:,.0f} chunks a second" if rate >= 10 else f"{rate:.1f} chunks a second",
            "left": f"{duration(seconds * (now.size_total - now.size) / now.size)} left",
        }
        if self._on_terminal:
            if self._bar is None:
                self._bar = _start_bar(now.size_total, figures)
            self._bar.update(self._bar.task_ids[0], completed=now.size, **figures)
        elif self._started + seconds - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = self._started + seconds
            print(f"indexing: {', '.join(figures.values())}", file=sys.stderr)


def _start_bar(total: int, figures: dict[str, Any]) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    bar = Progress(
        TextColumn("indexing"),
        BarColumn(),
        *(TextColumn(f"{{task.fields[{name}]}}") for name in figures),
        console=Console(stderr=True),
        transient=True,
    )
    bar.start()
    bar.add_task("indexing", total=total, **figures)
    return bar


def update_index(index: CodeIndex, *, rebuild: bool = False) -> UpdateReport:
    """`index` brought up to date, with its progress on stderr."""
    with IndexingProgress() as progress:
        return index.update(rebuild=rebuild, progress=progress)


def freshen_index(index: CodeIndex, *, lexical: bool = False) -> None:
    """`index` brought up to date before a search, if it can be; what a first indexing left out is said.

    A lexical search does without the model of an index, where that is gone.
    """
    if not index.writable:
        print("codekin: the index cannot be written: this answers from it as it is", file=sys.stderr)
        return
    try:
        report = update_index(index)
    except ModelError as error:
        if not lexical or index.status().model is None:
            raise
        print(f"codekin: this answers from the index as it is: {error}", file=sys.stderr)
        return
    if report.added and not report.unchanged:
        tell_skipped(report)


def tell_skipped(report: UpdateReport, *, each: bool = False) -> None:
    """What was left out and why, on stderr: one line in all, or one for each."""
    if not report.skipped:
        return
    if each:
        for skipped in report.skipped:
            print(f"skipped {visible(skipped.path)}: {skipped.reason}", file=sys.stderr)
        return
    # "cannot be read: Permission denied" and "larger than 1000000 bytes (1203330)" are counted by their kind.
    kinds = Counter(re.split(r"[:(]", skipped.reason)[0].strip() for skipped in report.skipped)
    reasons = ", ".join(f"{kind} {number:,}" for kind, number in kinds.most_common())
    print(
        f"skipped {count(len(report.skipped), 'file')}: {reasons}; codekin index -v lists them",
        file=sys.stderr,
    )
