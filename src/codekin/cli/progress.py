"""What is said while an index is brought up to date, and after."""

from __future__ import annotations

import re
import sys
from collections import Counter
from typing import TYPE_CHECKING

from codekin.cli.meter import Meter, rate
from codekin.cli.terminal import count, visible
from codekin.errors import ModelError

if TYPE_CHECKING:
    from codekin.search import CodeIndex, UpdateProgress, UpdateReport


class IndexingProgress(Meter):
    """Shows the files and bytes that are read, and the chunks a second."""

    def __init__(self) -> None:
        super().__init__("indexing")

    def __call__(self, now: UpdateProgress) -> None:
        share = now.size / now.size_total if now.size_total else None
        files = f"{now.files:,} of {now.files_total:,} files"
        self.show(share, files, rate(self.per_second(now.chunks), "chunks"))


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
