"""Settings files of other programs, changed in one place: JSON with comments, and TOML.

What is around that place stays as it is, byte for byte: comments, order, indentation, line ends.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_STRING = r'"(?:\\.|[^"\\])*"'
_COMMENT = re.compile(rf"({_STRING})|//[^\n]*|/\*.*?\*/", re.DOTALL)
_TRAILING_COMMA = re.compile(rf"({_STRING})|,(?=\s*[}}\]])", re.DOTALL)
_SPACE = re.compile(r"\s*")
_INDENT = re.compile(r"^[ \t]+(?=\S)", re.MULTILINE)
_TABLE = re.compile(r"^[ \t]*\[", re.MULTILINE)


class Json:
    """JSON as editors read it: with comments and trailing commas."""

    @staticmethod
    def read(text: str) -> dict[str, Any]:
        """What the text says; an empty one says {}. Raises ValueError where it is no object."""
        data = json.loads(_without(_TRAILING_COMMA, _without(_COMMENT, text)) if text.strip() else "{}")
        if not isinstance(data, dict):
            raise ValueError("it is no JSON object")
        return data

    @staticmethod
    def show(keys: Sequence[str], value: Mapping[str, Any]) -> str:
        """A file that holds the value, and nothing else."""
        return _dump(_nested(keys, value), "  ") + "\n"

    @staticmethod
    def edit(text: str, keys: Sequence[str], value: Mapping[str, Any]) -> str:
        """The text with `value` at the path `keys` of the objects in it."""
        if not text.strip():
            return Json.show(keys, value)
        uncommented = _without(_COMMENT, text)
        plain = _without(_TRAILING_COMMA, uncommented)
        indent = _INDENT.search(plain)
        unit = indent[0] if indent else "  "
        start = end = _space(plain, 0)
        for depth, key in enumerate(keys):
            spans, close = _members(plain, start)
            if key not in spans:
                member = f"{json.dumps(key)}: {_dump(_nested(keys[depth + 1 :], value), unit)}"
                last = max((span[1] for span in spans.values()), default=start + 1)
                comma = "," if spans and "," not in uncommented[last:close] else ""
                return _inserted(text, last, close, comma, member, depth, unit)
            start, end = spans[key]
        return text[:start] + _shifted(_dump(value, unit), unit * len(keys)) + text[end:]


class Toml:
    """TOML, in which the value is a table of its own with strings and lists of strings."""

    @staticmethod
    def read(text: str) -> dict[str, Any]:
        """What the text says. Raises ValueError where it is no TOML."""
        return tomllib.loads(text)

    @staticmethod
    def show(keys: Sequence[str], value: Mapping[str, Any]) -> str:
        """A file that holds the value, and nothing else."""
        # A string in JSON is a basic string in TOML (https://toml.io/en/v1.0.0#string).
        pairs = [f"{key} = {json.dumps(item, ensure_ascii=False)}" for key, item in value.items()]
        return "\n".join([_header(keys), *pairs, ""])

    @staticmethod
    def edit(text: str, keys: Sequence[str], value: Mapping[str, Any]) -> str:
        """The text with `value` as the table `keys`: in its place, or as the last one."""
        shown = Toml.show(keys, value)
        found = re.search(rf"^{re.escape(_header(keys))}[ \t]*(#.*)?$", text, re.MULTILINE)
        if not found:
            return f"{text.rstrip()}\n\n{shown}" if text.strip() else shown
        following = _TABLE.search(text, found.end())
        lines = text[found.end() : following.start() if following else len(text)].split("\n")
        # Comments that end it are about what follows.
        while lines and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
            lines.pop()
        after = found.end() + len("\n".join(lines))
        return text[: found.start()] + shown.rstrip() + text[after:]


Form = type[Json] | type[Toml]


def put(form: Form, text: str, keys: Sequence[str], value: Mapping[str, Any]) -> str:
    """The text with `value` at the path `keys` and all else as it was; objects on the path that are missing are made.

    Raises ValueError, with a reason for people, for a text that is broken or that cannot be changed for sure.
    """
    wanted = form.read(text)
    inner = wanted
    for depth, key in enumerate(keys[:-1], start=1):
        inner = inner.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ValueError(f"{'.'.join(keys[:depth])} in it is no object")
    inner[keys[-1]] = value
    uses_crlf = "\r\n" in text and text.count("\r\n") == text.count("\n")
    new = form.edit(text.replace("\r\n", "\n") if uses_crlf else text, keys, value)
    try:
        understood = form.read(new) == wanted
    except ValueError:
        understood = False
    if not understood:
        raise ValueError(f"{'.'.join(keys[:-1])} in it is written in a way that only a person should change")
    return new.replace("\n", "\r\n") if uses_crlf else new


def _without(what: re.Pattern[str], text: str) -> str:
    """The text with blanks in the place of `what`: every other character stays where it is."""
    return what.sub(lambda found: found[1] or re.sub(r"[^\n]", " ", found[0]), text)


def _space(text: str, at: int) -> int:
    """The first place from `at` on that is no white space."""
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _members(text: str, start: int) -> tuple[dict[str, tuple[int, int]], int]:
    """Where the values of the JSON object at `start` lie, by key, and where its closing brace is."""
    scan = json.JSONDecoder().raw_decode
    spans: dict[str, tuple[int, int]] = {}
    at = _space(text, start + 1)
    while text[at] != "}":
        key, colon = scan(text, at)
        value = _space(text, _space(text, colon) + 1)
        _, end = scan(text, value)
        spans[key] = value, end
        at = _space(text, end)
        if text[at] == ",":
            at = _space(text, at + 1)
    return spans, at


def _inserted(text: str, last: int, close: int, comma: str, member: str, depth: int, unit: str) -> str:
    """The text with one more member of the object that ends at `close` and whose last member ends at `last`."""
    between = text[last:close].rstrip(" \t\n")
    blank = text[last + len(between) : close]
    margin = blank.rpartition("\n")[2] if "\n" in blank else unit * depth
    member = _shifted(f"\n{member}", margin + unit)
    return f"{text[:last]}{comma}{between}{member}\n{margin}{text[close:]}"


def _shifted(text: str, margin: str) -> str:
    return text.replace("\n", f"\n{margin}")


def _dump(value: Any, unit: str) -> str:
    return json.dumps(value, indent=unit, ensure_ascii=False)


def _nested(keys: Sequence[str], value: Mapping[str, Any]) -> Mapping[str, Any]:
    for key in reversed(keys):
        value = {key: value}
    return value


def _header(keys: Sequence[str]) -> str:
    return f"[{'.'.join(keys)}]"
