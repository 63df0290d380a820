"""BM25 over the parts of identifiers and words: what lexical search finds before anybody trains a model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from codekin.errors import MissingExtraError

_TERM = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NOTHING = "\0"  # the library takes no text without terms
_K1, _B = 1.2, 0.75


class BM25:
    """Lucene's BM25 (k1 1.2, b 0.75) of `documents`, which are read once. Raises MissingExtraError without bm25s."""

    def __init__(self, documents: Iterable[str]) -> None:
        try:
            import bm25s
        except ImportError:
            raise MissingExtraError("BM25", "data") from None
        vocabulary: dict[str, int] = {}
        rows = [
            [vocabulary.setdefault(term, len(vocabulary)) for term in terms(text) or [_NOTHING]]
            for text in documents
        ]
        self._count = len(rows)
        self._index = bm25s.BM25(k1=_K1, b=_B)
        if rows:
            self._index.index(bm25s.tokenization.Tokenized(ids=rows, vocab=vocabulary), show_progress=False)

    def scores(self, queries: Sequence[str]) -> NDArray[np.float32]:
        """(q, n) float32: every document's score for each query, 0 where they share no term."""
        scores = np.zeros((len(queries), self._count), np.float32)
        for row, text in enumerate(queries):
            if self._count and (wanted := terms(text)):
                scores[row] = self._index.get_scores(wanted)
        return scores


def terms(text: str) -> list[str]:
    """The parts of words at case, digit and underscore boundaries, in lower case."""
    return [term.lower() for term in _TERM.findall(text)]
