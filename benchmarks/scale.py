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
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
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
        places = np.random.default_rng(1).choice(len(lines), min(QUESTIONS, len(lines)), replace=False)
        self.questions = [lines[place] for place in sorted(places)]

    def like(self, rows: NDArray[np.int8]) -> NDArray[np.int8]:
        """A vector for each of `rows` (n, d): near it, and of the folder's spectrum."""
        drawn = self.random.standard_normal(rows.shape, np.float32) @ self.factor.T + self.mean
        blended = BLEND * unit(rows.astype(np.float32)) + np.float32(np.sqrt(1 - BLEND**2)) * unit(drawn)
        return quantise(blended, Precision.INT8).rows

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
            best = best[np.argsort(-vectors.cosines(query, best), kind="stable")]
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


def memory(kind: str) -> float:
    """This process's memory in megabytes: VmRSS, what it has, or VmHWM, the most that it has had."""
    return int(re.search(rf"{kind}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def embedded(questions: list[str]) -> NDArray[np.int8]:
    return quantise(Embedder().encode(questions, Task.NL2CODE, Role.QUERY), Precision.INT8).rows


def milliseconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - started)


# ---- other engines, over vectors alone

REACHES = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)  # how far an engine looks, to try


class Own:
    name = "codekin"
    reaches = (0,)

    def __init__(self, rows: NDArray[np.int8], questions: NDArray[np.int8]) -> None:
        centres = coarse.centres_of(rows)
        cells = coarse.nearest_centres(centres, rows)
        plan = coarse.measured(rows, cells, centres, questions)
        self.vectors = Vectors(rows, coarse.Partition(centres, len(rows), plan), cells)
        self.vectors.nearest(questions[0], 10)  # makes the coarse forms
        self.cells = cells

    def search(self, query: NDArray[np.int8], reach: int) -> NDArray[np.int64]:
        return self.vectors.nearest(query, 10)

    def save(self, path: Path) -> None:
        """What an index keeps of it but for the centres, all of it anew; an update writes a file's."""
        path.write_bytes(self.cells.tobytes())


class USearch:
    name = "usearch"
    reaches = REACHES

    def __init__(self, rows: NDArray[np.int8], questions: NDArray[np.int8]) -> None:
        from usearch.index import Index

        self.index = Index(ndim=rows.shape[1], metric="cos", dtype="i8", connectivity=16, expansion_add=128)
        self.index.add(np.arange(len(rows)), rows)

    def search(self, query: NDArray[np.int8], reach: int) -> NDArray[np.int64]:
        self.index.expansion_search = reach
        return self.index.search(query, 10).keys

    def save(self, path: Path) -> None:
        self.index.save(str(path))


class Faiss:
    name = "faiss"
    reaches = REACHES

    def __init__(self, rows: NDArray[np.int8], questions: NDArray[np.int8]) -> None:
        import faiss

        self.faiss = faiss
        self.index = faiss.index_factory(rows.shape[1], "HNSW16,SQ8", faiss.METRIC_INNER_PRODUCT)
        self.index.hnsw.efConstruction = 128
        wide = unit(rows.astype(np.float32))
        self.index.train(wide[:100_000])
        self.index.add(wide)

    def search(self, query: NDArray[np.int8], reach: int) -> NDArray[np.int64]:
        self.index.hnsw.efSearch = reach
        return self.index.search(unit(query[None].astype(np.float32)), 10)[1][0]

    def save(self, path: Path) -> None:
        self.faiss.write_index(self.index, str(path))


class HNSWLib:
    name = "hnswlib"
    reaches = REACHES

    def __init__(self, rows: NDArray[np.int8], questions: NDArray[np.int8]) -> None:
        import hnswlib

        self.index = hnswlib.Index("ip", rows.shape[1])
        self.index.init_index(len(rows), M=16, ef_construction=128)
        self.index.add_items(unit(rows.astype(np.float32)))

    def search(self, query: NDArray[np.int8], reach: int) -> NDArray[np.int64]:
        self.index.set_ef(reach)
        return self.index.knn_query(unit(query[None].astype(np.float32)), 10)[0][0]

    def save(self, path: Path) -> None:
        self.index.save_index(str(path))


def peers(folder: Folder, count: int) -> None:
    """Prints what each engine takes to find what ours finds, with `count` vectors."""
    own = np.concatenate([file.vectors for batch in folder.batches for file in batch.files])
    rows = np.concatenate(
        [
            folder.like(own[np.arange(start, min(start + 50_000, count)) % len(own)])
            for start in range(0, count, 50_000)
        ]
    )
    queries = embedded(folder.questions)
    truth = coarse.nearest_of_all(rows, queries, 10)
    wanted = 0.0
    print("| engine | build s | save s | MB | looks at | recall@10 | p50 ms | p99 ms |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for start in (Own, USearch, Faiss, HNSWLib):
        before, started = memory("VmRSS"), time.perf_counter()
        try:
            engine = start(rows, embedded([question.lower() for question in folder.questions[::3]]))
        except ImportError:
            print(f"{start.name} is not installed", file=sys.stderr)
            continue
        seconds, megabytes = time.perf_counter() - started, memory("VmRSS") - before
        with tempfile.TemporaryDirectory() as into:
            save = milliseconds(lambda engine=engine, into=into: engine.save(Path(into) / "index")) / 1000
        for reach in engine.reaches:
            found, times = [], []
            for query, best in zip(queries, truth, strict=True):
                started = time.perf_counter()
                got = engine.search(query, reach)
                times.append(1000 * (time.perf_counter() - started))
                found.append(len(np.intersect1d(got, best)) / 10)
            if np.mean(found) >= wanted:
                break
        wanted = wanted or float(np.mean(found))
        print(
            f"| {start.name} | {seconds:.1f} | {save:.2f} | {megabytes:.0f} | {reach or ''} | {np.mean(found):.3f} "
            f"| {np.median(times):.2f} | {np.quantile(times, 0.99):.2f} |",
            flush=True,
        )
        del engine


# ---- what is shown

COLUMNS = {
    "chunks": "{:,.0f}",
    "extract_s": "{:.0f}",
    "write_s": "{:.0f}",
    "cells_s": "{:.0f}",
    "build_mb": "{:,.0f}",
    "disk_mb": "{:,.0f}",
    "memory_mb": "{:,.0f}",
    "open_s": "{:.2f}",
    "p50_ms": "{:.1f}",
    "p99_ms": "{:.1f}",
    "lexical_p50_ms": "{:.1f}",
    "vectors_p50_ms": "{:.1f}",
    "recall_10": "{:.3f}",
    "recall_100": "{:.3f}",
    "edit_ms": "{:.1f}",
    "remove_ms": "{:.1f}",
    "follow_s": "{:.2f}",
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
        peers(folder, args.peers)
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
