"""The folders that are indexed on this machine, in the user's cache."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from codekin.search.index import default_location
from codekin.search.store import FILE_NAME, is_readable


@dataclass(frozen=True, slots=True)
class KnownIndex:
    """An index in the user's cache: the folder that it is of, in numbers."""

    root: Path
    location: Path
    files: int
    chunks: int
    bytes: int
    updated_at: float | None

    @property
    def exists(self) -> bool:
        """Whether the folder is still there."""
        return self.root.is_dir()


def known_indexes() -> list[KnownIndex]:
    """Every index at the default place of its folder, in the order of their folders.

    Those of another version, or that cannot be read, are left out: they are made anew when they are searched.
    """
    parent = default_location(Path("/")).parent
    found = [known for path in sorted(parent.glob(f"*/{FILE_NAME}")) if (known := _known(path))]
    return sorted(
        (known for known in found if default_location(known.root) == known.location.parent),
        key=lambda known: known.root,
    )


def _known(path: Path) -> KnownIndex | None:
    try:
        with closing(sqlite3.connect(f"file:{quote(os.fsencode(path))}?mode=ro", uri=True)) as db:
            if not is_readable(db):
                return None
            settings = dict(db.execute("SELECT key, value FROM meta").fetchall())
            files, chunks = db.execute("SELECT count(*), sum(length(spans)) / 12 FROM chunks").fetchone()
            root = Path(os.fsdecode(settings["root"]))
        size = sum(part.stat().st_size for part in path.parent.glob(f"{FILE_NAME}*"))
        return KnownIndex(root, path, files, chunks or 0, size, settings.get("updated_at"))
    except (sqlite3.Error, OSError, KeyError, TypeError):
        return None
