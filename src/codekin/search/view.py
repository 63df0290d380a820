"""The index in memory, and what it says of every chunk for one query."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pathspec import GitIgnoreSpec

from codekin.errors import InputError
from codekin.search.lexical import Field
from codekin.search.ranking import Query, Signals
from codekin.search.store import Store
from codekin.search.vectors import Vectors
from codekin.source import LANGUAGES

_K1, _B = 1.2, 0.75  # BM25's customary saturation and length normalisation (Robertson and Zaragoza, 2009)

_KEPT_FILTERS = 64  # remembered at a time


class View:
    """One generation of a store's contents: n chunks of m files, and their signals for a query.

    Reads postings from the store: use it inside `store.reading()`, in the transaction in which it was made or while
    the store's generation is the view's.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.contents = store.contents()
        self.vectors = Vectors(self.contents.vectors)
        lengths = self.contents.spans[:, 2]
        average = int(lengths.sum(dtype=np.int64)) / len(lengths) if len(lengths) else 1.0
        self._saturation = (_K1 * (1 - _B + _B * lengths / max(average, 1.0))).astype(np.float32)
        self._symbols: dict[int, list[tuple[str, str]]] = {}
        self._kept: dict[tuple[tuple[str, ...], ...], NDArray[np.bool_]] = {}

    def signals(self, query: Query, vector: NDArray[np.int8] | None, *, text: bool) -> Signals:
        """The signals of all n chunks; `vector` None leaves out the semantic one, `text` false the lexical one."""
        n = len(self.contents.file_of)
        lexical_scores = np.zeros(n, np.float32)
        fields = (Field.TEXT, Field.DEFINES, Field.STEM, Field.FOLDER)
        shares = {field: np.zeros(n, np.float32) for field in fields}
        spelt = np.zeros(n, np.float32)
        total = 0.0
        for term in query.terms:
            found = self._store.matches(self.contents, term, fields)
            rows, counts = found[0]
            idf = math.log(1 + (n - len(rows) + 0.5) / (len(rows) + 0.5))
            total += idf
            if text:
                lexical_scores[rows] += idf * counts * (_K1 + 1) / (counts + self._saturation[rows])
            if term in query.identifiers:
                spelt[rows] = 1.0
            for share, (held, _) in zip(shares.values(), found, strict=True):
                if len(held):
                    share[held] += idf
        for share in shares.values():
            share /= max(total, 1e-9)
        symbol = np.zeros(n, np.float32)
        for name in query.names:
            [(rows, _)] = self._store.matches(self.contents, name, [Field.NAME])
            symbol[rows] = 1.0
        return Signals(
            semantic=np.zeros(n, np.float32) if vector is None else self.vectors.cosines(vector),
            lexical=lexical_scores,
            text=shares[Field.TEXT],
            defines=shares[Field.DEFINES],
            stem=shares[Field.STEM],
            folder=shares[Field.FOLDER],
            symbol=symbol,
            spelt=spelt,
        )

    def kept(
        self, languages: Sequence[str], include: Sequence[str], exclude: Sequence[str]
    ) -> NDArray[np.bool_]:
        """(n,) whether each chunk passes the filters of `CodeIndex.search`; the caller's own, to change."""
        if not (languages or include or exclude):
            return np.ones(len(self.contents.file_of), np.bool_)
        key = (tuple(languages), tuple(include), tuple(exclude))
        if key not in self._kept:
            if len(self._kept) == _KEPT_FILTERS:
                self._kept.clear()
            if unknown := [name for name in languages if name not in LANGUAGES]:
                raise InputError(
                    f"unknown language {unknown[0]!r}; indexed here: {', '.join(sorted(set(self.contents.languages)))}"
                )
            included, excluded = _globs(include), _globs(exclude)
            files = [
                (not languages or language in languages)
                and (not include or included.match_file(path))
                and not excluded.match_file(path)
                for path, language in zip(self.contents.paths, self.contents.languages, strict=True)
            ]
            self._kept[key] = np.array(files, np.bool_)[self.contents.file_of]
        return self._kept[key].copy()

    def symbols(self, row: int) -> tuple[str, str]:
        """The symbol and kind of one chunk."""
        file = int(self.contents.file_of[row])
        if file not in self._symbols:
            self._symbols[file] = self._store.symbols(self.contents.file_ids[file])
        return self._symbols[file][row - int(np.searchsorted(self.contents.file_of, file))]


def _globs(patterns: Sequence[str]) -> GitIgnoreSpec:
    try:
        return GitIgnoreSpec.from_lines(patterns)
    except ValueError as error:
        raise InputError(f"bad path glob: {error}") from None
