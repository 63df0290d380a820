"""The index in memory, and what it says of every chunk for one query."""

from __future__ import annotations

import codecs
import os
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pathspec import GitIgnoreSpec

from codekin.errors import InputError
from codekin.search import ranking
from codekin.search.contents import Contents
from codekin.search.lexical import Field
from codekin.search.ranking import Query, Signals
from codekin.search.results import Result
from codekin.search.segments import Matches
from codekin.search.store import Store
from codekin.search.vectors import Vectors
from codekin.source import LANGUAGES, decode

K1, B = 1.2, 0.75  # BM25's customary saturation and length normalisation (Robertson and Zaragoza, 2009)

_KEPT_FILTERS = 64  # remembered at a time
_FIELDS = (Field.TEXT, Field.DEFINES, Field.STEM, Field.FOLDER)
_LEAST = 1e-30  # no score of a chunk that holds a term is as low
_SAMPLED = 16  # of so many scores one is looked at to see which could be among the highest
_FREQUENT = 20_000  # chunks: looking for what a more frequent term could lift takes less than counting it
_LOOKUP = 16  # what it takes to look a chunk up in a term's, in chunks counted


class _Term:
    """A term of a query, and the chunks that hold it in each of `_FIELDS`."""

    def __init__(self, name: str, matches: list[Matches]) -> None:
        self.name = name
        self.matches = matches
        self.idf = 0.0

    @property
    def chunks(self) -> NDArray[np.int64]:
        """The chunks whose text holds it."""
        return self.matches[0][0]


