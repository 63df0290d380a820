"""Which lines of a chunk answer a query, and which words in them to mark."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from codekin.search.lexical import FUNCTION_WORDS, terms

# A subtoken of an identifier: acronym ("HTTP", "URLs"), word of any script ("Server", "größe"), number.
_WORD = re.compile(r"[A-Z]+s?(?![^\W\d_A-Z])|[A-Z]?[^\W\d_A-Z]+|\d+")

# What makes a noun of a verb, on top of the inflections that the lexical index takes off.
_DERIVATIONS = ("ion", "er", "or")
_SHORTEST_STEM = 3
_QUALIFIER = re.compile(r"::|[.:#/]")
_COMMENT = re.compile(r"\s*(?:#(?!\w)|//|/\*|\*|--|@)")
# A window shows a quarter of its spare lines above what it found: the reason is read downwards.
_LINES_ABOVE = 4


@dataclass(frozen=True, slots=True)
class Snippet:
    """A window of a chunk's lines. Lines count from 0 at the chunk's first line; `last` is inclusive."""

    first: int
    last: int
    definition: int | None
    """The line that names what the chunk defines; None if none does, as in the later parts of a long body."""
    marks: dict[int, list[tuple[int, int]]]
    """For each line of the chunk that has any: the `(start, end)` offsets of words of the query."""


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """What a word's forms share: `decoding`, `Decoder`, `decodes` -> `decod`.

    Coarser than the terms of the lexical index: what is marked is read by a person, who forgives a wrong mark
    sooner than a missing one.
    """
    root = next(iter(terms(word.lower())), word.lower())
    for ending in _DERIVATIONS:
        if root.endswith(ending) and len(root) - len(ending) >= _SHORTEST_STEM:
            root = root[: -len(ending)]
            # "mapper" is of "map"; "caller" of "call".
            if root[-1] == root[-2] and root[-1] not in "aeiouls":
                root = root[:-1]
            break
    # "configuration" is of "configure", "validator" of "valid"; but "format" is not of "form".
    return root[:-2] if root.endswith("at") and len(root) >= 7 else root


def words(text: str) -> Iterator[tuple[str, int, int]]:
    """Every word of `text`, identifiers split into their subtokens: `(stem, start, end)`."""
    for match in _WORD.finditer(text):
        yield stem(match[0]), match.start(), match.end()


def query_words(query: str) -> set[str]:
    """The stems of `query` that tell one line from another: all but function words and single letters."""
    return {
        stem(word)
        for word in _WORD.findall(query)
        if word.lower() not in FUNCTION_WORDS and (len(word) > 1 or not word.isascii() or word.isdigit())
    }


def snippet(text: str, query: str, max_lines: int, *, symbol: str = "") -> Snippet:
    """The `max_lines` lines of `text` that say most about `query`.

    A line counts by the stems it shares with the query, each weighted by how few lines of the chunk have it.
    Where no line shares any, the window starts at the definition: the first line that has the last part of
    `symbol`, a qualified name.
    """
    lines = text.split("\n")
    while len(lines) > 1 and not lines[-1].strip():
        lines.pop()
    wanted = query_words(query)
    marks: dict[int, list[tuple[int, int]]] = {}
    found: dict[int, set[str]] = {}
    for number, line in enumerate(lines):
        hits = [hit for hit in words(line) if hit[0] in wanted]
        if hits:
            marks[number] = [(start, end) for _, start, end in hits]
            found[number] = {hit[0] for hit in hits}

    definition = _definition_line(lines, symbol)
    start = definition or 0
    first, last = _best_window(found, max_lines) or (start, start)
    if definition is not None and definition <= first and last < definition + max_lines:
        first = definition
    first, last = _fill(first, last, len(lines), max_lines, stay=first == start)
    while first < last and not lines[first].strip():
        first += 1
    while last > first and not lines[last].strip():
        last -= 1
    return Snippet(first, last, definition, marks)


def _definition_line(lines: list[str], symbol: str) -> int | None:
    name = _QUALIFIER.split(symbol)[-1]
    if not name:
        return None
    whole = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
    for number, line in enumerate(lines):
        # A comment or a decorator may say the name before the definition does.
        if whole.search(line) and not _COMMENT.match(line):
            return number
    return None


def _best_window(found: dict[int, set[str]], max_lines: int) -> tuple[int, int] | None:
    """First and last matching line of the window of `max_lines` with the heaviest distinct stems."""
    if not found:
        return None
    frequency = Counter(word for line in found.values() for word in line)
    weight = {word: 1 / (1 + math.log(count)) for word, count in frequency.items()}
    numbers = sorted(found)
    best, best_score = (numbers[0], numbers[0]), 0.0
    for position, start in enumerate(numbers):
        seen: set[str] = set()
        repeated = 0.0
        end = start
        for number in numbers[position:]:
            if number - start >= max_lines:
                break
            end = number
            seen |= found[number]
            repeated += sum(weight[word] for word in found[number])
        # Distinct words decide; among windows with the same ones, the denser wins.
        score = sum(weight[word] for word in seen) + 0.1 * repeated
        if score > best_score + 1e-9:
            best, best_score = (start, end), score
    return best


def _fill(first: int, last: int, count: int, max_lines: int, *, stay: bool) -> tuple[int, int]:
    """The window widened to `max_lines` of `count` lines; `stay` keeps its first line."""
    spare = max_lines - (last - first + 1)
    above = 0 if stay else min(first, max(spare // _LINES_ABOVE, spare - (count - 1 - last)))
    first -= above
    return first, min(count - 1, last + spare - above)
