#!/usr/bin/env python3
"""Kills an indexing process at random moments, and lets two of them work at once.

    python benchmarks/robustness.py [TREE] [--rounds 50] [--seed 0]

TREE (default: the standard library of this Python) is copied into a temporary folder and edited there. Every round
starts `CodeIndex.update` in a process of its own, on a new index or after some files were edited, deleted, renamed
and added, and sends it SIGKILL at a random moment. The index must then pass SQLite's integrity check, answer queries,
and after one more update give exactly the results of a clean build: the same chunks and scores for each query in each
mode. Prints a line for each of the two experiments; exits 1 where one fails.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from codekin.errors import CodekinError
from codekin.search import CodeIndex, Mode

QUERIES = (
    "where are failed requests retried",
    "read a configuration file and merge it with the defaults",
    "parse command line arguments",
    "split a path into folder and name",
    "close the connection",
    "HTTPConnection",
    "Session.send",
    "get_default_encoding",
)
_CHILD = """
import sys
from codekin.search import CodeIndex, indexing, workers
if int(sys.argv[3]):
    indexing._BATCH_BYTES = workers._WORTH_A_WORKER = int(sys.argv[3])
with CodeIndex(sys.argv[1], index=sys.argv[2]) as index:
    print("ready", flush=True)
    index.update()
"""


def start_update(tree: Path, index: Path, batch_bytes: int = 0) -> subprocess.Popen[str]:
    """A process that updates an index; it is about to begin.

    `batch_bytes` other than 0 makes transactions smaller, and brings helping processes in even for a small tree.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(tree), str(index), str(batch_bytes)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def answers(tree: Path, index: Path, *, update: bool) -> list[Any]:
    """All that a user can see of an index: its numbers, and the answers to `QUERIES` in every mode."""
    with CodeIndex(tree, index=index, update=update) as code_index:
        found: list[Any] = [code_index.search(query, 30, mode=mode) for query in QUERIES for mode in Mode]
        status = code_index.status()
    return [*found, status.files, status.chunks, dict(sorted(status.languages.items()))]


def clean_answers(tree: Path) -> list[Any]:
    """The answers of an index built from nothing, undisturbed."""
    with tempfile.TemporaryDirectory() as folder:
        return answers(tree, Path(folder), update=True)


def integrity(index: Path) -> str:
    """What SQLite finds wrong with a database, "" for nothing."""
    db = sqlite3.connect(index / "index.sqlite")
    try:
        state = "; ".join(str(row[0]) for row in db.execute("PRAGMA integrity_check").fetchall())
    finally:
        db.close()
    return "" if state == "ok" else f"integrity check: {state}"


def edit(tree: Path, choice: random.Random, share: float = 0.1) -> None:
    """Changes a share of the Python files below a folder as people do: in place, gone, renamed, new."""
    files = sorted(tree.rglob("*.py"))
    for number, path in enumerate(choice.sample(files, max(1, int(len(files) * share)))):
        match choice.randrange(5):
            case 0:
                path.unlink()
            case 1:
                path.rename(path.with_name(f"renamed_{number}_{choice.randrange(10**6)}.py"))
            case 2:
                path.with_name(f"new_{number}_{choice.randrange(10**6)}.py").write_bytes(path.read_bytes())
            case _:
                lines = path.read_bytes().split(b"\n")
                at = choice.randrange(len(lines))
                lines[at:at] = [
                    b"",
                    f"def edited_{choice.randrange(10**6)}(request, path):".encode(),
                    b"    return 1",
                ]
                path.write_bytes(b"\n".join(lines))


@dataclass(frozen=True, slots=True)
class Round:
    """A process: how many seconds it worked, whether it was killed, how many files it left in the index, and what is
    wrong ("" for nothing)."""

    after: float
    killed: bool
    files: int
    failure: str


def killed_rounds(tree: Path, rounds: int, seed: int, batch_bytes: int = 0) -> Iterator[Round]:
    """Kills a process a round, by turns while it builds and while it updates; edits `tree`."""
    choice = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder)
        # How long either takes undisturbed: kills fall within. Corrected whenever a process is too quick to be killed.
        spans = dict.fromkeys(
            ("build", "update"), _finish(start_update(tree, index, batch_bytes), None).after
        )
        expected: list[Any] = []
        for number in range(rounds):
            doing = "update" if number % 2 else "build"
            if doing == "build":
                shutil.rmtree(index)
                index.mkdir()
            else:
                edit(tree, choice)
                expected = []
            ended = _finish(start_update(tree, index, batch_bytes), choice.uniform(0, spans[doing]))
            if not ended.killed:
                spans[doing] = ended.after
            if ended.failure:
                yield ended
                continue
            try:
                files = answers(tree, index, update=False)[-3]
                failure = integrity(index)
                expected = expected or clean_answers(tree)
                if not failure and answers(tree, index, update=True) != expected:
                    failure = "answers differ from those of a clean build"
            except CodekinError as error:
                failure = str(error)
            yield replace(ended, files=files, failure=failure)


def _finish(process: subprocess.Popen[str], kill_after: float | None) -> Round:
    started = time.perf_counter()
    try:
        process.wait(kill_after)
    except subprocess.TimeoutExpired:
        process.kill()
    _, errors = process.communicate()
    failure = errors.strip().rsplit("\n", 1)[-1] if process.returncode > 0 else ""
    return Round(time.perf_counter() - started, process.returncode < 0, 0, failure)


def together(tree: Path, seed: int, batch_bytes: int = 0) -> Iterator[str]:
    """What is wrong ("" for nothing) after two processes built an index at once, and after they updated it at once."""
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder)
        for doing in ("build", "update"):
            if doing == "update":
                edit(tree, random.Random(seed))
            processes = [start_update(tree, index, batch_bytes) for _ in range(2)]
            failures = [ended.failure for process in processes if (ended := _finish(process, None)).failure]
            if not failures and (state := integrity(index)):
                failures.append(state)
            if not failures and answers(tree, index, update=False) != clean_answers(tree):
                failures.append("answers differ from those of a clean build")
            yield "; ".join(failures)


def main() -> int:
    """Runs both experiments and prints what came of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tree", nargs="?", type=Path, default=Path(sysconfig.get_path("stdlib")))
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        skipped = shutil.ignore_patterns("site-packages", "__pycache__", "test", ".git")
        shutil.copytree(options.tree, tree, ignore=skipped)
        rounds = []
        for done in killed_rounds(tree, options.rounds, options.seed):
            rounds.append(done)
            print(
                f"round {len(rounds)} of {options.rounds}",
                file=sys.stderr,
                end="\r" if sys.stderr.isatty() else "\n",
            )
            if done.failure:
                print(f"round {len(rounds)}, ended after {done.after:.3f} s: {done.failure}", flush=True)
        kills = [done for done in rounds if done.killed]
        bad = sum(bool(done.failure) for done in rounds)
        moments = sorted(done.after for done in kills) or [0.0]
        partial = len({done.files for done in kills})
        print(
            f"killed: {len(kills)} of {len(rounds)} processes, {moments[0]:.2f} to {moments[-1]:.2f} s into their work "
            f"(median {statistics.median(moments):.2f} s), leaving {partial} different numbers of files; {bad} failures"
        )
        failures = list(together(tree, options.seed))
        for failure in filter(None, failures):
            print(f"two at once: {failure}")
        print(f"two at once: {len(failures)} runs of two processes, {sum(map(bool, failures))} failures")
    return 1 if bad or any(failures) else 0


if __name__ == "__main__":
    sys.exit(main())