class View:
    """One generation of a store's contents: n chunks of m files, and their signals for a query.

    Reads postings from the store: use it inside `store.reading()`, in the transaction in which it was made or while
    the store's generation is the view's. `known` is the view of an earlier generation, whose vectors are taken over.
    """

    def __init__(self, store: Store, known: View | None = None) -> None:
        self._store = store
        self.contents: Contents = store.contents(known.contents if known else None)
        self.vectors = Vectors(self.contents.vectors, self.contents.partition, self.contents.cells)
        used = np.flatnonzero(self.contents.row_of >= 0)
        self._gone = np.flatnonzero(self.contents.row_of < 0)
        self._number_of = np.empty(len(used), np.int64)
        self._number_of[self.contents.row_of[used]] = used
        lengths = self.contents.spans[:, 2]
        average = int(lengths.sum(dtype=np.int64)) / len(lengths) if len(lengths) else 1.0
        # By number, as postings are: they are ascending, rows are not. Of a number that is not in use, nothing counts.
        self._saturation = np.full(len(self.contents.row_of), np.inf, np.float32)
        self._saturation[self._number_of] = K1 * (1 - B + B * lengths / max(average, 1.0))
        self._symbols: dict[int, list[tuple[str, str]]] = {}
        self._kept: dict[tuple[tuple[str, ...], ...], NDArray[np.bool_]] = {}

    def candidates(
        self,
        query: Query,
        vector: NDArray[np.int8] | None,
        pool: int,
        *,
        text: bool,
        kept: NDArray[np.bool_] | None = None,
    ) -> tuple[NDArray[np.int64], Signals]:
        """The rows, ascending, that are among the best `pool` by some signal, and their signals.

        `vector` None leaves out the semantic one, `text` false the lexical one; `kept` (n,) says which rows are
        looked for. Beside the best there is a row for each identifier of the query that any text has.
        """
        terms = [_Term(name, self._matches(name, _FIELDS)) for name in query.terms]
        for place, term in enumerate(terms):
            if query.rarity is None:
                term.idf = ranking.rarity(self._live(term.chunks), len(self._number_of))
            else:
                term.idf = query.rarity[place]
        named = [self._matches(name, [Field.NAME])[0][0] for name in query.names]
        found = [self._lexical(terms, pool, kept)]
        found += [self._rows(chunks, kept) for chunks in named]
        found += [self._rows(term.chunks, kept)[:1] for term in terms if term.name in query.identifiers]
        if vector is not None:
            found.append(self.vectors.nearest(vector, pool, kept))
        rows = np.unique(np.concatenate(found))
        numbers = self._number_of[rows]
        lexical = np.zeros(len(rows), np.float32)
        spelt = np.zeros(len(rows), np.float32)
        shares = [np.zeros(len(rows), np.float32) for _ in _FIELDS]
        for term in terms:
            for field, share, (chunks, counts) in zip(_FIELDS, shares, term.matches, strict=True):
                held, places = _places(chunks, numbers)
                share[held] += term.idf
                if field is Field.TEXT:
                    lexical[held] += self._gain(term, numbers[held], counts[places])
                    if term.name in query.identifiers:
                        spelt[held] = 1.0
        total = sum(term.idf for term in terms)
        for share in shares:
            share /= max(total, 1e-9)
        symbol = np.zeros(len(rows), np.float32)
        for chunks in named:
            symbol[_places(chunks, numbers)[0]] = 1.0
        of_text, defines, stem, folder = shares
        signals = Signals(
            semantic=np.zeros(len(rows), np.float32)
            if vector is None
            else self.vectors.cosines(vector, rows),
            lexical=lexical if text else np.zeros(len(rows), np.float32),
            text=of_text,
            defines=defines,
            stem=stem,
            folder=folder,
            symbol=symbol,
            spelt=spelt,
        )
        return rows, signals

    def _lexical(
        self, terms: Sequence[_Term], pool: int, kept: NDArray[np.bool_] | None
    ) -> NDArray[np.int64]:
        """The rows of the best `pool` BM25 scores, and those that share the last one's.

        Rare terms come first. Once those that are left could lift no chunk without the others among the best, they
        are looked up for the chunks that they could lift alone (MaxScore: Turtle and Flood, 1995).
        """
        scores = np.zeros(len(self._saturation), np.float32)
        if kept is not None:
            hidden = self._number_of[~kept]
        ordered = sorted(terms, key=lambda term: -term.idf)
        total = left = sum(term.idf for term in ordered) * (K1 + 1)
        chosen: NDArray[np.int64] | None = None
        touched = 0
        for term in ordered:
            chunks, counts = term.matches[0]
            # No score is above what the terms before this one are worth together.
            if chosen is None and touched > pool and len(chunks) > _FREQUENT and total - left > left:
                if kept is not None:
                    scores[hidden] = 0
                threshold = _highest(scores, pool)
                # A thousandth more than what sums of float32 may be off by.
                if threshold > left * 1.001:
                    liftable = np.flatnonzero(scores >= threshold - left * 1.001)
                    chosen = liftable if _LOOKUP * len(liftable) < len(chunks) else None
            if chosen is None:
                scores[chunks] += self._gain(term, chunks, counts)
                touched += len(chunks)
            else:
                held, places = _places(chunks, chosen)
                scores[chosen[held]] += self._gain(term, chosen[held], counts[places])
            left -= term.idf * (K1 + 1)
        if chosen is not None:
            scores = scores[chosen]
        elif kept is not None:
            scores[hidden] = 0
        best = np.flatnonzero(scores >= max(_highest(scores, pool), _LEAST))
        return self._rows(best if chosen is None else chosen[best], None)

    def _gain(
        self, term: _Term, numbers: NDArray[np.int64], counts: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """What a term adds to the BM25 scores of chunks that hold it `counts` times."""
        return np.float32(term.idf * (K1 + 1)) * (counts / (counts + self._saturation[numbers]))

    def _matches(self, term: str, fields: Sequence[Field]) -> list[Matches]:
        return self._store.matches(self.contents, term, fields)

    def _live(self, chunks: NDArray[np.int64]) -> int:
        """How many of the chunks are in use."""
        if len(self._gone) < len(chunks):
            return len(chunks) - len(_places(chunks, self._gone)[0])
        return int(np.count_nonzero(self.contents.row_of[chunks] >= 0))

    def _rows(self, chunks: NDArray[np.int64], kept: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """The rows of those chunks that are in use and kept."""
        rows = self.contents.row_of[chunks].astype(np.int64)
        rows = rows[rows >= 0]
        return rows if kept is None else rows[kept[rows]]

    def kept(
        self, languages: Sequence[str], include: Sequence[str], exclude: Sequence[str]
    ) -> NDArray[np.bool_] | None:
        """(n,) whether each chunk passes the filters of `CodeIndex.search`, None where there are none."""
        if not (languages or include or exclude):
            return None
        key = (tuple(languages), tuple(include), tuple(exclude))
        if key not in self._kept:
            if len(self._kept) == _KEPT_FILTERS:
                self._kept.clear()
            if unknown := [name for name in languages if name not in LANGUAGES]:
                raise InputError(
                    f"unknown language {unknown[0]!r}; indexed here: {', '.join(sorted(set(self.contents.languages)))}"
                )
            included, excluded = globs(include), globs(exclude)
            files = [
                (not languages or language in languages)
                and (not include or included.match_file(path))
                and not excluded.match_file(path)
                for path, language in zip(self.contents.paths, self.contents.languages, strict=True)
            ]
            self._kept[key] = np.array(files, np.bool_)[self.contents.file_of]
        return self._kept[key]

    def files(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int32], list[str]]:
        """The files of some rows: (n,) int32, indexes into the paths that come with them."""
        files, own = np.unique(self.contents.file_of[rows], return_inverse=True)
        return own.astype(np.int32), [self.contents.paths[file] for file in files.tolist()]

    def file_cosines(self, vector: NDArray[np.int8], paths: Sequence[str]) -> NDArray[np.float32]:
        """(n,) float32: the cosines of n files to a vector (d,); a file's vector is the mean of its chunks'."""
        wanted = unit(vector.astype(np.float32))
        found = np.zeros(len(paths), np.float32)
        for place, path in enumerate(paths):
            file = bisect_left(self.contents.paths, os.fsencode(path), key=os.fsencode)
            start, end = self._rows_of(file)
            rows = self.contents.vectors[start:end].astype(np.float32)
            found[place] = unit(unit(rows).sum(axis=0)) @ wanted
        return found

    @property
    def size(self) -> int:
        """How many chunks there are."""
        return len(self.contents.spans)

    def holding(self, term: str) -> tuple[int, int]:
        """How many chunks hold a term, and how many define a name with it."""
        text, defines = self._matches(term, (Field.TEXT, Field.DEFINES))
        return self._live(text[0]), self._live(defines[0])

    def results(self, rows: Sequence[int], scores: Sequence[float], root: Path) -> list[Result]:
        """Some rows as results, with their lines as they are now in the folder."""
        return [self._result(row, score, root) for row, score in zip(rows, scores, strict=True)]

    def file_rows(self, path: str) -> list[int]:
        """The rows of a file's chunks, in their order. Raises InputError for a file that is not in the index."""
        try:
            file = self.contents.paths.index(path)
        except ValueError:
            raise InputError(f"{path} is not in the index of this folder") from None
        return list(range(*self._rows_of(file)))

    def row_at(self, path: str, line: int) -> int:
        """The row of the chunk that holds a line, or the nearest one before it. Raises InputError for no such place."""
        rows, spans = self.file_rows(path), self.contents.spans
        if not rows or not 1 <= line <= int(spans[rows[-1], 1]):
            raise InputError(f"{path} has no code at line {line}")
        return rows[max(0, int(np.searchsorted(spans[rows, 0], line, side="right")) - 1)]

    def _result(self, row: int, score: float, root: Path) -> Result:
        file = int(self.contents.file_of[row])
        path = self.contents.paths[file]
        start, end, _ = self.contents.spans[row].tolist()
        text = _lines(root / path, start, end)
        return Result(path, start, end, *self.symbols(row), self.contents.languages[file], score, text)

    def symbols(self, row: int) -> tuple[str, str]:
        """The symbol and kind of one chunk."""
        file = int(self.contents.file_of[row])
        if file not in self._symbols:
            self._symbols[file] = self._store.symbols(self.contents.file_ids[file])
        return self._symbols[file][row - self._rows_of(file)[0]]

    def _rows_of(self, file: int) -> tuple[int, int]:
        """The first row of a file, and the one after its last."""
        # In the type of what is searched, all of which is converted otherwise.
        start, end = self.contents.file_of.searchsorted(np.array([file, file + 1], np.int32)).tolist()
        return start, end


def _places(
    chunks: NDArray[np.int64], wanted: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which of the `wanted` are among the `chunks` (ascending), and where there."""
    if not len(chunks):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    places = chunks.searchsorted(wanted)
    held = np.flatnonzero(chunks[np.minimum(places, len(chunks) - 1)] == wanted)
    return held, places[held]


def _highest(scores: NDArray[np.float32], count: int) -> float:
    """The `count`-th highest positive score, 0 where there are fewer."""
    few = _positive(scores[::_SAMPLED])
    if len(few) >= count:  # of a part, the highest are no higher
        found = scores[scores >= np.partition(few, len(few) - count)[len(few) - count]]
    else:
        found = _positive(scores)
    return float(np.partition(found, len(found) - count)[len(found) - count]) if len(found) >= count else 0.0


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors (..., d) at the length 1; zero ones stay."""
    lengths = np.sqrt(np.square(vectors).sum(axis=-1, keepdims=True))
    return np.asarray(vectors / np.maximum(lengths, np.float32(1e-9)))


def globs(patterns: Sequence[str]) -> GitIgnoreSpec:
    """What matches globs as in .gitignore; raises InputError for a bad one."""
    try:
        return GitIgnoreSpec.from_lines(patterns)
    except ValueError as error:
        raise InputError(f"bad path glob: {error}") from None


def _lines(path: Path, start: int, end: int) -> str:
    """Lines `start` to `end` of a file as they are now; empty where it is gone."""
    try:
        data = path.read_bytes()
    except OSError:
        return ""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "\n".join((decode(data) or "").split("\n")[start - 1 : end])
    # Ten results come from ten files: their lines are cut out before they are decoded.
    return decode(b"\n".join(data.split(b"\n", end)[start - 1 : end])) or ""


def _positive(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    return scores[scores > 0]
