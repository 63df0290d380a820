"""What chunking and mining need to know of each language's tree-sitter grammar: node types, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codekin.source import naming
from codekin.source.languages import words
from codekin.source.naming import Rule


@dataclass(frozen=True, slots=True)
class Grammar:
    """The facts of one grammar.

    `definitions` maps the type of a defining node to its kind, "function", "class" and so on, or to the rule
    of `codekin.source.naming` that finds it out. `containers` are the nodes
    to look through for more definitions: bodies of classes, blocks, wrappers such as `export`. `attached`
    are siblings in front of a definition that belong to it, comments aside. `bodies` are the node types of a
    definition's body where the grammar has no field called "body".
    """

    parser: str
    definitions: Mapping[str, Rule]
    containers: frozenset[str] = frozenset()
    comments: frozenset[str] = frozenset({"comment"})
    attached: frozenset[str] = frozenset()
    bodies: frozenset[str] = frozenset()
    clauses: bool = False  # neighbours of one name are one definition


CLASS_LIKE = frozenset({"class", "interface", "struct", "enum", "trait", "impl", "object", "union"})
"""Kinds whose functions are methods."""

SCOPES = CLASS_LIKE | {"module", "package", "constant"}
"""Kinds looked into for more definitions."""


def _definitions(special: Mapping[Rule, str] | None = None, **kinds: str) -> dict[str, Rule]:
    found: dict[str, Rule] = {
        node: kind.rstrip("_") for kind, nodes in kinds.items() for node in nodes.split()
    }
    for rule, nodes in (special or {}).items():
        found |= dict.fromkeys(nodes.split(), rule)
    return found


_SCRIPT = Grammar(
    "javascript",
    _definitions(
        {
            naming.variable: "lexical_declaration variable_declaration",
            naming.assignment: "expression_statement",
            naming.field: "field_definition public_field_definition",
            naming.pair: "pair",
            naming.export: "export_statement",
        },
        function="function_declaration generator_function_declaration method_definition function_signature "
        "method_signature abstract_method_signature",
        class_="class_declaration abstract_class_declaration class",
        interface="interface_declaration",
        enum="enum_declaration",
        type="type_alias_declaration",
        module="internal_module module",
    ),
    containers=words(
        "class_body interface_body statement_block export_statement ambient_declaration if_statement object "
        "expression_statement assignment_expression variable_declarator"
    ),
    attached=words("decorator"),
)

GRAMMARS: dict[str, Grammar] = {
    "python": Grammar(
        "python",
        _definitions(
            {naming.python_assignment: "assignment"},
            function="function_definition",
            class_="class_definition",
        ),
        containers=words(
            "decorated_definition block if_statement elif_clause else_clause try_statement except_clause "
            "finally_clause with_statement"
        ),
    ),
    "javascript": _SCRIPT,
    "typescript": Grammar("typescript", _SCRIPT.definitions, _SCRIPT.containers, attached=_SCRIPT.attached),
    "tsx": Grammar("tsx", _SCRIPT.definitions, _SCRIPT.containers, attached=_SCRIPT.attached),
    "java": Grammar(
        "java",
        _definitions(
            {naming.java_field: "field_declaration"},
            function="method_declaration constructor_declaration compact_constructor_declaration "
            "annotation_type_element_declaration",
            class_="class_declaration record_declaration",
            interface="interface_declaration annotation_type_declaration",
            enum="enum_declaration",
        ),
        containers=words("class_body interface_body enum_body enum_body_declarations annotation_type_body"),
        comments=words("line_comment block_comment"),
    ),
    "c": Grammar(
        "c",
        _definitions(
            {
                naming.declarator: "function_definition",
                naming.declaration: "declaration",
                naming.typedef: "type_definition",
                naming.macro: "preproc_def preproc_function_def",
                naming.record: "struct_specifier union_specifier enum_specifier",
            },
        ),
        containers=words(
            "preproc_ifdef preproc_if preproc_else preproc_elif linkage_specification declaration_list"
        ),
    ),
    "cpp": Grammar(
        "cpp",
        _definitions(
            {
                naming.declarator: "function_definition",
                naming.declaration: "declaration",
                naming.typedef: "type_definition",
                naming.macro: "preproc_def preproc_function_def",
                naming.record: "struct_specifier union_specifier enum_specifier class_specifier",
            },
            type="alias_declaration concept_definition",
        ),
        containers=words(
            "preproc_ifdef preproc_if preproc_else preproc_elif linkage_specification declaration_list "
            "namespace_definition template_declaration field_declaration_list field_declaration "
            "export_declaration"
        ),
    ),
    "csharp": Grammar(
        "csharp",
        _definitions(
            {
                naming.java_field: "field_declaration",
                naming.operator: "operator_declaration conversion_operator_declaration indexer_declaration",
            },
            function="method_declaration constructor_declaration destructor_declaration "
            "local_function_statement",
            property="property_declaration",
            class_="class_declaration record_declaration",
            struct="struct_declaration record_struct_declaration",
            interface="interface_declaration",
            enum="enum_declaration",
            type="delegate_declaration",
        ),
        containers=words(
            "namespace_declaration declaration_list preproc_if preproc_else preproc_elif global_statement"
        ),
    ),
    "go": Grammar(
        "go",
        _definitions(
            {
                naming.go_method: "method_declaration",
                naming.go_values: "const_declaration var_declaration",
                naming.go_types: "type_declaration",
            },
            function="function_declaration",
        ),
    ),
    "rust": Grammar(
        "rust",
        _definitions(
            {naming.impl: "impl_item", naming.rust_module: "mod_item"},
            function="function_item function_signature_item",
            struct="struct_item",
            union="union_item",
            enum="enum_item",
            trait="trait_item",
            macro="macro_definition",
            type="type_item associated_type",
            constant="const_item static_item",
        ),
        containers=words("declaration_list foreign_mod_item"),
        comments=words("line_comment block_comment"),
        attached=words("attribute_item"),
    ),
    "ruby": Grammar(
        "ruby",
        _definitions(
            {naming.constant: "assignment", naming.call: "call"},
            function="method singleton_method",
            class_="class",
            module="module",
        ),
        containers=words("body_statement singleton_class begin if unless then else"),
    ),
    "php": Grammar(
        "php",
        _definitions(
            {naming.const: "const_declaration"},
            function="function_definition method_declaration",
            class_="class_declaration",
            interface="interface_declaration",
            trait="trait_declaration",
            enum="enum_declaration",
        ),
        containers=words(
            "declaration_list enum_declaration_list namespace_definition compound_statement if_statement"
        ),
    ),
    "kotlin": Grammar(
        "kotlin",
        _definitions(
            {naming.kotlin_class: "class_declaration", naming.kotlin_property: "property_declaration"},
            function="function_declaration",
            object="object_declaration",
            type="type_alias",
        ),
        containers=words("class_body enum_class_body companion_object"),
        comments=words("line_comment multiline_comment"),
        bodies=words("function_body class_body enum_class_body"),
    ),
    "swift": Grammar(
        "swift",
        _definitions(
            {
                naming.swift_class: "class_declaration",
                naming.swift_property: "property_declaration",
                naming.keyword: "init_declaration deinit_declaration subscript_declaration",
            },
            function="function_declaration protocol_function_declaration",
            interface="protocol_declaration",
            type="typealias_declaration",
        ),
        containers=words("class_body enum_class_body protocol_body"),
        comments=words("comment multiline_comment"),
        bodies=words("computed_property"),
    ),
    "scala": Grammar(
        "scala",
        _definitions(
            {naming.scala_value: "val_definition var_definition"},
            function="function_definition function_declaration",
            class_="class_definition",
            object="object_definition package_object",
            trait="trait_definition",
            enum="enum_definition",
            type="type_definition",
            constant="given_definition",
        ),
        containers=words("template_body enum_body package_clause extension_definition"),
        comments=words("comment block_comment"),
    ),
    "haskell": Grammar(
        "haskell",
        _definitions(
            {naming.haskell_instance: "instance"},
            function="signature function bind pattern_synonym foreign_import",
            struct="data_type newtype",
            type="type_synomym type_family data_family",
            interface="class",
        ),
        containers=words("declarations imports class_declarations instance_declarations"),
        comments=words("comment haddock"),
        attached=words("pragma"),
        bodies=words("match data_constructors"),
        clauses=True,
    ),
    "lua": Grammar(
        "lua",
        _definitions(
            {naming.lua_assignment: "assignment_statement", naming.lua_field: "field"},
            function="function_declaration",
        ),
        containers=words("variable_declaration table_constructor assignment_statement expression_list"),
    ),
    "elixir": Grammar(
        "elixir",
        _definitions({naming.elixir: "call", naming.elixir_attribute: "unary_operator"}),
        containers=words("do_block"),
        attached=words("unary_operator"),
        bodies=words("do_block keywords"),
        clauses=True,
    ),
    "zig": Grammar(
        "zig",
        _definitions({naming.zig: "Decl"}),
        containers=words(
            "VarDecl ErrorUnionExpr SuffixExpr ContainerDecl Block Statement AssignExpr BlockExprStatement"
        ),
        comments=words("line_comment doc_comment container_doc_comment"),
        bodies=words("Block"),
    ),
    "bash": Grammar(
        "bash",
        _definitions(
            function="function_definition",
            constant="variable_assignment",
        ),
        containers=words("declaration_command if_statement else_clause elif_clause compound_statement"),
    ),
    "sql": Grammar(
        "sql",
        _definitions(
            {
                naming.sql: "create_table create_view create_materialized_view create_index create_function "
                "create_trigger create_type create_procedure create_schema create_sequence"
            },
        ),
        containers=words("statement transaction block"),
        comments=words("comment marginalia"),
        bodies=words("function_body column_definitions create_query"),
    ),
    "r": Grammar(
        "r",
        _definitions({naming.r: "binary_operator", naming.r_call: "call", naming.r_argument: "argument"}),
        containers=words("call arguments argument braced_expression"),
    ),
    "perl": Grammar(
        "perl",
        _definitions(
            {naming.perl_constant: "use_statement"},
            function="subroutine_declaration_statement method_declaration_statement",
            package="package_statement class_statement",
        ),
        containers=words("block"),
        comments=words("comment pod"),
    ),
    "matlab": Grammar(
        "matlab",
        _definitions(function="function_definition", class_="class_definition"),
        containers=words("methods properties"),
        bodies=words("block"),
    ),
    "html": Grammar("html", _definitions({naming.element: "element"})),
    "css": Grammar(
        "css",
        _definitions({naming.rule: "rule_set", naming.keyframes: "keyframes_statement"}),
        containers=words("media_statement supports_statement block"),
        bodies=words("block keyframe_block_list"),
    ),
}
