"""The pairs of one text, and the functions in it that may be another's equivalent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from codekin.data.equivalents import Candidate, example_of, keys_of
from codekin.data.filters import clean_prose, fingerprint, has_secret, is_query, is_trainable, summary
from codekin.data.prose import sections
from codekin.source import Definition, definitions
from codekin.tasks import Task

DOCUMENTATION, DOCUMENTED, NAME, EXAMPLE = "documentation", "documented", "name", "example"
SECTION, QUESTION, COMPLETION = "section", "question", "completion"

MAX_DOCUMENT = 3000
"""Characters: what an embedding of one chunk is made of, and some more."""
MIN_DOCUMENT = 40

DOCUMENTS = ("markdown", "rst")
FUNCTIONS = ("function", "method")

_MIN_BODY_LINES = 3
_NAMES_ONE_IN = 4
_DOCUMENTED_ONE_IN = 2
_MIN_COMPLETED_LINES = 6


class Found(NamedTuple):
    """A pair whose origin is known to whoever asked for it."""

    kind: str
    task: Task
    query: str
    document: str
    language: str


@dataclass(slots=True)
class Extract:
    """What a text gives: pairs, candidates for pairs with other texts, and how many functions stand in it."""

    pairs: list[Found] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    functions: int = 0


def extract(text: str, path: str, language: str) -> Extract:
    """What the text of the file at `path` gives; nothing if it is generated, minified or another's."""
    found = Extract()
    if not is_trainable(text):
        return found
    if language in DOCUMENTS:
        found.pairs = list(_of_document(text, language))
    else:
        found.pairs = list(_of_code(text, path, language, found))
        if example := example_of(text, path, language):
            found.candidates.append(example)
    found.pairs = [pair for pair in found.pairs if max(len(pair.query), len(pair.document)) >= MIN_DOCUMENT]
    if has_secret(text):
        found.pairs = [
            pair for pair in found.pairs if not (has_secret(pair.query) or has_secret(pair.document))
        ]
        found.candidates = [candidate for candidate in found.candidates if not has_secret(candidate.text)]
    return found


def _of_code(text: str, path: str, language: str, found: Extract) -> Iterator[Found]:
    if language == "r":
        # roxygen2 lets blank lines stand between its comments and what they document.
        text = _ROXYGEN_GAP.sub("", text)
    elsewhere = _pod(text) if language == "perl" else {}
    lines = text.split("\n")
    for definition in definitions(text, language):
        is_function = definition.kind in FUNCTIONS
        found.functions += is_function
        if is_trivial(definition):
            continue
        documentation = definition.doc or elsewhere.get(definition.name.rpartition(".")[2], "")
        if documentation and is_query(query := summary(documentation)):
            code = cut(definition.text)
            yield Found(DOCUMENTATION, Task.NL2CODE, query, code, language)
            yield Found(DOCUMENTATION, Task.CODE2NL, code, query, language)
            if (
                definition.doc
                and fingerprint(definition.text) % _DOCUMENTED_ONE_IN == 0
                and (name := _name_query(definition))
            ):
                whole = "\n".join(lines[definition.lead_line - 1 : definition.end_line]).strip()
                yield Found(DOCUMENTED, Task.NL2CODE, name, cut(_masked(definition, whole)), language)
        elif (
            fingerprint(definition.text) % _NAMES_ONE_IN == 0
            and len(definition.text) - definition.body_start < MAX_DOCUMENT
            and (name := _name_query(definition))
        ):
            yield Found(NAME, Task.NL2CODE, name, _masked(definition, definition.text), language)
        if is_function and len(definition.text) <= MAX_DOCUMENT:
            if parts := _completion(definition):
                yield Found(COMPLETION, Task.CODE2COMPLETION, *parts, language)
            if keys := keys_of(definition, path, language):
                name = definition.name.rpartition(".")[2]
                candidate = Candidate(name, definition.text, language, path, definition.within, keys)
                found.candidates.append(candidate)


