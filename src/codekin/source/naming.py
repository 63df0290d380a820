"""What a defining syntax node defines: its kind and names.

Most nodes have a field for that; for the others `grammars` names one of the rules here. A rule gives no names
if the node turns out to define nothing worth finding.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tree_sitter import Node

from codekin.source.languages import words

Naming = tuple[str, list[str]]
"""Kind and names; the first name, dotted if it says its own scope, stands for the definition."""

Rule = str | Callable[[Node], Naming]
"""A kind, or what finds it out."""

_NOTHING: Naming = ("", [])
_NAME_LIMIT = 120

_BRACKETED = re.compile(r"<[^<>]*>|\[[^\[\]]*\]|\([^()]*\)")
_SEPARATOR = re.compile(r"::|->|:|\\|#")


def text_of(node: Node | None) -> str:
    """The source text of a node."""
    return node.text.decode("utf-8", "replace") if node is not None and node.text is not None else ""


def dotted(name: str) -> str:
    """A qualified name written with dots and without type arguments: "a::Foo<T>::bar" is "a.Foo.bar"."""
    if "\n" in name or len(name) > _NAME_LIMIT:
        name = " ".join(name[:_NAME_LIMIT].split())
    if "operator" in name or not name[:1].isidentifier():
        return name.replace("::", ".")  # brackets and colons may be the name itself
    while (shorter := _BRACKETED.sub("", name)) != name:
        name = shorter
    return _SEPARATOR.sub(".", name).strip(". ")


def name_of(node: Node, rule: Rule) -> Naming:
    """Kind and names of a node whose type says its kind, or whose rule does."""
    return (rule, _named(node)) if isinstance(rule, str) else rule(node)


def _named(node: Node) -> list[str]:
    found = node.child_by_field_name("name")
    if found is None:
        for child in node.named_children:
            if child.type in _NAME_TYPES:
                found = child
                break
            if child.type == "infix":
                found = next((c for c in child.children if c.type in ("operator", "infix_id")), None)
                break
    name = dotted(text_of(found).strip("'\""))
    return [name] if name and name != "_" else []


_NAME_TYPES = words(
    "identifier simple_identifier type_identifier field_identifier constant name word bareword package "
    "variable object_reference variable_name"
)


def _declared(node: Node) -> Node | None:
    """The name at the heart of a C declarator: `*(f)(int)` declares f."""
    found = node.child_by_field_name("declarator")
    while found is not None:
        inner = found.child_by_field_name("declarator")
        if inner is None:
            if found.type not in (
                "parenthesized_declarator",
                "reference_declarator",
                "attributed_declarator",
            ):
                return found
            inner = next((c for c in found.named_children if not c.type.endswith("comment")), None)
        found = inner
    return None


def declarator(node: Node) -> Naming:
    name = dotted(text_of(_declared(node)))
    if " " in name and "operator" not in name:
        # A macro in front misled the grammar: `API class Foo { ... }`, `API int f() { ... }`.
        if match := _MISREAD_CLASS.search(name):
            return match[1], [match[2]]
        name = name.split()[-1]
    if not name or name in _NOT_NAMES:
        return _NOTHING
    # Out-of-class: Foo::bar is a method of Foo.
    return ("method" if "." in name else "function"), [name]


_MISREAD_CLASS = re.compile(r"\b(class|struct|union|enum)\s+(?:class\s+)?(\w+)")
_NOT_NAMES = words("if while for switch return else do const noexcept override final try catch")


def declaration(node: Node) -> Naming:
    declarator = node.child_by_field_name("declarator")
    if declarator is None or declarator.type != "init_declarator":
        return _NOTHING
    value = declarator.child_by_field_name("value")
    kind = "function" if value is not None and value.type == "lambda_expression" else "constant"
    return kind, [dotted(text_of(_declared(node)))]


def typedef(node: Node) -> Naming:
    names = [dotted(text_of(_declared(node)))]
    inner = node.child_by_field_name("type")
    kind = "type"
    if inner is not None and inner.child_by_field_name("body") is not None:
        kind = inner.type.removesuffix("_specifier")
        names += _named(inner)
    return kind, [n for n in dict.fromkeys(names) if n]


def macro(node: Node) -> Naming:
    if node.type == "preproc_def" and node.child_by_field_name("value") is None:
        return _NOTHING  # an include guard or a flag
    return "macro", _named(node)


def record(node: Node) -> Naming:
    if node.child_by_field_name("body") is None:
        return _NOTHING  # a mention, not a definition
    return node.type.removesuffix("_specifier"), _named(node)


_FUNCTIONS = words(
    "arrow_function function_expression function generator_function function_definition lambda "
    "anonymous_function"
)


def _value_kind(value: Node | None) -> str:
    if value is None:
        return "constant"
    if value.type in _FUNCTIONS:
        return "function"
    if value.type == "class":
        return "class"
    if value.type == "call_expression":  # React.memo(() => ...), wrap(function () {})
        arguments = value.child_by_field_name("arguments")
        if arguments is not None and any(a.type in _FUNCTIONS for a in arguments.named_children[:2]):
            return "function"
    return "constant"


def variable(node: Node) -> Naming:
    kind, names = "constant", list[str]()
    for declarator in node.named_children:
        name = declarator.child_by_field_name("name")
        if name is None or name.type != "identifier":
            continue
        value = declarator.child_by_field_name("value")
        if value is not None and value.type == "call_expression":
            function = text_of(value.child_by_field_name("function"))
            if function == "require":
                continue
        if not names:
            kind = _value_kind(value)
        names.append(text_of(name))
    return (kind, names) if names else _NOTHING


_EXPORTS = re.compile(r"^(?:module\.exports|exports|this|self|window|globalThis|root)\.|\.prototype\b")


def assignment(node: Node) -> Naming:
    assignment = node.named_children[0] if node.named_child_count else None
    if assignment is None or assignment.type != "assignment_expression":
        return _NOTHING
    left, right = assignment.child_by_field_name("left"), assignment.child_by_field_name("right")
    kind = _value_kind(right)
    if left is None or right is None or kind == "constant":
        return _NOTHING
    name = text_of(left)
    if name == "module.exports":
        return kind, _named(right)
    return kind, [dotted(_EXPORTS.sub("", name))]


def python_assignment(node: Node) -> Naming:
    left = node.child_by_field_name("left")
    if left is None or left.type != "identifier" or node.start_point[1] > 0:
        return _NOTHING  # an attribute or a local variable
    return "constant", [text_of(left)]


def field(node: Node) -> Naming:
    kind = _value_kind(node.child_by_field_name("value"))
    name = node.child_by_field_name("property") or node.child_by_field_name("name")
    return ("function", [text_of(name)]) if kind == "function" else _NOTHING


def pair(node: Node) -> Naming:
    value = node.child_by_field_name("value")
    if value is None or value.type not in _FUNCTIONS:
        return _NOTHING
    return "function", [dotted(text_of(node.child_by_field_name("key")).strip("'\"`[]"))]


def export(node: Node) -> Naming:
    """`export default function () {}` and its like, which have no name of their own."""
    value = node.child_by_field_name("value")
    kind = _value_kind(value)
    if value is None or kind == "constant":
        return _NOTHING
    return kind, _named(value) if value.child_by_field_name("name") else ["default"]


def operator(node: Node) -> Naming:
    if node.type == "indexer_declaration":
        return "property", ["this[]"]
    operator = node.child_by_field_name("operator") or node.child_by_field_name("type")
    return "function", [f"operator {text_of(operator)}"]


def go_method(node: Node) -> Naming:
    receiver = dotted(text_of(node.child_by_field_name("receiver")).strip("()"))
    owner = receiver.split()[-1].lstrip("*") if receiver else ""
    name = text_of(node.child_by_field_name("name"))
    return "method", [f"{owner}.{name}" if owner else name]


def _go_specs(node: Node) -> list[Node]:
    specs: list[Node] = []
    for child in node.named_children:
        if child.type == "var_spec_list":
            specs += child.named_children
        else:
            specs.append(child)
    return [s for s in specs if s.child_by_field_name("name") is not None]


def go_values(node: Node) -> Naming:
    names = [text_of(s.child_by_field_name("name")) for s in _go_specs(node)]
    names = [n for n in names if n != "_"]
    return ("constant", names) if names else _NOTHING


def go_types(node: Node) -> Naming:
    specs = _go_specs(node)
    if not specs:
        return _NOTHING
    shape = specs[0].child_by_field_name("type")
    kind = {"struct_type": "struct", "interface_type": "interface"}.get(shape.type if shape else "", "type")
    return kind, [text_of(s.child_by_field_name("name")) for s in specs]


def impl(node: Node) -> Naming:
    return "impl", [dotted(text_of(node.child_by_field_name("type"))).split(".")[-1]]


def rust_module(node: Node) -> Naming:
    if node.child_by_field_name("body") is None:
        return _NOTHING  # `mod parser;` says that there is a file
    return "module", _named(node)


def constant(node: Node) -> Naming:
    left = node.child_by_field_name("left")
    return ("constant", [text_of(left)]) if left is not None and left.type == "constant" else _NOTHING


def call(node: Node) -> Naming:
    """Ruby's `private def hidden`: a definition in the argument of a call."""
    arguments = node.child_by_field_name("arguments")
    inner = arguments.named_children[0] if arguments is not None and arguments.named_child_count else None
    if inner is None or inner.type not in ("method", "singleton_method"):
        return _NOTHING
    return "function", _named(inner)


