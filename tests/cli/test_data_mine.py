"""`codekin data mine`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from commands import COMMAND, FILES, Run

from codekin.data import read_pairs
from codekin.tasks import Task


def test_pairs_and_their_counts_by_task_and_language(run: Run, tree: Path, tmp_path: Path):
    out = tmp_path / "pairs.jsonl"
    (tree / "docs/faq.md").write_text(
        "## Where is the cart kept?\n\nIn the local storage of the browser, as JSON.\n"
    )
    done = run("data", "mine", tree, "-o", out)
    assert (done.returncode, done.stderr) == (0, "")
    first, head, *rows = done.stdout.splitlines()
    pairs = list(read_pairs(out))
    assert first == f"{out}: {len(pairs)} pairs"
    assert head.split() == [*(task.value for task in Task), "all"]
    for row in rows:
        language, *counts = row.split()
        these = [pair for pair in pairs if language in (pair.language, "all")]
        numbers = [sum(pair.task is task for pair in these) for task in Task]
        assert list(map(int, counts)) == [*numbers, len(these)]
    assert {"Send a request, again after each failure, until the policy gives up."} <= {
        p.query for p in pairs
    }
    described = json.loads(run("data", "mine", tree, "-o", out, "--json").stdout)
    assert described["pairs"] == len(pairs)
    expected = Counter((pair.task.value, pair.language) for pair in pairs)
    told = {(task, name): number for task, row in described["tasks"].items() for name, number in row.items()}
    assert told == expected
    assert described["skipped"] == []


@pytest.mark.parametrize("name", ["pairs.jsonl.gz", "pairs.parquet"])
def test_formats(run: Run, tree: Path, tmp_path: Path, name: str):
    run("data", "mine", tree, "-o", tmp_path / "pairs.jsonl")
    assert run("data", "mine", tree, "-o", tmp_path / name).returncode == 0
    assert list(read_pairs(tmp_path / name)) == list(read_pairs(tmp_path / "pairs.jsonl"))


def test_broken_trees(run: Run, tree: Path, tmp_path: Path):
    good = run("data", "mine", tree, "-o", tmp_path / "good.jsonl").stdout
    (tree / "loop").symlink_to(tree)
    (tree / "self").symlink_to("self")
    (tree / "nothing.py").symlink_to("gone.py")
    os.mkfifo(tree / "pipe.py")
    (tree / "binary.py").write_bytes(b"\0\1\2" * 100)
    (tree / "latin.py").write_bytes(b"# Caf\xe9 \xff\xfe\nx = 1\n")
    (tree / "deep.py").write_text("(" * 50_000)
    (tree / "git").mkdir()
    (tree / ".git").write_text("gitdir: /nowhere\n")
    done = run("data", "mine", tree, "-o", tmp_path / "bad.jsonl")
    assert (done.returncode, done.stdout.splitlines()[1:]) == (0, good.splitlines()[1:])
    assert (
        done.stderr == f"skipped {tree}/nothing.py: link to nothing\nskipped {tree}/self: link to nothing\n"
    )
    assert (tmp_path / "bad.jsonl").read_text() == (tmp_path / "good.jsonl").read_text()


def test_what_cannot_be_mined(run: Run, tree: Path, tmp_path: Path):
    out = tmp_path / "pairs.jsonl"
    done = run("data", "mine", tree, tmp_path / "gone", "-o", out)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"codekin: {tmp_path}/gone does not exist\n"
    assert run("data", "mine", tree, "-o", tmp_path / "pairs.csv").returncode == 2
    held_out = tmp_path / "flask"
    shutil.copytree(tree, held_out)
    done = run("data", "mine", held_out, "-o", out)
    assert (done.returncode, done.stdout) == (1, f"{out}: 0 pairs\n")
    assert done.stderr == f"skipped {held_out}: held out: search quality is measured on it\n"


def test_interrupted_it_leaves_what_was_there(tmp_path: Path):
    tree, out = tmp_path / "tree", tmp_path / "pairs.jsonl"
    tree.mkdir()
    out.write_text("as it was\n")
    for number in range(3000):
        (tree / f"m{number}.py").write_text(FILES["net/retry.py"] * 20 + f"x = {number}\n")
    process = subprocess.Popen(
        [COMMAND, "data", "mine", str(tree), "-o", str(out)], stderr=subprocess.PIPE, start_new_session=True
    )
    while not list(tmp_path.glob("*.partial")):
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr.strip()) == (130, b"")
    assert out.read_text() == "as it was\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairs.jsonl", "tree"]
