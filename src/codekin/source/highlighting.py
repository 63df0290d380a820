"""Lines of code with their syntax coloured and the words of a query marked."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, pairwise

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name, get_lexer_for_filename
from pygments.token import Token, _TokenType
from pygments.util import ClassNotFound

from codekin.cli.terminal import MARK, Segments

_STYLES: dict[_TokenType, str] = {
    Token.Comment: "2;3",
    Token.Comment.Preproc: "33",
    Token.Keyword: "34",
    Token.Keyword.Constant: "36",
    Token.Keyword.Type: "36",
    Token.Operator.Word: "34",
    Token.Name.Builtin: "36",
    Token.Name.Class: "1",
    Token.Name.Decorator: "33",
    Token.Name.Exception: "36",
    Token.Name.Function: "1",
    Token.Name.Tag: "34",
    Token.Number: "36",
    Token.String: "32",
    Token.Generic.Heading: "1;34",
    Token.Generic.Subheading: "1;34",
    Token.Generic.Strong: "1",
    Token.Generic.Emph: "3",
}


def highlighted_lines(text: str, language: str, path: str) -> list[Segments]:
    """For each line of `text` its `(style, text)` segments; joined, the texts are the line."""
    lines: list[Segments] = [[]]
    for style, value in _tokens(text, language, path):
        first, *others = value.split("\n")
        if first:
            lines[-1].append((style, first))
        lines += [[(style, other)] if other else [] for other in others]
    return lines


def mark(segments: Segments, spans: list[tuple[int, int]]) -> Segments:
    """`segments` with the characters in `spans`, sorted and apart, in the style of marks."""
    ends = list(accumulate(len(text) for _, text in segments))
    cuts = sorted({0, *ends, *(offset for span in spans for offset in span if ends and offset <= ends[-1])})
    line = "".join(text for _, text in segments)
    marked: Segments = []
    segment = 0
    for start, end in pairwise(cuts):
        while ends[segment] <= start:
            segment += 1
        inside = any(first <= start < last for first, last in spans)
        marked.append((MARK if inside else segments[segment][0], line[start:end]))
    return marked


def _tokens(text: str, language: str, path: str) -> Iterator[tuple[str, str]]:
    lexer = _lexer(language, path)
    if lexer is None:
        yield "", text
        return
    # Unprocessed: get_tokens would strip blank lines at both ends and so move every line number.
    for _, kind, value in lexer.get_tokens_unprocessed(text):
        yield _style(kind), value


def _lexer(language: str, path: str) -> Lexer | None:
    try:
        return get_lexer_by_name(language)
    except ClassNotFound:
        pass
    try:
        return get_lexer_for_filename(path)
    except ClassNotFound:
        return None


def _style(kind: _TokenType | None) -> str:
    while kind is not None:
        if style := _STYLES.get(kind):
            return style
        kind = kind.parent
    return ""
