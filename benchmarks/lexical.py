#!/usr/bin/env python3
"""codekin's postings beside SQLite's FTS5, on the same terms of the same chunks, in one run.

    python benchmarks/lexical.py [FOLDER]

Prints the time to build and write each, the size on disk, and the median time of a BM25 query for the best 100 chunks.
"""

from __future__ import annotations

import argparse
import math
import sqlite3
import statistics
import sysconfig
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from codekin.search import lexical
from codekin.search.lexical import Document
from codekin.search.vectors import largest
from codekin.source import chunk, decode, walk

QUERIES = (
    "where are failed requests retried",
    "parse a date from text",
    "open a temporary file and delete it",
    "error handling when the connection is closed",
    "merge two sorted lists",
)


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


class Ours:
    name = "postings"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("CREATE TABLE postings (block INTEGER PRIMARY KEY, data BLOB)")

    def build(self, texts: list[str]) -> None:
        documents = [Document(lexical.words(text), (), (), ()) for text in texts]
        postings, lengths = lexical.Indexer().postings(documents)
        self.bits = lexical.block_bits(len(postings))
        self.db.execute("BEGIN")
        self.db.executemany("INSERT INTO postings VALUES (?, ?)", lexical.blocks(postings, self.bits))
        self.db.execute("COMMIT")
        self.norm = (1.2 * (0.25 + 0.75 * lengths / lengths.mean())).astype(np.float32)

    def search(self, terms: list[str]) -> list[int]:
        scores = np.zeros(len(self.norm), np.float32)
        for term in terms:
            key = lexical.term_hash(term)
            row = self.db.execute(
                "SELECT data FROM postings WHERE block = ?", (lexical.block_of(key, self.bits),)
            ).fetchone()
            if row is None:
                continue
            [(chunks, counts)] = lexical.matches(row[0], [key])
            idf = math.log(1 + (len(scores) - len(chunks) + 0.5) / (len(chunks) + 0.5))
            scores[chunks] += idf * counts * 2.2 / (counts + self.norm[chunks])
        return largest(scores, 100).tolist()


class FullText:
    name = "FTS5"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("CREATE VIRTUAL TABLE texts USING fts5(terms, content='', tokenize='ascii')")

    def build(self, texts: list[str]) -> None:
        memo: dict[str, str] = {}
        self.db.execute("BEGIN")
        for number, text in enumerate(texts):
            words = lexical.words(text)
            for word in words:
                if word not in memo:
                    memo[word] = " ".join(lexical.terms(word))
            self.db.execute(
                "INSERT INTO texts (rowid, terms) VALUES (?, ?)", (number, " ".join(memo[w] for w in words))
            )
        self.db.execute("COMMIT")

    def search(self, terms: list[str]) -> list[int]:
        match = " OR ".join(f'"{term}"' for term in terms)
        found = self.db.execute(
            "SELECT rowid FROM texts WHERE texts MATCH ? ORDER BY rank LIMIT 100", (match,)
        )
        return [row for (row,) in found]


def measure(engine: Ours | FullText, texts: list[str], queries: list[list[str]]) -> tuple[float, float]:
    """Seconds to build, and the median milliseconds of a query after a first round."""
    built = seconds(lambda: engine.build(texts))
    times = [1000 * seconds(partial(engine.search, query)) for _ in range(11) for query in queries]
    query = statistics.median(times[len(queries) :])
    size = engine.path.stat().st_size / 2**20
    print(f"{engine.name:10} build {built:6.2f} s   query {query:7.2f} ms   {size:6.1f} MB")
    return built, query


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path(sysconfig.get_path("stdlib")))
    root = parser.parse_args().folder
    texts = []
    for file in walk(root):
        text = decode((root / file.path).read_bytes()) or ""
        texts += [part.text for part in chunk(text, file.language)]
    queries = [[t for word in lexical.words(query) for t in lexical.terms(word)] for query in QUERIES]
    print(f"{len(texts):,} chunks of {root.name}")
    with tempfile.TemporaryDirectory() as folder:
        figures = [measure(make(Path(folder, make.name)), texts, queries) for make in (Ours, FullText)]
    (ours, our_query), (theirs, their_query) = figures
    print(f"postings / FTS5: build {ours / theirs:.2f}, query {our_query / their_query:.3f}")


if __name__ == "__main__":
    main()
