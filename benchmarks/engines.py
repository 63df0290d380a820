"""Engines that find nearest vectors, ours and others, made to find as much: what each takes for it."""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codekin.search import coarse
from codekin.search.vectors import Vectors

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
        self.index = faiss.index_factory(rows.shape[1], "HNSW16,SQfp16", faiss.METRIC_INNER_PRODUCT)
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


def compare(rows: NDArray[np.int8], questions: NDArray[np.int8], queries: NDArray[np.int8]) -> None:
    """Prints what each engine takes to find what ours finds; it measures how to search by `questions`."""
    truth = coarse.nearest_of_all(rows, queries, 10)
    wanted = 0.0
    print("| engine | build s | save s | MB | looks at | recall@10 | p50 ms | p99 ms |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for start in (Own, USearch, Faiss, HNSWLib):
        before, started = memory("VmRSS"), time.perf_counter()
        try:
            engine = start(rows, questions)
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


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-9))


def memory(kind: str) -> float:
    """This process's memory in megabytes: VmRSS, what it has, or VmHWM, the most that it has had."""
    return int(re.search(rf"{kind}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def milliseconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - started)
