"""Which texts a page asks of its benchmarks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made import made

from codekin.evaluate import page
from codekin.evaluate.benchmarks import find_benchmarks
from codekin.evaluate.texts import page_texts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten queries, each answered by one of twelve documents."""
    folder = tmp_path / "mine"
    folder.mkdir()
    corpus = [{"_id": f"d{place}", "title": "", "text": f"document {place}"} for place in range(12)]
    queries = [{"_id": f"q{place}", "text": f"query {place}"} for place in range(10)]
    for name, records in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
    judged = [f"q{place}\td{place}\t1" for place in range(10)]
    (folder / "qrels.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]) + "\n")
    return folder


def test_only_what_is_shown_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MOST_QUERIES", 3)
    results = [made("a", "mine", [1.0] * 10), made("b", "mine", [1.0] * 7 + [0.5] * 3)]
    found = page_texts(results, find_benchmarks([str(folder)]))
    assert found["mine"].queries == {f"q{place}": f"query {place}" for place in (7, 8, 9)}
    assert found["mine"].documents == {f"d{place}": f"document {place}" for place in (0, 7, 8, 9)}
    assert found["mine"].relevant == {f"q{place}": {f"d{place}": 1} for place in (7, 8, 9)}


def test_a_benchmark_that_is_gone_is_left_out(folder: Path) -> None:
    benchmarks = find_benchmarks([str(folder)])
    (folder / "corpus.jsonl").unlink()
    assert page_texts([made("a", "mine", [1.0] * 10)], benchmarks) == {}
