"""What a shared store says of its chunks for one query: the engine's candidates, with codekin's own signals.

The engine finds what may be among the best: by cosine in its index of vectors, by BM25 as an inner product of sparse
vectors, by name as members of an array. The signals of what it finds are then computed from the chunks' vectors and
counts of terms, by the formulas and numbers of a local index, so that results are the same ones where the engine's
index of vectors finds the nearest (one that is approximate may miss some).

A chunk's BM25 score depends on how long chunks are on average, which changes. So the weights in a sparse vector are
those for an average of `_TYPICAL_LENGTH`, and candidates are fetched until none that is left could be among the best:
with a true average `a`, a chunk's score is at most `max(1, a / _TYPICAL_LENGTH)` times what the engine makes of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codekin.errors import InputError
from codekin.search.cluster.milvus import Milvus, Row, both, equal, file_id, holds, path_of, within
from codekin.search.lexical import Field, term_hash
from codekin.search.ranking import NO_QUERY, Query, Signals, rarity
from codekin.search.results import Result
from codekin.search.vectors import Vectors, largest
from codekin.search.view import K1, B, globs, unit
from codekin.source import LANGUAGES

_TYPICAL_LENGTH = 192.0  # terms
_FIRST = 4  # times as many candidates as are wanted
_MORE = 4  # times as many again, while that may be too few
_MOST = 4096  # candidates of one list: some 10 MB
_NAMED = 1024  # chunks that define a name, of which the ranking takes a tenth
_FILES_AT_ONCE = 4096  # that one search is restricted to
_COLUMNS = (
    "repository path language number first last length symbol kind terms counts vector".split()
)  # all but the text
_SLACK = 1e-4  # what an engine's score may be off by


def document_weights(counts: NDArray[np.int64], length: int) -> NDArray[np.float64]:
    """What each term of a chunk of `length` terms counts in its sparse vector: BM25's share that is the chunk's own."""
    return np.asarray(counts / (counts + _saturation(np.array(length), _TYPICAL_LENGTH)), np.float64)


@dataclass(frozen=True, slots=True)
class Scope:
    """The repositories that are searched, in numbers: `where` is the expression that holds for their chunks."""

    where: str
    names: tuple[str, ...]
    files: int
    chunks: int
    terms: int
    languages: Mapping[str, int]
    updated_at: float | None

    @classmethod
    def of(cls, told: Mapping[str, Mapping[str, Any]], where: str) -> Scope:
        """The sum of what repositories say of themselves, by name."""
        languages: Counter[str] = Counter()
        for one in told.values():
            languages.update(one["languages"])
        return cls(
            where,
            tuple(told),
            sum(one["files"] for one in told.values()),
            sum(one["chunks"] for one in told.values()),
            sum(one["terms"] for one in told.values()),
            languages,
            max((one["updated_at"] for one in told.values()), default=None),
        )


class ClusterView:
    """The chunks of a scope that some questions have found: `rows` are those of this view."""

    def __init__(self, milvus: Milvus, scope: Scope) -> None:
        self._milvus = milvus
        self._scope = scope
        self._average = max(scope.terms / scope.chunks if scope.chunks else 1.0, 1.0)
        self._chunks: list[Row] = []
        self._row_of: dict[str, int] = {}

    @property
    def size(self) -> int:
        """How many chunks there are."""
        return self._scope.chunks

    def kept(
        self, languages: Sequence[str], include: Sequence[str], exclude: Sequence[str]
    ) -> list[str] | None:
        """Expressions of which each holds for other chunks, and one of them for each that passes the filters."""
        if not (languages or include or exclude):
            return None
        if unknown := [name for name in languages if name not in LANGUAGES]:
            held = ", ".join(sorted(self._scope.languages))
            raise InputError(f"unknown language {unknown[0]!r}; indexed here: {held}")
        wanted = within("language", languages) if languages else ""
        if not (include or exclude):
            return [wanted]
        included, excluded = globs(include), globs(exclude)
        ids = []
        for file in self._milvus.every(
            "files", both(self._scope.where, wanted), ("id", "repository", "path")
        ):
            # Of every repository's: from the top of its own, or of the store.
            paths = {path_of(file["path"]), self._path(file)}
            is_included = not include or any(map(included.match_file, paths))
            if is_included and not any(map(excluded.match_file, paths)):
                ids.append(file["id"])
        ids.sort()
        return [
            within("file", ids[start : start + _FILES_AT_ONCE])
            for start in range(0, len(ids), _FILES_AT_ONCE)
        ]

    def candidates(
        self,
        query: Query,
        vector: NDArray[np.int8] | None,
        pool: int,
        *,
        text: bool,
        kept: list[str] | None = None,
    ) -> tuple[NDArray[np.int64], Signals]:
        """What `View.candidates` says of a local index; `kept` is what `kept` gave."""
        wheres = [both(self._scope.where, where) for where in ([""] if kept is None else kept)]
        if not self._scope.chunks:
            return np.empty(0, np.int64), self._signals(NO_QUERY, [], [], [], np.empty(0, np.float32), text)
        hashes = [term_hash(term) for term in query.terms]
        held = self._milvus.at_once(self._count, hashes)
        total = max([self.size, *held])
        idf = list(query.rarity or [rarity(number, total) for number in held])
        weighed = {one: weight for one, weight, number in zip(hashes, idf, held, strict=True) if number}

        def bm25(rows: Sequence[int]) -> NDArray[np.float32]:
            return self._bm25(_Postings([self._chunks[row] for row in rows]), hashes, idf)

        def cosines(rows: Sequence[int]) -> NDArray[np.float32]:
            return self._cosines(vector, rows) if vector is not None else np.zeros(len(rows), np.float32)

        chosen: set[int] = set()
        if weighed:
            most = max(1.0, self._average / _TYPICAL_LENGTH) * (K1 + 1)
            rows = self._best("words", weighed, wheres, pool, bm25, most)
            scores = bm25(rows)
            best = largest(scores, pool)
            if len(best):
                chosen |= {rows[place] for place in np.flatnonzero(scores >= scores[best[-1]])}
        if vector is not None and vector.any():
            rows = self._best("vector", vector.astype(np.float32).tolist(), wheres, pool, cosines, 1.0)
            chosen |= {rows[place] for place in largest(cosines(rows), pool)}
        for name in query.names:
            chosen |= set(self._holding(term_hash(name, Field.NAME), wheres, _NAMED))
        for term, one, number in zip(query.terms, hashes, held, strict=True):
            if number and term in query.identifiers:
                chosen |= set(self._holding(one, wheres, 1))
        rows = sorted(chosen, key=self._order)
        return np.array(rows, np.int64), self._signals(query, hashes, idf, rows, cosines(rows), text)

    def files(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int32], list[str]]:
        """The files of some rows: (n,) int32, indexes into the paths that come with them."""
        numbers: dict[tuple[str, str], int] = {}
        own = [
            numbers.setdefault((self._chunks[row]["repository"], self._chunks[row]["path"]), len(numbers))
            for row in rows.tolist()
        ]
        return np.array(own, np.int32), [path for _, path in numbers]

    def results(self, rows: Sequence[int], scores: Sequence[float], root: Path) -> list[Result]:
        """Some rows as results, with their texts as they were indexed; `root` says nothing here."""
        ids = [self._chunks[row]["id"] for row in rows]
        texts = {row["id"]: row["text"] for row in self._milvus.get("chunks", ids, ("text",))}
        return [
            Result(
                self._path(chunk),
                chunk["first"],
                chunk["last"],
                chunk["symbol"],
                chunk["kind"],
                chunk["language"],
                score,
                texts.get(chunk["id"], ""),
                repository="" if self._scope.where else chunk["repository"],
            )
            for chunk, score in zip((self._chunks[row] for row in rows), scores, strict=True)
        ]

    def holding(self, term: str) -> tuple[int, int]:
        """How many chunks hold a term, and how many define a name with it."""
        fields = [term_hash(term, field) for field in (Field.TEXT, Field.DEFINES)]
        text, defines = self._milvus.at_once(self._count, fields) if self.size else (0, 0)
        return text, defines

    def file_cosines(self, vector: NDArray[np.int8], paths: Sequence[str]) -> NDArray[np.float32]:
        """(n,) float32: the cosines of n files to a vector (d,); a file's vector is the mean of its chunks'."""
        ids = [file_id(*self._place(path)) for path in paths]
        total = {one: np.zeros(len(vector), np.float32) for one in ids}
        for chunk in self._milvus.every("chunks", within("file", sorted(total)), ("file", "vector")):
            total[chunk["file"]] += unit(np.rint(np.asarray(chunk["vector"], np.float32)))
        wanted = unit(vector.astype(np.float32))
        return np.array([unit(total[one]) @ wanted for one in ids], np.float32)

    def file_rows(self, path: str) -> list[int]:
        """The rows of a file's chunks, in their order. Raises InputError for a file that is not in the index."""
        name, own_path = self._place(path)
        where = both(equal("repository", name), equal("file", file_id(name, own_path)))
        found = self._milvus.every("chunks", where, _COLUMNS) if name else ()
        chunks = sorted(found, key=lambda chunk: int(chunk["number"]))
        if not chunks:
            raise InputError(f"{path} is not in the index of this folder")
        return self._rows(chunks)

    def row_at(self, path: str, line: int) -> int:
        """The row of the chunk that holds a line, or the nearest one before it. Raises InputError for no such place."""
        rows = self.file_rows(path)
        if not 1 <= line <= self._chunks[rows[-1]]["last"]:
            raise InputError(f"{path} has no code at line {line}")
        before = [row for row in rows if self._chunks[row]["first"] <= line]
        return before[-1] if before else rows[0]

    # ---- candidates

    def _best(
        self,
        column: str,
        query: Any,
        wheres: Sequence[str],
        pool: int,
        exact: Callable[[Sequence[int]], NDArray[np.float32]],
        most: float,
    ) -> list[int]:
        """Rows among which are the best `pool` by an exact score that is at most `most` times the engine's."""
        limit = min(_FIRST * pool, _MOST)
        while True:
            search = partial(self._milvus.nearest, column, query, columns=_COLUMNS, limit=limit)
            found = self._milvus.at_once(search, wheres)
            rows = self._rows([chunk for hits in found for chunk, _ in hits])
            left = max((hits[-1][1] for hits in found if len(hits) == limit), default=None)
            if left is None or limit == _MOST:
                return rows
            scores = exact(rows)
            if scores[largest(scores, pool)[-1:]].sum() > left * most + _SLACK:
                return rows
            limit = min(_MORE * limit, _MOST)

    def _holding(self, one: int, wheres: Sequence[str], limit: int) -> list[int]:
        """Rows of chunks that hold a term, of any field."""
        found = self._milvus.at_once(
            lambda where: self._milvus.query("chunks", both(where, holds(one)), _COLUMNS, limit), wheres
        )
        return self._rows([chunk for chunks in found for chunk in chunks])

    def _rows(self, chunks: Sequence[Row]) -> list[int]:
        """The rows of some chunks, which are remembered."""
        rows = []
        for chunk in chunks:
            row = self._row_of.setdefault(chunk["id"], len(self._chunks))
            if row == len(self._chunks):
                chunk["vector"] = np.rint(chunk["vector"]).astype(np.int8)
                self._chunks.append(chunk)
            rows.append(row)
        return rows

    def _order(self, row: int) -> tuple[str, bytes, int]:
        chunk = self._chunks[row]
        return chunk["repository"], path_of(chunk["path"]).encode("utf-8", "surrogateescape"), chunk["number"]

    def _count(self, one: int) -> int:
        """How many chunks hold a term, of any field."""
        return self._milvus.count(both(self._scope.where, holds(one)))

    def _place(self, path: str) -> tuple[str, str]:
        """The repository of a path and the path in it; "" where there is none of its name."""
        names = self._scope.names
        if self._scope.where:
            return next(iter(names), ""), path
        name = max((name for name in names if path.startswith(f"{name}/")), key=len, default="")
        return name, path[len(name) + 1 :]

    def _path(self, row: Row) -> str:
        """The path of a file or a chunk; of every repository's, the repository first."""
        path = path_of(row["path"])
        return path if self._scope.where else f"{row['repository']}/{path}"

    # ---- signals

    def _signals(
        self,
        query: Query,
        hashes: Sequence[int],
        idf: Sequence[float],
        rows: Sequence[int],
        cosines: NDArray[np.float32],
        text: bool,
    ) -> Signals:
        postings = _Postings([self._chunks[row] for row in rows])
        zero = np.zeros(len(rows), np.float32)
        shares = {}
        for field in (Field.TEXT, Field.DEFINES, Field.STEM, Field.FOLDER):
            share = zero.copy()
            for term, weight in zip(query.terms, idf, strict=True):
                share[postings.holding(term_hash(term, field))[0]] += weight
            shares[field] = share / np.float32(max(sum(idf), 1e-9))
        symbol, spelt = zero.copy(), zero.copy()
        for name in query.names:
            symbol[postings.holding(term_hash(name, Field.NAME))[0]] = 1.0
        for term, one in zip(query.terms, hashes, strict=True):
            if term in query.identifiers:
                spelt[postings.holding(one)[0]] = 1.0
        return Signals(
            semantic=cosines,
            lexical=self._bm25(postings, hashes, idf) if text else zero,
            text=shares[Field.TEXT],
            defines=shares[Field.DEFINES],
            stem=shares[Field.STEM],
            folder=shares[Field.FOLDER],
            symbol=symbol,
            spelt=spelt,
        )

    def _bm25(self, postings: _Postings, hashes: Sequence[int], idf: Sequence[float]) -> NDArray[np.float32]:
        scores = np.zeros(len(postings.lengths), np.float32)
        saturation = _saturation(postings.lengths, self._average).astype(np.float32)
        for one, weight in zip(hashes, idf, strict=True):
            held, counts = postings.holding(one)
            scores[held] += np.float32(weight * (K1 + 1)) * (counts / (counts + saturation[held]))
        return scores

    def _cosines(self, vector: NDArray[np.int8], rows: Sequence[int]) -> NDArray[np.float32]:
        if not rows:
            return np.zeros(0, np.float32)
        return Vectors(np.stack([self._chunks[row]["vector"] for row in rows])).cosines(vector)


class _Postings:
    """The terms of some chunks, as they were stored with them."""

    def __init__(self, chunks: Sequence[Row]) -> None:
        sizes = [len(chunk["terms"]) for chunk in chunks]
        self.lengths = np.array([chunk["length"] for chunk in chunks], np.float64)
        self._owner = np.repeat(np.arange(len(chunks)), sizes)
        self._terms = np.array([term for chunk in chunks for term in chunk["terms"]], np.int64)
        self._counts = np.array([count for chunk in chunks for count in chunk["counts"]], np.float32)

    def holding(self, term: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The chunks that hold a term, ascending, and how often."""
        places = np.flatnonzero(self._terms == term)
        return self._owner[places], self._counts[places]


def _saturation(lengths: NDArray[Any], average: float) -> NDArray[np.float64]:
    """What a term's count is weighed against in chunks of so many terms: BM25's length normalisation."""
    return np.asarray(K1 * (1 - B + B * lengths / average), np.float64)
