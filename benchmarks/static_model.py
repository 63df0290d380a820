"""Retrieval quality and encode rate of a static model.

    python benchmarks/static_model.py SETS [--model MODEL] [--code FOLDER]

SETS is a folder of data sets in BEIR layout (corpus.jsonl, queries.jsonl, qrels.tsv each). Prints nDCG@10 at each
Matryoshka size with BM25 (k1 1.2, b 0.75, identifiers split) beside it. With --code, the rate of encoding that
folder's Python files in pieces of 1,500 characters, and, where model2vec is installed, that of model2vec on the
same model and texts in the same run, as ratio.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codekin import Embedder
from codekin.embed import DEFAULT_MODEL

_TERM = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@dataclass(frozen=True)
class BenchmarkSet:
    """`relevant[i]` are the rows of `documents` that answer query i."""

    name: str
    documents: list[str]
    queries: list[str]
    relevant: list[set[int]]


def read_set(folder: Path) -> BenchmarkSet:
    """One data set in BEIR layout; queries without judgement are left out."""
    documents = [json.loads(line) for line in (folder / "corpus.jsonl").open(encoding="utf-8")]
    queries = {
        record["_id"]: record["text"]
        for record in map(json.loads, (folder / "queries.jsonl").open(encoding="utf-8"))
    }
    row = {record["_id"]: i for i, record in enumerate(documents)}
    relevant: dict[str, set[int]] = defaultdict(set)
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, score = line.split("\t")
        if float(score) > 0:
            relevant[query].add(row[document])
    texts = [f"{record.get('title', '')} {record['text']}".strip() for record in documents]
    return BenchmarkSet(folder.name, texts, [queries[q] for q in relevant], list(relevant.values()))


def ndcg_at_10(scores: NDArray[np.float32], relevant: list[set[int]]) -> float:
    """Mean nDCG@10 of the ranking by `scores` (queries, documents) with binary relevance."""
    discount = 1 / np.log2(np.arange(2, 12))
    total = 0.0
    for row, wanted in zip(scores, relevant, strict=True):
        best = np.argsort(-row, kind="stable")[:10]
        gain = sum(discount[rank] for rank, document in enumerate(best) if document in wanted)
        total += gain / discount[: len(wanted)].sum()
    return total / len(relevant)


def bm25(documents: list[str], queries: list[str], k1: float = 1.2, b: float = 0.75) -> NDArray[np.float32]:
    """BM25 scores, (queries, documents)."""
    counts = [Counter(terms(text)) for text in documents]
    lengths = np.array([sum(count.values()) for count in counts])
    norm = k1 * (1 - b + b * lengths / lengths.mean())
    postings: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for document, count in enumerate(counts):
        for term, times in count.items():
            postings[term].append((document, times))
    scores = np.zeros((len(queries), len(documents)), dtype=np.float32)
    for query, text in enumerate(queries):
        for term in terms(text):
            if found := postings.get(term):
                rows, times = np.array(found).T
                idf = np.log(1 + (len(documents) - len(rows) + 0.5) / (len(rows) + 0.5))
                scores[query, rows] += idf * times * (k1 + 1) / (times + norm[rows])
    return scores


def terms(text: str) -> list[str]:
    return [term.lower() for term in _TERM.findall(text)]


def megabytes_a_second(encode: Callable[[list[str]], object], texts: list[str]) -> float:
    """The best of three runs, the first of which fills what is remembered between calls."""
    size = sum(len(text.encode("utf-8", "replace")) for text in texts) / 1e6
    rates = []
    for _ in range(3):
        start = time.perf_counter()
        encode(texts)
        rates.append(size / (time.perf_counter() - start))
    return max(rates)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", type=Path)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--code", type=Path)
    arguments = parser.parse_args()
    embedder = Embedder(arguments.model)
    sizes = "".join(f"{f'd={size}':>9}" for size in embedder.sizes)
    print(f"{'nDCG@10':32}{sizes}{'BM25':>9}")
    for folder in sorted(arguments.sets.iterdir()):
        data = read_set(folder)
        figures = []
        for size in embedder.sizes:
            queries = embedder.encode(data.queries, role="query", dimensions=size)
            documents = embedder.encode(data.documents, dimensions=size)
            figures.append(ndcg_at_10(queries @ documents.T, data.relevant))
        figures.append(ndcg_at_10(bm25(data.documents, data.queries), data.relevant))
        print(f"{data.name:32}" + "".join(f"{figure:9.4f}" for figure in figures), flush=True)
    if arguments.code:
        measure_rate(embedder, arguments.model, arguments.code)


def measure_rate(embedder: Embedder, model: str, code: Path) -> None:
    texts = []
    for file in sorted(code.rglob("*.py")):
        text = file.read_text(encoding="utf-8", errors="replace")
        texts += [text[start : start + 1500] for start in range(0, len(text), 1500)]
    texts = texts[:8000]
    ours = megabytes_a_second(embedder.encode, texts)
    print(f"\nencode, {len(texts)} texts: codekin {ours:.1f} MB/s")
    try:
        from model2vec import StaticModel
    except ImportError:
        print("model2vec is not installed: no ratio")
        return
    folder = Path(model)
    if not folder.is_dir():
        import codekin.embed

        folder = Path(codekin.embed.__file__).parent / "models" / model
    theirs = megabytes_a_second(StaticModel.from_pretrained(folder).encode, texts)
    print(f"encode, {len(texts)} texts: model2vec {theirs:.1f} MB/s; ratio {ours / theirs:.1f}")


if __name__ == "__main__":
    main()
