"""Comments and docstrings as plain prose: marks stripped, dedented."""

from __future__ import annotations

import re
import textwrap

_BLOCK = re.compile(
    r"^\s*(?:/\*+!?<?|\(\*+|\{-+\s*[|^]?|<!--+|--\[=*\[|%\{|=begin\b)|(?:\*+/|\*+\)|-+\}|--+>|\]=*\]|%\}|=end)\s*$"
)
_STAR = re.compile(r"^[ \t]*\*+(?!/) ?", re.M)
_LINE = re.compile(r"^[ \t]*(?://[/!]*<?|--+[ ]?[|^]|--+|##*'?!?|;+|%+)[ \t]?", re.M)
_POD = re.compile(
    r"^=(?:cut|pod|back|over\b.*|begin\b.*|end\b.*|encoding\b.*)$|^=(?:head\d|item)[ \t]+", re.M
)
_RULER = re.compile(r"^[ \t]*[-=*#/~_+<>]{4,}[ \t]*$", re.M)
_STRING = re.compile(r"""^(?:~[a-zA-Z])?[a-zA-Z]*('{3}|"{3}|'|")(.*)\1$""", re.S)


def clean_comment(comments: list[str]) -> str:
    """Neighbouring comments as one text without comment marks."""
    return _tidy("\n".join(_clean_one(c) for c in comments))


def _clean_one(comment: str) -> str:
    comment = comment.rstrip()
    stripped = comment.lstrip()
    if stripped.startswith("="):
        return _POD.sub("", comment)
    if stripped.startswith(("/*", "(*", "{-", "<!--", "--[", "%{")):
        inside = _BLOCK.sub("", _BLOCK.sub("", comment))
        lines = inside.split("\n")
        if len(lines) > 1 and all(x.lstrip().startswith("*") for x in lines[1:] if x.strip()):
            return lines[0].strip() + "\n" + _STAR.sub("", "\n".join(lines[1:]))
        return lines[0].strip() + "\n" + textwrap.dedent("\n".join(lines[1:]))
    return _LINE.sub("", comment)


def clean_string(literal: str) -> str:
    """A string literal that documents, as Python's inspect.cleandoc would show it."""
    match = _STRING.match(literal.strip())
    text = match[2] if match else literal
    first, newline, rest = text.expandtabs().partition("\n")
    return _tidy(first.strip() + newline + textwrap.dedent(rest))


def _tidy(text: str) -> str:
    text = _RULER.sub("", text.replace("\r", ""))
    return "\n".join(line.rstrip() for line in textwrap.dedent(text).split("\n")).strip()
