import gzip
import hashlib
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import datasets
import pyarrow.parquet
import pytest
from hypothesis import given, settings
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
    revision=st.text(),
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


@settings(deadline=None)
@given(pairs=st.lists(_pair, max_size=5), suffix=st.sampled_from([".jsonl", ".jsonl.gz", ".parquet"]))
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
        (json.dumps({k: v for k, v in _GOOD.items() if k not in ("query", "task")}), "missing query, task"),
        (json.dumps({**_GOOD, "score": 1}), "unknown field score"),
        (json.dumps({**_GOOD, "query": 3}), "query must be a string"),
        (json.dumps({**_GOOD, "document": " \n"}), "document is empty"),
        (json.dumps({**_GOOD, "task": "nl2sql"}), "unknown task 'nl2sql'"),
        (json.dumps({**_GOOD, "task": ["qa"]}), "task must be a string"),
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
    with pytest.raises(InputError, match="is damaged"):
        list(read_pairs(plain))
    with pytest.raises(InputError, match="no file or folder"):
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


@pytest.mark.parametrize("name", ["p.jsonl", "p.parquet", "folder"])
def test_lone_surrogate_is_refused_with_one_line(tmp_path: Path, name: str):
    with pytest.raises(InputError, match="cannot write pairs") as caught:
        write_pairs(tmp_path / name, [Pair(**{**_GOOD, "task": Task.QA, "document": "\udcff"})])
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_name_that_says_no_format_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"name it \.jsonl, \.jsonl\.gz, \.parquet"):
        write_pairs(tmp_path / "pairs.csv", [])
    (tmp_path / "pairs.txt").write_text("x")
    with pytest.raises(InputError, match="unknown format"):
        list(read_pairs(tmp_path / "pairs.txt"))


def test_what_records_do_not_say_comes_from_the_caller(tmp_path: Path):
    path = tmp_path / "plain.jsonl"
    path.write_text('{"query": "q", "document": "d"}\n{"query": "q", "document": "d", "licence": "MIT"}\n')
    with pytest.raises(InputError, match=r"plain\.jsonl:1: missing task"):
        list(read_pairs(path))
    first, second = read_pairs(path, task=Task.QA, language="go", source="mine", licence="0BSD")
    assert first == Pair("q", "d", Task.QA, "go", "mine", "0BSD")
    assert second.licence == "MIT"


def test_columns_of_another_name(tmp_path: Path):
    path = tmp_path / "qa.jsonl"
    path.write_text('{"question": "q", "answer": "d", "hard": ["n"], "score": 3, "language": null}\n')
    columns = {"query": "question", "document": "answer", "negatives": "hard"}
    assert list(read_pairs(path, columns=columns, task=Task.QA)) == [
        Pair("q", "d", Task.QA, negatives=("n",))
    ]
    with pytest.raises(InputError, match=r"qa\.jsonl:1: there is no column title"):
        list(read_pairs(path, columns={"query": "title", "document": "answer"}, task=Task.QA))


def test_parquet_is_written_and_read_in_parts_and_by_others(tmp_path: Path):
    """30,000 pairs of 2 kB: neither side may hold them all."""
    path = tmp_path / "many.parquet"

    def many():
        for number in range(30_000):
            text = hashlib.sha256(b"%d" % number).hexdigest() * 32
            yield Pair(f"q{number}", text, Task.NL2CODE, "python", "s", "MIT", negatives=("a", "b"))

    tracemalloc.start()
    assert write_pairs(path, many()) == 30_000
    assert sum(pair.negatives == ("a", "b") for pair in read_pairs(path)) == 30_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 45e6  # they are 61 MB
    file = pyarrow.parquet.ParquetFile(path)
    assert file.num_row_groups == 4
    assert set(file.schema_arrow.names) == {*_GOOD, "revision", "negatives"}
    dataset = datasets.load_dataset("parquet", data_files=str(path), split="train", streaming=True)
    assert next(iter(dataset))["query"] == "q0"
    (tmp_path / "cut.parquet").write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"cut\.parquet: not Parquet"):
        list(read_pairs(tmp_path / "cut.parquet"))


def test_a_folder_of_shards_reads_the_split_wanted(tmp_path: Path):
    pair = Pair(**{**_GOOD, "task": Task.NL2CODE})
    write_pairs(tmp_path / "train-00000.parquet", [replace(pair, query="a")])
    write_pairs(tmp_path / "train-00001.jsonl.gz", [replace(pair, query="b")])
    write_pairs(tmp_path / "test-00000.jsonl", [replace(pair, query="c")])
    assert [pair.query for pair in read_pairs(tmp_path)] == ["a", "b"]
    assert [pair.query for pair in read_pairs(tmp_path, split="test")] == ["c"]
    assert [pair.query for pair in read_pairs(tmp_path, split="dev")] == ["c", "a", "b"]  # none is named so
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no"):
        list(read_pairs(tmp_path / "empty"))
