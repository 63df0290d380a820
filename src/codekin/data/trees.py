"""Source trees to mine: unpacked packages, folders, git repositories with or without a work tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from codekin.data import git
from codekin.data.filters import is_held_out, is_source_path
from codekin.data.git import Blobs, Repository
from codekin.data.licences import licence_of
from codekin.errors import InputError
from codekin.source import SourceFile, decode, language_of, walk

MAX_BYTES = 400_000
"""Files that are larger are mostly tables."""

_LICENCE_BYTES = 200_000


@dataclass(frozen=True, slots=True)
class SourceTree:
    """One source tree. `source` names it (`ecosystem:name@version`, `git:owner/name`, `folder:name`), `licence` is
    an SPDX expression or "unknown", `repository` the one that holds its history, if any."""

    path: Path
    source: str
    licence: str
    repository: Repository | None = None

    @classmethod
    def open(cls, path: str | Path) -> SourceTree:
        """The tree at `path`: any folder, a git repository or a part of one, a bare repository.

        Raises InputError for what is no readable folder, or a repository that git will not read.
        """
        path = Path(path).resolve()
        walk(path)  # refuses what is no readable folder
        repository = git.repository(path)
        if repository is None:
            return cls(path, f"folder:{path.name}", _licence(path))
        source = f"git:{repository.origin or path.name.removesuffix('.git') or path.parent.name}"
        if repository.bare:
            return cls(path, source, _licence_of_commit(repository), repository)
        licence = _licence(path)
        for folder in path.parents:
            if licence != "unknown" or not _tracked(folder):
                break
            licence = _licence(folder)
        return cls(path, source, licence, repository)

    @property
    def revision(self) -> str:
        """The commit that is checked out, "" without one."""
        return self.repository.revision if self.repository else ""

    def is_held_out(self, repositories: tuple[str, ...]) -> bool:
        """Whether it is one of these repositories (`owner/name`), a fork or a copy of one, by its name."""
        name = self.source.partition(":")[2].partition("@")[0].lower()
        own = name.rpartition("/")[2]
        return name in map(str.lower, repositories) or is_held_out(own, repositories)

    def files(
        self, held_out: tuple[str, ...], on_skip: Callable[[str, str], None]
    ) -> Iterator[tuple[SourceFile, str]]:
        """The files that may be mined, sorted by path; of a bare repository with their blobs, else "".

        `on_skip` is told (path, one-line reason) of what cannot be read.
        """
        if self.repository is not None and self.repository.bare:
            for entry in git.tree(self.repository):
                if entry.size <= MAX_BYTES and is_source_path(entry.path, held_out):
                    yield SourceFile(entry.path, entry.size, 0, language_of(entry.path)), entry.blob
            return

        def note(path: str, reason: str) -> None:
            if not reason.startswith("larger"):
                on_skip(path, reason)

        for file in walk(self.path, max_bytes=MAX_BYTES, on_skip=note):
            if is_source_path(file.path, held_out):
                yield file, ""


def _licence(folder: Path) -> str:
    def read(name: str) -> str | None:
        try:
            with open(folder / name, "rb") as stream:
                return decode(stream.read(_LICENCE_BYTES))
        except OSError:
            return None

    try:
        names = [path.name for path in folder.iterdir() if path.is_file()]
    except OSError:
        names = []
    return licence_of(names, read)


def _licence_of_commit(repository: Repository) -> str:
    blobs = {entry.path: entry.blob for entry in git.tree(repository) if "/" not in entry.path}
    with Blobs(repository.folder, _LICENCE_BYTES) as reader:
        return licence_of(blobs, lambda name: decode(reader.read(blobs[name]) or b""))


def _tracked(folder: Path) -> bool:
    try:
        return git.repository(folder) is not None
    except InputError:
        return False
