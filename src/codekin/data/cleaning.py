"""What goes from a set of pairs before it is trained on: duplicates, and leaks from benchmarks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codekin.data.filters import fingerprint
from codekin.data.leaks import LeakIndex
from codekin.data.minhash import near_equal, sketches
from codekin.data.pairs import Pair, read_pairs, write_pairs

EXACT, NEAR = "exact duplicate", "near duplicate"
_EXAMPLES = 3
_BATCH = 2048


@dataclass(frozen=True, slots=True)
class Example:
    """A pair that went, its place in the input from 0, and that of the pair it repeats (None for a leak)."""

    number: int
    pair: Pair
    repeats: int | None


@dataclass(slots=True)
class CleanReport:
    """What a cleaning took out: `dropped[reason][source]` is how many, with a few examples of each reason."""

    read: int = 0
    kept: int = 0
    dropped: dict[str, Counter[str]] = field(default_factory=dict)
    examples: dict[str, list[Example]] = field(default_factory=dict)


def clean(
    source: str | Path,
    destination: str | Path,
    *,
    against: Mapping[str, Iterable[Pair]] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CleanReport:
    """Write the pairs of `source` that are fit for training to `destination`, in their order.

    What goes: a pair that holds most of a query or a document of `against` (benchmarks' judged pairs by name), in
    its query or its document; and a pair of which an earlier one says the same: with a query and a document equal
    (up to case and white space) or near-equal (`codekin.data.minhash`) to its own. A document with several queries,
    or a query with several documents, stays.

    `source` is read twice and half a kilobyte of memory kept for each pair. `progress` is called with
    (pairs read, pairs to read in all or 0 while that is unknown). Raises InputError as `read_pairs` and
    `write_pairs` do.
    """
    read = _Progress(progress)
    leaks = LeakIndex(against or {})
    leaked: dict[int, str] = {}
    columns: list[tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint64]]] = []
    for start, batch in read.batches(source):
        queries, documents = [pair.query for pair in batch], [pair.document for pair in batch]
        for side, texts in (("query", queries), ("document", documents)):
            for leak in leaks.find(texts):
                leaked.setdefault(start + leak.text, f"{leak.benchmark} {leak.side} in the {side}")
        marks = [(fingerprint(pair.query), fingerprint(pair.document)) for pair in batch]
        columns.append((sketches(queries), sketches(documents), np.array(marks, np.uint64)))
    if not columns:
        return CleanReport(0, write_pairs(destination, ()))
    query_rows, document_rows, marks_of = (np.concatenate(column) for column in zip(*columns, strict=True))
    del columns
    exact = _first_equal(marks_of)
    near = _first_equal(np.stack([near_equal(query_rows), near_equal(document_rows)], axis=1))
    del query_rows, document_rows

    report = CleanReport()

    def kept() -> Iterator[Pair]:
        for start, batch in read.batches(source):
            for number, pair in enumerate(batch, start):
                repeats = None
                if number in leaked:
                    reason = leaked[number]
                elif exact[number] != number:
                    reason, repeats = EXACT, int(exact[number])
                elif near[number] != number:
                    reason, repeats = NEAR, int(near[number])
                else:
                    yield pair
                    continue
                report.dropped.setdefault(reason, Counter())[pair.source] += 1
                examples = report.examples.setdefault(reason, [])
                if len(examples) < _EXAMPLES:
                    examples.append(Example(number, pair, repeats))

    report.kept = write_pairs(destination, kept())
    report.read = len(exact)
    return report


class _Progress:
    def __init__(self, tell: Callable[[int, int], None] | None) -> None:
        self._tell = tell
        self._done = 0
        self._total = 0

    def batches(self, source: str | Path) -> Iterator[tuple[int, list[Pair]]]:
        pairs, start = read_pairs(source), 0
        while batch := list(islice(pairs, _BATCH)):
            yield start, batch
            start += len(batch)
            self._done += len(batch)
            if self._tell:
                self._tell(self._done, self._total)
        self._total = 2 * start


def _first_equal(rows: NDArray[np.generic]) -> NDArray[np.int64]:
    """For each of the rows (n, 2) the number of the first that is equal, (n,)."""
    _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return np.asarray(first[inverse.reshape(-1)], np.int64)
