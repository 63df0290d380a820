"""Batches for contrastive training: which pairs of which set meet in one, the same from the same seed."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codekin.data.minhash import near_equal, sketches
from codekin.data.pairs import Pair, parse_pair
from codekin.errors import InputError

Rows = NDArray[np.int64]

_SCANNED = 1 << 26
_BATCH = 2048


class PairFiles(Sequence[Pair]):
    """The pairs of JSONL files by number, one file after the other; of the files only the lines' places are held.

    `sets` is the number of each pair's file, (n,) int32. Raises InputError for a file that cannot be read, and on
    access, naming the line, where one is no pair.
    """

    def __init__(self, paths: Iterable[str | Path]) -> None:
        self._paths = [Path(path) for path in paths]
        self._texts: list[mmap.mmap | bytes] = []
        ends = []
        for path in self._paths:
            if path.suffix != ".jsonl":
                raise InputError(f"{path} cannot be read in any order; convert it: name a .jsonl file")
            try:
                with open(path, "rb") as stream:
                    empty = not path.stat().st_size
                    text = b"" if empty else mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            except OSError as error:
                raise InputError(f"cannot read pairs from {path}: {error.strerror or error}") from None
            self._texts.append(text)
            ends.append(_line_ends(text))
        self._ends = np.concatenate([*ends, np.empty(0, np.int64)])
        counts = [len(file_ends) for file_ends in ends]
        self._first = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
        self.sets = np.repeat(np.arange(len(counts), dtype=np.int32), counts)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, number: int) -> Pair: ...
    @overload
    def __getitem__(self, number: slice) -> list[Pair]: ...
    def __getitem__(self, number: int | slice) -> Pair | list[Pair]:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        if number < 0:
            number += len(self)
        if not 0 <= number < len(self):
            raise IndexError(number)
        file = int(self.sets[number])
        line = number - int(self._first[file])
        start = int(self._ends[number - 1]) if line else 0
        return parse_pair(self._texts[file][start : self._ends[number]], f"{self._paths[file]}:{line + 1}")


def _line_ends(text: mmap.mmap | bytes) -> Rows:
    """Where each line ends, behind its newline; a last line may have none."""
    ends = []
    for start in range(0, len(text), _SCANNED):
        part = np.frombuffer(text[start : start + _SCANNED], np.uint8)
        ends.append(np.flatnonzero(part == ord("\n")) + (start + 1))
    if len(text) and text[len(text) - 1 :] != b"\n":
        ends.append(np.array([len(text)]))
    return np.concatenate([*ends, np.empty(0, np.int64)])


def answer_labels(pairs: Iterable[Pair]) -> Rows:
    """(n, 2): labels of the pairs' queries and documents, equal where the texts are near-equal, on either side.

    Two pairs that share a label answer each other's query, or would teach that equal texts are apart.
    """
    source, rows = iter(pairs), []
    while batch := list(islice(source, _BATCH)):
        rows.append(sketches([text for pair in batch for text in (pair.query, pair.document)]))
    return near_equal(np.concatenate(rows)).reshape(-1, 2) if rows else np.empty((0, 2), np.int64)


@dataclass(frozen=True, slots=True)
class Position:
    """How far a run has come: `batch` batches of epoch `epoch`. With the sampler's arguments, all it takes to go on."""

    epoch: int = 0
    batch: int = 0


