import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codekin.data import Pair, read_pairs, write_pairs
from codekin.errors import InputError
from codekin.tasks import Task

_text = st.text(min_size=1).filter(str.strip)
_pair = st.builds(
    Pair,
    query=_text,
    document=_text,
    task=st.sampled_from(Task),
    language=st.text(),
    source=st.text(),
    licence=st.text(),
    path=st.text(),
    kind=st.text(),
    negatives=st.lists(st.text()).map(tuple),
)
_GOOD = {
    "query": "parse a date",
    "document": "def parse(text): ...",
    "task": "nl2code",
    "language": "python",
    "source": "pypi:dates@1.0",
    "licence": "MIT",
    "path": "dates.py",
    "kind": "documentation",
}


@given(pairs=st.lists(_pair, max_size=5), suffix=st.sampled_from([".jsonl", ".jsonl.gz"]))
def test_pairs_come_back_as_they_were(tmp_path_factory, pairs, suffix):
    path = tmp_path_factory.mktemp("pairs") / f"pairs{suffix}"
    assert write_pairs(path, pairs) == len(pairs)
    assert list(read_pairs(path)) == pairs


def test_line_separators_of_unicode_do_not_split_a_line(tmp_path: Path):
    pair = Pair("a\u2028b\x85c\rd", "x\u2029y\r\nz", Task.QA, "text", "s", "MIT", "p", "section")
    write_pairs(tmp_path / "p.jsonl", [pair, pair])
    assert list(read_pairs(tmp_path / "p.jsonl")) == [pair, pair]
    assert (tmp_path / "p.jsonl").read_bytes().count(b"\n") == 2


def test_gz_is_gzip_and_readable_elsewhere(tmp_path: Path):
    pair = Pair(**{**_GOOD, "task": Task.NL2CODE})
    write_pairs(tmp_path / "p.jsonl.gz", [pair])
    with gzip.open(tmp_path / "p.jsonl.gz", "rt", encoding="utf-8") as stream:
        assert json.loads(stream.read()) == _GOOD


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not JSON"),
        ("[]", "expected an object, found list"),
        (json.dumps({k: v for k, v in _GOOD.items() if k not in ("path", "task")}), "missing path, task"),
        (json.dumps({**_GOOD, "score": 1}), "unknown field score"),
        (json.dumps({**_GOOD, "query": 3}), "query must be a string"),
        (json.dumps({**_GOOD, "document": " \n"}), "document is empty"),
        (json.dumps({**_GOOD, "task": "nl2sql"}), "unknown task 'nl2sql'"),
        (json.dumps({**_GOOD, "task": ["qa"]}), "unknown task"),
        (json.dumps({**_GOOD, "negatives": "no"}), "negatives must be a list of strings"),
        ("", "not JSON"),
    ],
)
def test_malformed_line_names_file_and_line(tmp_path: Path, line: str, reason: str):
    path = tmp_path / "bad.jsonl"
    path.write_text(f"{json.dumps(_GOOD)}\n{line}\n", encoding="utf-8")
    pairs = read_pairs(path)
    assert next(pairs).query == "parse a date"
    with pytest.raises(InputError) as caught:
        next(pairs)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert reason in str(caught.value)


def test_bytes_that_are_no_utf8_and_a_cut_gzip(tmp_path: Path):
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes(json.dumps(_GOOD).encode() + b'\n{"query": "\xe9"}\n')
    with pytest.raises(InputError, match="not UTF-8"):
        list(read_pairs(latin))
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress((json.dumps(_GOOD) + "\n").encode() * 500)[:-20])
    with pytest.raises(InputError, match="ends early"):
        list(read_pairs(cut))
    plain = tmp_path / "plain.jsonl.gz"
    plain.write_text(json.dumps(_GOOD))
    with pytest.raises(InputError, match="cannot read pairs"):
        list(read_pairs(plain))
    with pytest.raises(InputError, match="cannot read pairs"):
        list(read_pairs(tmp_path / "nowhere.jsonl"))


def test_interrupted_write_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "p.jsonl"
    pair = Pair(**{**_GOOD, "task": Task.NL2CODE})
    write_pairs(path, [pair])

    def breaks():
        yield pair
        yield pair
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pairs(path, breaks())
    assert list(read_pairs(path)) == [pair]
    assert list(tmp_path.iterdir()) == [path]


def test_lone_surrogate_is_refused_with_one_line(tmp_path: Path):
    with pytest.raises(InputError, match="cannot write pairs"):
        write_pairs(tmp_path / "p.jsonl", [Pair(**{**_GOOD, "task": Task.QA, "path": "\udcff"})])
