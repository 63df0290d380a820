"""What is read of git repositories, by the git command: the tree, the commits, the files as they were."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from codekin.errors import InputError

# A repository is anybody's: nothing that its configuration names is run, nothing is fetched, nobody is asked.
_OPTIONS = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false")
_SAFE = {"GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
_ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE")

_COMMIT, _FIELD = "\x01", "\x02"
_FORMAT = f"{_COMMIT}%H{_FIELD}%P{_FIELD}%an{_FIELD}%ae{_FIELD}%s{_FIELD}%b{_FIELD}"


@dataclass(frozen=True, slots=True)
class Repository:
    """The repository of a folder: its commit checked out, whether it is bare, and `owner/name` of its origin."""

    folder: Path
    revision: str
    bare: bool
    origin: str


@dataclass(frozen=True, slots=True)
class Change:
    """A file that a commit changes: its path after it, and the blobs before and after."""

    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit with one parent. `changes` are the files that it changes, `others` the paths that come or go."""

    revision: str
    author: str
    subject: str
    body: str
    changes: tuple[Change, ...]
    others: tuple[str, ...]


def repository(folder: Path) -> Repository | None:
    """The repository in which `folder` is tracked; None if there is none, or no commit yet.

    Raises InputError with git's own reason for one that git cannot or will not read.
    """
    try:
        bare = _ask(folder, "rev-parse", "--is-bare-repository") == "true"
    except InputError as error:
        if "not a git repository" in str(error):
            return None
        raise
    try:
        revision = _ask(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    except InputError:
        return None
    if not _ask(folder, "ls-tree", "--name-only", "HEAD"):
        return None
    origin = ""
    with suppress(InputError):
        origin = _ask(folder, "config", "--get", "remote.origin.url")
    return Repository(folder, revision, bare, _owner_and_name(origin))


_REMOTE = re.compile(r"(?:^(?!file:)\w+://[^/]+/|^[^/]+:)(?:.*/)?([\w.-]+/[\w.-]+?)(?:\.git)?/?$")


def _owner_and_name(url: str) -> str:
    match = _REMOTE.search(url)
    return match[1] if match else ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a commit's tree: path, size in bytes, blob."""

    path: str
    size: int
    blob: str


def tree(repository: Repository) -> Iterator[Entry]:
    """The regular files of the commit checked out, in the order of their paths."""
    listing = _ask(repository.folder, "ls-tree", "-r", "-l", "-z", repository.revision)
    for line in listing.split("\0"):
        about, _, path = line.partition("\t")
        mode, _, rest = about.partition(" ")
        if path and mode.startswith("100"):
            _, blob, size = rest.split()
            yield Entry(path, int(size) if size.isdigit() else 0, blob)


def commits(repository: Repository, limit: int) -> Iterator[Commit]:
    """The newest `limit` commits with one parent that change files below the folder, newest first.

    Commits at the border of a shallow clone have no parent here, and are left out like merges.
    """
    command = [*_git(repository.folder), "log", "-z", "--raw", "--no-abbrev", "--no-merges", "--relative"]
    command += [
        "--find-renames",
        "--no-ext-diff",
        f"--max-count={limit}",
        f"--format={_FORMAT}",
        "HEAD",
        "--",
    ]
    if not repository.bare:
        command.append(".")
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        env=_environment(),
    ) as process:
        assert process.stdout
        pending = b""
        try:
            while block := process.stdout.read(1 << 16):
                *whole, pending = (pending + block).split(_COMMIT.encode())
                yield from filter(None, map(_commit, whole))
            yield from filter(None, [_commit(pending)])
        finally:
            process.kill()


def _commit(record: bytes) -> Commit | None:
    fields = record.decode("utf-8", "replace").split(_FIELD)
    if len(fields) != 7:
        return None
    revision, parents, author, email, subject, body, raw = fields
    if len(parents.split()) != 1:
        return None
    changes: list[Change] = []
    others: list[str] = []
    parts = iter(raw.strip("\n\0").split("\0"))
    for about in parts:
        columns = about.strip().lstrip(":").split()
        if len(columns) != 5:
            break
        path = next(parts, "")
        kind = columns[4][:1]
        if kind in "RC":
            path = next(parts, "")
        if kind in "MR" and columns[0].startswith("100") and columns[1].startswith("100"):
            changes.append(Change(path, columns[2], columns[3]))
        else:
            others.append(path)
    return Commit(revision, f"{author} <{email}>", subject, body, tuple(changes), tuple(others))


class Blobs:
    """Reads the files of a repository as they were, by one long-lived `git cat-file`."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._process = subprocess.Popen(
            [*_git(folder), "cat-file", "--batch"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
        )

    def __enter__(self) -> Blobs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def read(self, blob: str) -> bytes | None:
        """The content; None for one that is too large, or that the repository lacks."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin and stdout
        try:
            stdin.write(f"{blob}\n".encode())
            stdin.flush()
        except OSError:
            return None
        header = stdout.readline().split()
        if len(header) != 3 or header[1] == b"missing":
            return None
        data, left = b"", int(header[2]) + 1
        keep = left - 1 <= self._max_bytes
        while left and (block := stdout.read(min(left, 1 << 20))):
            left -= len(block)
            data += block if keep else b""
        return data[:-1] if keep and not left else None


def _git(folder: Path) -> list[str]:
    return ["git", *_OPTIONS, "-C", str(folder)]


def _environment() -> dict[str, str]:
    return {**{name: value for name, value in os.environ.items() if name not in _ELSEWHERE}, **_SAFE}


def _ask(folder: Path, *command: str) -> str:
    try:
        done = subprocess.run(
            [*_git(folder), *command], capture_output=True, stdin=subprocess.DEVNULL, env=_environment()
        )
    except OSError as error:
        raise InputError(f"git cannot be run: {error.strerror}") from None
    if done.returncode:
        reason = done.stderr.decode("utf-8", "replace").strip().split("\n")[0].removeprefix("fatal: ")
        raise InputError(reason or f"git {command[0]} failed")
    return done.stdout.decode("utf-8", "surrogateescape").strip("\n")
