"""Lines of code in pieces: what kind of token each is, and whether a query's words are in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name, get_lexer_for_filename
from pygments.token import Token, _TokenType
from pygments.util import ClassNotFound

_KINDS: dict[_TokenType, str] = {
    Token.Comment: "comment",
    Token.Comment.Preproc: "directive",
    Token.Keyword: "keyword",
    Token.Keyword.Constant: "constant",
    Token.Keyword.Type: "type",
    Token.Operator.Word: "keyword",
    Token.Name.Builtin: "builtin",
    Token.Name.Class: "definition",
    Token.Name.Decorator: "directive",
    Token.Name.Exception: "builtin",
    Token.Name.Function: "definition",
    Token.Name.Tag: "keyword",
    Token.Number: "constant",
    Token.String: "string",
    Token.Generic.Heading: "heading",
    Token.Generic.Subheading: "heading",
    Token.Generic.Strong: "strong",
    Token.Generic.Emph: "emphasis",
}
KINDS = frozenset(_KINDS.values())
"""The kinds that a piece may be of, beside "" for none."""


class Piece(NamedTuple):
    """A part of a line."""

    kind: str
    text: str
    marked: bool = False


def highlighted_lines(text: str, language: str, path: str) -> list[list[Piece]]:
    """For each line of `text` its pieces; joined, their texts are the line.

    `language` is one of `LANGUAGES`; where it has no highlighting, the name of `path` decides.
    """
    lines: list[list[Piece]] = [[]]
    for kind, value in _tokens(text, language, path):
        first, *others = value.split("\n")
        if first:
            lines[-1].append(Piece(kind, first))
        lines += [[Piece(kind, other)] if other else [] for other in others]
    return lines


def mark(pieces: Sequence[Piece], spans: Sequence[tuple[int, int]]) -> list[Piece]:
    """The pieces of a line, those marked that are in `spans`: offsets, sorted and apart."""
    ends = list(accumulate(len(piece.text) for piece in pieces))
    cuts = sorted({0, *ends, *(offset for span in spans for offset in span if ends and offset <= ends[-1])})
    line = "".join(piece.text for piece in pieces)
    marked: list[Piece] = []
    place = 0
    for start, end in pairwise(cuts):
        while ends[place] <= start:
            place += 1
        inside = any(first <= start < last for first, last in spans)
        marked.append(Piece(pieces[place].kind, line[start:end], inside))
    return marked


def _tokens(text: str, language: str, path: str) -> Iterator[tuple[str, str]]:
    lexer = _lexer(language, path)
    if lexer is None:
        yield "", text
        return
    # Unprocessed: get_tokens would strip blank lines at both ends and so move every line number.
    for _, token, value in lexer.get_tokens_unprocessed(text):
        yield _kind(token), value


def _lexer(language: str, path: str) -> Lexer | None:
    try:
        return get_lexer_by_name(language)
    except ClassNotFound:
        pass
    try:
        return get_lexer_for_filename(path)
    except ClassNotFound:
        return None


def _kind(token: _TokenType | None) -> str:
    while token is not None:
        if kind := _KINDS.get(token):
            return kind
        token = token.parent
    return ""