def java_field(node: Node) -> Naming:
    modifiers = " ".join(text_of(c) for c in node.named_children if c.type.startswith("modifier")).split()
    if "const" not in modifiers and not ("static" in modifiers and {"final", "readonly"} & {*modifiers}):
        return _NOTHING
    holder = next((c for c in node.named_children if c.type == "variable_declaration"), node)
    return "constant", [
        n for c in holder.named_children if c.type == "variable_declarator" for n in _named(c)
    ]


def const(node: Node) -> Naming:
    elements = [c for c in node.named_children if c.type == "const_element"]
    return "constant", [text_of(e.named_children[0]) for e in elements if e.named_child_count]


def kotlin_class(node: Node) -> Naming:
    keywords = {c.type for c in node.children if not c.is_named}
    kind = "interface" if "interface" in keywords else "enum" if "enum" in keywords else "class"
    return kind, _named(node)


def kotlin_property(node: Node) -> Naming:
    variable = next((c for c in node.named_children if c.type == "variable_declaration"), None)
    if variable is None or not variable.named_child_count:
        return _NOTHING
    computed = any(c.type in ("getter", "setter") for c in node.named_children)
    top = node.parent is not None and node.parent.type == "source_file"
    first = node.named_children[0]
    const = first.type == "modifiers" and "const" in text_of(first).split()
    if not (computed or top or const):
        return _NOTHING
    return ("property" if computed else "constant"), [text_of(variable.named_children[0])]


