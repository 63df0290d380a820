"""A data set: what it is for, where its files are, and how they become pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from platformdirs import user_cache_path

from codekin.data.adapters import Adapter
from codekin.data.downloads import Progress, RemoteFile, download, hub_files
from codekin.data.pairs import UNKNOWN, Pair
from codekin.data.records import Files
from codekin.errors import InputError
from codekin.tasks import Choice, Task


class Use(Choice):
    """What the paper does with a set."""

    TRAINING = "training"
    BENCHMARK = "benchmark"


class Kind(Choice):
    """Where a set is from: MTEB, adapted from another publication, or written by a language model."""

    MTEB = "mteb"
    ADAPTED = "adapted"
    SYNTHETIC = "synthetic"


class Fold(Choice):
    """Which records of a split: all; or, where training and benchmark share one, nineteen in twenty or the other.

    By a hash of a record's problem, commit or page, so that no problem is on both sides.
    """

    ALL = "all"
    FIT = "fit"
    HELD_OUT = "held-out"


@dataclass(frozen=True, slots=True)
class Hub:
    """Files of a Hugging Face repository, as fnmatch patterns; {split} in them is the set's split."""

    repository: str
    files: tuple[str, ...]
    revision: str = "main"

    @property
    def page(self) -> str:
        """Its address."""
        return f"https://huggingface.co/datasets/{self.repository}"

    @property
    def folder(self) -> str:
        """The name of the folder that its files go to."""
        return f"{self.repository.replace('/', '--')}@{self.revision[:12]}"

    @property
    def how(self) -> str:
        """How the files are had, in a few words."""
        return f"downloaded from hf:{self.repository}@{self.revision[:12]}"


@dataclass(frozen=True, slots=True)
class Web:
    """Files at addresses of their own, and what a person does `then`."""

    page: str
    folder: str
    files: tuple[RemoteFile, ...]
    then: str = ""

    @property
    def how(self) -> str:
        """How the files are had, in a few words."""
        names = ", ".join(file.path for file in self.files)
        return f"downloaded: {names}{'; then ' if self.then else ''}{self.then}"


@dataclass(frozen=True, slots=True)
class ByHand:
    """Nothing to download for a program: `how` tells what a person does, be it to write an unpublished set anew."""

    page: str
    folder: str
    how: str


@dataclass(frozen=True, slots=True)
class DataSet:
    """A training set or benchmark.

    `average` says whether MTEB(Code)'s average counts it, `note` what a user should know.
    """

    name: str
    use: Use
    task: Task
    kind: Kind
    source: Hub | Web | ByHand
    licence: str
    split: str
    adapter: Adapter
    fold: Fold = Fold.ALL
    average: bool = False
    note: str = ""

    @property
    def commercial(self) -> bool | None:
        """Whether the licence allows commercial use; None where that is not known."""
        return None if self.licence in _UNCLEAR else self.licence not in _NON_COMMERCIAL

    @property
    def folder(self) -> Path:
        """Where `fetch` puts the original files by default: in the user's cache, once for all sets made of them."""
        return user_cache_path("codekin", appauthor=False) / "sets" / self.source.folder

    def fetch(self, folder: Path | None = None, progress: Progress | None = None) -> Path:
        """Download what the set is made of, what is missing of it, and return its folder.

        Raises InputError in one line where a file cannot be had or is another, or where it takes a person.
        """
        folder = folder or self.folder
        if isinstance(self.source, Hub):
            patterns = [pattern.format(split=self.split) for pattern in self.source.files]
            for file in hub_files(self.source.repository, self.source.revision, patterns):
                download(file, folder, progress)
        elif isinstance(self.source, Web):
            for file in self.source.files:
                download(file, folder, progress)
        elif not folder.is_dir():
            raise InputError(f"{self.name} is not to be downloaded: {self.source.how}, into {folder}")
        return folder

    def pairs(self, where: str | Path | None = None) -> Iterator[Pair]:
        """The pairs of its original files, by default those that `fetch` brought.

        A record without text on one side is left out. Raises InputError naming the place of one of another form.
        """
        with Files(where or self.folder) as files:
            for found in self.adapter(files, self.split):
                if self._chosen(found.key) and found.query.strip() and found.document.strip():
                    yield Pair(
                        found.query,
                        found.document,
                        self.task,
                        found.language,
                        self.name,
                        found.licence or self.licence,
                        found.path,
                        self.kind.value,
                    )

    def _chosen(self, key: str) -> bool:
        if self.fold is Fold.ALL:
            return True
        digest = blake2b(key.encode("utf-8", "replace"), digest_size=8).digest()
        return (int.from_bytes(digest, "big") % 20 == 0) == (self.fold is Fold.HELD_OUT)


PER_RECORD = "per-record"
"""The licence of a set whose records are each under their own, which a record may not name."""
RESEARCH_ONLY = "research-only"
"""The licence of a set whose publisher allows research alone."""

_UNCLEAR = frozenset({UNKNOWN, PER_RECORD})
_NON_COMMERCIAL = frozenset({RESEARCH_ONLY, "CC-BY-NC-SA-4.0"})
