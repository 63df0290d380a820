"""What a shared store costs beside an index on this machine, on the same code, and whether it answers the same.

    python benchmarks/cluster.py [--store milvus://host:19530] [--chunks 20000] [FOLDER]

Without `--store` it starts the server of milvus-lite (pip install milvus-lite), which is for tests and trials: its
figures are no measure of a Milvus. FOLDER (default: the packages beside this Python) is copied until there are enough
chunks, and forgotten by the store at the end.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from codekin import CodeIndex
from codekin.errors import StoreError
from codekin.search import Result
from codekin.source import walk

QUESTIONS = (
    "where are failed requests retried",
    "parse a version string",
    "read a configuration file",
    "split text into tokens",
    "close all connections of a pool",
    "convert a date to a timestamp",
    "from_json",
    "write rows to a csv file",
)
ASKED: dict[str, dict[str, object]] = {
    "hybrid": {},
    "semantic": {"mode": "semantic"},
    "lexical": {"mode": "lexical"},
    "hybrid, one language": {"languages": ["python"]},
}
_BYTES_A_CHUNK = 1000  # of source, about


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(sysconfig.get_path("purelib")))
    parser.add_argument("--store")
    parser.add_argument("--chunks", type=int, default=20_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        root = copied(arguments.folder, Path(work) / "code", arguments.chunks * _BYTES_A_CHUNK)
        with served(arguments.store, Path(work) / "milvus") as store:
            compare(root, Path(work) / "index", f"{store}#codekin-benchmark")


def compare(root: Path, folder: Path, store: str) -> None:
    """Prints the figures of both."""
    with CodeIndex(root, index=folder) as local, CodeIndex(root, store=store) as shared:
        print(f"{'':24}{'this machine':>16}{'shared store':>16}")
        started = [timed(index.update)[0] for index in (local, shared)]
        chunks = [index.status().chunks for index in (local, shared)]
        row("chunks", [f"{number:,}" for number in chunks])
        row(
            "chunks indexed a second",
            [f"{n / seconds:,.0f}" for n, seconds in zip(chunks, started, strict=True)],
        )
        row("update, no change", [f"{1000 * timed(index.update)[0]:,.0f} ms" for index in (local, shared)])
        same = total = 0
        for name, options in ASKED.items():
            times: list[list[float]] = [[], []]
            for question in QUESTIONS:
                found = []
                for index, own in zip((local, shared), times, strict=True):
                    seconds, results = timed(partial(index.search, question, **options))
                    own.append(seconds)
                    found.append([place(result) for result in results])
                same += sum(one == other for one, other in zip(*found, strict=False))
                total += len(found[0])
            row(f"{name}, p50", [f"{1000 * statistics.median(own):,.1f} ms" for own in times])
        row("same place in the list", ["", f"{same} of {total}"])
        row(
            "peak memory of this process",
            [f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10:,} MB", ""],
        )
        shared._store.remove(list(shared._store.files()))


def place(result: Result) -> tuple[str, int]:
    return result.path, result.start_line


T = TypeVar("T")


def timed(call: Callable[[], T]) -> tuple[float, T]:
    began = time.perf_counter()
    made = call()
    return time.perf_counter() - began, made


def row(name: str, values: list[str]) -> None:
    print(f"{name:24}" + "".join(f"{value:>16}" for value in values), flush=True)


def copied(source: Path, target: Path, size: int) -> Path:
    """A folder with so many bytes of the source's files."""
    for file in walk(source, max_bytes=1_000_000):
        if size <= 0:
            break
        (target / file.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / file.path, target / file.path)
        size -= file.size
    return target


@contextmanager
def served(store: str | None, folder: Path) -> Iterator[str]:
    """The store that was named, or a server of milvus-lite."""
    if store:
        yield store
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "milvus_lite", "server", "--data-dir", str(folder), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        address = f"milvus://127.0.0.1:{port}"
        for _ in range(60):
            try:
                with CodeIndex(os.curdir, store=f"{address}#none") as index:
                    index.status()
                break
            except StoreError:
                time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
