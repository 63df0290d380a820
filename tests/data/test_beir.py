"""Retrieval sets in the layout of BEIR and CoIR, as folders and as data sets of the hub."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hub_server import Site, serve
from hypothesis import given, settings
from hypothesis import strategies as st

from codekin.data import Pair, read_pairs, write_pairs
from codekin.errors import InputError
from codekin.tasks import Task

CORPUS = [
    {"_id": "d1", "title": "", "text": "def add(a, b): ...", "language": "python"},
    {"_id": "d2", "title": "Sub", "text": "func sub() {}", "language": None},
    {"_id": "d3", "title": "", "text": "not judged"},
]
QUERIES = [{"_id": "q1", "text": "add two numbers"}, {"_id": "q2", "text": "subtract"}]
QRELS = [("q1", "d1", 1), ("q1", "d2", 2), ("q2", "d1", 0), ("q2", "d2", 1)]
EXPECTED = [
    Pair("add two numbers", "def add(a, b): ...", Task.NL2CODE, "python", "set", "MIT"),
    Pair("add two numbers", "Sub func sub() {}", Task.NL2CODE, "go", "set", "MIT"),
    Pair("subtract", "Sub func sub() {}", Task.NL2CODE, "go", "set", "MIT"),
]
SAID = {"task": Task.NL2CODE, "language": "go", "source": "set", "licence": "MIT"}


def _jsonl(records: list[dict[str, object]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def _tsv(judgements: list[tuple[str, str, int]]) -> str:
    return "query-id\tcorpus-id\tscore\n" + "".join(f"{q}\t{d}\t{s}\n" for q, d, s in judgements)


def _parquet(path: Path, records: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)


def _judgements() -> list[dict[str, object]]:
    return [{"query-id": q, "corpus-id": d, "score": s} for q, d, s in QRELS]


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(_jsonl(CORPUS))
    (folder / "queries.jsonl").write_text(_jsonl(QUERIES))
    (folder / "qrels" / "train.tsv").write_text(_tsv(QRELS))
    (folder / "qrels" / "test.tsv").write_text(_tsv(QRELS[:1]))
    return folder


def test_a_folder_of_beir(beir: Path):
    assert list(read_pairs(beir, **SAID)) == EXPECTED
    assert list(read_pairs(beir, split="test", **SAID)) == EXPECTED[:1]
    with pytest.raises(InputError, match="no judgements of split 'dev'; splits: test, train"):
        list(read_pairs(beir, split="dev", **SAID))
    with pytest.raises(InputError, match=r"train\.tsv:2: missing task"):
        list(read_pairs(beir))


def test_the_layout_of_the_hub(tmp_path: Path):
    """As CoIR-Retrieval/apps and mteb/... keep theirs: a folder a configuration, default's called data."""
    _parquet(tmp_path / "corpus" / "corpus-00000-of-00001.parquet", CORPUS)
    _parquet(tmp_path / "queries" / "queries-00000-of-00001.parquet", QUERIES)
    _parquet(tmp_path / "data" / "train-00000-of-00001.parquet", _judgements())
    _parquet(tmp_path / "data" / "test-00000-of-00001.parquet", _judgements()[:1])
    (tmp_path / "README.md").write_text("# a card")
    assert list(read_pairs(tmp_path, **SAID)) == EXPECTED
    assert list(read_pairs(tmp_path, split="test", **SAID)) == EXPECTED[:1]


def test_parts_and_splits_of_the_texts(tmp_path: Path):
    """As mteb/CodeSearchNetRetrieval: three folders a language, `id` for `_id`, and texts in splits as well."""
    for part in ("go", "php"):
        for split in ("train", "test"):
            texts = [{"id": r["_id"], "text": f"{part} {split} {r['text']}"} for r in CORPUS]
            _parquet(tmp_path / f"{part}-corpus" / f"{split}-00000-of-00001.parquet", texts)
            queries = [{"id": r["_id"], "text": r["text"]} for r in QUERIES]
            _parquet(tmp_path / f"{part}-queries" / f"{split}-00000-of-00001.parquet", queries)
            _parquet(tmp_path / f"{part}-qrels" / f"{split}-00000-of-00001.parquet", _judgements())
    _parquet(
        tmp_path / "corpus" / "corpus-00000-of-00001.parquet", CORPUS
    )  # beside them, as in CodeSearchNet-ccr
    documents = [pair.document for pair in read_pairs(tmp_path, split="test", **SAID)]
    assert documents == [
        f"{part} test {text}"
        for part in ("go", "php")
        for text in ("def add(a, b): ...", "func sub() {}", "func sub() {}")
    ]


