"""Cutting a text into chunks: whole lines, in order, none longer than a reader or a model takes in."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from codekin.source.grammars import SCOPES
from codekin.source.syntax import LINE_LIMIT, Piece, flatten, grammar_of, outline

# All in characters.
TARGET_SIZE = 1500
"""Neighbours are merged up to this size, classes and long statements over it are cut."""
MAX_SIZE = 3000
"""A function up to this size stays whole. No chunk is longer, but for a chunk of one line that is."""
SOLID_SIZE = 500
"""A definition from this size on stands alone: what it means would drown in its neighbours."""
TINY_SIZE = 200
"""Less than this never stands alone if it can be helped."""
TEXT_LIMIT = 10_000
"""`Chunk.text` of a line longer than this holds its beginning only."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive lines of a text, 1-based and inclusive, without blank lines at either end.

    `symbol` is the qualified name of the function that the chunk is the middle of, else of the first
    definition that starts in it, else of the definition around it; for prose the heading; else "". `kind` is
    what the symbol is: "function", "method", "class", "struct", "interface", "enum", "trait", "module",
    "constant", "section" and so on; "module" for code outside of definitions, "lines" for text that was not
    parsed. `defines` are the bare names of all definitions that start here, those within functions aside.
    """

    start_line: int
    end_line: int
    text: str
    symbol: str
    kind: str
    defines: tuple[str, ...]


@dataclass(slots=True)
class _Segment:
    """Rows [start, end); `solid` segments merge with tiny neighbours only."""

    start: int
    end: int
    solid: bool = False


class _Lines:
    """The lines of a text, told apart by "\\n" alone, with where each starts."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = text.split("\n")
        self.offsets = [0, *accumulate(len(line) + 1 for line in self.lines)]

    def size(self, start: int, end: int) -> int:
        return self.offsets[end] - self.offsets[start]


def chunk(text: str, language: str) -> list[Chunk]:
    """Cut `text` into chunks that do not overlap and together hold every line that is not blank.

    Code in a language with a grammar is cut between definitions and statements, prose between headings and
    paragraphs, all else at blank lines and low indents. Lines are told apart by "\\n". Never raises.
    """
    lines = _Lines(text)
    if language in ("markdown", "rst", "text"):
        return _prose(lines, language)
    grammar = grammar_of(text, language)
    if (
        grammar is not None
        and max(map(len, lines.lines)) <= LINE_LIMIT
        and (pieces := outline(text.encode("utf-8", "replace"), grammar, TARGET_SIZE, MAX_SIZE))
    ):
        return _code(lines, pieces)
    whole = [_Segment(0, len(lines.lines))]
    return [c for s in _fit(lines, whole) if (c := _chunk(lines, s, "", "lines", ()))]


def _code(lines: _Lines, pieces: list[Piece]) -> list[Chunk]:
    segments = _fit(lines, _pack(lines, pieces, 0, len(lines.lines)))
    found = list(flatten(pieces))
    chunks: list[Chunk] = []
    around: list[Piece] = []  # definitions begun and not ended, comments included, outermost first
    noted = begun_up_to = 0
    for segment in segments:
        around = [p for p in around if p.end_row >= segment.start]
        enclosing = around[-1] if around else None
        first = begun_up_to
        while begun_up_to < len(found) and found[begun_up_to].own_row < segment.end:
            begun_up_to += 1
        begun = found[first:begun_up_to]
        while noted < len(found) and found[noted].start_row < segment.end:
            around.append(found[noted])
            noted += 1
        named = next((p for p in begun if p.kind != "constant" or _leads(p, segment, lines)), None)
        if enclosing is not None and (named is None or enclosing.kind not in SCOPES):
            named = enclosing
        elif named is None and around and around[-1].own_row >= segment.end:
            named = around[-1]  # nothing but the comment in front of it
        defines = tuple(
            dict.fromkeys(
                name.rpartition(".")[2] if "." in name and p.kind != "rule" else name
                for p in begun
                if p.kind not in ("impl", "package")
                for name in p.names
            )
        )
        symbol, kind = (named.symbol, named.kind) if named else ("", "module")
        kind = {"impl": "class", "package": "module"}.get(kind, kind)
        if made := _chunk(lines, segment, symbol, kind, defines):
            chunks.append(made)
    return chunks


def _leads(piece: Piece, segment: _Segment, lines: _Lines) -> bool:
    """Whether the segment begins with this definition, blank lines aside."""
    return not "".join(lines.lines[segment.start : piece.start_row]).strip()


def _pack(lines: _Lines, pieces: list[Piece], start: int, end: int) -> list[_Segment]:
    """Rows [start, end) as segments: cut before pieces, small neighbours merged."""
    groups: list[tuple[int, list[Piece]]] = []
    last = -1
    for piece in pieces:
        if piece.start_row >= end:
            break
        # What begins on a row where something else ends cannot be parted from it.
        if piece.start_row > last or not groups:
            groups.append((max(piece.start_row, start), [piece]))
        else:
            groups[-1][1].append(piece)
        last = max(last, piece.end_row)
    groups.append((end, []))
    segments: list[_Segment] = []
    row = start
    for (first, members), (stop, _) in pairwise(groups):
        size = lines.size(first, stop)
        named = any(p.names for p in members)
        whole = all(p.names and p.kind not in SCOPES for p in members) or not any(p.children for p in members)
        if size <= (MAX_SIZE if whole else TARGET_SIZE):
            if row < first:
                segments.append(_Segment(row, first))
            constant = all(p.kind in ("constant", "") for p in members)
            segments.append(_Segment(first, stop, named and not constant and size >= SOLID_SIZE))
        elif (
            inner := [c for p in members for c in (p.children or [p])]
            if len(members) > 1
            else members[0].children
        ):
            # What comes before the first piece heads it: the comment of a class, the line it opens with.
            inside = _pack(lines, inner, row, stop) if inner != members else [_Segment(row, stop)]
            segments += [_Segment(s.start, s.end, s.solid or named) for s in inside]
        else:
            segments.append(_Segment(row, stop, True))
        row = stop
    if row < end:
        segments.append(_Segment(row, end))
    return _merge(lines, segments)


