"""`codekin label`: lines, JSON lines and files with the label that is nearest."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from commands import COMMAND, Run

from codekin import Embedder

LINES = [
    "retry a failed HTTP request with exponential backoff",
    "parse the headers of a message into a dictionary",
    "install the package with pip",
    "send the request again when the connection was lost",
]
LABELS = ["retrying requests", "parsing headers", "installing packages"]
EXPECTED = [LABELS[0], LABELS[1], LABELS[2], LABELS[0]]
OPTIONS = [part for label in LABELS for part in ("-e", label)]


def test_lines_get_their_labels(run: Run) -> None:
    result = run("label", *OPTIONS, stdin="\n".join(LINES))
    assert (result.returncode, result.stderr) == (0, "")
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [row[0] for row in rows] == EXPECTED
    assert [row[3] for row in rows] == LINES
    scores = np.sort(Embedder().encode(LINES) @ Embedder().encode(LABELS).T, axis=1)
    assert np.allclose([float(row[1]) for row in rows], scores[:, -1], atol=6e-4)
    assert np.allclose([float(row[2]) for row in rows], scores[:, -1] - scores[:, -2], atol=6e-4)


def test_json_and_labels_from_a_file(run: Run, tree: Path) -> None:
    (tree / "labels.txt").write_text("\n".join([*LABELS[1:], "", LABELS[1]]) + "\n")
    (tree / "in.jsonl").write_text(
        "".join(json.dumps({"id": f"k{line}", "text": line}) + "\n" for line in LINES)
    )
    result = run("label", "-e", LABELS[0], "--labels", "labels.txt", "--json", "in.jsonl")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [list(item) for item in found] == [["id", "label", "score", "margin", "text"]] * len(LINES)
    assert [item["label"] for item in found] == EXPECTED
    assert [(item["id"], item["text"]) for item in found] == [(f"k{line}", line) for line in LINES]
    assert all(0 < item["margin"] <= item["score"] + 1 for item in found)


def test_files_are_shown_by_their_place(run: Run) -> None:
    result = run("label", *OPTIONS, "--files", "net", "docs/guide.md")
    found = {place: label for label, _, _, place in (line.split("\t") for line in result.stdout.splitlines())}
    assert found["net/headers.py:1-7"] == "parsing headers"
    assert found["docs/guide.md"] == "installing packages"
    assert {label for place, label in found.items() if place.startswith("net/retry.py")} == {
        "retrying requests"
    }


def test_a_decoder_labels_too(run: Run, decoder: Path) -> None:
    lines = [*LINES, "two\tcolumns"]
    found = run("label", *OPTIONS, "--model", str(decoder), "--json", stdin="\n".join(lines)).stdout
    model = Embedder(decoder, dtype="float32")
    scores = model.encode(lines, "code2nl", "query") @ model.encode(LABELS, "code2nl", "document").T
    items = [json.loads(line) for line in found.splitlines()]
    assert [item["label"] for item in items] == [LABELS[row] for row in scores.argmax(axis=1)]
    # Where the machine computes in bfloat16 the command does too.
    assert np.allclose([item["score"] for item in items], scores.max(axis=1), atol=1e-2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give at least two labels"),
        (["-e", "a"], "give at least two labels"),
        (["-e", "a", "-e", " a "], "give at least two labels"),
        (["-e", "a", "--labels", "none.txt"], "'none.txt' does not exist"),
        (["-e", "a", "-e", "b", "--task", "x"], "'x' is not one of"),
        (["-e", "a", "-e", "b", "--field", "f"], "stdin:1: not JSON"),
    ],
)
def test_mistakes_are_status_2(run: Run, arguments: list[str], message: str) -> None:
    result = run("label", *arguments, stdin="some text\n")
    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr


def test_bytes_of_any_kind_survive(run: Run) -> None:
    lines = [b"caf\xe9 retries", b"", b"\xff\xfe", "解析".encode()]
    out = run("label", *OPTIONS, stdin=b"\n".join(lines)).stdout.encode("utf-8", "surrogateescape")
    assert [line.split(b"\t")[3] for line in out.splitlines()] == lines


def test_a_closed_pipe_ends_it_quietly(environment: dict[str, str]) -> None:
    pipeline = f"yes 'retry the failed request' | '{COMMAND}' label -e retries -e headers | head -n 1"
    result = subprocess.run(
        ["sh", "-c", pipeline], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout.startswith("retries\t")
    assert result.stderr == ""
