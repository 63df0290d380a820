#!/usr/bin/env python3
"""What a search costs as an index grows: build time, disk, memory, p50 and p99, recall, with a table and a plot.

    python benchmarks/scale.py [FOLDER] [--chunks 100000 1000000 5000000] [--peers 100000] [--plot FILE.svg]

FOLDER (default: this Python's standard library) is indexed for real. Its chunks, with their sizes, words and names,
then fill stores of as many chunks as are asked for, file by file as an update writes them; every copy of a chunk has a
vector of its own: the chunk's, blended with one drawn from the covariance of all the folder's vectors. Questions are
the first lines of the folder's docstrings. Each store is searched in a process of its own, whose peak memory is
reported; `open` is its first answer, the model loaded before. Recall is that of the vectors that a search finds,
against all compared. `edit` is the transaction that puts a file of some 30 chunks into the place of its last state,
`remove` the one that takes it out, `follow` the next answer of a process that has the index open.

`--peers N` compares the search of N vectors alone with usearch, faiss and hnswlib, those of them that are installed.
Each is made to look as far as it takes to find what ours finds of the ten nearest. Memory is what each takes beside the
int8 vectors themselves, which an index has anyway; `save` is the writing of its file, which a crash-safe update is.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import engines
from codekin import CodeIndex, Embedder
from codekin.embed import Precision, quantise
from codekin.search import coarse, indexing, lexical
from codekin.search.extracting import Extractor, Job
from codekin.search.model import Asked, open_model
from codekin.search.store import FileChunks, Store
from codekin.search.vectors import Vectors
from codekin.source import DEFAULT_MAX_BYTES, walk
from codekin.tasks import Role, Task
from engines import memory, milliseconds, unit

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
        places = np.random.default_rng(1).choice(len(lines), min(QUESTIONS, len(lines)), replace=False)
        self.questions = [lines[place] for place in sorted(places)]
        symbols = [
            symbol for batch in self.batches for file in batch.files for symbol, _ in file.symbols if symbol
        ]
        self.names = [" ".join(lexical.parts(symbol)).lower() for symbol in symbols[:: len(symbols) // 64]]

    def like(self, rows: NDArray[np.int8]) -> NDArray[np.int8]:
        """A vector for each of `rows` (n, d): near it, and of the folder's spectrum."""
        drawn = self.random.standard_normal(rows.shape, np.float32) @ self.factor.T + self.mean
        blended = BLEND * unit(rows.astype(np.float32)) + np.float32(np.sqrt(1 - BLEND**2)) * unit(drawn)
        return quantise(blended, Precision.INT8).rows

    def vectors(self, count: int) -> NDArray[np.int8]:
        """(count, d) int8: those that so many copied chunks have."""
        own = np.concatenate([file.vectors for batch in self.batches for file in batch.files])
        places = np.array_split(np.arange(count) % len(own), count // len(own) + 1)
        return np.concatenate([self.like(own[some]) for some in places])

    def copies(self, chunks: int) -> Iterator[tuple[list[FileChunks], Any]]:
        """Batches of files and postings, `chunks` or a batch more of them."""
        number = written = 0
        while True:
            for batch in self.batches:
                if written >= chunks:
                    return
                rows = self.like(np.concatenate([file.vectors for file in batch.files]))
                ends = np.cumsum([len(file.vectors) for file in batch.files])
                files = [
                    replace(file, path=f"copy{number:04}/{file.path}", vectors=own)
                    for file, own in zip(batch.files, np.split(rows, ends[:-1]), strict=True)
                ]
                yield files, batch.postings
                written += len(rows)
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
    return {
        "chunks": count,
        "extract_s": folder.seconds * count / folder.chunks,
        "write_s": writing,
        "cells_s": cells,
        "disk_mb": disk,
        "build_mb": memory("VmHWM"),
    }


def searched(index_folder: Path, questions: list[str]) -> dict[str, float]:
    """Figures of one process that searches a store."""
    queries = embedded(questions)
    with tempfile.TemporaryDirectory() as empty, CodeIndex(empty, index=index_folder, update=False) as index:
        figures = {"open_s": milliseconds(lambda: index.search(questions[0])) / 1000}
        for question in questions[:20]:
            index.search(question)
        for mode in ("hybrid", "lexical"):
            times = [milliseconds(lambda q=q, mode=mode: index.search(q, mode=mode)) for q in questions]
            prefix = "" if mode == "hybrid" else f"{mode}_"
            figures[prefix + "p50_ms"] = float(np.median(times))
            figures[prefix + "p99_ms"] = float(np.quantile(times, 0.99))
        figures["memory_mb"] = memory("VmHWM")
        contents = index.contents()
        vectors = Vectors(contents.vectors, contents.partition, contents.cells)
        truth = coarse.nearest_of_all(contents.vectors, queries, 100)
        found: dict[int, list[float]] = {10: [], 100: []}
        times = []
        for query, best in zip(queries, truth, strict=True):
            started = time.perf_counter()
            got = vectors.nearest(query, 100)
            times.append(1000 * (time.perf_counter() - started))
            for depth, shares in found.items():
                shares.append(len(np.intersect1d(got[:depth], best[:depth])) / depth)
        figures |= {f"recall_{depth}": float(np.mean(shares)) for depth, shares in found.items()}
        figures["vectors_p50_ms"] = float(np.median(times[1:]))
        if contents.partition:
            figures |= asdict(contents.partition.plan) | {"cells": len(contents.partition.centres)}
        return figures | edited(index_folder, index, questions[0])


def edited(index_folder: Path, index: CodeIndex, question: str) -> dict[str, float]:
    """What it takes to put a file (this one) into a store, again and again, and to take it out."""
    own = Path(__file__)
    extractor = Extractor(
        own.parent, open_model(Asked(None, None, None), None, ""), max_bytes=DEFAULT_MAX_BYTES
    )
    made = extractor.extract(Job([file for file in walk(own.parent) if file.path == own.name], {}))
    store = Store(index_folder)

    def put() -> None:
        with store.writing():
            store.replace(made.files, made.postings)

    def remove() -> None:
        with store.writing():
            store.remove([own.name])

    edits = [milliseconds(put) for _ in range(21)]
    follow = milliseconds(lambda: index.search(question))
    removal = milliseconds(remove)
    store.close()
    return {"edit_ms": float(np.median(edits)), "remove_ms": removal, "follow_s": follow / 1000}


def embedded(questions: list[str]) -> NDArray[np.int8]:
    return quantise(Embedder().encode(questions, Task.NL2CODE, Role.QUERY), Precision.INT8).rows


# ---- what is shown

ROWS = (  # name, label, shape
    ("extract_s", "extract, s", "{:,.0f}"),
    ("write_s", "write, s", "{:,.0f}"),
    ("cells_s", "cells, s", "{:,.0f}"),
    ("build_mb", "memory of these, MB", "{:,.0f}"),
    ("disk_mb", "disk, MB", "{:,.0f}"),
    ("open_s", "open, s", "{:.2f}"),
    ("memory_mb", "memory, MB", "{:,.0f}"),
    ("p50_ms", "search, p50, ms", "{:.1f}"),
    ("p99_ms", "search, p99, ms", "{:.1f}"),
    ("lexical_p50_ms", "by words alone, p50, ms", "{:.1f}"),
    ("vectors_p50_ms", "vectors, p50, ms", "{:.1f}"),
    ("recall_10", "recall@10", "{:.3f}"),
    ("recall_100", "recall@100", "{:.3f}"),
    ("edit_ms", "edit, ms", "{:.1f}"),
    ("remove_ms", "remove, ms", "{:.1f}"),
    ("follow_s", "follow, s", "{:.2f}"),
)


def table(figures: list[dict[str, float]]) -> str:
    """Markdown: a column a size."""
    rows = [["chunks", *(f"{own['chunks']:,.0f}" for own in figures)], ["---", *("---:" for _ in figures)]]
    rows += [[label, *(shape.format(own[name]) for own in figures)] for name, label, shape in ROWS]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def growth(figures: list[dict[str, float]], name: str) -> float:
    """The exponent of growth between the smallest and the largest index: 1 is linear."""
    first, last = figures[0], figures[-1]
    return float(np.log(last[name] / first[name]) / np.log(last["chunks"] / first["chunks"]))


CURVES = (  # name, label, colour
    ("disk_mb", "disk, MB", "#7c3aed"),
    ("memory_mb", "memory, MB", "#b45309"),
    ("p99_ms", "search, p99, ms", "#60a5fa"),
    ("p50_ms", "search, p50, ms", "#2563eb"),
    ("vectors_p50_ms", "its vectors, p50, ms", "#16a34a"),
)
LEFT, RIGHT, TOP, BOTTOM = 70, 500, 20, 360


def plot(figures: list[dict[str, float]]) -> str:
    """An SVG: what a search takes over the number of chunks, both axes logarithmic; the p50 is below the dashed line
    where it grows less than the chunks do."""
    values = [own[name] for own in figures for name, _, _ in CURVES]
    low, high = int(np.floor(np.log10(min(values)))), int(np.ceil(np.log10(max(values))))
    chunks = np.log10([own["chunks"] for own in figures])
    x = LEFT + (RIGHT - LEFT) * (chunks - chunks[0]) / max(1e-9, float(chunks[-1] - chunks[0]))

    def height(value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (float(np.log10(value)) - low) / max(1, high - low)

    drawn = []
    for power in range(low, high + 1):
        y = height(10**power)
        drawn.append(f'<line x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        drawn.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:,g}</text>')
    for own, place in zip(figures, x, strict=True):
        drawn.append(
            f'<text x="{place:.1f}" y="{BOTTOM + 20}" text-anchor="middle">{own["chunks"]:,.0f}</text>'
        )
    first, last = figures[0], figures[-1]
    linear = min(10.0**high, first["p50_ms"] * last["chunks"] / first["chunks"])
    end = x[0] + (x[-1] - x[0]) * np.log(linear / first["p50_ms"]) / np.log(last["chunks"] / first["chunks"])
    drawn.append(
        f'<line x1="{x[0]:.1f}" y1="{height(first["p50_ms"]):.1f}" x2="{end:.1f}" y2="{height(linear):.1f}" '
        'stroke="#999" stroke-dasharray="4 4"/>'
    )
    for name, label, colour in CURVES:
        heights = [height(own[name]) for own in figures]
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, heights, strict=True))
        drawn.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{points}"/>')
        drawn += [
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>'
            for a, b in zip(x, heights, strict=True)
        ]
        drawn.append(f'<text x="{RIGHT + 10}" y="{heights[-1] + 4:.1f}" fill="{colour}">{label}</text>')
    body = "\n".join(drawn)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 660 400" font-family="sans-serif" font-size="12">'
        f'<rect width="660" height="400" fill="#fff"/>\n{body}\n</svg>\n'
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
        engines.compare(folder.vectors(args.peers), embedded(folder.names), embedded(folder.questions))
    figures = []
    for chunks in sorted(args.chunks):
        with tempfile.TemporaryDirectory() as into:
            built = build(folder, chunks, Path(into))
            done = subprocess.run(
                [sys.executable, __file__, "--searched", into],
                input=json.dumps(folder.questions),
                stdout=subprocess.PIPE,
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