def _merge(lines: _Lines, segments: list[_Segment]) -> list[_Segment]:
    """Small neighbours as one, and what is tiny as part of the smaller of its neighbours."""
    merged: list[_Segment] = []
    for segment in segments:
        before = merged[-1] if merged else segment
        if before.solid or segment.solid or not merged or lines.size(before.start, segment.end) > TARGET_SIZE:
            merged.append(segment)
        else:
            merged[-1] = _Segment(before.start, segment.end)
    at = 0
    while at < len(merged):
        segment = merged[at]
        if lines.size(segment.start, segment.end) < TINY_SIZE:
            joined = [_Segment(a.start, b.end, True) for a, b in pairwise(merged[max(at - 1, 0) : at + 2])]
            best = min(joined, key=lambda s: lines.size(s.start, s.end), default=segment)
            if best is not segment and lines.size(best.start, best.end) <= MAX_SIZE:
                first = at - 1 if best.start < segment.start else at
                merged[first : first + 2] = [best]
                at = first
                continue
        at += 1
    return merged


def _fit(lines: _Lines, segments: Sequence[_Segment]) -> list[_Segment]:
    """The segments with those over the maximum cut between lines."""
    fitting: list[_Segment] = []
    for segment in segments:
        start = segment.start
        while lines.size(start, segment.end) > MAX_SIZE and segment.end - start > 1:
            cut = _best_cut(lines, start, segment.end)
            fitting.append(_Segment(start, cut))
            start = cut
        fitting.append(_Segment(start, segment.end))
    return fitting


def _best_cut(lines: _Lines, start: int, end: int) -> int:
    """The row within the next TARGET_SIZE characters that reads most like a new beginning."""
    offsets = lines.offsets
    high = min(max(bisect_right(offsets, offsets[start] + TARGET_SIZE) - 1, start + 1), end - 1)
    low = min(max(bisect_right(offsets, offsets[start] + TARGET_SIZE // 3), start + 1), high)
    best, best_score = high, (-1, 0)
    for row in range(low, high + 1):
        line = lines.lines[row]
        if line.isspace() or not line:
            continue
        indent = len(line) - len(line.lstrip())
        blank_before = not lines.lines[row - 1].strip()
        closes = line.lstrip()[:1] in ")]}"
        score = (2 * blank_before - closes, -indent)
        if score >= best_score:
            best, best_score = row, score
    return best


def _chunk(
    lines: _Lines, segment: _Segment, symbol: str, kind: str, defines: tuple[str, ...]
) -> Chunk | None:
    start, end = segment.start, segment.end
    while start < end and not lines.lines[start].strip():
        start += 1
    while end > start and not lines.lines[end - 1].strip():
        end -= 1
    if start == end:
        return None
    first = lines.offsets[start]
    last = min(lines.offsets[end] - 1, first + TEXT_LIMIT)
    return Chunk(start + 1, end, lines.text[first:last], symbol, kind, defines)


_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(.+?)(?:[ \t]+#+)?[ \t]*\r?$")
_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_UNDERLINE = re.compile(r"([=\-~^\"'`#*+:.<>_!$%&(),/;?@\[\\\]{|}])\1{2,}[ \t]*\r?$")


def _prose(lines: _Lines, language: str) -> list[Chunk]:
    starts = _headings(lines, language)
    rows = [row for row, _ in starts]
    segments = []
    if not rows or rows[0] > 0:
        segments.append(_Segment(0, rows[0] if rows else len(lines.lines)))
    for number, row in enumerate(rows):
        stop = rows[number + 1] if number + 1 < len(rows) else len(lines.lines)
        segments.append(_Segment(row, stop, lines.size(row, stop) >= SOLID_SIZE))
    chunks = []
    for segment in _fit(lines, _merge(lines, segments)):
        at = bisect_right(rows, segment.start) - 1
        title = starts[at][1] if at >= 0 else ""
        if at < 0 and rows and rows[0] < segment.end:
            title = starts[0][1]
        if made := _chunk(lines, segment, title, "section", ()):
            chunks.append(made)
    return chunks


def _headings(lines: _Lines, language: str) -> list[tuple[int, str]]:
    """Where sections start and what they are called."""
    found: list[tuple[int, str]] = []
    if language == "text":
        return found
    fence = ""
    for row, line in enumerate(lines.lines):
        if len(line) > 200:
            continue
        if language == "markdown":
            if match := _FENCE.match(line):
                if not fence:
                    fence = match[1]
                elif match[1].startswith(fence):
                    fence = ""
                continue
            if fence:
                continue
            if line.lstrip(" ").startswith("#"):
                if match := _HEADING.match(line):
                    found.append((row, match[1]))
                continue
        if row and line[:1] and line[0] in "=-~^\"'`#*+:.<>_" and _UNDERLINE.match(line):
            title = lines.lines[row - 1].strip()
            if language == "markdown" and (line[0] not in "=-" or not title or title[0] in "|>-*#"):
                continue
            if not title or len(title) > len(line.rstrip()) + 2 or _UNDERLINE.match(title):
                continue
            above = row - 2
            over = above >= 0 and bool(_UNDERLINE.match(lines.lines[above])) and language == "rst"
            start = above if over else row - 1
            if not found or start > found[-1][0]:
                found.append((start, title))
    return found
