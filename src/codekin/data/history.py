"""Pairs from the history of a repository: what commits say, and the code before and after them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence

from codekin.data.extraction import FUNCTIONS, MAX_DOCUMENT, MIN_DOCUMENT, Extract, Found, is_trivial
from codekin.data.filters import (
    clean_prose,
    has_secret,
    is_handwritten,
    is_query,
    is_source_path,
    is_trainable,
)
from codekin.data.git import Blobs, Change, Commit
from codekin.source import Definition, decode, definitions, language_of
from codekin.source.grammars import GRAMMARS
from codekin.tasks import Task

COMMIT, VERSION = "commit", "version"

MAX_COMMITS = 20_000
"""The newest of a repository: more of one would be most of a set."""

_MAX_FILES = 20  # touched by one commit: more is a sweep over the code, or an import
_MAX_CHANGED = 5  # functions: a message about more is about none of them
_MAX_HUNK = 60  # lines
_CONTEXT = 3

_BOT = re.compile(
    r"\[bot\]|\b(?:dependabot|renovate|greenkeeper|snyk|mergify|bors|pyup|weblate|transifex|imgbot|codecov|allcontributors"
    r"|github-actions?|semantic-release|pre-commit-ci|jenkins|travis|homu|whitesource|copybara)\b|\bbot@|-bot\b",
    re.IGNORECASE,
)
_EMPTY = re.compile(
    r"^(?:revert\b|merge\b|bump\b|release\b|version\b|v?\d+\.\d+|prepare\b|wip\b|tmp\b|temp\b|initial\b|first commit"
    r"|fixup!|squash!|amend!|update (?:changelog|readme|version|dependenc|translations?|copyright|licen[cs]e|submodule"
    r"|docs?\b)|(?:fix|correct) (?:a |some |the )?(?:typos?|lint|style|formatting|indent\w*|whitespace|build|tests?"
    r"|ci)\b|typos?\b|lint\b|format(?:ting)?\b|reformat\b|clean ?ups?\b|cosmetic|whitespace|minor\b|misc\b"
    r"|nits?\b|run \w+fmt|apply suggestions|address (?:review|comments)|code review|automatic|auto-?commit"
    r"|sync(?:ed)? (?:with|from)|import from)",
    re.IGNORECASE,
)
_REVERTS = "This reverts commit"
# "feat(parser)!: ", "[core] ", "net/http: ", and at the end "(#123)", "Fixes #12".
_PREFIX = re.compile(
    r"^(?:\[[^\]]{1,40}\]\s*|[\w./*,-]{1,40}(?:\([^)]{1,40}\))?!?:\s+|(?:[A-Z]+-|#|GH-)\d+[:\s-]+)+"
)
_REFERENCE = re.compile(
    r"\s*[(\[]?(?:(?:fix(?:e[sd])?|close[sd]?|see|refs?|resolves?|issue|pr)\s*:?\s*)?(?:#|GH-)\d+[)\]]?\.?$",
    re.I,
)


def is_minable_commit(commit: Commit) -> bool:
    """Whether a person changed something in it: no bot, no sweep, no revert."""
    return not (
        len(commit.changes) + len(commit.others) > _MAX_FILES
        or _BOT.search(commit.author)
        or _REVERTS in commit.body
        or commit.subject.lower().startswith("revert ")
    )


def query_of(commit: Commit, held_out: tuple[str, ...]) -> str:
    """What a commit says it does, "" where that is nothing that one could search for among what it changes."""
    if any(is_minable(path, held_out) for path in commit.others):
        return ""  # it speaks of the file that is new or gone
    subject = commit.subject.strip()
    if _EMPTY.match(subject):
        return ""
    subject = _PREFIX.sub("", subject)
    while (shorter := _REFERENCE.sub("", subject)) != subject:
        subject = shorter
    subject = clean_prose(subject)
    return "" if _EMPTY.match(subject) or not is_query(subject) else subject[0].upper() + subject[1:]


def is_minable(path: str, held_out: tuple[str, ...]) -> bool:
    """Whether the file is source of the repository's own, in a language whose definitions are known."""
    return language_of(path) in GRAMMARS and is_source_path(path, held_out)


