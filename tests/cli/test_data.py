"""`codekin data`: the catalogue, and pairs made of local files."""

from __future__ import annotations

import json
from pathlib import Path

from commands import Run


def test_list_and_its_filters(run: Run):
    listed = run("data", "list")
    assert listed.returncode == 0
    lines = listed.stdout.splitlines()
    assert len(lines) == 1 + 33 + 25
    assert "CoSQA *                   benchmark  nl2code          mteb       MIT                test" in lines
    assert any(line.split()[:1] == ["MLQuestions"] and " ! " in line for line in lines)
    found = json.loads(
        run("data", "list", "--use", "benchmark", "--task", "qa", "--licence", "mit", "--json").stdout
    )
    assert [entry["name"] for entry in found["sets"]] == [
        "CodeFeedbackMT",
        "CodeFeedbackST",
        "StackOverflowQA",
    ]
    assert {entry["commercial"] for entry in found["sets"]} == {True}
    kinds = json.loads(run("data", "list", "--kind", "synthetic", "--json").stdout)["sets"]
    assert {entry["commercial"] for entry in kinds} == {None}
    nothing = run("data", "list", "--licence", "GPL-3.0-only")
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (1, "", "")
    wrong = run("data", "list", "--kind", "mixed")
    assert wrong.returncode == 2
    assert wrong.stderr == "codekin: unknown kind 'mixed'; kinds: mteb, adapted, synthetic\n"


def test_show(run: Run, tmp_path: Path):
    shown = run("data", "show", "wikisql")
    assert shown.returncode == 0
    assert "licence   BSD-3-Clause\n" in shown.stdout
    assert f"files in  {tmp_path}/cache/codekin/sets/WikiSQL (not fetched)\n" in shown.stdout
    assert shown.stdout.count("name      WikiSQL") == 2  # the training set and the benchmark
    (one,) = json.loads(run("data", "show", "DS-1000", "--json").stdout)["sets"]
    assert (one["use"], one["licence"], one["average"]) == ("benchmark", "CC-BY-SA-4.0", False)
    wrong = run("data", "show", "wiki")
    assert (wrong.returncode, wrong.stderr) == (2, "codekin: no data set is called 'wiki'; see WikiSQL\n")


def test_fetch_makes_pairs_of_local_files(run: Run, tmp_path: Path):
    source = tmp_path / "leetcode-train.jsonl"
    record = {
        "slug": "add",
        "content": "Add two.",
        "python": "```python\ndef add(a, b):\n    return a + b\n```\nDone.",
    }
    source.write_text(json.dumps(record) + "\n")
    made = run("data", "fetch", "LeetCodeP2S", "--from", source, "--to", tmp_path / "pairs.jsonl")
    assert (made.returncode, made.stdout, made.stderr) == (0, f"{tmp_path}/pairs.jsonl: 1 pair\n", "")
    pair = json.loads((tmp_path / "pairs.jsonl").read_text())
    assert pair == {
        "query": "Add two.",
        "document": "def add(a, b):\n    return a + b",
        "task": "nl2code",
        "language": "python",
        "source": "LeetCodeP2S",
        "licence": "MIT",
        "path": "",
        "kind": "adapted",
    }
    idle = run("data", "fetch", "LeetCodeP2S", "--from", source)
    assert (idle.returncode, "--from needs --to" in idle.stderr) == (2, True)
    source.write_text("{\n")
    broken = run("data", "fetch", "LeetCodeP2S", "--from", source, "--to", tmp_path / "other.jsonl")
    assert broken.returncode == 2
    assert broken.stderr.startswith(f"codekin: {source}:1: not JSON")
    assert broken.stderr.count("\n") == 1
    assert not (tmp_path / "other.jsonl").exists()


def test_fetch_says_in_one_line_what_cannot_be_had(run: Run, tmp_path: Path):
    unreachable = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    failed = run("data", "fetch", "CoSQA", env=unreachable)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr == "codekin: cannot reach 127.0.0.1:9: Connection refused\n"
    by_hand = run("data", "fetch", "StackExchangeTitle")
    assert by_hand.returncode == 2
    assert "download the dumps of the sites wanted" in by_hand.stderr
    assert by_hand.stderr.count("\n") == 1
