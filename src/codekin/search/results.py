"""What searches and updates return."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from codekin.tasks import Choice

_DIGITS = 4  # of a score that is told


class Mode(Choice):
    """What a search ranks by."""

    HYBRID = "hybrid"
    SEMANTIC = "semantic"
    LEXICAL = "lexical"


@dataclass(frozen=True, slots=True)
class Result:
    """A chunk that answers: lines `start_line` to `end_line` (from 1, inclusive) of `path` (relative to the root)."""

    path: str
    start_line: int
    end_line: int
    symbol: str
    kind: str
    language: str
    score: float
    text: str
    first_score: float | None = None
    """The first stage's score, where a second one was asked for."""
    second_score: float | None = None
    """What the second stage's model gave; None where it was not asked, failed, or had no time."""
    repository: str = ""
    """Of a search in every repository of a shared store the one it is in, which `path` begins with."""

    def as_json(self) -> dict[str, Any]:
        """All but the text; the scores of both stages where there were two."""
        members = asdict(self)
        stages = {name: members.pop(name) for name in ("first_score", "second_score")}
        del members["text"]
        if not self.repository:
            del members["repository"]
        if self.first_score is not None:
            members |= stages
        return {
            name: round(value, _DIGITS) if isinstance(value, float) else value
            for name, value in members.items()
        }


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or folder that was left out of the index, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class UpdateProgress:
    """How far an update is: `files` of `files_total` that changed, and `size` of `size_total` bytes of them, the file
    at hand included; `chunks` embedded so far; the `path` of the last file."""

    files: int
    files_total: int
    size: int
    size_total: int
    chunks: int
    path: str


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """What an update did, in numbers of files (and of chunks embedded), and what it left out."""

    added: int
    changed: int
    removed: int
    unchanged: int
    chunks_embedded: int
    skipped: tuple[Skipped, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class UpgradeProgress:
    """How far an upgrade is: `chunks` of `chunks_total` are done; the `path` of the last one's file."""

    chunks: int
    chunks_total: int
    path: str


@dataclass(frozen=True, slots=True)
class UpgradeReport:
    """What a run of an upgrade did: `chunks_embedded` in `seconds`; in all `chunks` of `chunks_total` are done.

    Those that are left have changed, or cannot be read: the next update and the next run take them in.
    """

    model: str
    chunks_embedded: int
    chunks: int
    chunks_total: int
    seconds: float


@dataclass(frozen=True, slots=True)
class UpgradeStatus:
    """An upgrade as it stands: `chunks` of `chunks_total` have vectors of `model`, whether a process is `running` it,
    and how many it did a second when it last ran, None before that."""

    model: str
    dimensions: int
    chunks: int
    chunks_total: int
    running: bool
    per_second: float | None

    @property
    def share(self) -> float:
        """What is done, from 0 to 1."""
        return self.chunks / self.chunks_total if self.chunks_total else 1.0

    @property
    def seconds_left(self) -> float | None:
        """How long a process that runs it will take; None where none does."""
        if not self.running or not self.per_second:
            return None
        return (self.chunks_total - self.chunks) / self.per_second


@dataclass(frozen=True, slots=True)
class Status:
    """An index in numbers: `languages` counts chunks, `bytes` is on disk, `updated_at` in Unix seconds.

    `model`, `dimensions` and `updated_at` are None before the folder is indexed, `bytes` where the store is shared,
    `upgrade` where there is none; `repositories` are those of a whole store, by name.
    """

    root: Path
    location: Path | str
    files: int
    chunks: int
    languages: dict[str, int]
    model: str | None
    dimensions: int | None
    bytes: int | None
    updated_at: float | None
    upgrade: UpgradeStatus | None = None
    repositories: dict[str, Status] = field(default_factory=dict)