def extract_change(query: str, changes: Sequence[Change], blobs: Blobs) -> list[tuple[Change, Extract]]:
    """What each change of one commit gives: functions in two versions, and for one of them the commit's message.

    The message goes with the function that the commit changes most, or with the hunk of the only file it changes.
    """
    told: list[tuple[int, Extract, Found]] = []
    extracts: list[tuple[Change, Extract]] = []
    hunks: list[tuple[Extract, Found]] = []
    for change in changes:
        before, after = (_text(blobs, blob) for blob in (change.before, change.after))
        if before is None or after is None:
            continue
        language = language_of(change.path)
        extract = Extract()
        extracts.append((change, extract))
        for old, new in _changed(before, after, language, extract):
            if old is not None and min(len(old.text), len(new.text)) >= MIN_DOCUMENT:
                extract.pairs.append(Found(VERSION, Task.CODE2CODE, old.text, new.text, language))
            told.append((_size(old, new), extract, Found(COMMIT, Task.NL2CODE, query, new.text, language)))
        if hunk := _hunk(before, after):
            hunks.append((extract, Found(COMMIT, Task.NL2CODE, query, hunk, language)))
    if query and told and len(told) <= _MAX_CHANGED:
        _, extract, pair = max(told, key=lambda entry: entry[0])
        extract.pairs.append(pair)
    elif query and not told and len(hunks) == 1:
        extract, pair = hunks[0]
        extract.pairs.append(pair)
    for _, extract in extracts:
        extract.pairs = [p for p in extract.pairs if not (has_secret(p.query) or has_secret(p.document))]
    return extracts


def told_function(changes: Sequence[Change], blobs: Blobs) -> tuple[str, Definition] | None:
    """The path and the function that a commit's message is about: the one that it changes most, if it changes few.

    Under whatever licence: nothing is made of it.
    """
    told: list[tuple[int, str, Definition]] = []
    for change in changes:
        before, after = (_text(blobs, blob, is_handwritten) for blob in (change.before, change.after))
        if before is not None and after is not None:
            changed = _changed(before, after, language_of(change.path), Extract())
            told += [(_size(old, new), change.path, new) for old, new in changed]
    if not 0 < len(told) <= _MAX_CHANGED:
        return None
    _, path, function = max(told, key=lambda entry: entry[0])
    return path, function


def _text(blobs: Blobs, blob: str, is_fit: Callable[[str], bool] = is_trainable) -> str | None:
    data = blobs.read(blob)
    text = None if data is None else decode(data)
    return text if text is not None and is_fit(text) else None


def _size(old: Definition | None, new: Definition) -> int:
    """How much a change changes, in characters."""
    return len(new.text) if old is None else abs(len(new.text) - len(old.text)) + 1


def _changed(
    before: str, after: str, language: str, extract: Extract
) -> list[tuple[Definition | None, Definition]]:
    """(before, after) of every function that the change touches; None before for one that it adds."""
    old, new = (_functions(text, language, extract) for text in (before, after))
    found: list[tuple[Definition | None, Definition]] = []
    for name, function in new.items():
        earlier = old.get(name)
        if is_trivial(function) or len(function.text) > MAX_DOCUMENT:
            continue
        if earlier is None:
            found.append((None, function))
        elif earlier.text.split() != function.text.split() and len(earlier.text) <= MAX_DOCUMENT:
            found.append((earlier, function))
    return found


def _functions(text: str, language: str, extract: Extract) -> dict[str, Definition]:
    """The functions of a text by their names, overloads aside."""
    found: dict[str, Definition] = {}
    overloaded: set[str] = set()
    for definition in definitions(text, language):
        if definition.kind in FUNCTIONS:
            extract.functions += 1
            if found.setdefault(definition.name, definition) is not definition:
                overloaded.add(definition.name)
    return {name: function for name, function in found.items() if name not in overloaded}


def _hunk(before: str, after: str) -> str:
    """The changed lines as a unified diff with three lines around them; "" if they are too many for one hunk."""
    old, new = before.split("\n"), after.split("\n")
    start, end = 0, 0
    shorter = min(len(old), len(new))
    while start < shorter and old[start] == new[start]:
        start += 1
    while end < shorter - start and old[-1 - end] == new[-1 - end]:
        end += 1
    if max(len(old), len(new)) - start - end > _MAX_HUNK:
        return ""
    first = max(0, start - _CONTEXT)
    before_it, after_it = (lines[first : max(start, len(lines) - end) + _CONTEXT] for lines in (old, new))
    # Without its header of two file names and a range.
    diff = list(difflib.unified_diff(before_it, after_it, lineterm="", n=_CONTEXT))[3:]
    hunk = "\n".join(diff)
    return hunk if MIN_DOCUMENT <= len(hunk) <= MAX_DOCUMENT else ""
