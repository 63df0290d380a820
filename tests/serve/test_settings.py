"""Settings files changed in one place: what else is in them stays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codekin.serve.settings import Form, Json, Toml, put

VALUE = {"command": "codekin", "args": ["mcp"]}

EDITS = {
    "another server, a comment and a trailing comma": (
        """\
// Mine.
{
    "theme": "One", // after a value
    "mcpServers": {
        "other": { "command": "x" }, /* "codekin": {} */
    },
}
""",
        """\
// Mine.
{
    "theme": "One", // after a value
    "mcpServers": {
        "other": { "command": "x" }, /* "codekin": {} */
        "codekin": {
            "command": "codekin",
            "args": [
                "mcp"
            ]
        }
    },
}
""",
    ),
    "a comment after the last member": (
        '{\n  "a": "//" // no comma\n}\n',
        """\
{
  "a": "//", // no comma
  "mcpServers": {
    "codekin": {
      "command": "codekin",
      "args": [
        "mcp"
      ]
    }
  }
}
""",
    ),
    "an older entry": (
        '{\n\t"mcpServers": {\n\t\t"codekin": {"command": "old"}, // ours\n\t\t"b": {}\n\t}\n}',
        '{\n\t"mcpServers": {\n\t\t"codekin": {\n\t\t\t"command": "codekin",\n\t\t\t"args": [\n\t\t\t\t"mcp"\n'
        '\t\t\t]\n\t\t}, // ours\n\t\t"b": {}\n\t}\n}',
    ),
    "one line": (
        '{"mcpServers": {}}',
        """\
{"mcpServers": {
    "codekin": {
      "command": "codekin",
      "args": [
        "mcp"
      ]
    }
  }}""",
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_json_with_comments_keeps_all_that_is_in_it(name: str) -> None:
    before, after = EDITS[name]
    assert put(Json, before, ["mcpServers", "codekin"], VALUE) == after


def test_lines_end_as_they_did() -> None:
    before, after = (text.replace("\n", "\r\n") for text in EDITS["a comment after the last member"])
    assert put(Json, before, ["mcpServers", "codekin"], VALUE) == after
    assert put(Toml, "a = 1\r\n", ["mcp_servers", "codekin"], VALUE) == (
        'a = 1\r\n\r\n[mcp_servers.codekin]\r\ncommand = "codekin"\r\nargs = ["mcp"]\r\n'
    )


def test_a_table_is_added_at_the_end_or_takes_the_place_of_its_own() -> None:
    before = '# Mine.\nmodel = "x"\n\n[mcp_servers.other]\ncommand = "y"'
    added = f'{before}\n\n[mcp_servers.codekin]\ncommand = "codekin"\nargs = ["mcp"]\n'
    assert put(Toml, before, ["mcp_servers", "codekin"], VALUE) == added
    followed = f"{added}\n# About what follows.\n[profiles.a]\nmodel = 'z'\n"
    changed = {"command": "codekin", "args": ["mcp", "--repo", 'a"b\\c # é']}
    after = put(Toml, followed, ["mcp_servers", "codekin"], changed)
    assert after == followed.replace('args = ["mcp"]', 'args = ["mcp", "--repo", "a\\"b\\\\c # é"]')


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (Json, '{"mcpServers": {'),
        (Json, "[]"),
        (Json, '{"mcpServers": []}'),
        (Json, "{,}"),
        (Json, "{'mcpServers': {}}"),
        (Toml, "mcpServers = 1"),
        (Toml, "mcpServers = { other = { command = 'x' } }"),
        (Toml, "[mcpServers\n"),
    ],
)
def test_what_is_not_understood_is_refused(form: Form, text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        put(form, text, ["mcpServers", "codekin"], VALUE)


texts = st.text(st.sampled_from('ab"\\/*,{}[]:# \u00e9'), max_size=8)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)
comments = st.sampled_from(["", ' // a "b" { , }', " /* , } */"])


def written(value: Any, margin: str, unit: str, comma: str, after: Iterator[str]) -> str:
    """JSON with a comment at the end of each line, and `comma` after the last member of what has members."""
    if not isinstance(value, (dict, list)) or not value:
        return json.dumps(value)
    inner = margin + unit
    members = [
        (f"{json.dumps(member)}: " if isinstance(value, dict) else "")
        + written(value[member] if isinstance(value, dict) else member, inner, unit, comma, after)
        for member in value
    ]
    ends = [",", *"," * (len(members) - 2), comma][-len(members) :]
    lines = [f"{inner}{member}{end}{next(after)}\n" for member, end in zip(members, ends, strict=True)]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}{next(after)}\n{''.join(lines)}{margin}{closing}"


@given(
    st.dictionaries(texts, values, max_size=4),
    st.none() | st.dictionaries(texts | st.just("codekin"), values, max_size=3),
    st.sampled_from([" ", "  ", "    ", "\t"]),
    st.lists(comments, min_size=1, max_size=5),
    st.sampled_from(["", ","]),
)
def test_any_object_keeps_its_members_and_its_text(
    data: dict[str, Any], servers: dict[str, Any] | None, unit: str, after: list[str], comma: str
) -> None:
    if servers is not None:
        data["servers"] = servers
    text = written(data, "", unit, comma, cycle(after))
    assert Json.read(text) == data
    new = put(Json, text, ["servers", "codekin"], VALUE)
    assert Json.read(new) == {**data, "servers": {**(servers or {}), "codekin": VALUE}}
    if "codekin" not in (servers or {}):
        characters = iter(new)
        assert all(character in characters for character in text if not character.isspace())
