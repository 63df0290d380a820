"""Parsing a text, and its outline: the definitions, and between them the places where it may be cut."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from tree_sitter import Node, Parser, Tree
from tree_sitter_language_pack import get_language

from codekin.source.comments import clean_comment, clean_string
from codekin.source.grammars import CLASS_LIKE, GRAMMARS, SCOPES, Grammar
from codekin.source.naming import name_of, text_of

PARSE_LIMIT = 4_000_000
"""Bytes beyond which a text is not parsed: nobody writes such a file by hand."""

LINE_LIMIT = 20_000
"""Characters of one line beyond which a text counts as data or minified code, and is not parsed."""

_MAX_DEPTH = 60

# Containers that exist for the sake of the one definition in them, which reaches as far as they do.
_WRAPPERS = frozenset(
    "export_statement decorated_definition template_declaration ambient_declaration expression_statement "
    "statement field_declaration export_declaration variable_declaration".split()
)


@dataclass(frozen=True, slots=True)
class Definition:
    """A function, method, class, type or constant.

    `name` is qualified with dots ("Session.send"), `kind` as in Chunk.kind. `text` is the source with
    decorators but without its documentation, which is `doc`: comment marks stripped and dedented, tags such
    as @param left in, "" if there is none. `body_start` is the offset in `text` where the body begins, so
    that text[:body_start] is the signature. Lines are 1-based, inclusive, those of the source.
    """

    name: str
    kind: str
    start_line: int
    end_line: int
    text: str
    doc: str
    body_start: int


class Piece:
    """A run of whole syntax nodes on one level: a definition (`names` not empty), or plain code.

    Rows count from 0. `start_row` is that of the comments which belong to it, `own_row` its own; `end_row` is
    the last one. `symbol` is the definition's qualified name, for plain code that of what it stands in.
    """

    __slots__ = (
        "children",
        "core",
        "end_row",
        "kind",
        "lead",
        "names",
        "node",
        "own_row",
        "start_row",
        "symbol",
    )

    def __init__(self, node: Node, core: Node, start_row: int, end_row: int) -> None:
        self.node = node
        self.core = core
        self.start_row = start_row
        self.own_row = start_row
        self.end_row = end_row
        self.kind = ""
        self.symbol = ""
        self.names: tuple[str, ...] = ()
        self.lead: list[Node] = []
        self.children: list[Piece] = []


@lru_cache(maxsize=None)
def _parser(name: str) -> Parser:
    return Parser(get_language(name))  # type: ignore[arg-type]


# A header named .h may hold C++, which the C grammar makes little of.
_CPLUSPLUS = re.compile(r"^\s*(?:class\s+\w+|namespace\b|template\s*<|public:|private:|using\s+\w+)", re.M)


def grammar_of(text: str, language: str) -> Grammar | None:
    """The grammar for a text in `language`; None if there is none, or if it would cost more than it tells."""
    if language == "c" and _CPLUSPLUS.search(text):
        language = "cpp"
    grammar = GRAMMARS.get(language)
    if grammar is None or len(text) > PARSE_LIMIT:
        return None
    return grammar


def parse(source: bytes, grammar: Grammar) -> Tree | None:
    """The syntax tree; None if most of the text did not parse."""
    tree = _parser(grammar.parser).parse(source)
    root = tree.root_node
    if root.has_error:
        broken = len(source) if root.type == "ERROR" else 0
        if root.type != "ERROR":
            broken = sum(c.end_byte - c.start_byte for c in root.children if c.is_error)
        if 2 * broken > len(source):
            return None
    return tree


def outline(tree: Tree, grammar: Grammar, plain_limit: int, function_limit: int) -> list[Piece]:
    """The pieces of a tree, in order.

    Classes, modules and their like are always looked into; plain code over `plain_limit` bytes and functions
    over `function_limit` bytes too, so that they can be cut.
    """
    return _Outliner(grammar, plain_limit, function_limit).members(tree.root_node, "", "", 0)


class _Outliner:
    def __init__(self, grammar: Grammar, plain_limit: int, function_limit: int) -> None:
        self.grammar = grammar
        self.plain_limit = plain_limit
        self.function_limit = function_limit
        # Comments and attributes seen last, which may turn out to belong to what follows; and the last row
        # of the code before them.
        self.lead: list[Node] = []
        self.code_row = -1

    def members(self, parent: Node, scope: str, scope_kind: str, depth: int) -> list[Piece]:
        grammar = self.grammar
        pieces: list[Piece] = []
        self.code_row = max(self.code_row, parent.start_point[0] if depth else -1)
        for node in parent.children:
            if not node.is_named:
                continue
            type_ = node.type
            if type_ in grammar.comments or type_ in grammar.attached:
                self._note(node, pieces, scope)
                continue
            core, kind, names = self._definition(node, type_)
            row = node.start_point[0]
            piece = Piece(node, core, row, _last_row(node))
            self._lead_into(piece, pieces, scope)
            size = node.end_byte - node.start_byte
            if names:
                if kind == "function" and scope_kind in CLASS_LIKE:
                    kind = "method"
                symbol = f"{scope}.{names[0]}" if scope else names[0]
                piece.kind, piece.symbol = kind, symbol
                piece.names = tuple(names)
                if (
                    grammar.clauses
                    and pieces
                    and pieces[-1].symbol == symbol
                    and pieces[-1].names
                    and not any(n.type in grammar.comments for n in piece.lead)
                ):
                    pieces[-1].end_row = piece.end_row
                    pieces[-1].node = _Span(pieces[-1].node, node)  # type: ignore[assignment]
                    self.code_row = piece.end_row
                    continue
                if kind == "package" and not any(c.type in grammar.containers for c in node.children):
                    scope, scope_kind = names[0], kind  # Perl: it holds for all that follows
                elif depth < _MAX_DEPTH and (kind in SCOPES or size > self.function_limit):
                    piece.children = self.members(core, symbol, kind, depth + 1)
            else:
                piece.symbol = scope
                if depth < _MAX_DEPTH and (
                    type_ in grammar.containers or (size > self.plain_limit and piece.end_row > row)
                ):
                    piece.children = self.members(node, scope, scope_kind, depth + 1)
            pieces.append(piece)
            self.code_row = max(self.code_row, piece.end_row)
        return pieces

    def _definition(self, node: Node, type_: str) -> tuple[Node, str, list[str]]:
        """The defining node at the core of `node`, its kind and names; no names if it defines nothing."""
        definitions = self.grammar.definitions
        if rule := definitions.get(type_):
            kind, names = name_of(node, rule)
            if names:
                return node, kind, [n for n in names if n] or ["anonymous"]
        core, wrapper = node, type_
        while wrapper in _WRAPPERS and wrapper in self.grammar.containers:
            for child in core.named_children:
                wrapper = child.type
                if rule := definitions.get(wrapper):
                    kind, names = name_of(child, rule)
                    if names:
                        return child, kind, names
                if wrapper in _WRAPPERS:
                    core = child
                    break
            else:
                break
        return node, "", []

    def _note(self, node: Node, pieces: list[Piece], scope: str) -> None:
        row = node.start_point[0]
        comment = node.type in self.grammar.comments
        if comment and row == self.code_row and not self.lead:
            self.code_row = max(row, _last_row(node))  # a remark at the end of a line of code
            return
        if self.lead and row > _last_row(self.lead[-1]) + 1 + (self.lead[-1].type == "pod"):
            self._release(pieces, scope)
        self.lead.append(node)

    def _lead_into(self, piece: Piece, pieces: list[Piece], scope: str) -> None:
        """Give the comments seen last to `piece` if it follows them without a gap."""
        if not self.lead:
            return
        last = self.lead[-1]
        if piece.start_row <= _last_row(last) + 1 + (last.type == "pod"):
            piece.lead, self.lead = self.lead, []
            piece.start_row = piece.lead[0].start_point[0]
        else:
            self._release(pieces, scope)

    def _release(self, pieces: list[Piece], scope: str) -> None:
        """Make the comments seen last a piece of their own."""
        first, last = self.lead[0], self.lead[-1]
        piece = Piece(first, first, first.start_point[0], _last_row(last))
        piece.symbol = scope
        pieces.append(piece)
        self.lead = []


class _Span:
    """Neighbouring nodes as if they were one."""

    __slots__ = ("end_byte", "end_point", "start_byte", "start_point")

    def __init__(self, first: Node, last: Node) -> None:
        self.start_byte, self.start_point = first.start_byte, first.start_point
        self.end_byte, self.end_point = last.end_byte, last.end_point


def _last_row(node: Node) -> int:
    row, column = node.end_point
    # Some comments take in their line end.
    return row - 1 if column == 0 and row > node.start_point[0] else row


def flatten(pieces: list[Piece]) -> Iterator[Piece]:
    """All definitions among the pieces and below, in order."""
    stack = pieces[::-1]
    while stack:
        piece = stack.pop()
        if piece.names:
            yield piece
        stack += piece.children[::-1]


def definitions(text: str, language: str) -> list[Definition]:
    """The definitions in `text`, in order, those within functions aside; none without a grammar for it."""
    grammar = grammar_of(text, language)
    if grammar is None:
        return []
    source = text.encode("utf-8", "replace")
    tree = parse(source, grammar)
    if tree is None:
        return []
    found = []
    unlimited = len(source) + 1
    for piece in flatten(outline(tree, grammar, unlimited, unlimited)):
        if piece.kind in ("impl", "package"):
            continue
        found.append(_definition(piece, source, grammar, language))
    return found


def _definition(piece: Piece, source: bytes, grammar: Grammar, language: str) -> Definition:
    comments = [n for n in piece.lead if n.type in grammar.comments]
    attached = [n for n in piece.lead if n.type not in grammar.comments]
    start, end = piece.node.start_byte, piece.node.end_byte
    body = _body(piece.core, grammar)
    cuts: list[tuple[int, int]] = []
    doc = clean_comment([text_of(c) for c in comments], language)
    inner = _inner_doc(piece.core, body, language)
    if inner is not None:
        cut, doc = inner
        cuts.append(cut)
    if language == "elixir":
        for node in attached:
            if (words := text_of(node)).startswith("@doc") and '"' in words:
                doc = clean_string(words[4:].strip())
            elif not words.startswith(("@doc", "@moduledoc")):
                start = min(start, node.start_byte)
                continue
            if node.end_byte > start > node.start_byte:
                cuts.append((node.start_byte, node.end_byte))
    elif attached:
        start = min(start, attached[0].start_byte)
        cuts += [(c.start_byte, c.end_byte) for c in comments if c.start_byte > start]
    body_at = body.start_byte if body is not None else end
    parts, at, signature = [], start, 0
    for first, last in sorted(cuts):
        first = len(source[:first].rstrip(b" \t")) if first > start else first
        parts.append(source[at:first])
        at = last + 1 if source[last : last + 1] == b"\n" else last
    parts.append(source[at:end])
    text = b"".join(parts)
    removed = sum(last - first for first, last in cuts if last <= body_at)
    signature = len(text[: max(0, body_at - start - removed)].decode("utf-8", "replace"))
    decoded = text.decode("utf-8", "replace")
    return Definition(
        piece.symbol,
        piece.kind,
        source.count(b"\n", 0, start) + 1 if attached else piece.own_row + 1,
        piece.end_row + 1,
        decoded,
        doc,
        min(signature, len(decoded)),
    )


def _body(core: Node, grammar: Grammar) -> Node | None:
    found = core.child_by_field_name("body")
    if found is not None:
        return found
    for child in core.named_children:
        if child.type in grammar.bodies:
            return child
    # `const f = (a) => {...}`, `f <- function(a) {...}`: the body is that of the value.
    stack = core.named_children[::-1]
    for _ in range(12):
        if not stack:
            break
        node = stack.pop()
        if (found := node.child_by_field_name("body")) is not None:
            return found
        if node.type in (
            "variable_declarator",
            "assignment_expression",
            "assignment_statement",
            "expression_list",
        ):
            stack += node.named_children[::-1]
    return None


def _inner_doc(core: Node, body: Node | None, language: str) -> tuple[tuple[int, int], str] | None:
    """Documentation that stands inside: (bytes it takes, cleaned text)."""
    if language == "python" and body is not None and body.named_child_count:
        first = body.named_children[0]
        if first.type == "expression_statement" and first.named_child_count == 1:
            first = first.named_children[0]
        if first.type == "string":
            return (first.start_byte, first.end_byte), clean_string(text_of(first))
    if language == "matlab":
        for child in core.named_children:
            if child.type == "comment":
                return (child.start_byte, child.end_byte), clean_comment([text_of(child)], language)
            if child.type in ("block", "methods", "properties"):
                break
    if language == "elixir" and body is not None and body.named_child_count:
        words = text_of(body.named_children[0])
        if words.startswith("@moduledoc") and '"' in words:
            first = body.named_children[0]
            return (first.start_byte, first.end_byte), clean_string(words[len("@moduledoc") :].strip())
    return None
