"""The folders that are indexed on this machine, in the user's cache."""

from __future__ import annotations

import os
import shlex
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from codekin.errors import StoreError
from codekin.search.index import default_location
from codekin.search.store import FILE_NAME, delete, is_readable


@dataclass(frozen=True, slots=True)
class KnownIndex:
    """An index in the user's cache: the folder that it is of, in numbers."""

    root: Path
    location: Path
    files: int
    chunks: int
    bytes: int
    updated_at: float | None
    model: str | None

    @property
    def exists(self) -> bool:
        """Whether the folder is still there."""
        return self.root.is_dir()


def known_indexes(on_skip: Callable[[str], None] = lambda reason: None) -> list[KnownIndex]:
    """Every index at the default place of its folder, in the order of their folders.

    Those of another version, or that cannot be read, are left out: they are made anew when they are searched. `on_skip`
    is told what is wrong with each, in a line.
    """
    found = []
    for path in index_files():
        try:
            known = known_index(path)
        except StoreError as error:
            on_skip(str(error))
            continue
        if known:
            found.append(known)
    return sorted(found, key=lambda known: known.root)


def index_files() -> list[Path]:
    """The databases in the user's cache."""
    return sorted(default_location(Path("/")).parent.glob(f"*/{FILE_NAME}"))


def known_index(path: Path) -> KnownIndex | None:
    """What is known of the index in a database, None where it is not at the default place of its folder, or empty.

    Raises StoreError for one of another version, or that cannot be read.
    """
    try:
        with closing(sqlite3.connect(f"file:{quote(os.fsencode(path))}?mode=ro", uri=True)) as db:
            told = db.execute("SELECT value FROM meta WHERE key = 'root'").fetchone()
            if told is None:
                return None
            root = Path(os.fsdecode(told[0]))
            if default_location(root) != path.parent:
                return None
            if not is_readable(db):
                raise StoreError(
                    f"the index of {root} is of another version; codekin index {shlex.quote(str(root))} makes it anew"
                )
            updated = db.execute("SELECT value FROM meta WHERE key = 'updated_at'").fetchone()
            model = db.execute("SELECT name FROM model").fetchone()
            files, chunks = db.execute("SELECT count(*), sum(length(spans)) / 12 FROM chunks").fetchone()
        size = sum(part.stat().st_size for part in path.parent.glob(f"{FILE_NAME}*"))
    except (sqlite3.Error, OSError, TypeError, ValueError) as error:
        raise StoreError(f"cannot read the index at {path}: {' '.join(str(error).split())}") from None
    return KnownIndex(
        root, path, files, chunks or 0, size, updated[0] if updated else None, model[0] if model else None
    )


def forget_index(known: KnownIndex) -> None:
    """Deletes an index, and its folder with it if there is nothing else in it. Raises StoreError where it cannot be."""
    delete(known.location.parent)
    with suppress(OSError):
        known.location.parent.rmdir()
