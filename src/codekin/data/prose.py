"""Sections and code examples of Markdown and reStructuredText documents."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field

from codekin.source import LANGUAGES, language_of

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})\s*\{?\.?([\w+#.-]*)")
_ATX = re.compile(r"^ {0,3}#{1,6}[ \t]+(.*?)[ \t]*#*$")
_UNDERLINE = re.compile(r"^([=\-~^\"'`:.*+#_<>])\1{2,}\s*$")
# Questions of an FAQ that are no headings: "**Why?**", "Q: Why?", "<summary>Why?</summary>".
_QUESTION = re.compile(
    r"^ {0,3}(?:(?P<bold>\*\*|__)(?:Q\d*[.:)] *)?(?P<bare>[^*_].*\?)(?P=bold)"
    r"|(?:\*\*)?Q(?:uestion)?\d*[.:)](?:\*\*)? +(?P<told>.*\?)(?:\*\*)?"
    r"|<summary>(?:<\w+>)?(?P<folded>[^<>]*\?)(?:</\w+>)?</summary>)\s*$"
)
_ANSWER = re.compile(r"^\s*(?:\*\*)?A(?:nswer)?[.:](?:\*\*)?\s+")
_DIRECTIVE = re.compile(r"^(\s*)\.\. (?:code-block|sourcecode|code|highlight|prompt)::\s*([\w+#-]*)")
_ALIASES = {
    "c++": "cpp",
    "c#": "csharp",
    "objective-c": "objc",
    "shell": "bash",
    "console": "bash",
    "golang": "go",
}


@dataclass(slots=True)
class Section:
    """A heading, or an FAQ's question, and the text under it, up to the next; `examples` are its code blocks."""

    heading: str
    text: str = ""
    examples: list[Example] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Example:
    """A code block, the paragraph right before it, and its language ("" if the document does not say)."""

    introduction: str
    code: str
    language: str


def sections(text: str, language: str) -> Iterator[Section]:
    """The sections of a document in `language` ("markdown" or "rst"), in order; code holds no headings."""
    lines = text.splitlines()
    current, start, row = Section(""), 0, 0
    while row < len(lines):
        heading, length = _heading(lines, row, language)
        if length:
            yield _close(current, lines[start:row])
            current, row = Section(heading), row + length
            start = row
            continue
        code = _markdown_code(lines, row) if language == "markdown" else _rst_code(lines, row)
        if code:
            body, name, end = code
            if body:
                current.examples.append(Example(_introduction(lines[start:row], lines[row]), body, name))
            row = end
        else:
            row += 1
    yield _close(current, lines[start:])


def _close(section: Section, lines: list[str]) -> Section:
    section.text = _ANSWER.sub("", "\n".join(lines).strip())
    return section


def _heading(lines: list[str], row: int, language: str) -> tuple[str, int]:
    """The heading at `row` and the lines it takes, 0 if there is none."""
    line = lines[row]
    if language == "markdown" and (match := _ATX.match(line)):
        return match[1], 1
    if "?" in line and (match := _QUESTION.match(line)):
        return match["bare"] or match["told"] or match["folded"], 1
    following = lines[row + 1] if row + 1 < len(lines) else ""
    if (
        line.strip()
        and not line[0].isspace()
        and not _UNDERLINE.match(line)
        and (rule := _UNDERLINE.match(following))
        and (language == "rst" or rule[1] in "=-")
        and len(following.rstrip()) >= (len(line.rstrip()) if language == "rst" else 3)
        and not line.startswith(("|", "+", "- ", "* ", ">"))
    ):
        return line.strip(), 2
    return "", 0


def _markdown_code(lines: list[str], row: int) -> tuple[str, str, int] | None:
    match = _FENCE.match(lines[row])
    if not match:
        return None
    fence, end = match[1], row + 1
    while end < len(lines) and not re.match(
        rf"^ {{0,3}}{re.escape(fence[0])}{{{len(fence)},}}\s*$", lines[end]
    ):
        end += 1
    return _block(lines[row + 1 : end]), _language(match[2]), end + 1


def _rst_code(lines: list[str], row: int) -> tuple[str, str, int] | None:
    line = lines[row]
    match = _DIRECTIVE.match(line)
    if not match and (not line.rstrip().endswith("::") or line.lstrip().startswith("..")):
        return None
    indent = len(line) - len(line.lstrip())
    end = row + 1
    while end < len(lines) and (
        not lines[end].strip() or len(lines[end]) - len(lines[end].lstrip()) > indent
    ):
        end += 1
    body = lines[row + 1 : end]
    while body and (not body[0].strip() or re.match(r"\s+:[\w-]+:", body[0])):  # the directive's options
        body = body[1:]
    return _block(body), _language(match[2]) if match else "", end


def _block(lines: list[str]) -> str:
    return textwrap.dedent("\n".join(lines)).strip("\n").rstrip()


def _language(name: str) -> str:
    name = name.lower()
    name = _ALIASES.get(name, name)
    if name in LANGUAGES:
        return name
    return language_of(f"x.{name}") if name and language_of(f"x.{name}") != "text" else ""


def _introduction(before: list[str], opening: str) -> str:
    """The paragraph right before a code block; in reStructuredText it may end with the `::` that opens it."""
    paragraph: list[str] = []
    if opening.rstrip().endswith("::") and not opening.lstrip().startswith(".."):
        paragraph.append(opening.rstrip().removesuffix(":"))
    elif before and not before[-1].strip():
        before = before[:-1]
    for line in reversed(before):
        if not line.strip() or _FENCE.match(line) or line.lstrip().startswith((".. ", "|", "<!--")):
            break
        paragraph.append(line)
    return "\n".join(reversed(paragraph)).strip()
