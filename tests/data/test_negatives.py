from pathlib import Path

import pytest

from codekin import Embedder
from codekin.data import Pair, mine_negatives, read_pairs, write_pairs
from codekin.errors import InputError
from codekin.tasks import Task

TOPICS = [
    "mean of values",
    "median of values",
    "largest of values",
    "first of lines",
    "parse a date",
    "open a file",
]
BODIES = [
    "def mean(values):\n    # mean of values\n    return sum(values) / len(values)",
    "def median(values):\n    # median of values\n    return sorted(values)[len(values) // 2]",
    "def largest(values):\n    # largest of values\n    return max(values)",
    "def first(lines):\n    # first of lines\n    return lines[0]",
    "def parse_date(text):\n    return datetime.strptime(text, '%Y')",
    "def open_file(path):\n    return open(path, encoding='utf-8')",
]


def _pair(query: str, document: str, language: str = "python", task: Task = Task.NL2CODE) -> Pair:
    return Pair(query, document, task, language, "s", "MIT", negatives=("old",))


@pytest.mark.parametrize("searcher", ["bm25", "model"])
def test_negatives_are_alike_and_no_answers(tmp_path: Path, searcher: str):
    engine = Embedder() if searcher == "model" else searcher
    pairs = [_pair(*both) for both in zip(TOPICS, BODIES, strict=True)]
    pairs += [
        _pair("mean of values!", "function mean(values) { return values.sum / values.size }"),
        _pair("average", BODIES[0].replace("    ", "\t") + "  # the end"),
        _pair("mean of values", "mean of values in ruby", "ruby"),
        _pair("mean of values", "mean of values explained", "", Task.QA),
    ]
    write_pairs(tmp_path / "in.jsonl", pairs)
    calls: list[tuple[int, int]] = []
    report = mine_negatives(
        tmp_path / "in.jsonl",
        tmp_path / "out.jsonl",
        engine,
        count=3,
        progress=lambda done, total: calls.append((done, total)),
    )
    mined = list(read_pairs(tmp_path / "out.jsonl"))
    assert [(pair.query, pair.document) for pair in mined] == [(pair.query, pair.document) for pair in pairs]
    assert report.pairs == len(pairs)
    assert report.mined == sum(bool(pair.negatives) for pair in mined)
    assert report.negatives == sum(len(pair.negatives) for pair in mined)
    assert calls[-1] == (10, 10)
    python = {pair.document for pair in pairs if pair.language == "python"}
    first, median = mined[0], mined[1]
    assert set(first.negatives) <= python
    # The same function in other layout, and what answers the same question, are no negatives.
    assert not set(first.negatives) & {first.document, mined[6].document, mined[7].document}
    assert report.answers > 0
    assert first.negatives[0] in BODIES[1:4]
    assert median.negatives and len(median.negatives) <= 3
    assert mined[8].negatives == mined[9].negatives == ()  # nothing else in the language, of the task


def test_ranks_and_ratio_bound_the_choice(tmp_path: Path):
    # A query of ten words; document i has i of them. Its own has all.
    words = [f"word{chr(97 + i)}" for i in range(10)]
    query, own = " ".join(words), " ".join(words * 3)
    others = [
        " ".join([*words[:i], *(f"other{chr(97 + i)}{chr(97 + j)}" for j in range(10 - i))])
        for i in range(1, 10)
    ]
    pairs = [_pair(query, own), *(_pair(f"unlike{chr(97 + i)}", text) for i, text in enumerate(others))]
    write_pairs(tmp_path / "in.jsonl", pairs)

    def chosen(**bounds: float) -> list[int]:
        mine_negatives(tmp_path / "in.jsonl", tmp_path / "out.jsonl", **bounds)  # type: ignore[arg-type]
        negatives = next(read_pairs(tmp_path / "out.jsonl")).negatives
        return [others.index(text) + 1 for text in negatives]

    everything = chosen(count=20, ratio=1.0)
    assert everything == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert chosen(count=3, ratio=1.0) == everything[:3]
    assert chosen(count=3, skip=2, ratio=1.0) == everything[2:5]
    assert chosen(count=9, skip=2, depth=4, ratio=1.0) == everything[2:4]
    close = chosen(count=9, ratio=0.4)
    assert 0 < len(close) < 9 and close == everything[-len(close) :]


@pytest.mark.parametrize(
    "bounds", [{"count": 0}, {"skip": 5, "depth": 5}, {"ratio": 0.0}, {"ratio": 1.5}, {"skip": -1}]
)
def test_bounds_that_leave_nothing(tmp_path: Path, bounds: dict[str, int]):
    write_pairs(tmp_path / "in.jsonl", [_pair("q", "d")])
    with pytest.raises(InputError, match="no negative can be chosen"):
        mine_negatives(tmp_path / "in.jsonl", tmp_path / "out.jsonl", **bounds)
    with pytest.raises(InputError, match="unknown searcher 'colbert'"):
        mine_negatives(tmp_path / "in.jsonl", tmp_path / "out.jsonl", "colbert")


@pytest.mark.parametrize(
    "texts", [[], [("???", "{}")], [("???", "{}"), ("!", "[]")], [("a", "{}"), ("?", "b")]]
)
def test_texts_without_terms(tmp_path: Path, texts: list[tuple[str, str]]):
    write_pairs(tmp_path / "in.jsonl", [_pair(*text) for text in texts])
    report = mine_negatives(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert (report.pairs, report.negatives) == (len(texts), 0)
