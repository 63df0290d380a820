"""The definitions of a text with their documentation apart: what pairs of prose and code are made from."""

from __future__ import annotations

from dataclasses import dataclass

from tree_sitter import Node

from codekin.source.comments import clean_comment, clean_string
from codekin.source.grammars import Grammar
from codekin.source.languages import words
from codekin.source.naming import text_of
from codekin.source.syntax import LINE_LIMIT, Piece, grammar_of, outline


@dataclass(frozen=True, slots=True)
class Definition:
    """A function, method, class, type or constant.

    `name` is qualified with dots ("Session.send"), `kind` as in `Chunk.kind`. `text` is the source with
    decorators but without its documentation, which is `doc`: comment marks stripped and dedented, tags such
    as @param left in, "" if there is none. `body_start` is the offset in `text` where the body begins, so
    that text[:body_start] is the signature. Lines are 1-based and inclusive, those of the whole source,
    comments in front not counted; `lead_line` is the first one with them. `within` is the signature of the class,
    impl or the like that it stands in, "" at the top level. `doc_spans` are where comments and documentation stand,
    [first, last) in the whole source as UTF-8.
    """

    name: str
    kind: str
    start_line: int
    end_line: int
    text: str
    doc: str
    body_start: int
    within: str
    lead_line: int
    doc_spans: tuple[tuple[int, int], ...]


def definitions(text: str, language: str) -> list[Definition]:
    """The definitions in `text`, in order, those within functions aside; none without a grammar for it."""
    grammar = grammar_of(text, language)
    if grammar is None or max(map(len, text.split("\n"))) > LINE_LIMIT:
        return []
    source = text.encode("utf-8", "replace")
    unlimited = len(source) + 1
    found: list[Definition] = []
    stack = [(piece, "") for piece in reversed(outline(source, grammar, unlimited, unlimited))]
    while stack:
        piece, within = stack.pop()
        if piece.names and piece.kind not in ("impl", "package"):
            found.append(_definition(piece, source, grammar, language, within))
        if piece.children:
            inside = _signature(piece, source, grammar) if piece.names else within
            stack += [(child, inside) for child in reversed(piece.children)]
    return found


def _signature(piece: Piece, source: bytes, grammar: Grammar) -> str:
    body = _body(piece.core, grammar)
    end = body.start_byte if body is not None else source.find(b"\n", piece.core.start_byte)
    return " ".join(source[piece.core.start_byte : end].decode("utf-8", "replace").split())


def _definition(piece: Piece, source: bytes, grammar: Grammar, language: str, within: str) -> Definition:
    core = piece.core
    start, start_row = piece.start_byte, piece.own_row
    body = _body(core, grammar)
    comments: list[Node] = []
    cuts: list[tuple[int, int]] = []
    doc = ""
    for node in piece.lead:
        if node.type in grammar.comments:
            comments.append(node)
        elif language == "elixir" and (words_ := text_of(node)).startswith("@doc"):
            doc = clean_string(words_.removeprefix("@doc").strip()) if '"' in words_ else ""
            cuts.append((node.start_byte, node.end_byte))
            continue
        else:
            if node.start_byte < start:
                start, start_row = node.start_byte, node.start_point[0]
            continue
        cuts.append((node.start_byte, node.end_byte))
    doc = doc or clean_comment([text_of(c) for c in comments])
    body_at = body.start_byte if body is not None else piece.end_byte
    if (inner := _inner_doc(core, body, language)) is not None:
        node, doc = inner
        cuts.append((node.start_byte, node.end_byte))
        if node.start_byte == body_at:
            body_at = _line_start(source, body_at)
    start = _with_keywords(piece, source, start)
    doc_spans = tuple(sorted(cuts))
    cuts = sorted(_whole_lines(source, cut) for cut in cuts if cut[0] > start)
    parts, at = [], start
    for first, last in cuts:
        parts.append(source[at : max(first, at)])
        at = max(last, at)
    parts.append(source[at : piece.end_byte])
    code = b"".join(parts).rstrip()
    signature = body_at - start - sum(min(last, body_at) - first for first, last in cuts if first < body_at)
    return Definition(
        piece.symbol,
        piece.kind,
        start_row + 1,
        piece.end_row + 1,
        code.decode("utf-8", "replace"),
        doc,
        len(code[: max(signature, 0)].decode("utf-8", "replace")),
        within,
        min(start_row, *(node.start_point[0] for node in comments)) + 1 if comments else start_row + 1,
        doc_spans,
    )


def _line_start(source: bytes, at: int) -> int:
    """Where the line of `at` begins if only blanks stand before it, else `at`."""
    begin = source.rfind(b"\n", 0, at) + 1
    return begin if not source[begin:at].strip() else at


def _whole_lines(source: bytes, cut: tuple[int, int]) -> tuple[int, int]:
    """A span of source grown to the lines it fills, so that no empty one is left."""
    first, last = cut
    begin = _line_start(source, first)
    end = source.find(b"\n", last)
    if source[begin : begin + 1].isspace() or begin == first:
        rest = source[last : end if end >= 0 else len(source)]
        if not rest.strip() and source[last - 1 : last] != b"\n" and end >= 0:
            last = end + 1
        return begin, last
    return first, last


def _with_keywords(piece: Piece, source: bytes, start: int) -> int:
    """`start`, or where the keywords in front begin that a grammar has as siblings (Zig's `pub`)."""
    node = piece.core
    while start == node.start_byte and (before := node.prev_sibling) is not None:
        if before.is_named or not before.type.isalpha() or before.end_point[0] != node.start_point[0]:
            break
        node, start = before, before.start_byte
    return start


_VALUE_HOLDERS = words(
    "variable_declarator assignment_expression assignment_statement expression_list init_declarator "
    "lexical_declaration variable_declaration expression_statement binary_operator"
)


def _body(core: Node, grammar: Grammar) -> Node | None:
    """The body of the definition, or of the function that it gives a name to."""
    pending = [core]
    while pending:
        node = pending.pop()
        if (found := node.child_by_field_name("body")) is not None:
            return found
        children = node.named_children
        for child in children:
            if child.type in grammar.bodies:
                return child
        if node is core or node.type in _VALUE_HOLDERS:
            pending += [c for c in children[-1:] if len(children) < 4]
    return None


def _inner_doc(core: Node, body: Node | None, language: str) -> tuple[Node, str] | None:
    """Documentation that stands inside the definition: its node and its text."""
    if language == "matlab":
        for child in core.named_children:
            if child.type == "comment":
                return child, clean_comment([text_of(child)])
            if child.type in ("block", "methods", "properties"):
                break
        return None
    if body is None or language not in ("python", "elixir") or not body.named_child_count:
        return None
    first = body.named_children[0]
    if language == "elixir":
        text = text_of(first)
        if not text.startswith("@moduledoc") or '"' not in text:
            return None
        return first, clean_string(text.removeprefix("@moduledoc").strip())
    if first.type == "expression_statement" and first.named_child_count == 1:
        first = first.named_children[0]
    return (first, clean_string(text_of(first))) if first.type == "string" else None