def is_trivial(definition: Definition) -> bool:
    """Whether it is a getter, setter, alias or declaration, whose name says it all."""
    size = len(definition.text) - definition.body_start
    lines = definition.text.count("\n", definition.body_start) + 1
    return lines < _MIN_BODY_LINES and size < 2 * MIN_DOCUMENT


def _completion(definition: Definition) -> tuple[str, str] | None:
    """The start of a function and its rest, parted at a line of the middle half of its body."""
    text = definition.text
    breaks = [at.end() for at in re.finditer("\n", text[definition.body_start :])]
    if len(breaks) < _MIN_COMPLETED_LINES:
        return None
    # Any line will do, but the same one in every run.
    line = len(breaks) // 4 + len(text) % (len(breaks) // 2)
    at = definition.body_start + breaks[line]
    rest = text[at:].rstrip()
    return (text[:at].rstrip(), rest) if len(_WORDS.findall(rest)) >= 4 else None


_ROXYGEN_GAP = re.compile(r"(?<=\n)(?:[ \t]*\n)+(?=[\w.`]+[ \t]*(?:<-|=)[ \t]*function\b)")
_POD_ENTRY = re.compile(
    r"^=(?:head[2-4]|item)[ \t]+(?:[\w$]+[ \t]*(?:->|=)[ \t]*)*(?:[\w:]+::)?(\w+)[^\n]*\n", re.M
)
_POD_END = re.compile(r"^=(?:head\d|item|back|cut|over)\b", re.M)


def _pod(text: str) -> dict[str, str]:
    """What Perl's manual sections (perlpod) say about each subroutine: often far from it, behind `__END__`."""
    found: dict[str, str] = {}
    for entry in _POD_ENTRY.finditer(text):
        end = _POD_END.search(text, entry.end())
        body = text[entry.end() : end.start() if end else len(text)].lstrip("\n")
        # An indented paragraph is verbatim: a synopsis, before the prose.
        while body.startswith((" ", "\t")):
            body = body.partition("\n\n")[2].lstrip("\n")
        found.setdefault(entry[1], body)
    return found


def _name_query(definition: Definition) -> str:
    """The words of a function's name, with those of what it stands in; "" unless it says something itself."""
    if definition.kind not in FUNCTIONS:
        return ""
    *scope, bare = definition.name.split(".")
    own = [word for word in _WORDS.findall(bare) if len(word) > 1]
    if len(own) < 2 or len(set(own)) < 2 or own[0] == "test":
        return ""
    return " ".join([*(_WORDS.findall(scope[-1]) if scope else ()), *own]).lower()


def _masked(definition: Definition, text: str) -> str:
    """The text with every occurrence of the definition's own name hidden."""
    bare = definition.name.rpartition(".")[2]
    if _TOKEN.fullmatch(bare):  # as nearly all are: no pattern is compiled for each
        return _TOKEN.sub(lambda found: "_" if found[0] == bare else found[0], text)
    return re.sub(rf"(?<![\w$]){re.escape(bare)}(?![\w$])", "_", text)


_TOKEN = re.compile(r"[\w$]+")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_NUMBER = re.compile(r"^(?:Q?\d+(?:\.\d+)*[.:)]|\d+(?:\.\d+)+)\s+(?=\S)")


def _of_document(text: str, language: str) -> Iterator[Found]:
    for section in sections(text, language):
        heading = _NUMBER.sub("", clean_prose(section.heading))
        if section.text and is_query(heading):
            kind = QUESTION if heading.endswith("?") else SECTION
            yield Found(kind, Task.QA, heading, cut(section.text), language)
        for example in section.examples:
            introduction = clean_prose(example.introduction)
            query = introduction if is_query(introduction) else heading
            if example.code.count("\n") >= 2 and example.language and is_query(query):
                yield Found(EXAMPLE, Task.NL2CODE, query, cut(example.code), example.language)


def cut(text: str) -> str:
    """As many whole lines of a text as a document may have."""
    if len(text) <= MAX_DOCUMENT:
        return text
    return text[: text.rfind("\n", 0, MAX_DOCUMENT) if "\n" in text[:MAX_DOCUMENT] else MAX_DOCUMENT]
