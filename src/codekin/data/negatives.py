"""Hard negatives: documents that a search takes for the answer to a query, and that are not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from codekin.data import bm25
from codekin.data.pairs import Pair, write_pairs
from codekin.data.sampling import PairFiles, Rows, answer_labels
from codekin.embed import Embedder
from codekin.errors import InputError
from codekin.tasks import Role, Task

BM25 = "bm25"

# Pairs whose documents are searched together. More would find little that is harder, at a time that grows with it.
_SHARD = 32_768
_BLOCK = 256


@dataclass(slots=True)
class NegativesReport:
    """What a mining found: `mined` of the `pairs` have negatives, `negatives` in all.

    Of the documents ranked high, `answers` were near-equal to an answer of the query or of a near-equal one, and
    `too_close` scored too near to the answer, or above: false negatives, as far as the search can tell.
    """

    pairs: int = 0
    mined: int = 0
    negatives: int = 0
    answers: int = 0
    too_close: int = 0


class _Searcher(Protocol):
    def index(self, documents: Sequence[str], task: Task) -> None: ...

    def scores(self, queries: Sequence[str], task: Task) -> NDArray[np.float32]:
        """(queries, documents)"""


def mine_negatives(
    source: str | Path,
    destination: str | Path,
    searcher: str | Embedder = BM25,
    *,
    count: int = 7,
    skip: int = 0,
    depth: int = 50,
    ratio: float = 0.95,
    progress: Callable[[int, int], None] | None = None,
) -> NegativesReport:
    """Write the pairs of `source`, a JSONL file, to `destination`, each with up to `count` hard negatives.

    `searcher` ranks the documents of pairs of the same task and language: an Embedder or "bm25". Negatives are the
    highest among ranks `skip` to `depth` that answer neither the query nor a near-equal one and score at most
    `ratio` times the query's own document (the positive-aware threshold of NV-Retriever, arXiv 2407.15831). They
    take the place of those that a pair has. At most a shard of the texts is in memory; `progress` is called with
    (pairs done, pairs in all).

    Raises InputError for arguments that leave nothing to choose, MissingExtraError where BM25 is not installed.
    """
    if count < 1 or skip < 0 or depth <= skip or not 0 < ratio <= 1:
        raise InputError(
            f"no negative can be chosen: count {count}, skip {skip}, depth {depth}, ratio {ratio:g}"
        )
    engine: _Searcher
    if isinstance(searcher, Embedder):
        engine = _Vectors(searcher)
    elif searcher == BM25:
        engine = _Terms()
    else:
        raise InputError(f"unknown searcher {searcher!r}: give an Embedder or {BM25!r}")
    pairs = PairFiles([source])
    chosen = np.full((len(pairs), count), -1, np.int64)
    report = NegativesReport(pairs=len(pairs))
    done = 0
    for rows in _shards(pairs):
        shard = [pairs[row] for row in rows.tolist()]
        for at, found in _negatives(engine, shard, report, count, skip, depth, ratio):
            chosen[rows[at], : len(found)] = rows[found]
            report.mined += bool(found)
            report.negatives += len(found)
        done += len(rows)
        if progress:
            progress(done, len(pairs))
    write_pairs(destination, _with_negatives(pairs, chosen))
    return report


def _with_negatives(pairs: PairFiles, chosen: Rows) -> Iterator[Pair]:
    for pair, numbers in zip(pairs, chosen.tolist(), strict=True):
        yield replace(pair, negatives=tuple(pairs[number].document for number in numbers if number >= 0))


def _shards(pairs: PairFiles) -> Iterator[Rows]:
    """Numbers of pairs of one task and language, at most `_SHARD` together, drawn at random."""
    groups: dict[tuple[Task, str], list[int]] = defaultdict(list)
    for number, pair in enumerate(pairs):
        groups[pair.task, pair.language].append(number)
    rng = np.random.default_rng(0)
    for numbers in groups.values():
        yield from np.array_split(rng.permutation(numbers), -(-len(numbers) // _SHARD))


def _negatives(
    engine: _Searcher,
    shard: list[Pair],
    report: NegativesReport,
    count: int,
    skip: int,
    depth: int,
    ratio: float,
) -> Iterator[tuple[int, list[int]]]:
    """For each pair of a shard, its place there and the places of pairs whose documents are its negatives."""
    task = shard[0].task
    places: dict[str, int] = {}
    own = np.array([places.setdefault(pair.document, i) for i, pair in enumerate(shard)])
    holders, own = np.unique(own, return_inverse=True)
    labels = answer_labels(shard)
    document_labels = labels[holders, 1].tolist()
    answers: dict[int, set[int]] = defaultdict(set)
    for query, document in labels.tolist():
        # A document near-equal to the query itself is none that it should be told from.
        answers[query] |= {query, document}
    engine.index([shard[i].document for i in holders], task)
    for start in range(0, len(shard), _BLOCK):
        block = shard[start : start + _BLOCK]
        scores = engine.scores([pair.query for pair in block], task)
        each = np.arange(len(block))
        limits = ratio * scores[each, own[start : start + len(block)]]
        scores[each, own[start : start + len(block)]] = -np.inf
        ranked = _highest(scores, depth)[:, skip:]
        for i, (candidates, limit) in enumerate(zip(ranked.tolist(), limits.tolist(), strict=True)):
            right = answers[int(labels[start + i, 0])]
            found: list[int] = []
            for candidate in candidates:
                score = scores[i, candidate]
                if len(found) == count or score <= 0:
                    break
                if document_labels[candidate] in right:
                    report.answers += 1
                elif score > limit:
                    report.too_close += 1
                else:
                    found.append(int(holders[candidate]))
            yield start + i, found


def _highest(scores: NDArray[np.float32], count: int) -> Rows:
    """The columns of each row's `count` highest scores, highest first."""
    count = min(count, scores.shape[1])
    columns = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(scores, columns, 1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, 1)


class _Vectors:
    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._documents = np.empty((0, 0), np.float32)

    def index(self, documents: Sequence[str], task: Task) -> None:
        self._documents = self._embedder.encode(documents, task, Role.DOCUMENT)

    def scores(self, queries: Sequence[str], task: Task) -> NDArray[np.float32]:
        return self._embedder.encode(queries, task, Role.QUERY) @ self._documents.T


class _Terms:
    """BM25 over the parts of identifiers and words."""

    def index(self, documents: Sequence[str], task: Task) -> None:
        self._index = bm25.BM25(documents)

    def scores(self, queries: Sequence[str], task: Task) -> NDArray[np.float32]:
        return self._index.scores(queries)
