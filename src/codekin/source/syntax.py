"""Parsing a text, and its outline: the definitions, and between them the places where it may be cut."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import count
from time import thread_time

from tree_sitter import Language, Node, Parser
from tree_sitter_language_pack import get_language

from codekin.source.grammars import CLASS_LIKE, GRAMMARS, SCOPES, Grammar
from codekin.source.languages import words
from codekin.source.naming import name_of, text_of

PARSE_LIMIT = 4_000_000
"""Characters beyond which a text is not parsed: nobody writes such a file by hand."""

LINE_LIMIT = 20_000
"""Characters of one line beyond which a text counts as data or minified code, and is not parsed."""

# Deeper nesting than any program has; what lies below is not looked into.
_MAX_DEPTH = 60

# Containers that exist for the sake of the one definition in them, which reaches as far as they do.
_WRAPPERS = words(
    "export_statement decorated_definition template_declaration ambient_declaration expression_statement "
    "statement field_declaration export_declaration variable_declaration declaration_command"
)


class Piece:
    """A run of whole syntax nodes on one level: a definition (`names` not empty), or plain code.

    Rows count from 0. `start_row` is that of the comments which belong to it (`lead`), `own_row` its own,
    `end_row` its last. `symbol` is the definition's qualified name; `core` is the defining node itself, and
    `start_byte` and `end_byte` take in what wraps it.
    """

    __slots__ = (
        "children",
        "core",
        "end_byte",
        "end_row",
        "kind",
        "lead",
        "names",
        "own_row",
        "start_byte",
        "start_row",
        "symbol",
    )

    def __init__(self, node: Node, end_row: int) -> None:
        self.core = node
        self.start_byte = node.start_byte
        self.end_byte = node.end_byte
        self.own_row = self.start_row = node.start_point[0]
        self.end_row = end_row
        self.kind = ""
        self.symbol = ""
        self.names: tuple[str, ...] = ()
        self.lead: list[Node] = []
        self.children: list[Piece] = []


@cache
def _language(name: str) -> Language:
    return get_language(name)  # type: ignore[arg-type]


# A header named .h may hold C++, which the C grammar makes little of.
_CPLUSPLUS = re.compile(
    r"^(?:class\s+\w+[\s\w]*[{:]|namespace\s+[\w:]*\s*\{|template\s*<|using\s+namespace\b)"
    r"|^\s*(?:public|private|protected)\s*:\s*$",
    re.M,
)


def grammar_of(text: str, language: str) -> Grammar | None:
    """The grammar for `text`; None if there is none, or if parsing would cost more than it tells."""
    grammar = GRAMMARS.get(language)
    if grammar is None or len(text) > PARSE_LIMIT:
        return None
    if language == "c" and _CPLUSPLUS.search(text):
        return GRAMMARS["cpp"]
    return grammar


def parses(text: str, language: str) -> bool:
    """Whether `text` is free of syntax errors in `language`; False for one without a grammar."""
    grammar = grammar_of(text, language)
    if grammar is None:
        return False
    if language == "php" and "<?" not in text:
        text = f"<?php\n{text}"  # all else is text around the code, which holds no error
    root = _root(text.encode("utf-8", "replace"), grammar)
    return root is not None and not root.has_error


def outline(source: bytes, grammar: Grammar, plain_limit: int, function_limit: int) -> list[Piece]:
    """The pieces of a text, in order; empty if it does not parse to anything of use.

    Classes, modules and their like are always looked into; plain code over `plain_limit` bytes and functions
    over `function_limit` bytes too, so that they can be cut.
    """
    root = _root(source, grammar)
    if root is None:
        return []
    broken = _broken(root)
    if 4 * broken > len(source) and grammar.parser in ("c", "cpp", "csharp"):
        # Conditional compilation lets braces open twice and close once.
        other = _root(_first_branches(source), grammar)
        if other is not None and (less := _broken(other)) < broken:
            root, broken = other, less
    pieces = _Outliner(grammar, plain_limit, function_limit).members(root, "", "", False, 0)
    if 2 * broken > len(source) and next(flatten(pieces), None) is None:
        return []
    return pieces


# Seconds of processor time for a text, and for each byte of it: twenty times what sane code takes. Some
# grammars need quadratic time for unbalanced brackets.
_PATIENCE, _PATIENCE_PER_BYTE = 0.5, 4e-6
# A text up to this size takes half a second at the worst. Longer ones are read through a callable, which lets the
# parser be stopped, and whose pieces tree-sitter 0.26 never frees: no more often than needed.
_WATCHED_SIZE = 98_304
_SLICE = 512


def _root(source: bytes, grammar: Grammar) -> Node | None:
    """The root of the syntax tree; None if it took too long to make."""
    parser = Parser(_language(grammar.parser))
    if len(source) <= _WATCHED_SIZE:
        return parser.parse(source).root_node
    deadline = thread_time() + _PATIENCE + _PATIENCE_PER_BYTE * len(source)
    calls = count(1)
    try:
        tree = parser.parse(
            lambda at, _: source[at : at + _SLICE],
            # Asking for the time costs more than the parser does between two calls.
            progress_callback=lambda *_: next(calls) % 32 == 0 and thread_time() > deadline,
        )
    except ValueError:  # what a stopped parse raises
        return None
    # Nodes know their text only if the parser was given it whole; the tree just made makes that quick.
    return parser.parse(source, tree).root_node


def _broken(root: Node) -> int:
    """Bytes that did not parse, as far as the top level tells."""
    if not root.has_error:
        return 0
    if root.type == "ERROR":
        return root.end_byte - root.start_byte
    return sum(c.end_byte - c.start_byte for c in root.children if c.is_error)


_DIRECTIVE = re.compile(rb"[ \t]*#[ \t]*(if|ifdef|ifndef|el\w+|endif)\b([^\n]*)")
_NOT_SPACE = re.compile(rb"[^\s]")


def _first_branches(source: bytes) -> bytes:
    """The source with preprocessor conditionals blanked out, and all but their first branches."""
    lines = source.split(b"\n")
    hidden: list[bool] = []  # for every open conditional, whether its present branch is left out
    continued = False
    for number, line in enumerate(lines):
        match = None if continued else _DIRECTIVE.match(line)
        if match:
            word = match[1]
            if word.startswith(b"if"):
                hidden.append(match[2].strip() == b"0")
            elif word == b"endif":
                hidden[-1:] = []
            elif hidden:
                hidden[-1] = not hidden[-1] if b"else" in word and match[2].strip() == b"0" else True
        directive = match is not None or continued
        continued = directive and line.rstrip().endswith(b"\\")
        if directive or any(hidden):
            lines[number] = _NOT_SPACE.sub(b" ", line)
    return b"\n".join(lines)


def flatten(pieces: list[Piece]) -> Iterator[Piece]:
    """All definitions among the pieces and below, in order."""
    stack = pieces[::-1]
    while stack:
        piece = stack.pop()
        if piece.names:
            yield piece
        stack += piece.children[::-1]


class _Outliner:
    def __init__(self, grammar: Grammar, plain_limit: int, function_limit: int) -> None:
        self.grammar = grammar
        self.plain_limit = plain_limit
        self.function_limit = function_limit
        # Comments and attributes seen last, which may turn out to belong to what follows; and the last row
        # of the code before them.
        self.lead: list[Node] = []
        self.code_row = -1

    def members(self, parent: Node, scope: str, scope_kind: str, local: bool, depth: int) -> list[Piece]:
        """The pieces among the children of `parent`; in `local` code, variables define nothing."""
        grammar = self.grammar
        containers = grammar.containers
        broken = parent.type == "ERROR"
        local = local or (broken and depth > 0)
        pieces: list[Piece] = []
        for node in parent.children:
            if not node.is_named:
                continue
            type_ = node.type
            if type_ in grammar.comments or (type_ in grammar.attached and _is_attribute(node, type_)):
                self._note(node, type_, pieces)
                continue
            wrapper = (type_ in containers or type_ == "ERROR") and depth < _MAX_DEPTH
            core, kind, names = self._definition(node, type_)
            if names and not ((local or broken) and kind == "constant"):
                piece = self._begin(node, pieces)
                if kind == "function" and scope_kind in CLASS_LIKE:
                    kind = "method"
                piece.core = core
                piece.kind = kind
                piece.symbol = f"{scope}.{names[0]}" if scope else names[0]
                piece.names = tuple(names)
                if grammar.clauses and pieces and self._continues(pieces[-1], piece):
                    continue
                if kind == "package" and not any(c.type in containers for c in node.children):
                    scope, scope_kind = names[0], kind  # in Perl it holds for all that follows
                elif depth < _MAX_DEPTH:
                    scoping = kind in SCOPES
                    if scoping or node.end_byte - node.start_byte > self.function_limit:
                        inside = local or not scoping
                        piece.children = self.members(core, piece.symbol, kind, inside, depth + 1)
            elif wrapper and (type_ == "ERROR" or _is_headless(node)):
                pieces += self.members(node, scope, scope_kind, local, depth + 1)
                continue
            elif broken and not wrapper:
                self.lead = []
                continue  # a stray part of something: no place to cut
            else:
                piece = self._begin(node, pieces)
                large = node.end_byte - node.start_byte > self.plain_limit and piece.end_row > piece.own_row
                if wrapper or (large and depth < _MAX_DEPTH):
                    inside = local or not wrapper
                    piece.children = self.members(node, scope, scope_kind, inside, depth + 1)
            pieces.append(piece)
            if piece.end_row > self.code_row:
                self.code_row = piece.end_row
        if self.lead and (depth == 0 or _last_row(self.lead[-1]) < _last_row(parent)):
            self._release(pieces)
        return pieces

    def _definition(self, node: Node, type_: str) -> tuple[Node, str, list[str]]:
        """The defining node at the core of `node`, its kind and names; no names if it defines nothing."""
        definitions = self.grammar.definitions
        if rule := definitions.get(type_):
            kind, names = name_of(node, rule)
            if names:
                return node, kind, names
        wrapper = node
        while type_ in _WRAPPERS and type_ in self.grammar.containers:
            for child in wrapper.named_children:
                type_ = child.type
                if rule := definitions.get(type_):
                    kind, names = name_of(child, rule)
                    if names:
                        return child, kind, names
                if type_ in _WRAPPERS:
                    wrapper = child
                    break
            else:
                break
        return node, "", []

    def _begin(self, node: Node, pieces: list[Piece]) -> Piece:
        """A piece for `node`, given the comments seen last if it follows them without a gap."""
        piece = Piece(node, _last_row(node))
        if self.lead:
            last = self.lead[-1]
            if piece.own_row <= _last_row(last) + 1 + (last.type == "pod"):
                piece.lead, self.lead = self.lead, []
                piece.start_row = piece.lead[0].start_point[0]
                if pieces and pieces[-1].end_row >= piece.start_row > pieces[-1].start_row:
                    pieces[-1].end_row = piece.start_row - 1
            else:
                self._release(pieces)
        if piece.own_row > self.code_row:
            self.code_row = piece.own_row
        return piece

    def _continues(self, before: Piece, piece: Piece) -> bool:
        """Take `piece` into the definition before it if it is one more clause or equation of it."""
        if before.symbol != piece.symbol or not before.names:
            return False
        if any(n.type in self.grammar.comments for n in piece.lead):
            return False
        before.end_row, before.end_byte = piece.end_row, piece.end_byte
        if before.core.type == "signature":
            before.core = piece.core
        self.code_row = piece.end_row
        return True

    def _note(self, node: Node, type_: str, pieces: list[Piece]) -> None:
        row = node.start_point[0]
        if type_ in self.grammar.comments and (row == self.code_row or (row == 0 and _is_shebang(node))):
            self.code_row = max(row, _last_row(node))  # a remark at the end of a line of code
            return
        if self.lead and row > _last_row(self.lead[-1]) + 1 + (self.lead[-1].type == "pod"):
            self._release(pieces)
        self.lead.append(node)

    def _release(self, pieces: list[Piece]) -> None:
        """Make the comments seen last a piece of their own."""
        piece = Piece(self.lead[0], _last_row(self.lead[-1]))
        if not pieces or piece.start_row > pieces[-1].end_row:
            pieces.append(piece)
        self.lead = []


def _last_row(node: Node) -> int:
    row, column = node.end_point
    # Some nodes take in their line end.
    return row - 1 if column == 0 and row > node.start_point[0] else row


def _is_headless(node: Node) -> bool:
    """Whether a container has no keyword or brace of its own in front, just members."""
    first = node.child(0) if node.child_count else None
    return first is not None and first.is_named


def _is_shebang(node: Node) -> bool:
    return text_of(node).startswith("#!")


# Elixir's module attributes are constants, but for those that speak of the function they precede.
_ELIXIR_ATTRIBUTE = re.compile(r"@(?:doc|spec|impl|deprecated|since|dialyzer|typedoc|tag|decorate)\b")


def _is_attribute(node: Node, type_: str) -> bool:
    return type_ != "unary_operator" or _ELIXIR_ATTRIBUTE.match(text_of(node)) is not None
