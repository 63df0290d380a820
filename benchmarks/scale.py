#!/usr/bin/env python3
"""What a search costs as an index grows: build time, disk, memory, p50 and p99, recall, with a table and a plot.

    python benchmarks/scale.py [FOLDER] [--chunks 100000 1000000 5000000] [--peers 100000] [--plot FILE.svg]

FOLDER (default: this Python's standard library) is indexed for real. Its chunks, with their sizes, words and names,
then fill stores of as many chunks as are asked for, file by file as an update writes them; every copy of a chunk has a
vector of its own: the chunk's, blended with one drawn from the covariance of all the folder's vectors. Questions are
the first lines of the folder's docstrings. Each store is searched in a process of its own, whose peak memory is
reported; recall is that of the nearest ten among the candidates, against all vectors compared.

`--peers N` compares the search of N vectors alone with usearch, faiss and hnswlib, those of them that are installed:
memory is what each takes beside the int8 vectors themselves, which an index has anyway.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codekin import CodeIndex, Embedder
from codekin.embed import Precision, quantise
from codekin.search import coarse, indexing
from codekin.search.extracting import Extractor, Job
from codekin.search.model import Asked, open_model
from codekin.search.store import FileChunks, Store
from codekin.search.vectors import Vectors
from codekin.source import DEFAULT_MAX_BYTES, walk
from codekin.tasks import Role, Task

BATCH_BYTES = 1 << 20
QUESTIONS = 200
BLEND = 0.8  # the cosine, about, of a copy's vector to its chunk's


class Folder:
    """A real folder, extracted as an index does it, and vectors like its own without end."""

    def __init__(self, root: Path) -> None:
        self.model = open_model(Asked(None, None, None), None, "")
        extractor = Extractor(root, self.model, max_bytes=DEFAULT_MAX_BYTES)
        started = time.perf_counter()
        self.batches = [extractor.extract(Job(files, {})) for files in batches(root)]
        self.seconds = time.perf_counter() - started
        rows = np.concatenate([file.vectors for batch in self.batches for file in batch.files])
        self.chunks = len(rows)
        wide = rows.astype(np.float32)
        self.mean = wide.mean(axis=0)
        self.factor = np.linalg.cholesky(np.cov(wide.T) + 1e-3 * np.eye(wide.shape[1])).astype(np.float32)
        self.random = np.random.default_rng(0)
        lines = [
            found
            for file in walk(root)
            if file.path.endswith(".py")
            for found in re.findall(
                r'def .*\n\s+"""([A-Z][^\n"]{20,100})', (root / file.path).read_text(errors="replace")
            )
        ]
        places = self.random.choice(len(lines), min(QUESTIONS, len(lines)), replace=False)
        self.questions = [lines[place] for place in sorted(places)]

    def like(self, rows: NDArray[np.int8]) -> NDArray[np.int8]:
        """A vector for each of `rows` (n, d): near it, and of the folder's spectrum."""
        drawn = self.random.standard_normal(rows.shape, np.float32) @ self.factor.T + self.mean
        blended = BLEND * unit(rows.astype(np.float32)) + np.sqrt(1 - BLEND**2) * unit(drawn)
        return quantise(blended, Precision.INT8).rows

    def copies(self, chunks: int) -> Iterator[tuple[list[FileChunks], Any]]:
        """Batches of files and postings, `chunks` or a batch more of them."""
        number = written = 0
        while True:
            for batch in self.batches:
                if written >= chunks:
                    return
                files = [
                    replace(file, path=f"copy{number:04}/{file.path}", vectors=self.like(file.vectors))
                    for file in batch.files
                ]
                yield files, batch.postings
                written += sum(len(file.spans) for file in files)
            number += 1


def batches(root: Path) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for file in walk(root):
        batch.append(file)
        if sum(each.size for each in batch) > BATCH_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-9))


def build(folder: Folder, chunks: int, into: Path) -> dict[str, float]:
    """Fills a store; seconds to write it and to put its vectors into cells."""
    store = Store(into)
    with store.writing():
        folder.model.record = store.start(folder.model.record)
    writing = 0.0
    for files, postings in folder.copies(chunks):
        started = time.perf_counter()
        with store.writing():
            store.replace(files, postings)
        writing += time.perf_counter() - started
    started = time.perf_counter()
    indexing.partition_vectors(store, folder.model)
    cells = time.perf_counter() - started
    with store.writing():
        store.set_meta(updated_at=time.time())
    count = store.chunk_count()
    store.close()
    disk = sum(path.stat().st_size for path in into.iterdir()) / 2**20
    extracting = folder.seconds * count / folder.chunks
    return {
        "chunks": count,
        "extract_s": extracting,
        "write_s": writing,
        "cells_s": cells,
        "disk_mb": disk,
    }


