"""Pairs of code that does the same: renamed copies, implementations of one method, one example in several languages.

A worker gives every function keys (`keys_of`); two functions that share one may be each other's equivalent. They meet
in `Equivalents`, which keeps the texts in a file: only their places are in memory.
"""

from __future__ import annotations

import pickle
import re
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from pathlib import PurePosixPath
from types import TracebackType
from typing import NamedTuple

from codekin.source import LANGUAGES, Definition

RENAMED, IMPLEMENTATION, TRANSLATION = "renamed", "implementation", "translation"

_MIN_LINES = 4
_MAX_TEXT = 3000
_MOST_OF_A_KEY = 8  # pairs: every class has a method of some names
_RENAMED_NAMES = 2  # that differ, of a renamed copy

Key = tuple[str, int]
"""A kind of equivalence, and the hash of what equivalents have in common."""


class Candidate(NamedTuple):
    """A function, or a whole example without a name; `within` is the signature of the class that a method stands in."""

    name: str
    text: str
    language: str
    path: str
    within: str
    keys: tuple[Key, ...]


def keys_of(definition: Definition, path: str, language: str) -> tuple[Key, ...]:
    """What the function shares with its equivalents: skeleton, overridden method, place among languages."""
    text = definition.text
    if text.count("\n") + 1 < _MIN_LINES:
        return ()
    name = definition.name.rpartition(".")[2]
    keys = [_key(RENAMED, language, _NAME.sub("_", text))]
    if definition.within and not _is_constructor(name, definition):
        keys += [_key(IMPLEMENTATION, language, base, name) for base in bases(definition.within, language)]
    if (place := _place(path, language)) and len(name) >= 6:
        keys.append(_key(TRANSLATION, place[0], _plain(name)))
    return tuple(keys)


def example_of(text: str, path: str, language: str) -> Candidate | None:
    """A whole file as one language's version of an example, where its folder says that others have theirs."""
    place = _place(path, language)
    if place is None or len(text) > _MAX_TEXT + 1000:
        return None
    text = _without_licence(text)
    if text.count("\n") < _MIN_LINES or len(text) > _MAX_TEXT:
        return None
    return Candidate("", text, language, path, "", (_key(TRANSLATION, *place),))


