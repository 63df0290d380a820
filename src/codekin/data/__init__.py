"""Training data: the pinned corpus, and query-document pairs mined from it."""

from __future__ import annotations

from codekin.data.corpus import Corpus, FetchReport, Package, SourceTree, fetch, load_corpus
from codekin.data.mining import mine
from codekin.data.pairs import Pair, read_pairs, write_pairs

__all__ = [
    "Corpus",
    "FetchReport",
    "Package",
    "Pair",
    "SourceTree",
    "fetch",
    "load_corpus",
    "mine",
    "read_pairs",
    "write_pairs",
]
