import random
from pathlib import Path

import pytest

from codekin.data import Pair, clean, read_pairs, write_pairs
from codekin.data.cleaning import EXACT, NEAR
from codekin.tasks import Task


def _words(rng: random.Random, count: int) -> str:
    return " ".join(f"w{rng.randrange(10_000)}" for _ in range(count))


def _pair(query: str, document: str, source: str = "s") -> Pair:
    return Pair(query, document, Task.NL2CODE, "python", source, "MIT")


def test_what_goes_and_why(tmp_path: Path):
    rng = random.Random(1)
    query, document, other = _words(rng, 20), _words(rng, 150), _words(rng, 150)
    secret = _words(rng, 60)
    pairs = [
        _pair(query, document, "a"),
        _pair(query.upper(), f"  {document}\n", "b"),  # equal
        _pair(query + ".", document + "; end", "b"),  # near-equal
        _pair(query, other, "b"),  # another answer to the question
        _pair(_words(rng, 20), document, "b"),  # another question to the answer
        _pair(_words(rng, 20), f"{_words(rng, 30)} {secret} {_words(rng, 30)}", "c"),
        _pair(f"{secret} please", _words(rng, 50), "c"),
        _pair(secret, secret, "c"),
    ]
    write_pairs(tmp_path / "in.jsonl", pairs)
    calls: list[tuple[int, int]] = []
    report = clean(
        tmp_path / "in.jsonl",
        tmp_path / "out.jsonl",
        against={"bench": [_pair("q w e r", secret)]},
        progress=lambda done, total: calls.append((done, total)),
    )
    assert list(read_pairs(tmp_path / "out.jsonl")) == [pairs[0], pairs[3], pairs[4]]
    assert (report.read, report.kept) == (8, 3)
    assert report.dropped == {
        EXACT: {"b": 1},
        NEAR: {"b": 1},
        "bench document in the document": {"c": 1},
        "bench document in the query": {"c": 2},
    }
    assert [(e.number, e.repeats) for e in report.examples[EXACT] + report.examples[NEAR]] == [(1, 0), (2, 0)]
    assert report.examples["bench document in the document"][0].pair == pairs[5]
    assert calls == [(8, 0), (16, 16)]


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz", "out"])
def test_a_clean_set_stays_as_it_is(tmp_path: Path, name: str):
    rng = random.Random(2)
    # More than a batch, so that numbers of pairs run through batches.
    pairs = [_pair(_words(rng, 8), _words(rng, 30)) for _ in range(2500)]
    write_pairs(tmp_path / "in.jsonl", [*pairs, pairs[7], pairs[2300]])
    report = clean(tmp_path / "in.jsonl", tmp_path / name)
    assert (report.read, report.kept, report.dropped) == (2502, 2500, {EXACT: {"s": 2}})
    assert [example.repeats for example in report.examples[EXACT]] == [7, 2300]
    assert [pair.query for pair in read_pairs(tmp_path / name)] == [pair.query for pair in pairs]


def test_an_empty_set(tmp_path: Path):
    (tmp_path / "in.jsonl").touch()
    report = clean(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert (report.read, report.kept, (tmp_path / "out.jsonl").read_bytes()) == (0, 0, b"")
