"""Lines that another tool printed, scored and re-ranked by meaning; the lines stay as they were."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codekin.errors import InputError
from codekin.search.snippets import query_words, words
from codekin.tasks import Role, Task

if TYPE_CHECKING:
    from codekin.embed import Embedder

# Share of the embedding in a line's score; the rest is the share of the query's words that the line has.
# Lines are short: one word in common says more than it does in a chunk.
_COSINE_WEIGHT = 0.5
# A query word found only in the line's path counts this much of one found in its text.
_PATH_WEIGHT = 0.3
# Longer lines are scored by their start: what a person sees of them.
_SCORED_CHARACTERS = 2_000

# ECMA-48 control sequences (colours) and OSC strings (hyperlinks), as grep and ripgrep print them.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
# "path:12:", "path:12:7:", "path-12-" (context) or NUL after the path (grep -Z).
_NUMBERED = re.compile(r"((?:[A-Za-z]:[\\/])?[^\s:\0][^:\0]*?)[:\0-](\d+)(?:[:-](?:\d+:)?)")
# "path:" without a number: only what has a folder or an extension, and no space, is taken for a path.
_PLAIN_PATH = re.compile(r"([^\s:\0]*[/\\.][^\s:\0]*[\w/])(?::(?!:)|\0)")
_BARE_NUMBER = re.compile(r"()(\d+)[:-]")
_BARE_PATH = re.compile(r"(?:[A-Za-z]:)?[^\s:()\[\]{}<>\"'=,;]*[/\\.][^\s:()\[\]{}<>\"'=,;]*")
_COMMIT = re.compile(r"(?:[*|\\/_] ?)*[0-9a-f]{7,40} (?=\S)")


@dataclass(frozen=True, slots=True)
class RankedLine:
    """One line of the input and how well it answers."""

    number: int
    """Place in the input, from 1."""
    line: str
    """The line as it was read, colours included, without its newline."""
    score: float
    """0 (nothing in common) to 1."""


@dataclass(frozen=True, slots=True)
class LineParts:
    """What a line says, apart from where it says it is from."""

    path: str
    """The path in front of the text, "" if there is none."""
    line_number: int | None
    text: str
    """What is scored: no colours, prefix or commit hash; a bare path stands for its words."""


def parse_line(line: str) -> LineParts:
    """The parts of a line of `grep -rn`, ripgrep, `git log --oneline`, a list of files, or any other text."""
    plain = _ESCAPES.sub("", line) if "\x1b" in line else line
    plain = plain[:_SCORED_CHARACTERS].rstrip("\r\n")
    if match := _NUMBERED.match(plain) or _BARE_NUMBER.match(plain):
        return LineParts(match[1], int(match[2]), plain[match.end() :])
    if match := _PLAIN_PATH.match(plain):
        return LineParts(match[1], None, plain[match.end() :])
    if _BARE_PATH.fullmatch(plain):
        return LineParts(plain, None, plain)
    if match := _COMMIT.match(plain):
        return LineParts("", None, plain[match.end() :])
    return LineParts("", None, plain)


class LineScorer:
    """Scores lines against one query: the cosine of their embeddings and the words they share.

    A line's score depends on nothing but the line, so blocks of any size give the same scores.
    """

    def __init__(self, query: str, embedder: Embedder, task: Task | str = Task.NL2CODE) -> None:
        if not query.strip():
            raise InputError("the query is empty")
        self._embedder = embedder
        self._task = Task.parse(task)
        self._query = embedder.encode([query], self._task, Role.QUERY)[0]
        self._words = query_words(query)

    def score(self, lines: Sequence[str]) -> list[float]:
        """One score in [0, 1] for each line."""
        if not lines:
            return []
        parts = [parse_line(line) for line in lines]
        vectors = self._embedder.encode([_embeddable(part) for part in parts], self._task, Role.DOCUMENT)
        # Not a matrix product, which rounds a row differently in blocks of different sizes.
        cosines = (vectors * self._query).sum(axis=1).clip(0.0, 1.0).tolist()
        if not self._words:
            return list(cosines)
        return [
            _COSINE_WEIGHT * cosine + (1 - _COSINE_WEIGHT) * self._overlap(part)
            for cosine, part in zip(cosines, parts, strict=True)
        ]

    def _overlap(self, parts: LineParts) -> float:
        in_text = self._words.intersection(word for word, _, _ in words(parts.text))
        if parts.path and parts.path != parts.text:
            in_path = self._words.intersection(word for word, _, _ in words(parts.path)) - in_text
        else:
            in_path = set()
        return (len(in_text) + _PATH_WEIGHT * len(in_path)) / len(self._words)


def rank_lines(
    blocks: Iterable[Sequence[str]],
    query: str,
    embedder: Embedder,
    task: Task | str = Task.NL2CODE,
    *,
    top: int | None = None,
    threshold: float | None = None,
) -> Iterator[RankedLine]:
    """The lines of `blocks` that answer `query`.

    Best first, ties in their order of input: all of them, or the best `top`, for which no more than `top` and
    one block are held. With a `threshold` and no `top` the lines that reach it come in the order they were
    read, each block as soon as it is scored, so that endless input is filtered as it flows.
    """
    scored = _scored(blocks, LineScorer(query, embedder, task))
    if threshold is not None:
        scored = (ranked for ranked in scored if ranked.score >= threshold)
        if top is None:
            yield from scored
            return
    if top is None:
        yield from sorted(scored, key=lambda ranked: -ranked.score)
    else:
        yield from _best(scored, top)


def _scored(blocks: Iterable[Sequence[str]], scorer: LineScorer) -> Iterator[RankedLine]:
    number = 0
    for block in blocks:
        for line, score in zip(block, scorer.score(block), strict=True):
            number += 1
            yield RankedLine(number, line, score)


def _best(scored: Iterable[RankedLine], top: int) -> list[RankedLine]:
    # The smallest of the heap is the line to drop: the lowest score, and of equals the one read last.
    heap: list[tuple[float, int, RankedLine]] = []
    for ranked in scored:
        item = (ranked.score, -ranked.number, ranked)
        if len(heap) < top:
            heapq.heappush(heap, item)
        elif item > heap[0]:
            heapq.heapreplace(heap, item)
    return [ranked for _, _, ranked in sorted(heap, reverse=True)]


def _embeddable(parts: LineParts) -> str:
    # A surrogate escape is no character a tokenizer knows.
    return parts.text.encode("utf-8", "replace").decode("utf-8")
