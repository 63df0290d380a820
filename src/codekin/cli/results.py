"""Search results on stdout: for people, or as JSON."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codekin.cli.terminal import (
    DIM,
    MARK,
    NUMBER,
    PATH,
    SYMBOL,
    TOKENS,
    Segments,
    columns,
    linked,
    painted,
    styled,
    visible,
)

if TYPE_CHECKING:
    from codekin.search import Result

_SNIPPET_LINES = 6
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Excerpt:
    """What is shown of a result. Lines are the file's, numbered from 1."""

    start: int
    """The number of the first of `lines`."""
    lines: list[str]
    """The chunk, and before and after it what a wide context reaches."""
    first: int
    last: int
    """The numbers of the first and last line to show."""
    definition: int | None
    """The number of the line that names what the chunk defines, if one does."""
    marks: dict[int, list[tuple[int, int]]]
    """Offsets of the query's words, by line number."""

    def text(self) -> str:
        return "\n".join(self.lines[self.first - self.start : self.last - self.start + 1])


def excerpt(result: Result, query: str, root: Path, context: int) -> Excerpt:
    """The lines of `result` that answer `query`, and `context` lines around them."""
    from codekin.search.snippets import snippet

    found = snippet(result.text, query, _SNIPPET_LINES, symbol=result.symbol)
    chunk = result.text.rstrip("\n").split("\n")
    start, lines = result.start_line, chunk
    first, last = start + found.first - context, start + found.last + context
    if first < start or last >= start + len(chunk):
        file = _lines_of(root / result.path)
        # A file that is gone, or changed since it was indexed, has nothing to show around the chunk.
        if file[start - 1 : start - 1 + len(chunk)] == chunk:
            start, lines = 1, file
    first, last = max(first, start), min(last, start + len(lines) - 1)
    begin, end = min(first, result.start_line), max(last, result.start_line + len(chunk) - 1)
    return Excerpt(
        start=begin,
        lines=lines[begin - start : end - start + 1],
        first=first,
        last=last,
        definition=None if found.definition is None else result.start_line + found.definition,
        marks={result.start_line + line: spans for line, spans in found.marks.items()},
    )


def as_json(results: Sequence[Result], query: str, root: Path, context: int) -> list[dict[str, Any]]:
    """The `results` member of the JSON that search and related print."""
    members = []
    for result in results:
        shown = excerpt(result, query, root, context)
        members.append(
            {
                **result.as_json(),
                "text": result.text,
                "snippet": {"start_line": shown.first, "end_line": shown.last, "text": shown.text()},
            }
        )
    return members


def print_json(value: dict[str, Any]) -> None:
    """One line of JSON in UTF-8; a byte of a name that isn't UTF-8 stays the escape of its surrogate (PEP 383)."""
    text = json.dumps(value, ensure_ascii=False)
    sys.stdout.write(_SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n")
    sys.stdout.flush()


def print_results(
    results: Sequence[Result], query: str, root: Path, shown_root: Path, context: int, *, color: bool
) -> None:
    """A header and a snippet for each result.

    Paths are shown below `shown_root`, the folder as the user wrote it, so that they open from where the user
    stands.
    """
    width = columns()
    blocks = []
    for result in results:
        shown = excerpt(result, query, root, context)
        blocks.append(_header(result, root, shown_root, shown.definition or result.start_line, color))
        blocks += _body(result, shown, color, width)
        blocks.append("")
    sys.stdout.write("\n".join(blocks))
    sys.stdout.flush()


def _header(result: Result, root: Path, shown_root: Path, line: int, color: bool) -> str:
    path = visible(os.path.normpath(shown_root / result.path))
    place, symbol, score = (
        f":{result.start_line}-{result.end_line}",
        visible(result.symbol),
        f"{result.score:.2f}",
    )
    if color:
        place = linked(styled(path, PATH) + styled(place, NUMBER), root / result.path, line)
        symbol, score = styled(symbol, SYMBOL), styled(score, DIM)
    else:
        place = path + place
    return "  ".join(part for part in (place, symbol, score) if part)


def _body(result: Result, shown: Excerpt, color: bool, width: int | None) -> list[str]:
    digits = len(str(shown.last))
    room = None if width is None else max(20, width - digits - 3)
    segments = _segments(result, shown, color)

    def row(number: int) -> str:
        return gutter(f"{number:>{digits}}") + painted(segments[number - shown.start], room)

    def gutter(text: str) -> str:
        return styled(f"{text:>{digits}} │ ", DIM if color else "")

    rows = [row(number) for number in range(shown.first, shown.last + 1)]
    if shown.definition is not None and shown.definition < shown.first:
        # A gap of one line takes as much room as the line itself.
        between = range(shown.definition + 1, shown.first)
        gap = [gutter("⋮")] if len(between) > 1 else [row(number) for number in between]
        rows = [row(shown.definition), *gap, *rows]
    return rows


def _segments(result: Result, shown: Excerpt, color: bool) -> list[Segments]:
    if not color:
        return [[("", line)] for line in shown.lines]
    from codekin.source.highlighting import highlighted_lines, mark

    # All of the chunk is coloured: a window may begin within a string that only an earlier line opens.
    lines = highlighted_lines("\n".join(shown.lines), result.language, result.path)
    marked = [mark(line, shown.marks.get(shown.start + i, [])) for i, line in enumerate(lines)]
    return [
        [(MARK if piece.marked else TOKENS.get(piece.kind, ""), piece.text) for piece in line]
        for line in marked
    ]


def _lines_of(path: Path) -> list[str]:
    from codekin.source import decode

    try:
        return (decode(path.read_bytes()) or "").split("\n")
    except OSError:
        return []