def swift_class(node: Node) -> Naming:
    keyword = text_of(node.child_by_field_name("declaration_kind"))
    kind = {"struct": "struct", "enum": "enum", "extension": "impl"}.get(keyword, "class")
    return kind, _named(node)


def swift_property(node: Node) -> Naming:
    computed = node.child_by_field_name("computed_value") is not None
    top = node.parent is not None and node.parent.type == "source_file"
    if not (computed or top):
        return _NOTHING
    return ("property" if computed else "constant"), _named(node)


def keyword(node: Node) -> Naming:
    return "function", [node.type.removesuffix("_declaration")]


def scala_value(node: Node) -> Naming:
    pattern = node.child_by_field_name("pattern")
    return (
        ("constant", [text_of(pattern)]) if pattern is not None and pattern.type == "identifier" else _NOTHING
    )


def haskell_instance(node: Node) -> Naming:
    patterns = text_of(node.child_by_field_name("patterns"))
    return "impl", [" ".join(f"{text_of(node.child_by_field_name('name'))} {patterns}".split())[:_NAME_LIMIT]]


def lua_assignment(node: Node) -> Naming:
    names = next((c for c in node.named_children if c.type == "variable_list"), None)
    values = next((c for c in node.named_children if c.type == "expression_list"), None)
    if names is None or values is None or not values.named_child_count:
        return _NOTHING
    value = values.named_children[0]
    if value.type == "function_call" and text_of(value.child_by_field_name("name")) == "require":
        return _NOTHING
    return _value_kind(value), [dotted(text_of(n)) for n in names.named_children]


def lua_field(node: Node) -> Naming:
    value = node.child_by_field_name("value")
    name = node.child_by_field_name("name")
    if value is None or name is None or value.type != "function_definition":
        return _NOTHING
    return "function", [text_of(name)]


_ELIXIR = {
    "def": "function",
    "defp": "function",
    "defmacro": "macro",
    "defmacrop": "macro",
    "defguard": "macro",
    "defguardp": "macro",
    "defdelegate": "function",
    "defmodule": "module",
    "defprotocol": "interface",
    "defimpl": "impl",
}


def elixir(node: Node) -> Naming:
    target = node.child_by_field_name("target")
    kind = _ELIXIR.get(text_of(target)) if target is not None and target.type == "identifier" else None
    arguments = next((c for c in node.named_children if c.type == "arguments"), None)
    if kind is None or arguments is None or not arguments.named_child_count:
        return _NOTHING
    head = arguments.named_children[0]
    if kind in ("module", "interface", "impl"):
        return kind, [text_of(head)]
    while head.type == "binary_operator" and (left := head.child_by_field_name("left")) is not None:
        head = left  # `name(arguments) when guard`
    if head.type == "call":
        head = head.child_by_field_name("target") or head
    return kind, [dotted(text_of(head))]


_ELIXIR_TYPES = frozenset({"type", "typep", "opaque"})
_ELIXIR_REMARKS = words(
    "moduledoc behaviour callback macrocallback optional_callbacks compile derive on_load before_compile"
)


