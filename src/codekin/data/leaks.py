"""Leaks: training texts that hold a benchmark's queries or answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codekin.data.catalog import find_set, select_sets
from codekin.data.minhash import shingles
from codekin.data.pairs import Pair, read_pairs
from codekin.data.sets import Use
from codekin.errors import InputError
from codekin.tasks import Task

RUN = 8
"""Words of a run, as in the decontamination of Tulu 3 (arXiv 2411.15124)."""

SHARE = 0.5
"""A text leaks a benchmark's if it holds this share of its runs; texts of fewer words must be equal."""

FETCHED = "fetched"

_FILTER_BITS = 24
_BATCH = 8192


def benchmarks(where: Iterable[str]) -> dict[str, Iterator[Pair]]:
    """The judged pairs of benchmarks by name: folders in BEIR's layout, or the catalogue's by name, once fetched.

    "fetched" stands for all of the catalogue that are. Raises InputError where there is no such benchmark.
    """
    found: dict[str, Iterator[Pair]] = {}
    for name in where:
        if name == FETCHED:
            entries = [entry for entry in select_sets(use=Use.BENCHMARK) if entry.folder.is_dir()]
            found |= {entry.name: entry.pairs() for entry in entries}
        elif Path(name).is_dir():
            found[Path(name).resolve().name] = read_pairs(name, split="test", task=Task.NL2CODE)
        else:
            entry = find_set(name, Use.BENCHMARK)
            if not entry.folder.is_dir():
                raise InputError(f"{entry.name} is not here; codekin data fetch {entry.name} --benchmark")
            found[entry.name] = entry.pairs()
    return found


@dataclass(frozen=True, slots=True)
class Leak:
    """Text `text` of those looked at holds `share` of the runs of a text of `benchmark`, a query or a document."""

    text: int
    benchmark: str
    side: str
    share: float


class LeakIndex:
    """The word runs of benchmarks' texts."""

    def __init__(self, benchmarks: Mapping[str, Iterable[Pair]]) -> None:
        """`benchmarks` are the judged pairs of each, by name: texts that answer nothing are no secret."""
        runs: list[NDArray[np.uint64]] = []
        owners: list[NDArray[np.int64]] = []
        self._origins: list[tuple[str, str]] = []
        for name, pairs in benchmarks.items():
            texts: dict[str, str] = {}
            for pair in pairs:
                texts.setdefault(pair.query, "query")
                texts.setdefault(pair.document, "document")
            listed = list(texts)
            for start in range(0, len(listed), _BATCH):
                found = shingles(listed[start : start + _BATCH], RUN)
                owner, run = _distinct(found.hashes, found.starts)
                owners.append(owner + len(self._origins) + start)
                runs.append(run)
            self._origins += [(name, side) for side in texts.values()]
        everything = np.concatenate([*runs, np.empty(0, np.uint64)])
        order = np.argsort(everything, kind="stable")
        self._runs = everything[order]
        self._owners = np.concatenate([*owners, np.empty(0, np.int64)])[order]
        self._sizes = np.bincount(self._owners, minlength=len(self._origins))
        # Most runs are in no benchmark; a look into a small table says so at once.
        self._filter = np.zeros(1 << _FILTER_BITS, np.bool_)
        self._filter[self._runs >> np.uint64(64 - _FILTER_BITS)] = True

    def find(self, texts: Sequence[str]) -> list[Leak]:
        """The leaks among `texts`, at most one a text: of the benchmark text that it holds most of."""
        found = shingles(texts, RUN)
        maybe = np.flatnonzero(self._filter[found.hashes >> np.uint64(64 - _FILTER_BITS)])
        text = np.searchsorted(found.starts, maybe, side="right") - 1
        starts = np.searchsorted(text, np.arange(len(texts) + 1))
        text, runs = _distinct(found.hashes[maybe], starts)
        low = np.searchsorted(self._runs, runs, side="left")
        count = np.searchsorted(self._runs, runs, side="right") - low
        # One row for every benchmark text that has the run.
        text = np.repeat(text, count)
        at = np.arange(len(text)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(low, count)
        both, shared = np.unique(text * len(self._origins) + self._owners[at], return_counts=True)
        text, owner = np.divmod(both, max(1, len(self._origins)))
        share = shared / self._sizes[owner]
        order = np.lexsort((owner, -share, text))
        best = order[np.concatenate(([True], text[order][1:] != text[order][:-1]))] if len(order) else order
        best = best[share[best] >= SHARE]
        leaks = []
        for number, origin, part in zip(
            text[best].tolist(), owner[best].tolist(), share[best].tolist(), strict=True
        ):
            benchmark, side = self._origins[origin]
            leaks.append(Leak(number, benchmark, side, part))
        return leaks


def _distinct(
    hashes: NDArray[np.uint64], starts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """The texts and their different hashes, one a row."""
    texts = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    order = np.lexsort((hashes, texts))
    texts, hashes = texts[order], hashes[order]
    new = np.ones(len(texts), np.bool_)
    new[1:] = (texts[1:] != texts[:-1]) | (hashes[1:] != hashes[:-1])
    return texts[new], hashes[new]
