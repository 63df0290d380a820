"""An index in a store that many machines share: the same calls as those of a database on this one.

A chunk's id is made of its repository, path, place and content, so that writing it again changes nothing. Milvus has no
transactions: of a file that changed, the new chunks are written, then the old ones deleted, then the file's row says
that it is done and how many chunks it has. An update that is killed leaves a row that does not agree with its chunks,
and the next one, which counts them, makes such files anew. So do two updates of one repository at once; where what they
see differs, the later one's files stand.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codekin.errors import InputError, StoreError
from codekin.search.cluster.address import EVERY, Address, name_of
from codekin.search.cluster.milvus import (
    MOST_BYTES,
    MOST_TERMS,
    Milvus,
    Row,
    both,
    equal,
    file_id,
    hashed,
    path_of,
    path_text,
    within,
)
from codekin.search.cluster.view import ClusterView, Scope, document_weights
from codekin.search.lexical import Field, Postings
from codekin.search.model import ModelRecord
from codekin.search.store import FileChunks, StoredFile
from codekin.search.stores import Sizes

_VERSION = 1
_STORE = "!"  # no repository's name: the row that says what the store is
_FILE_COLUMNS = ("path", "language", "digest", "size", "mtime_ns", "chunks", "terms")
_NO_TIME = -1


@dataclass(frozen=True, slots=True)
class _Held:
    """What counts of a stored file."""

    language: str
    chunks: int
    terms: int


class ClusterStore:
    """One repository of a store, or all of them (`EVERY`). Raises StoreError for whatever keeps it from its work.

    The repository is the address's, else it goes by the name of the folder `root`: `otherwise` where it has none that
    others share.
    """

    is_shared = True
    writable = True

    def __init__(self, address: Address, root: Path, otherwise: str) -> None:
        self.repository = address.repository or name_of(root, otherwise)
        self._milvus = Milvus(address)
        self.location = self.address(self.repository)
        self._where = "" if self.repository == EVERY else equal("repository", self.repository)
        self._about: dict[str, dict[str, Any]] | None = None
        self._held: dict[str, _Held] = {}
        self._paths: list[str] = []
        self._unsound: set[str] = set()

    def close(self) -> None:
        """Ends the connection."""
        self._milvus.close()

    # ---- reading

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Inside, what the store says of its model and repositories is read once."""
        self._about = self._read_about(strong=False)
        try:
            yield
        finally:
            self._about = None

    def view(self) -> ClusterView:
        """The repository as it stands."""
        about = self._read_about()
        named = {name: told for name, told in about.items() if name != _STORE}
        return ClusterView(self._milvus, Scope.of(named, self._where))

    def model(self) -> ModelRecord | None:
        """The model of the store's vectors; None in a new store."""
        told = self._read_about().get(_STORE)
        if told is None:
            return None
        if told["version"] != _VERSION:
            raise StoreError(
                f"the store at {self._milvus.address.text} is of another version of codekin; "
                "name another with ?collection=NAME"
            )
        return ModelRecord(**told["model"])

    def files(self, paths: Sequence[str] | None = None) -> dict[str, StoredFile]:
        """Indexed files by their path: all of them, or those of `paths`.

        Of all of them, those whose chunks are not what their rows say, as a killed update leaves them, count as files
        of which nothing is known.
        """
        if not self._milvus.exists():
            return {}
        if paths is None:
            rows = list(self._milvus.every("files", self._where, _FILE_COLUMNS, strong=True))
            self._held = {}
        else:
            ids = [self._file_id(path) for path in paths]
            rows = self._milvus.get("files", ids, _FILE_COLUMNS, strong=True)
        found = {}
        for row in rows:
            path = path_of(row["path"])
            self._held[path] = _Held(row["language"], row["chunks"], row["terms"])
            digest = bytes.fromhex(row["digest"])
            found[path] = self._stored(path, row["size"], row["mtime_ns"], digest)
        if paths is None:
            self._unsound = self._find_unsound()
        unsound = self._unsound if paths is None else self._unsound.intersection(paths)
        return found | {path: self._stored(path, _NO_TIME, _NO_TIME, b"") for path in unsound}

    def chunk_vectors(self, file: int) -> dict[bytes, NDArray[np.int8]]:
        """The vectors of a file's chunks by the chunks' digests, to be reused when the file has changed."""
        where = equal("file", self._file_id(self._paths[file]))
        rows = self._milvus.every("chunks", where, ("digest", "vector"), strong=True)
        return {bytes.fromhex(row["digest"]): np.rint(row["vector"]).astype(np.int8) for row in rows}

    def address(self, repository: str) -> str:
        """Where a repository is."""
        return f"{self._milvus.address.text}#{repository}"

    def repositories(self) -> dict[str, Sizes]:
        """What each repository holds, by its name, where every one is asked."""
        if self.repository != EVERY:
            return {}
        about = sorted(self._read_about().items())
        return {name: _sizes({name: told}) for name, told in about if name != _STORE}

    def sizes(self) -> Sizes:
        """What there is in numbers; bytes are what Milvus alone knows."""
        return _sizes({name: told for name, told in self._read_about().items() if name != _STORE})

    # ---- writing

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Ends with the repository's row saying what it now holds: so much the ranking takes from there."""
        if self.repository == EVERY:
            raise InputError(f"{self.location} is every repository of the store; name the one to update")
        yield
        languages: Counter[str] = Counter()
        for held in self._held.values():
            languages[held.language] += held.chunks
        about = {
            "files": len(self._held),
            "chunks": sum(languages.values()),
            "terms": sum(held.terms for held in self._held.values()),
            "languages": {name: chunks for name, chunks in languages.items() if chunks},
            "updated_at": time.time(),
        }
        self._milvus.upsert("repositories", [{"id": self.repository, "about": about}])

    def start(self, model: ModelRecord) -> ModelRecord:
        """Removes the repository; a store's first one, or its only one, chooses the model of all.

        Raises StoreError where others are there and made with another model.
        """
        about = self._read_about(of_all=True)
        known = about.get(_STORE)
        told = {"version": _VERSION, "model": asdict(model)}
        if known and known != told:
            if others := about.keys() - {_STORE, self.repository}:
                made = known.get("model", {})
                raise StoreError(
                    f"the store at {self._milvus.address.text} holds {len(others)} other repositories, made with "
                    f"{made.get('name')} of {made.get('dimensions')} dimensions; another model, or another version of "
                    "it, takes another store: ?collection=NAME"
                )
            self._milvus.drop()
            known = None
        if known is None:
            self._milvus.create(model.dimensions)
            self._milvus.upsert("repositories", [{"id": _STORE, "about": told}])
        else:
            for kind in ("chunks", "files"):
                self._milvus.delete(kind, "repository", [self.repository])
        self._held = {}
        return model

    def touch(self, path: str, size: int, mtime_ns: int) -> None:
        """Nothing: another machine's files have other times, and what tells is their content."""

    def set_meta(self, **settings: str | float | bytes) -> None:
        """Nothing: where a folder is says nothing to others, and `writing` notes the time."""

    def remove(self, paths: Sequence[str]) -> None:
        """Removes files with their chunks."""
        ids = [self._file_id(path) for path in paths]
        self._milvus.delete("chunks", "file", ids, self._where)
        self._milvus.delete("files", "id", ids, self._where)
        for path in paths:
            self._held.pop(path, None)
            self._unsound.discard(path)

    def replace(self, files: Sequence[FileChunks], postings: Postings) -> None:
        """Puts files in the place of what was known of them; `postings` count their chunks from 0 in their order."""
        chunks = self._chunk_rows(files, postings)
        ids = [self._file_id(file.path) for file in files]
        where = both(self._where, within("file", ids))
        before = {row["id"] for row in self._milvus.every("chunks", where, ("id",), strong=True)}
        self._milvus.upsert("chunks", chunks)
        self._milvus.delete("chunks", "id", sorted(before - {row["id"] for row in chunks}), self._where)
        rows = []
        for file, own_id in zip(files, ids, strict=True):
            held = _Held(file.language, len(file.spans), int(file.spans[:, 2].sum()))
            self._held[file.path] = held
            self._unsound.discard(file.path)
            rows.append(
                {
                    "id": own_id,
                    "repository": self.repository,
                    "path": path_text(file.path),
                    "digest": file.digest.hex(),
                    "size": file.size,
                    "mtime_ns": file.mtime_ns,
                    **asdict(held),
                }
            )
        self._milvus.upsert("files", rows)

    # ----

    def _chunk_rows(self, files: Sequence[FileChunks], postings: Postings) -> list[Row]:
        count = sum(len(file.spans) for file in files)
        owner = (postings >> np.uint64(8) & np.uint64(0xFFFFFF)).astype(np.int64)
        order = np.argsort(owner, kind="stable")
        ends = np.cumsum(np.bincount(owner, minlength=count)).tolist() if count else []
        terms = (postings[order] >> np.uint64(32)).astype(np.int64)
        counts = (postings[order] & np.uint64(0xFF)).astype(np.int64)
        rows: list[Row] = []
        for file in files:
            path, own_id = path_text(file.path), self._file_id(file.path)
            for number, (span, digest, (symbol, kind), text, vector) in enumerate(
                zip(file.spans, file.chunk_digests, file.symbols, file.texts, file.vectors, strict=True)
            ):
                start = ends[len(rows) - 1] if rows else 0
                own = slice(start, min(ends[len(rows)], start + MOST_TERMS))
                first, last, length = span.tolist()
                is_text = terms[own] & 7 == Field.TEXT.value
                weights = document_weights(counts[own][is_text], length).tolist()
                rows.append(
                    {
                        "id": hashed(self.repository, path, f"{number} {first} {last}", digest.hex()),
                        "repository": self.repository,
                        "file": own_id,
                        "path": path,
                        "language": file.language,
                        "digest": digest.hex(),
                        "number": number,
                        "first": first,
                        "last": last,
                        "length": length,
                        "symbol": _cut(symbol),
                        "kind": kind,
                        "text": _cut(text),
                        "terms": terms[own].tolist(),
                        "counts": counts[own].tolist(),
                        # Milvus knows no vector without a number, nor one without a direction.
                        "words": dict(zip(terms[own][is_text].tolist(), weights, strict=True)) or {0: 1.0},
                        "vector": vector.astype(np.float32) if vector.any() else _faint(len(vector)),
                    }
                )
        return rows

    def _find_unsound(self) -> set[str]:
        """The files whose chunks are not as many as their rows say, if all are not."""
        if self._milvus.count(self._where, strong=True) == sum(held.chunks for held in self._held.values()):
            return set()
        found: Counter[str] = Counter()
        for row in self._milvus.every("chunks", self._where, ("path",), strong=True):
            found[path_of(row["path"])] += 1
        said = Counter({path: held.chunks for path, held in self._held.items()})
        return {path for path in found.keys() | said.keys() if found[path] != said[path]}

    def _stored(self, path: str, size: int, mtime_ns: int, digest: bytes) -> StoredFile:
        self._paths.append(path)
        return StoredFile(len(self._paths) - 1, size, mtime_ns, digest)

    def _read_about(self, *, strong: bool = True, of_all: bool = False) -> dict[str, dict[str, Any]]:
        """What the store says of itself (`_STORE`) and of the repositories that are asked, or of all, by name."""
        if self._about is not None:
            return self._about
        if not self._milvus.exists():
            return {}
        if of_all or self.repository == EVERY:
            rows = list(self._milvus.every("repositories", 'id != ""', ("about",), strong=strong))
        else:
            names = [_STORE, self.repository]
            rows = self._milvus.get("repositories", names, ("about",), strong=strong)
        return {row["id"]: row["about"] for row in rows}

    def _file_id(self, path: str) -> str:
        return file_id(self.repository, path)


def _sizes(told: Mapping[str, Mapping[str, Any]]) -> Sizes:
    found = Scope.of(told, "")
    languages = dict(sorted(found.languages.items(), key=lambda item: (-item[1], item[0])))
    return found.files, languages, None, found.updated_at


def _cut(text: str) -> str:
    data = text.encode("utf-8", "replace")
    return data[:MOST_BYTES].decode("utf-8", "ignore")


def _faint(dimensions: int) -> NDArray[np.float32]:
    """A vector that is zero once it is rounded, as vectors are that are read."""
    vector = np.zeros(dimensions, np.float32)
    vector[0] = 0.25
    return vector