class Sampler:
    """Batches of `size` of the pairs 0..n-1, no two of a batch with a label in common.

    `sets` says which set each pair is of, (n,) numbers or names, and `labels` what it must not meet, (n, 2) as
    `answer_labels` gives it. A batch is of one set, whose documents are harder to tell apart; what is left over of
    each set is mixed, and with `mixed` everything is. An epoch has as many pairs as there are. A set of m pairs has
    a share in proportion to m ** (1 / temperature): each pair once at 1, towards the same number of every set
    above, small ones repeated. Pairs that fill no batch at an epoch's end are left out of it.
    """

    def __init__(
        self,
        sets: ArrayLike,
        labels: Rows,
        size: int,
        *,
        seed: int,
        temperature: float = 1.0,
        mixed: bool = False,
    ) -> None:
        if size < 1 or temperature <= 0:
            raise InputError(
                f"batches need a size above 0 and a temperature above 0, not {size}, {temperature}"
            )
        names = np.asarray(sets)
        if not len(names) or labels.shape != (len(names), 2):
            raise InputError(f"{len(names)} pairs cannot be sampled with labels of shape {labels.shape}")
        self._sets = [np.flatnonzero(names == name) for name in np.unique(names)]
        self._labels = labels
        self._size = size
        self._seed = seed
        self._mixed = mixed
        weights = np.array([len(rows) for rows in self._sets], np.float64) ** (1 / temperature)
        edges = np.rint(np.cumsum(weights) / weights.sum() * len(names)).astype(np.int64)
        self._quotas = np.diff(edges, prepend=0).tolist()

    def epoch(self, number: int) -> list[Rows]:
        """The batches of an epoch, each (size,) numbers of pairs; a single smaller one if there are too few."""
        rng = np.random.default_rng((self._seed, number))
        drawn = [_draw(rows, quota, rng) for rows, quota in zip(self._sets, self._quotas, strict=True)]
        whole: list[Rows] = []
        rest = drawn
        if not self._mixed:
            fitted = [self._fit(rows) for rows in drawn]
            whole = [batch for batches in fitted for batch in batches if len(batch) == self._size]
            rest = [batch for batches in fitted for batch in batches if len(batch) < self._size]
            whole = [whole[i] for i in rng.permutation(len(whole))]
            # A pair that is left over several times needs as many batches to stand in.
            left = np.concatenate([*rest, np.empty(0, np.int64)])
            needed = self._size * int(np.bincount(left).max(initial=0))
            while whole and sum(map(len, rest)) < needed:
                rest.append(whole.pop())
        mixed = self._fit(rng.permutation(np.concatenate([*rest, np.empty(0, np.int64)])))
        batches = whole + [batch for batch in mixed if len(batch) == self._size]
        if not batches:
            return [max(mixed, key=len)]
        return [batches[i] for i in rng.permutation(len(batches))]

    def batches(self, position: Position = Position()) -> Iterator[tuple[Position, Rows]]:
        """The batches from `position` on, epoch after epoch without end, each with the position behind it."""
        epoch, done = position.epoch, position.batch
        while True:
            plan = self.epoch(epoch)
            for number in range(done, len(plan)):
                yield Position(epoch, number + 1), plan[number]
            epoch, done = epoch + 1, 0

    def _fit(self, rows: Rows) -> list[Rows]:
        """The rows in batches, each in the first with room behind those where one of its labels stands."""
        batches: list[list[int]] = []
        ahead = [0]  # the batch itself while it has room, else one behind it; the last is yet to be opened
        behind: dict[int, int] = {}
        labels = self._labels[rows].tolist()
        for row, (query, document) in zip(rows.tolist(), labels, strict=True):
            at = max(behind.get(query, 0), behind.get(document, 0))
            while ahead[at] != at:
                ahead[at] = ahead[ahead[at]]
                at = ahead[at]
            if at == len(batches):
                batches.append([])
                ahead.append(at + 1)
            batches[at].append(row)
            if len(batches[at]) == self._size:
                ahead[at] = at + 1
            behind[query] = behind[document] = at + 1
        return [np.array(batch, np.int64) for batch in batches]


def _draw(rows: Rows, count: int, rng: np.random.Generator) -> Rows:
    """`count` of the rows at random, none a second time before all have come."""
    passes = [rng.permutation(rows) for _ in range(-(-count // len(rows)))]
    return np.concatenate([*passes, np.empty(0, np.int64)])[:count]
