"""Repositories with questions: what a search benchmark is made of, and how it lies on disk.

A benchmark is a folder in the layout of semble's (https://github.com/MinishLab/semble):

    repos_status.json      a list of {name, language, benchmark_root}: the folder below the repository's root that is
                           searched, null for all of it. Where the tree comes from: `git_dir` and `revision_used`, a
                           bare repository below a folder of such, the mirror, and the commit; or `path`, a folder
                           beside this file. Entries whose `status` is not "ok" are passed over.
    annotations/NAME.json  a list of {query, category, relevant, secondary}: the last two list what answers, a path or
                           {path, start_line, end_line}
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from codekin.data import git
from codekin.errors import InputError

_MAX_FILE = 1 << 26


@dataclass(frozen=True, slots=True)
class Place:
    """Lines of a file, from 1 and inclusive; all of it where they are None. `path` has `/`, and may be a path's end."""

    path: str
    start_line: int | None = None
    end_line: int | None = None

    def meets(self, other: Place) -> bool:
        """Whether it is the same file, as far as the shorter path says, and the lines overlap, where both have any."""
        one, two = self.path, other.path
        if not (one == two or one.endswith(f"/{two}") or two.endswith(f"/{one}")):
            return False
        if None in (self.start_line, self.end_line, other.start_line, other.end_line):
            return True
        return self.start_line <= other.end_line and other.start_line <= self.end_line  # type: ignore[operator]


@dataclass(frozen=True, slots=True)
class Question:
    """A question to a repository, every place that answers it, and the kind of question."""

    text: str
    answers: tuple[Place, ...]
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository and its questions. `checkout` puts its tree below an empty folder and returns the folder to search,
    which may be elsewhere."""

    name: str
    language: str
    questions: tuple[Question, ...]
    checkout: Callable[[Path], Path]


def read_repositories(
    folder: Path,
    *,
    mirror: Path | None = None,
    names: Sequence[str] = (),
    on_skip: Callable[[str, str], None] = lambda name, reason: None,
) -> list[Repository]:
    """The repositories of a benchmark's folder, those of these names or all.

    `on_skip` is told (name, one-line reason) of one whose tree cannot be had. Raises InputError for a folder in
    another layout, an unknown name, or where no tree can be had at all.
    """
    listing = folder / "repos_status.json"
    entries = {_text(entry, "name", listing): entry for entry in _read_list(listing)}
    entries = {name: entry for name, entry in entries.items() if entry.get("status", "ok") == "ok"}
    if unknown := [name for name in names if name not in entries]:
        raise InputError(f"{folder} has no repository {unknown[0]!r}; repositories: {', '.join(entries)}")
    found, reason = [], "it lists none"
    for name in names or entries:
        labels = folder / "annotations" / f"{name}.json"
        questions = tuple(_question(entry, labels) for entry in _read_list(labels))
        try:
            checkout = _checkout(folder, entries[name], mirror, listing)
        except InputError as error:
            reason = str(error)
            on_skip(name, reason)
            continue
        if questions:
            found.append(Repository(name, _text(entries[name], "language", listing, ""), questions, checkout))
    if not found:
        raise InputError(f"{folder}: no repository can be had: {reason}")
    return found


def _read_list(path: Path) -> list[dict[str, Any]]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise InputError(f"{path}: expected a list of objects")
    return value


def _text(entry: Mapping[str, Any], field: str, path: Path, default: str | None = None) -> str:
    value = entry.get(field)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or not (value.strip() or default is not None):
        raise InputError(f"{path}: {_shown(entry)} has no {field}")
    return value


def _shown(entry: Any) -> str:
    return json.dumps(entry, ensure_ascii=False)[:80]


def _question(entry: Mapping[str, Any], path: Path) -> Question:
    text, kind = _text(entry, "query", path), _text(entry, "category", path, "")
    places: list[Any] = []
    for field in ("relevant", "secondary"):
        if not isinstance(some := entry.get(field) or [], list):
            raise InputError(f"{path}: {field} is no list in {_shown(entry)}")
        places += some
    if not places:
        raise InputError(f"{path}: nothing answers {_shown(entry)}")
    return Question(text, tuple(_place(place, path) for place in places), kind)


def _place(value: Any, path: Path) -> Place:
    entry = value if isinstance(value, dict) else {"path": value}
    lines = entry.get("start_line"), entry.get("end_line")
    if any(line is not None and type(line) is not int for line in lines):
        raise InputError(f"{path}: lines that are no numbers in {_shown(value)}")
    return Place(_text(entry, "path", path), *lines)


def _checkout(
    folder: Path, entry: Mapping[str, Any], mirror: Path | None, listing: Path
) -> Callable[[Path], Path]:
    """What brings the tree; raises InputError where it is not to be had."""
    below = _text(entry, "benchmark_root", listing, "")
    if "path" in entry:
        root = folder / _text(entry, "path", listing) / below
        if not root.is_dir():
            raise InputError(f"no folder {root}")
        return lambda place: root
    if mirror is None:
        raise InputError("its tree is in a bare repository; name the folder of those, the mirror")
    where, revision = _text(entry, "git_dir", listing), _text(entry, "revision_used", listing)
    repository = git.Repository(mirror / where, revision, True, "")
    if not repository.folder.is_dir():
        raise InputError(f"no folder {repository.folder}")
    # Refused here where the commit is missing, or has no such folder.
    if not any(PurePosixPath(file.path).is_relative_to(below) for file in git.tree(repository)):
        raise InputError(f"{repository.folder} has no files in {below or 'it'} at {revision}")

    def write(place: Path) -> Path:
        with git.Blobs(repository.folder, _MAX_FILE) as blobs:
            for file in git.tree(repository):
                inside = PurePosixPath(file.path)
                if ".." in inside.parts or not inside.is_relative_to(below):
                    continue
                if (data := blobs.read(file.blob)) is not None:
                    (place / inside).parent.mkdir(parents=True, exist_ok=True)
                    (place / inside).write_bytes(data)
        return place / below

    return write
