"""Ignore files with git's semantics (https://git-scm.com/docs/gitignore).

The walk asks about every entry once, from the top down, and never enters an ignored folder; so a pattern has
to match the entry itself, never what lies below it. That is why pathspec, which matches whole paths at once,
does not fit: it lets `!*/` bring back the files within a folder. `?` and `[...]` match one character; in git,
one byte.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_PLAIN = re.compile(r"[^*?\[\\]+")


@dataclass(frozen=True, slots=True)
class _Pattern:
    keeps: bool  # a "!" pattern
    folders_only: bool
    regex: re.Pattern[str]
    anchored: bool  # matched against the path from the ignore file's folder, else against the name


class IgnoreFile:
    """The patterns that hold in one folder, later ones first in authority."""

    __slots__ = ("_base", "_literals", "_patterns", "_screen", "_suffixes")

    def __init__(self, text: str, base: str) -> None:
        """`text` as an ignore file holds it; `base` is its folder relative to the walk's root, "" or ending
        in "/". A folder above the root has a base of its own kind: "/" and the path from it to the root."""
        self._base = base
        # The patterns that are a mere name ("node_modules/") or suffix ("*.o"), most of them in practice, are
        # looked up; only what is left is matched one by one, and only if the one screen of all of them does.
        self._literals: dict[str, list[int]] = {}
        self._suffixes: dict[str, list[int]] = {}
        self._patterns: list[_Pattern] = []
        rest: list[str] = []
        for line in text.removeprefix("\ufeff").split("\n"):
            if not (pattern := _parse(line.removesuffix("\r"))):
                continue
            keeps, folders_only, anchored, glob = pattern
            source = _translate(glob)
            if source is None:
                continue
            number = len(self._patterns)
            self._patterns.append(_Pattern(keeps, folders_only, re.compile(source, re.S), anchored))
            if not anchored and _PLAIN.fullmatch(glob):
                self._literals.setdefault(glob, []).append(number)
            elif not anchored and glob.startswith("*.") and re.fullmatch(r"\w+", glob[2:]):
                self._suffixes.setdefault(glob[1:], []).append(number)
            else:
                rest.append(f"(?:.*/)?(?:{source})" if not anchored else source)
        self._screen = re.compile("|".join(f"(?:{r})" for r in rest), re.S) if rest else None

    @classmethod
    def read(cls, folder: str, base: str, names: set[str]) -> list[IgnoreFile]:
        """The ignore files in `folder`, which holds `names`; .gitignore first, for .ignore overrules it."""
        return [
            cls(text, base)
            for name in (".gitignore", ".ignore")
            if name in names and (text := _read(f"{folder}/{name}"))
        ]

    def verdict(self, path: str, name: str, folder: bool) -> bool | None:
        """True to ignore, False to keep, None if no pattern matches."""
        base = self._base
        if base[:1] == "/":
            path = base[1:] + path
        elif base:
            path = path[len(base) :]
        patterns = self._patterns
        best = -1
        for number in reversed(self._literals.get(name, ())):
            if folder or not patterns[number].folders_only:
                best = number
                break
        if self._suffixes and (dot := name.rfind(".")) >= 0:
            for number in reversed(self._suffixes.get(name[dot:], ())):
                if folder or not patterns[number].folders_only:
                    best = max(best, number)
                    break
        if self._screen and self._screen.fullmatch(path):
            for number in range(len(patterns) - 1, best, -1):
                pattern = patterns[number]
                if (folder or not pattern.folders_only) and pattern.regex.fullmatch(
                    path if pattern.anchored else name
                ):
                    best = number
                    break
        return None if best < 0 else not patterns[best].keeps


@dataclass(frozen=True, slots=True)
class Rules:
    """All ignore files that bear on one folder, the ones that decide first in front."""

    files: tuple[IgnoreFile, ...] = ()

    def below(self, found: list[IgnoreFile]) -> Rules:
        """The rules with the files `found` in a subfolder, weaker ones first, put in front."""
        return Rules((*reversed(found), *self.files))

    def ignores(self, path: str, name: str, folder: bool) -> bool:
        for file in self.files:
            if (verdict := file.verdict(path, name, folder)) is not None:
                return verdict
        return False


def inherited_rules(root: str) -> Rules:
    """What the git work tree around the folder `root` says: .git/info/exclude and the ignore files above."""
    top = root
    while not os.path.lexists(f"{top}/.git"):
        parent = top.rpartition("/")[0] or "/"
        if parent == top:
            return Rules()
        top = parent
    below = root[len(top.rstrip("/")) + 1 :]
    rules = Rules()
    if exclude := _read(f"{_git_folder(top)}/info/exclude"):
        rules = rules.below([IgnoreFile(exclude, f"/{below}/" if below else "")])
    folder = top
    for part in below.split("/") if below else ():
        rest = f"/{root[len(folder.rstrip('/')) + 1 :]}/"
        rules = rules.below(IgnoreFile.read(folder, rest, {".gitignore", ".ignore"}))
        folder = f"{folder.rstrip('/')}/{part}"
    return rules


def _git_folder(top: str) -> str:
    """The folder with info/exclude: for a linked work tree or submodule, .git is a file that points to it."""
    folder = f"{top}/.git"
    if (pointer := _read(folder)) and pointer.startswith("gitdir:"):
        folder = str(Path(top, pointer[len("gitdir:") :].strip()))
        if common := _read(f"{folder}/commondir"):
            folder = str(Path(folder, common.strip()))
    return folder


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except OSError:
        return ""


def _parse(line: str) -> tuple[bool, bool, bool, str] | None:
    """A line of an ignore file as (keeps, folders only, anchored, glob)."""
    while line.endswith(" ") and not line.endswith("\\ "):
        line = line[:-1]
    if not line or line[0] == "#":
        return None
    if keeps := line[0] == "!":
        line = line[1:]
    if folders_only := line.endswith("/"):
        line = line[:-1]
    anchored = "/" in line
    line = line.removeprefix("/")
    return (keeps, folders_only, anchored, line) if line else None


@lru_cache(maxsize=1024)
def _translate(glob: str) -> str | None:
    """A regular expression for git's wildmatch; None for a pattern that can match nothing."""
    out: list[str] = []
    at, end = 0, len(glob)
    while at < end:
        c = glob[at]
        if c == "*":
            stars = at
            while at < end and glob[at] == "*":
                at += 1
            whole = at - stars > 1 and (stars == 0 or glob[stars - 1] == "/")
            if whole and at == end:
                out.append(".*" if stars == 0 else ".+")
            elif whole and glob[at] == "/":
                at += 1
                out.append("(?:.*/)?")
            else:
                out.append("[^/]*")
            continue
        at += 1
        if c == "?":
            out.append("[^/]")
        elif c == "[":
            found = _translate_class(glob, at)
            if found is None:
                return None
            source, at = found
            out.append(source)
        elif c == "\\":
            if at == end:
                return None
            out.append(re.escape(glob[at]))
            at += 1
        else:
            out.append(re.escape(c))
    return "".join(out)


_POSIX = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": "\\s",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}


def _translate_class(glob: str, at: int) -> tuple[str, int] | None:
    """The bracket expression whose inside starts at `at`, and where it ends; None if it never does."""
    negated = glob[at : at + 1] in ("!", "^")
    at += negated
    items: list[str] = []
    first = True
    while first or glob[at : at + 1] != "]":
        first = False
        if at >= len(glob):
            return None
        if glob.startswith("[:", at) and (close := glob.find(":]", at)) > 0:
            posix = _POSIX.get(glob[at + 2 : close])
            if posix is None:
                return None
            items.append(posix)
            at = close + 2
            continue
        low, at = _class_character(glob, at)
        if glob[at : at + 1] == "-" and glob[at + 1 : at + 2] not in ("]", ""):
            high, at = _class_character(glob, at + 1)
            if low and high and low <= high:
                items.append(f"{re.escape(low)}-{re.escape(high)}")
        items.append(re.escape(low))
    if not items:
        items.append("/")
    return (f"[^/{''.join(items)}]" if negated else f"(?!/)[{''.join(items)}]"), at + 1


def _class_character(glob: str, at: int) -> tuple[str, int]:
    if glob[at] == "\\":
        at += 1
    return glob[at : at + 1], at + 1
