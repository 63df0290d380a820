import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codekin.data import Pair, benchmarks
from codekin.data.leaks import RUN, SHARE, Leak, LeakIndex
from codekin.errors import InputError
from codekin.tasks import Task


def _pair(query: str, document: str) -> Pair:
    return Pair(query, document, Task.NL2CODE)


ANSWER = """def mean_of_squares(values):
    total = 0
    for value in values:
        total += value ** 2
    return total / len(values)"""
COPY = "# copied\n" + ANSWER.upper().replace("    ", "\t") + "\nprint(mean_of_squares([1]))"
INDEX = LeakIndex({"one": [_pair("how to average squares in python", ANSWER)], "two": [_pair("x y z", "q")]})


@pytest.mark.parametrize(
    ("text", "leak"),
    [
        (ANSWER, Leak(0, "one", "document", 1.0)),
        (COPY, Leak(0, "one", "document", 1.0)),
        ("How to average squares, in Python?", Leak(0, "one", "query", 1.0)),
        ("We show how to average squares in python", None),  # a short text has to be equal
        ("x, y, z", Leak(0, "two", "query", 1.0)),
        (ANSWER.replace("total", "result"), None),
        ("def mean(values): return sum(values) / len(values)", None),
        ("", None),
    ],
)  # fmt: skip
def test_leaks(text: str, leak: Leak | None):
    assert INDEX.find([text]) == ([leak] if leak else [])


def test_the_benchmark_text_that_most_is_of():
    words = [f"w{i}" for i in range(100)]
    index = LeakIndex(
        {"half": [_pair(" ".join(words), "a b")], "whole": [_pair(" ".join(words[:60]), "c d")]}
    )
    (leak,) = index.find([" ".join(words[:70])])
    assert (leak.benchmark, leak.share) == ("whole", 1.0)
    (leak,) = index.find(["nothing", " ".join(words[20:80])][1:])
    assert leak.benchmark == "whole" and leak.share == pytest.approx((40 - RUN + 1) / (60 - RUN + 1))


def test_nothing_leaks_from_no_benchmark():
    assert LeakIndex({}).find(["a b c", ""]) == []
    assert LeakIndex({"x": []}).find(["a b c"]) == []


@given(st.data())
def test_shares_are_those_of_sets_of_runs(data: st.DataObject):
    rng = random.Random(data.draw(st.integers(0, 10**6)))
    secret = [[rng.choice("abcdefgh") for _ in range(rng.randrange(1, 30))] for _ in range(4)]
    texts = []
    for _ in range(6):
        source = rng.choice(secret)
        start = rng.randrange(len(source))
        texts.append(
            [
                *source[start : start + rng.randrange(1, 30)],
                *(rng.choice("xyz") for _ in range(rng.randrange(3))),
            ]
        )

    def runs(words: list[str]) -> set[tuple[str, ...]]:
        return {tuple(words[i : i + RUN]) for i in range(max(1, len(words) - RUN + 1))}

    index = LeakIndex({"b": [_pair(" ".join(words), "unrelated text") for words in secret]})
    found = {leak.text: leak.share for leak in index.find([" ".join(words) for words in texts])}
    for i, words in enumerate(texts):
        best = max(len(runs(words) & runs(other)) / len(runs(other)) for other in secret)
        assert found.get(i) == (pytest.approx(best) if best >= SHARE else None)


def test_benchmarks_are_folders_or_of_the_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "bench"
    (folder / "qrels").mkdir(parents=True)
    records = {
        "corpus": [("d1", ANSWER), ("d2", "never asked for")],
        "queries": [("q1", "squares"), ("q2", "y")],
    }
    for name, rows in records.items():
        lines = [json.dumps({"_id": key, "text": text}) for key, text in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t0\n")
    found = {name: list(pairs) for name, pairs in benchmarks([str(folder)]).items()}
    # What is judged to answer nothing is no secret.
    assert found == {"bench": [_pair("squares", ANSWER)]}
    assert benchmarks(["fetched"]) == {}
    with pytest.raises(InputError, match="codekin data fetch MBPP --benchmark"):
        benchmarks(["mbpp"])
    with pytest.raises(InputError, match="no benchmark set is called 'nowhere'"):
        benchmarks(["nowhere"])