def elixir_attribute(node: Node) -> Naming:
    """`@limit 3` and `@type t :: integer`; those that speak of a function never get here."""
    operand = node.child_by_field_name("operand")
    if operand is None or operand.type != "call" or not text_of(node).startswith("@"):
        return _NOTHING
    name = text_of(operand.child_by_field_name("target"))
    if name not in _ELIXIR_TYPES:
        return _NOTHING if name in _ELIXIR_REMARKS else ("constant", [name])
    arguments = operand.named_children[-1].named_children
    head = arguments[0].child_by_field_name("left") if arguments else None
    if head is not None and head.type == "call":
        head = head.child_by_field_name("target")
    return ("type", [text_of(head)]) if head is not None else _NOTHING


_ZIG_CONTAINER = re.compile(rb"=\s*(?:extern\s+|packed\s+)?(struct|enum|union|opaque|error)\b")
_ZIG_GENERIC = re.compile(rb"\)\s*type\s*\{")


def zig(node: Node) -> Naming:
    inner = next((c for c in node.named_children if c.type in ("VarDecl", "FnProto")), None)
    if inner is None or node.text is None:
        return _NOTHING
    if inner.type == "FnProto":
        name = text_of(inner.child_by_field_name("function"))
        generic = _ZIG_GENERIC.search(node.text[: inner.end_byte - node.start_byte + 16])
        return ("struct" if generic else "function"), [name] if name else []
    name = text_of(inner.child_by_field_name("variable_type_function"))
    if match := _ZIG_CONTAINER.search(node.text[:200]):
        kind = match[1].decode()
        return {"opaque": "struct", "error": "enum"}.get(kind, kind), [name]
    return _NOTHING if b"@import" in node.text[:200] else ("constant", [name])


def sql(node: Node) -> Naming:
    kind = node.type.removeprefix("create_").removeprefix("materialized_")
    kind = "function" if kind == "procedure" else kind
    named = node.child_by_field_name("column") if kind == "index" else None
    if named is None:
        named = next((c for c in node.named_children if c.type in ("object_reference", "identifier")), None)
    name = text_of(named).replace('"', "").replace("`", "")
    return (kind, [dotted(name)]) if name else _NOTHING


def r(node: Node) -> Naming:
    operator = text_of(node.child_by_field_name("operator"))
    left, right = node.child_by_field_name("lhs"), node.child_by_field_name("rhs")
    if left is None or right is None or operator not in ("<-", "=", "<<-", ":="):
        return _NOTHING
    if left.type not in ("identifier", "string"):
        return _NOTHING
    kind = _value_kind(right)
    if right.type == "call" and text_of(right.child_by_field_name("function")) in _R_CLASSES:
        kind = "class"
    return kind, [text_of(left).strip("'\"`")]


_R_CLASSES = frozenset({"R6Class", "R6::R6Class", "setRefClass", "setClass", "new_class"})
_R_CALLS = {"setClass": "class", "setRefClass": "class", "setGeneric": "function", "setMethod": "function"}


def r_call(node: Node) -> Naming:
    kind = _R_CALLS.get(text_of(node.child_by_field_name("function")))
    arguments = node.child_by_field_name("arguments")
    if kind is None or arguments is None or not arguments.named_child_count:
        return _NOTHING
    name = text_of(arguments.named_children[0]).strip("'\"")
    return kind, [name]


def r_argument(node: Node) -> Naming:
    """A method in `R6Class(public = list(send = function() ...))`."""
    value, name = node.child_by_field_name("value"), node.child_by_field_name("name")
    if value is None or name is None or value.type != "function_definition":
        return _NOTHING
    call = node.parent.parent if node.parent is not None else None
    held = call is not None and text_of(call.child_by_field_name("function")) == "list"
    return ("function", [text_of(name).strip("`'\"")]) if held else _NOTHING


_PERL_CONSTANT = re.compile(r"use\s+constant\s+(\w+)")


def perl_constant(node: Node) -> Naming:
    match = _PERL_CONSTANT.match(text_of(node))
    return ("constant", [match[1]]) if match else _NOTHING


_HTML_ID = re.compile(r"""\sid\s*=\s*["']?([\w-]+)""")


def element(node: Node) -> Naming:
    match = _HTML_ID.search(text_of(node.named_children[0])) if node.named_child_count else None
    return ("element", [match[1]]) if match else _NOTHING


_CSS_NAME = re.compile(r"[.#]([\w-]+)")


def rule(node: Node) -> Naming:
    selectors = text_of(node.named_children[0]) if node.named_child_count else ""
    name = " ".join(selectors.split())[:_NAME_LIMIT]
    return "rule", [name, *dict.fromkeys(_CSS_NAME.findall(name))] if name else []


def keyframes(node: Node) -> Naming:
    return "rule", [text_of(c) for c in node.named_children if c.type == "keyframes_name"]
