#!/usr/bin/env python3
"""How long a search takes: first use, cold process, warm, after one edit; and the memory that a large tree needs.

    python benchmarks/search_speed.py [--source DIR ...] [--memory MEGABYTES]

Trees are made of the Python files found under DIR (default: this Python's standard library and packages). Prints one
line a figure: the median of several runs, in milliseconds. `--memory` instead indexes a tree of that many megabytes,
every file different, and prints the peak resident memory of the process.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from codekin import CodeIndex

QUESTION = "where are failed requests retried"
QUESTIONS = (
    QUESTION,
    "parse a date from text",
    "HTTPConnection",
    "open a temporary file",
    "merge two sorted lists",
)


def sources(folders: list[Path]) -> list[Path]:
    """Python files of a usual size, in an order that is always the same."""
    found = {path for folder in folders for path in folder.rglob("*.py")}
    return sorted(path for path in found if 500 < path.stat().st_size < 200_000)


def tree(files: list[Path], count: int, into: Path) -> None:
    """`count` files in folders of 50."""
    if len(files) < count:
        sys.exit(f"{len(files)} files found, {count} needed: name more folders with --source")
    for number, path in enumerate(files[:count]):
        folder = into / f"part{number // 50:03}"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / f"{path.stem}_{number}.py")


def milliseconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - started)


def report(name: str, figures: list[float], unit: str = "ms") -> None:
    print(
        f"{name:58}{statistics.median(figures):9.1f} {unit}  ({min(figures):.1f}..{max(figures):.1f})",
        flush=True,
    )


def command(root: Path, index: Path) -> None:
    subprocess.run(
        [Path(sys.executable).with_name("codekin"), "search", QUESTION, root, "--index", index],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def speed(files: list[Path], scratch: Path) -> None:
    small, index = scratch / "small", scratch / "index"
    tree(files, 1000, small)
    first = []
    for _ in range(3):
        shutil.rmtree(index, ignore_errors=True)
        first.append(milliseconds(lambda: command(small, index)))
    report("codekin search, first use, 1,000 files", first)
    cold = [milliseconds(lambda: command(small, index)) for _ in range(9)]
    report("codekin search, cold process, 1,000 files indexed", cold)
    with CodeIndex(small, index=index) as code:
        for question in QUESTIONS:
            code.search(question)
        warm = [milliseconds(lambda q=question: code.search(q)) for _ in range(20) for question in QUESTIONS]
        report(f"search(), warm, {code.status().chunks:,} chunks", warm)

    large = scratch / "large"
    tree(files, 5000, large)
    with CodeIndex(large, index=scratch / "large-index") as code:
        built = code.update()
        report(f"update(), {built.added:,} files, {built.chunks_embedded:,} chunks", [1000 * built.seconds])
        report("update(), nothing changed", [1000 * code.update().seconds for _ in range(5)])
        edited = next(large.rglob("*.py"))
        seconds, chunks = [], []
        for number in range(5):
            with open(edited, "a") as file:
                file.write(f"\n\ndef added_{number}(value):\n    return value + {number}\n")
            change = code.update()
            seconds.append(1000 * change.seconds)
            chunks.append(float(change.chunks_embedded))
        report("update(), one file of 5,000 edited", seconds)
        report("  chunks embedded for it", chunks, "")


def memory(files: list[Path], megabytes: int, scratch: Path) -> None:
    large, written = scratch / "large", 0
    for number, path in enumerate(itertools.cycle(files)):
        folder = large / f"part{number // 200:04}"
        folder.mkdir(parents=True, exist_ok=True)
        # A new name in every line that defines one: copies whose chunks are equal would be embedded once.
        text = path.read_bytes().replace(b"def ", b"def v%d_" % number)
        (folder / f"{path.stem}_{number}.py").write_bytes(text)
        written += len(text)
        if written >= megabytes << 20:
            break
    for name in ("first use", "second use"):
        seconds = milliseconds(lambda: command(large, scratch / "index")) / 1000
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(
            f"codekin search, {name}, {written / 2**20:,.0f} MB in {number + 1:,} files: "
            f"{seconds:,.1f} s, peak resident memory {peak:,.0f} MB",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, action="append")
    parser.add_argument("--memory", type=int, metavar="MEGABYTES")
    args = parser.parse_args()
    files = sources(args.source or [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib")])
    with tempfile.TemporaryDirectory() as scratch:
        if args.memory:
            memory(files, args.memory, Path(scratch))
        else:
            speed(files, Path(scratch))


if __name__ == "__main__":
    main()