def _key(kind: str, *parts: str) -> Key:
    digest = blake2b("\0".join((kind, *parts)).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return kind, int.from_bytes(digest, "big")


_NAME = re.compile(r"[^\W\d]\w*")
_CONSTRUCTORS = frozenset(
    "__init__ __new__ __repr__ __str__ constructor initialize init new default toString".split()
)


def _is_constructor(name: str, definition: Definition) -> bool:
    return name in _CONSTRUCTORS or definition.name.split(".")[-2:-1] == [name]


_GENERIC = re.compile(r"<[^<>]*>|\[[^\[\]]*\]|\([^()]*\)")
_DERIVES = re.compile(r"\b(?:extends|implements|with|uses)\b")
_COLON = frozenset("cpp csharp kotlin swift".split())
_WORDS_BEFORE = re.compile(r"^(?:(?:public|protected|private|virtual|open|unsafe|by\s+\S+)\s+)+")
_WITHOUT_METHODS = frozenset("object Object Any Generic NSObject Enum Exception Error Sendable Copy".split())


def bases(signature: str, language: str) -> list[str]:
    """The names of what a class, as its signature says, extends or implements: the last part of each."""
    if language == "python":
        inside = re.search(r"\((.*)\)", signature)
        listed = _GENERIC.sub("", inside[1]) if inside else ""
    elif language == "rust":
        trait = re.match(r"(?:unsafe )?impl\b(?:<.*?>)? ?!?(.+?) for ", signature)
        listed = trait[1] if trait else ""
    elif language == "haskell":
        instance = re.match(r"instance (?:.*=> )?(\S+)", signature)
        listed = instance[1] if instance else ""
    elif language == "elixir":
        implementation = re.match(r"defimpl ([\w.]+)", signature)
        listed = implementation[1] if implementation else ""
    elif language == "ruby":
        listed = signature.partition("<")[2]
    else:
        signature = _stripped(signature)
        if language in _COLON:
            listed = re.split(r"\bwhere\b", re.sub("::", ".", signature).partition(":")[2])[0]
        else:
            listed = ",".join(_DERIVES.split(signature)[1:])
    names: list[str] = []
    for part in _stripped(listed).split(","):
        name = re.split(r"[\s({]", _WORDS_BEFORE.sub("", part.strip()))[0]
        name = re.split(r"\.|::|\\", name)[-1]
        if name.isidentifier() and "=" not in part and name not in _WITHOUT_METHODS:
            names.append(name)
    return names


def _stripped(text: str) -> str:
    while (shorter := _GENERIC.sub("", text)) != text:
        text = shorter
    return text


_FOLDER_NAMES = {
    "c++": "cpp", "cc": "cpp", "cplusplus": "cpp", "c#": "csharp", "cs": "csharp", "c-sharp": "csharp",
    "dotnet": "csharp", "golang": "go", "js": "javascript", "node": "javascript", "nodejs": "javascript",
    "ts": "typescript", "py": "python", "python3": "python", "python2": "python", "rb": "ruby", "rs": "rust",
    "kt": "kotlin", "objective-c": "objc", "objectivec": "objc", "shell": "bash", "sh": "bash", "pl": "perl",
    "hs": "haskell", "ex": "elixir", "octave": "matlab",
}  # fmt: skip
_OF_FOLDER = {name: name for name in LANGUAGES} | _FOLDER_NAMES
_SAME = {"tsx": "typescript"}


@lru_cache(maxsize=16)  # asked for every function of a file
def _place(path: str, language: str) -> tuple[str, str] | None:
    """Where a file stands among the versions of its example: its folder with the language's name left out, its stem."""
    pure = PurePosixPath(path)
    folders = list(pure.parts[:-1])
    for number, folder in enumerate(folders):
        if _OF_FOLDER.get(folder.lower()) == _SAME.get(language, language):
            folders[number] = "*"
            # Below it, each language has folders of its own habits.
            return "/".join(folders).lower(), _plain(pure.stem)
    return None


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


_LICENCE = re.compile(r"copyright|licen[cs]e|SPDX", re.IGNORECASE)
_FIRST_COMMENT = re.compile(r"\s*(?:/\*.*?\*/|(?:[ \t]*(?:#|//|--|%|;)[^\n]*\n)+)", re.DOTALL)


def _without_licence(text: str) -> str:
    comment = _FIRST_COMMENT.match(text)
    if comment and _LICENCE.search(comment[0]):
        text = text[comment.end() :]
    return text.strip("\n")


class Equivalents:
    """The candidates of one tree so far, and the pairs that they make."""

    def __init__(self) -> None:
        self._texts = tempfile.TemporaryFile()  # noqa: SIM115 (closed with this)
        # Where the newest of a key is, and how many pairs it made.
        self._last: dict[Key, tuple[int, int]] = {}
        self._end = 0

    def __enter__(self) -> Equivalents:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._texts.close()

    def meet(self, candidate: Candidate) -> Iterator[tuple[str, Candidate]]:
        """(kind of equivalence, an earlier candidate) for what `candidate` is equivalent to; it is kept then."""
        met: set[int] = set()
        kept: dict[Key, tuple[int, int]] = {}
        for key in candidate.keys:
            earlier, made = self._last.get(key, (-1, 0))
            if earlier >= 0:
                if made >= _MOST_OF_A_KEY or earlier in met:
                    continue
                other = self._read(earlier)
                if not _equivalent(key[0], other, candidate):
                    continue
                met.add(earlier)
                made += 1
                yield key[0], other
            kept[key] = self._end, made
        if kept:
            self._last |= kept
            self._texts.seek(self._end)
            self._end += self._texts.write(pickle.dumps(candidate, pickle.HIGHEST_PROTOCOL))

    def _read(self, at: int) -> Candidate:
        self._texts.seek(at)
        candidate: Candidate = pickle.load(self._texts)
        return candidate


def _equivalent(kind: str, one: Candidate, other: Candidate) -> bool:
    if kind == TRANSLATION:
        return one.language != other.language
    if kind == IMPLEMENTATION:
        return one.within != other.within and one.text != other.text
    return _is_renamed(one, other)


_KEYWORDS = frozenset(
    "if else elif elsif elseif unless while until for foreach do end begin return break continue switch case when "
    "match default in of is and or not try catch except finally raise throw throws rescue ensure with as yield await "
    "async new delete def fn func fun function lambda class struct enum interface trait impl let var val const static "
    "final mut true false True False nil null None self this super int long short float double bool boolean char void "
    "string str unsigned signed public private protected import from where then sub my local".split()
)


# Members, what is called, arguments by name, types and constants: what a function has not named itself.
_SHARED = re.compile(r"(?:\.|->|::)\s*(\w+)|([^\W\d]\w*)(?:!?\(|=(?![=\s]))|\b([A-Z]\w*)")
_STRING = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|`[^`]*`")


def _is_renamed(one: Candidate, other: Candidate) -> bool:
    """Whether one is the other with some of its own names changed, each always to the same one.

    A function that calls something else does something else, however alike the two look; its name alone may differ.
    """
    if _STRING.findall(one.text) != _STRING.findall(other.text):
        return False
    forth: dict[str, str] = {}
    back: dict[str, str] = {}
    for a, b in zip(_NAME.findall(one.text), _NAME.findall(other.text), strict=False):
        if forth.setdefault(a, b) != b or back.setdefault(b, a) != a:
            return False
    changed = {a for a, b in forth.items() if a != b}
    if len(changed) < _RENAMED_NAMES or changed & _KEYWORDS or {forth[a] for a in changed} & _KEYWORDS:
        return False
    shared = {name for found in _SHARED.findall(one.text) for name in found if name}
    return not (changed & shared) - {one.name}
