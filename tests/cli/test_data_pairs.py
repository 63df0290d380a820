"""`codekin data clean` and `negatives`. `synthesize` is run in tests/data, beside the server it asks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import Run

BODY = "def mean(values):\n    # the average of what a list holds\n    return sum(values) / len(values)"


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Four pairs: one twice, one that is in the benchmark."""
    records = [
        ("average of a list", BODY, "a"),
        ("Average of a list", BODY + "\n", "b"),
        ("largest of a list", "def largest(values):\n    return max(values)  # of a list", "b"),
        ("open a file of text", "def read(path):\n    return open(path, encoding='utf-8').read()", "c"),
    ]
    lines = [
        json.dumps({"query": q, "document": d, "task": "nl2code", "language": "python", "source": s})
        for q, d, s in records
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    folder = tmp_path / "bench"
    folder.mkdir()
    (folder / "corpus.jsonl").write_text('{"_id": "d", "text": "fn read() {}"}\n')
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "Open a file of text?"}\n')
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")
    return folder


def test_clean(run: Run, pairs: Path, benchmark: Path, tmp_path: Path):
    out = tmp_path / "out.jsonl"
    done = run("data", "clean", pairs, out, "--against", benchmark)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"{out}: 2 pairs of 4",
        "exact duplicate: 1 (b 1)",
        "  2: Average of a list",
        "bench query in the query: 1 (c 1)",
        "  4: open a file of text",
    ]
    assert [json.loads(line)["query"] for line in out.read_text().splitlines()] == [
        "average of a list",
        "largest of a list",
    ]
    report = json.loads(run("data", "clean", pairs, out, "--against", benchmark, "--json").stdout)
    assert (report["read"], report["kept"]) == (4, 2)
    assert report["dropped"] == {"exact duplicate": {"b": 1}, "bench query in the query": {"c": 1}}
    assert report["examples"]["exact duplicate"] == [
        {"number": 1, "repeats": 0, "query": "Average of a list", "document": BODY + "\n"}
    ]


def test_clean_says_what_is_wrong(run: Run, pairs: Path, tmp_path: Path):
    wrong = run("data", "clean", pairs, tmp_path / "out.jsonl", "--against", "MBPP")
    assert wrong.returncode == 2
    assert wrong.stderr == "codekin: MBPP is not here; codekin data fetch MBPP --benchmark\n"
    pairs.write_text("nothing\n")
    wrong = run("data", "clean", pairs, tmp_path / "out.jsonl")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith(f"codekin: {pairs}:1: not JSON")
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("model", [[], ["--model", "codekin-static"]])
def test_negatives(run: Run, pairs: Path, tmp_path: Path, model: list[str]):
    out = tmp_path / "out.jsonl"
    done = run("data", "negatives", pairs, out, "--count", "1", "--ratio", "1", *model)
    assert (done.returncode, done.stderr) == (0, "")
    first, *_ = map(json.loads, out.read_text().splitlines())
    assert first["negatives"][0].startswith("def largest")
    assert done.stdout.startswith(f"{out}: ")
    assert "false negatives passed over: " in done.stdout