def searched(index_folder: Path, questions: list[str]) -> dict[str, float]:
    """Figures of one process that searches a store."""
    with tempfile.TemporaryDirectory() as empty, CodeIndex(empty, index=index_folder, update=False) as index:
        started = time.perf_counter()
        index.search(questions[0])
        figures = {"first_s": time.perf_counter() - started}
        for question in questions[:20]:
            index.search(question)
        for mode in ("hybrid", "semantic"):
            times = [milliseconds(lambda q=q, mode=mode: index.search(q, mode=mode)) for q in questions]
            prefix = "" if mode == "hybrid" else "semantic_"
            figures[prefix + "p50_ms"] = float(np.median(times))
            figures[prefix + "p99_ms"] = float(np.quantile(times, 0.99))
        figures["memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        contents = index.contents()
    vectors = Vectors(contents.vectors, contents.partition, contents.cells)
    queries = embedded(questions)
    found, times = [], []
    for query in queries:
        started = time.perf_counter()
        got = vectors.nearest(query, 100)[:10]
        times.append(1000 * (time.perf_counter() - started))
        found.append(len(np.intersect1d(got, exact(vectors, query))) / 10)
    figures["recall"] = float(np.mean(found))
    figures["vectors_p50_ms"] = float(np.median(times[1:]))
    if contents.partition:
        plan = contents.partition.plan
        figures |= {"signs": plan.signs, "probes": plan.probes, "survivors": plan.survivors}
        figures["cells"] = len(contents.partition.centres)
    return figures


def exact(vectors: Vectors, query: NDArray[np.int8]) -> NDArray[np.int64]:
    scores = vectors.cosines(query)
    return np.argpartition(-scores, 10)[:10]


def embedded(questions: list[str]) -> NDArray[np.int8]:
    return quantise(Embedder().encode(questions, Task.NL2CODE, Role.QUERY), Precision.INT8).rows


def milliseconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - started)


# ---- other engines, over vectors alone

Search = Callable[[NDArray[np.float32]], Any]


def peers(folder: Folder, count: int) -> Iterator[tuple[str, float, float, float, float]]:
    """Name, seconds to build, megabytes, p50 in milliseconds and recall@10 of each engine, with `count` vectors."""
    own = np.concatenate([file.vectors for batch in folder.batches for file in batch.files])
    rows = folder.like(own[np.arange(count) % len(own)])
    queries = embedded(folder.questions)
    truth = [exact(Vectors(rows), query) for query in queries]
    wide, asked = unit(rows.astype(np.float32)), unit(queries.astype(np.float32))
    for name, start in (("codekin", own_cells), ("usearch", usearch), ("faiss", faiss), ("hnswlib", hnswlib)):
        before = resident()
        started = time.perf_counter()
        try:
            search = start(rows, wide, embedded(folder.questions[::3]))
        except ImportError:
            print(f"{name} is not installed", file=sys.stderr)
            continue
        seconds = time.perf_counter() - started
        search(asked[0])
        megabytes = resident() - before
        times, found = [], []
        for query, best in zip(asked, truth, strict=True):
            started = time.perf_counter()
            got = search(query)
            times.append(1000 * (time.perf_counter() - started))
            found.append(len(np.intersect1d(got, best)) / 10)
        yield name, seconds, megabytes, float(np.median(times)), float(np.mean(found))
        del search


