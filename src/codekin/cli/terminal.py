"""What a terminal shows: when to colour, styles, links, and numbers for people."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

# The terminal's own 16 colours: right on a dark and on a light background.
PATH = "1;35"
NUMBER = "32"
SYMBOL = "1;36"
DIM = "2"
MARK = "1;4;33"
TOKENS = {
    "comment": "2;3",
    "directive": "33",
    "keyword": "34",
    "constant": "36",
    "type": "36",
    "builtin": "36",
    "definition": "1",
    "string": "32",
    "heading": "1;34",
    "strong": "1",
    "emphasis": "3",
}
"""What the kinds of a token (codekin.source.highlighting) look like."""

Segments = list[tuple[str, str]]
"""A line as `(style, text)` pieces."""

# What could move the cursor or rewrite the screen, if a file in someone's repository holds it.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def wants_color(when: str) -> bool:
    """Whether stdout gets colours and links, for `--color` auto, always or never.

    auto: NO_COLOR (https://no-color.org) turns them off, FORCE_COLOR on; otherwise they are for terminals.
    """
    if when != "auto":
        return when == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str) -> str:
    """`text` in the SGR `style`; as it is where that is empty."""
    return f"\x1b[{style}m{text}\x1b[0m" if style and text else text


def linked(text: str, path: Path, line: int) -> str:
    """`text` as a link that terminals open at `line` of `path` (OSC 8; the fragment as kitty and VS Code read it)."""
    target = f"file://{socket.gethostname()}{quote(os.fsencode(path.absolute()))}#{line}"
    return f"\x1b]8;;{target}\x1b\\{text}\x1b]8;;\x1b\\"


def visible(text: str) -> str:
    """`text` with tabs widened and control characters shown as a mark instead of obeyed."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\t", "    "))


def painted(segments: Segments, width: int | None) -> str:
    """The line for a terminal, cut to `width` characters if given."""
    out: list[str] = []
    for style, text in segments:
        shown = visible(text)
        if width is not None and len(shown) > width:
            out.append(styled(shown[: max(0, width - 1)], style) + "…")
            break
        out.append(styled(shown, style))
        if width is not None:
            width -= len(shown)
    return "".join(out)


def columns() -> int | None:
    """The width of the terminal stdout goes to; None if it isn't one."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> Iterator[str]:
    """The lines of a table: the first `left` columns begin together, the others, figures, end together."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        places = enumerate(zip(row, widths, strict=True))
        cells = (cell.ljust(width) if place < left else cell.rjust(width) for place, (cell, width) in places)
        yield "  ".join(cells).rstrip()


def count(number: int, noun: str) -> str:
    """`1 file`, `1,200 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """`85 ms`, `1.8 s`, `2 min 5 s`, `3 h 20 min`, `12 days`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 7_200:
        return f"{int(seconds) // 60} min {int(seconds) % 60} s"
    if seconds < 2 * 86_400:
        return f"{int(seconds) // 3_600} h {int(seconds) % 3_600 // 60} min"
    return f"{seconds / 86_400:,.0f} days"


def size(number: int) -> str:
    """Bytes as `512 B`, `3.4 MB`, `1.2 TB`."""
    amount = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def age(unix_seconds: float) -> str:
    """How long ago, coarsely: `3 min ago`."""
    seconds = max(0, int(time.time() - unix_seconds))
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            return f"{count(seconds // length, unit)} ago"
    return "just now" if seconds < 5 else f"{seconds} seconds ago"