def test_one_file_of_judgements_and_an_archive(beir: Path, tmp_path: Path):
    """As BEIR's own downloads: a zip with one folder; here with judgements that belong to no split."""
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as bundle:
        for name in ("corpus.jsonl", "queries.jsonl"):
            bundle.write(beir / name, f"set/{name}")
        bundle.write(beir / "qrels" / "train.tsv", "set/qrels.tsv")
    folder = tmp_path / "downloaded"
    folder.mkdir()
    (tmp_path / "set.zip").rename(folder / "set.zip")
    assert list(read_pairs(folder, split="anything", **SAID)) == EXPECTED


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("qrels/train.tsv", _tsv([("q9", "d1", 1)]), "train.tsv:2: there is no query 'q9'"),
        ("qrels/train.tsv", _tsv([("q1", "d9", 1)]), "train.tsv:2: there is no document 'd9'"),
        ("qrels/train.tsv", "query-id\tcorpus-id\tscore\nq1\td1\tyes\n", "train.tsv:2: the score 'yes'"),
        ("qrels/train.tsv", "query\tcorpus-id\tscore\nq1\td1\t1\n", "train.tsv:2: no query-id"),
        ("corpus.jsonl", '{"_id": "d1", "text": "x"}\n{"text": "y"}\n', "corpus.jsonl:2: no _id"),
        ("corpus.jsonl", '{"_id": "d1", "text": 3}\n', "the text of 'd1' is not a string"),
        ("queries.jsonl", "{\n", "queries.jsonl:1: not JSON"),
    ],
)
def test_a_bad_record_is_named(beir: Path, file: str, text: str, reason: str):
    (beir / file).write_text(text)
    with pytest.raises(InputError) as caught:
        list(read_pairs(beir, **SAID))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_whole(beir: Path):
    (beir / "queries.jsonl").unlink()
    with pytest.raises(InputError, match="has no queries"):
        list(read_pairs(beir, **SAID))


_word = st.text('abcé \n"', min_size=1).filter(str.strip)


@settings(deadline=None)
@given(texts=st.lists(st.tuples(_word, _word), max_size=6))
def test_what_is_written_comes_back(tmp_path_factory, texts: list[tuple[str, str]]):
    folder = tmp_path_factory.mktemp("pairs") / "set"
    pairs = [Pair(q, d, Task.CODE2NL, "python", "s", "MIT") for q, d in dict.fromkeys(texts)]
    assert write_pairs(folder, pairs + pairs, split="dev") == len(pairs)
    assert list(read_pairs(folder, split="dev")) == pairs
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.*")) == [
        "corpus.jsonl",
        "qrels/dev.tsv",
        "queries.jsonl",
    ]
    with pytest.raises(InputError, match="exists"):
        write_pairs(folder, pairs)


_READ = "import sys, json; from codekin.data import read_pairs; from codekin.tasks import Task\n"


def _elsewhere(site: Site, home: Path, code: str) -> subprocess.CompletedProcess[str]:
    """`code` in a process whose hub is `site`: Hugging Face's libraries read its address when they are imported."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": site.url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    return subprocess.run(
        [sys.executable, "-c", _READ + code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_hub_data_sets_by_name(tmp_path: Path):
    """By the real `datasets` library, in a process of its own."""
    card = {
        "corpus": [{"split": "corpus", "path": "corpus/*"}],
        "queries": [{"split": "queries", "path": "queries/*"}],
        "default": [{"split": split, "path": f"data/{split}-*"} for split in ("train", "test")],
    }
    configs = "".join(f"- config_name: {n}\n  data_files: {json.dumps(files)}\n" for n, files in card.items())
    for path, records in {
        "corpus/corpus-0.parquet": CORPUS,
        "queries/queries-0.parquet": QUERIES,
        "data/train-0.parquet": _judgements(),
        "data/test-0.parquet": _judgements()[:1],
    }.items():
        _parquet(tmp_path / path, records)
    retrieval = {p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in tmp_path.rglob("*.parquet")}
    retrieval["README.md"] = f"---\nconfigs:\n{configs}---\n".encode()
    rows = "".join(
        json.dumps({"question": f"q{n}", "answer": os.urandom(500).hex()}) + "\n" for n in range(3000)
    ).encode()
    site = Site(repositories={"me/retrieval": retrieval, "me/qa": {"train.jsonl": rows}})
    with serve(site):
        code = """
said = dict(task=Task.NL2CODE, language="go", source="set", licence="MIT")
for split in ("train", "test"):
    print(json.dumps([[p.query, p.document, p.language] for p in read_pairs("hf:me/retrieval", split=split, **said)]))
pairs = read_pairs("hf:me/qa", task=Task.QA, columns={"query": "question", "document": "answer"})
print(next(pairs).query)
for name in ("hf:me/missing", "hf:me/qa:other", "hf:me/qa"):
    try:
        print(len(list(read_pairs(name, split="dev" if name == "hf:me/qa" else "train", task=Task.QA))))
    except Exception as error:
        print(type(error).__name__, error)
"""
        done = _elsewhere(site, tmp_path / "home", code)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in lines[:2]] == [
        [[pair.query, pair.document, pair.language] for pair in pairs] for pairs in (EXPECTED, EXPECTED[:1])
    ]
    assert lines[2] == "q0"
    assert all(line.startswith("InputError cannot read hf:me/") for line in lines[3:]), lines[3:]
    assert len(lines) == 6