def resident() -> float:
    """This process's resident memory in megabytes."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def own_cells(rows: NDArray[np.int8], wide: NDArray[np.float32], questions: NDArray[np.int8]) -> Search:
    centres = coarse.centres_of(rows)
    cells = coarse.nearest_centres(centres, rows)
    plan = coarse.measured(rows, cells, centres, Vectors(rows).cosines, questions)
    vectors = Vectors(rows, coarse.Partition(centres, len(rows), plan), cells)
    return lambda query: vectors.nearest(quantise(query[None], Precision.INT8).rows[0], 100)[:10]


def usearch(rows: NDArray[np.int8], wide: NDArray[np.float32], questions: NDArray[np.int8]) -> Search:
    from usearch.index import Index

    index = Index(ndim=rows.shape[1], metric="cos", dtype="i8", connectivity=16, expansion_search=128)
    index.add(np.arange(len(rows)), wide)
    return lambda query: index.search(query, 10).keys


def faiss(rows: NDArray[np.int8], wide: NDArray[np.float32], questions: NDArray[np.int8]) -> Search:
    import faiss as library

    index = library.index_factory(rows.shape[1], "HNSW32,SQ8", library.METRIC_INNER_PRODUCT)
    index.train(wide)
    index.add(wide)
    index.hnsw.efSearch = 128
    return lambda query: index.search(query[None], 10)[1][0]


def hnswlib(rows: NDArray[np.int8], wide: NDArray[np.float32], questions: NDArray[np.int8]) -> Search:
    import hnswlib as library

    index = library.Index("ip", rows.shape[1])
    index.init_index(len(rows), M=16, ef_construction=128)
    index.add_items(wide)
    index.set_ef(128)
    return lambda query: index.knn_query(query[None], 10)[0][0]


# ---- what is shown

COLUMNS = {
    "chunks": "{:,.0f}",
    "extract_s": "{:.0f}",
    "write_s": "{:.0f}",
    "cells_s": "{:.0f}",
    "disk_mb": "{:,.0f}",
    "memory_mb": "{:,.0f}",
    "first_s": "{:.2f}",
    "p50_ms": "{:.1f}",
    "p99_ms": "{:.1f}",
    "semantic_p50_ms": "{:.1f}",
    "vectors_p50_ms": "{:.1f}",
    "recall": "{:.3f}",
}


def table(figures: list[dict[str, float]]) -> str:
    rows = [list(COLUMNS), ["---:"] * len(COLUMNS)]
    rows += [[shape.format(own[name]) for name, shape in COLUMNS.items()] for own in figures]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def growth(figures: list[dict[str, float]], name: str) -> float:
    """The exponent of growth between the smallest and the largest index: 1 is linear."""
    first, last = figures[0], figures[-1]
    return float(np.log(last[name] / first[name]) / np.log(last["chunks"] / first["chunks"]))


def plot(figures: list[dict[str, float]]) -> str:
    """An SVG: both axes logarithmic, the median search and its memory over the number of chunks."""
    lines = []
    chunks = np.log10([own["chunks"] for own in figures])
    span = max(1e-9, float(chunks[-1] - chunks[0]))
    for name, color, label in (
        ("p50_ms", "#2563eb", "search, p50, ms"),
        ("vectors_p50_ms", "#16a34a", "vectors alone, p50, ms"),
        ("memory_mb", "#b45309", "memory, MB"),
    ):
        x = 60 + 420 * (chunks - chunks[0]) / span
        y = 290 - 80 * np.log10([own[name] for own in figures])
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        lines.append(f'<polyline fill="none" stroke="{color}" stroke-width="2" points="{points}"/>')
        lines += [
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{color}"/>' for a, b in zip(x, y, strict=True)
        ]
        lines.append(f'<text x="490" y="{y[-1]:.1f}" fill="{color}">{label}</text>')
    for power in range(4):
        y_line = 290 - 80 * power
        lines.append(f'<line x1="60" x2="480" y1="{y_line}" y2="{y_line}" stroke="#ccc"/>')
        lines.append(f'<text x="52" y="{y_line + 4}" text-anchor="end">{10**power:,}</text>')
    for own, place in zip(figures, 60 + 420 * (chunks - chunks[0]) / span, strict=True):
        lines.append(f'<text x="{place:.1f}" y="310" text-anchor="middle">{own["chunks"]:,.0f}</text>')
    body = "\n".join(lines)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 660 330" font-family="sans-serif" font-size="12">'
        f'<rect width="660" height="330" fill="#fff"/>\n{body}\n</svg>\n'
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path(sysconfig.get_path("stdlib")))
    parser.add_argument("--chunks", type=int, nargs="*", default=[100_000, 1_000_000, 5_000_000])
    parser.add_argument("--peers", type=int, metavar="N")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    parser.add_argument("--searched", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.searched:
        print(json.dumps(searched(args.searched, json.load(sys.stdin))))
        return
    folder = Folder(args.folder)
    print(f"{folder.chunks:,} chunks of {args.folder}", flush=True)
    if args.peers:
        for name, seconds, megabytes, median, recall in peers(folder, args.peers):
            print(
                f"{name:10} build {seconds:7.1f} s   {megabytes:6.0f} MB   p50 {median:6.2f} ms   "
                f"recall@10 {recall:.3f}",
                flush=True,
            )
    figures = []
    for chunks in sorted(args.chunks):
        with tempfile.TemporaryDirectory() as into:
            built = build(folder, chunks, Path(into))
            done = subprocess.run(
                [sys.executable, __file__, "--searched", into],
                input=json.dumps(folder.questions),
                capture_output=True,
                text=True,
                check=True,
            )
        figures.append(built | json.loads(done.stdout))
        print(json.dumps(figures[-1]), file=sys.stderr, flush=True)
    if figures:
        print(table(figures))
    if len(figures) > 1:
        print(f"growth of p50: {growth(figures, 'p50_ms'):.2f}, of vectors alone: ", end="")
        print(f"{growth(figures, 'vectors_p50_ms'):.2f} (1 is linear)")
    if args.plot and figures:
        args.plot.write_text(plot(figures))


if __name__ == "__main__":
    main()
