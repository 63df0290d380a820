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

if TYPE_CHECKING:
    from codekin.search import CodeIndex, UpdateReport

# Work that is over sooner needs no bar: it would only flash.
_QUIET_SECONDS = 0.25
_SECONDS_BETWEEN_LINES = 5.0


class IndexingProgress:
    """Called with (done, total, path): a bar with rate and time left on a terminal, a line now and then elsewhere."""

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

    def __call__(self, done: int, total: int, path: str) -> None:
        now = time.monotonic()
        elapsed = now - self._started
        if elapsed < _QUIET_SECONDS:
            return
        rate = done / elapsed
        if self._on_terminal:
            if self._bar is None:
                self._bar = _start_bar(total)
            self._bar.update(self._bar.task_ids[0], completed=done, total=total, rate=rate)
        elif now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            left = duration((total - done) / rate) if rate else "unknown"
            print(
                f"indexing: {done:,} of {total:,} files, {rate:,.0f} a second, {left} left", file=sys.stderr
            )


def _start_bar(total: int) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("indexing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:,.0f} files/s"),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
        transient=True,
    )
    bar.start()
    bar.add_task("indexing", total=total, rate=0.0)
    return bar


def update_index(index: CodeIndex, *, rebuild: bool = False) -> UpdateReport:
    """`index` brought up to date, with its progress on stderr."""
    with IndexingProgress() as progress:
        return index.update(rebuild=rebuild, progress=progress)


def freshen_index(index: CodeIndex) -> None:
    """`index` brought up to date before a search, if it can be; what a first indexing left out is said."""
    if not index.writable:
        print("codekin: the index cannot be written: this answers from it as it is", file=sys.stderr)
        return
    report = update_index(index)
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
