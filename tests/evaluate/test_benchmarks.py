"""Which benchmarks names mean, and what is read of a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from sets import FUNCTIONS, QRELS, write_set

from codekin.errors import InputError
from codekin.evaluate import paper
from codekin.evaluate.benchmarks import GROUPS, MTEB_TASKS, find_benchmarks
from codekin.evaluate.sources import CatalogSet, Folder, MtebTask
from codekin.tasks import Task


def test_the_papers_benchmarks_come_from_mteb_or_the_catalogue() -> None:
    found = {benchmark.name: benchmark for benchmark in find_benchmarks(["paper"])}
    assert list(found) == list(paper.OVERALL.benchmarks)
    others = {name for name, benchmark in found.items() if isinstance(benchmark.source, CatalogSet)}
    assert others == {
        "CoSQA+",
        "Doc2Code",
        "SWE-Bench",
        "CommitPackFT",
        "LeetCode",
        "CodeChef",
        "CodeChefXLang",
        "Spider",
        "MLQuestions",
    }
    assert found["HumanEval"].source == MtebTask("HumanEvalRetrieval")
    tasks = {
        name: found[name].task
        for name in ("COIR-CodeSearchNet", "CodeSearchNetCC", "DS-1000", "CodeChefXLang")
    }
    assert tasks == {
        "COIR-CodeSearchNet": Task.CODE2NL,
        "CodeSearchNetCC": Task.CODE2COMPLETION,
        "DS-1000": Task.QA,
        "CodeChefXLang": Task.CODE2CODE,
    }


@pytest.mark.slow  # mteb takes seconds to load
def test_the_tasks_and_groups_are_mtebs() -> None:
    mteb = pytest.importorskip("mteb")
    for name in MTEB_TASKS.values():
        assert mteb.get_task(name).metadata.main_score == "ndcg_at_10"
        assert len(mteb.get_task(name).eval_splits) == 1
    for group, name in (("mteb-code", "MTEB(Code, v1)"), ("coir", "CoIR")):
        theirs = {task.metadata.name for task in mteb.get_benchmark(name).tasks}
        assert {MTEB_TASKS[benchmark] for benchmark in GROUPS[group]} == theirs


def test_names_groups_and_folders_go_together(tmp_path: Path) -> None:
    own = write_set(tmp_path / "own")
    write_set(tmp_path / "data" / "CoSQA")
    found = find_benchmarks(["cosqa", str(own), "coir", "CoSQA"], data=tmp_path / "data")
    assert [benchmark.name for benchmark in found[:2]] == ["CoSQA", "own"]
    assert len(found) == 11
    assert found[0].source == Folder(tmp_path / "data" / "CoSQA")
    assert (found[0].task, found[1].task) == (Task.NL2CODE, None)
    write_set(tmp_path / "DS-1000")
    assert find_benchmarks([str(tmp_path / "DS-1000")])[0].task is Task.QA


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("CosQA2", "no benchmark, group or folder is called 'CosQA2'; see CoSQA"),
        ("mtebcode", "see mteb-code"),
        ("xyz", "see paper, mteb-code, coir"),
        ("no/such", "no file or folder no/such"),
    ],
)
def test_a_name_that_is_none_is_refused_with_the_nearest(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        find_benchmarks([name])


def test_two_folders_of_one_name_are_refused(tmp_path: Path) -> None:
    folders = [str(write_set(tmp_path / place / "same")) for place in "ab"]
    with pytest.raises(InputError, match="two benchmarks are called same"):
        find_benchmarks(folders)
    with pytest.raises(InputError, match="no folder"):
        find_benchmarks(["CoSQA"], data=tmp_path / "nowhere")


def test_a_folder_of_sets_is_each_of_them(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_set(tmp_path / "sets" / name)
    write_set(tmp_path / "sets" / "parts", prefix="go-")
    (tmp_path / "sets" / "notes").mkdir()
    found = find_benchmarks([str(tmp_path / "sets"), str(tmp_path / "sets" / "parts")])
    assert [benchmark.name for benchmark in found] == ["a", "b", "parts"]
    (empty,) = find_benchmarks([str(tmp_path / "sets" / "notes")])
    with pytest.raises(InputError, match="has no corpus and no queries and no qrels"), empty.load():
        pass


def test_a_folder_is_read_as_mteb_reads_it(tmp_path: Path) -> None:
    corpus = [
        ("add", "  \n" + FUNCTIONS["add"] + "\n\n"),
        *[(k, v) for k, v in FUNCTIONS.items() if k != "add"],
    ]
    folder = write_set(tmp_path / "set", corpus=[*corpus, ("add", "the id comes again")], task="qa")
    with Folder(folder).load() as loaded:
        (part,) = loaded.parts
        assert (loaded.split, loaded.revision, loaded.task) == ("test", "", Task.QA)
        assert list(part.queries) == ["q1", "q2", "q3", "q4", "q5"]
        assert part.qrels == QRELS
        assert part.documents == list(FUNCTIONS)
        assert list(part.texts()) == list(FUNCTIONS.values())


def test_the_split_is_test_then_dev_then_the_only_one(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", split="train")
    with Folder(folder).load() as loaded:
        assert loaded.split == "train"
    for split in ("dev", "test"):
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tadd\t1\n")
        with Folder(folder).load() as loaded:
            assert (loaded.split, len(loaded.parts[0].queries)) == (split, 1)


def test_a_set_in_parts_has_its_languages(tmp_path: Path) -> None:
    write_set(tmp_path / "set", prefix="go-")
    write_set(tmp_path / "set", prefix="ruby-", qrels={"q1": {"add": 1}})
    with Folder(tmp_path / "set").load() as loaded:
        assert {part.part: len(part.queries) for part in loaded.parts} == {"go": 5, "ruby": 1}


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("corpus.jsonl", '{"_id": "add", "text": "x"}\n{"_id": \n', r"corpus.jsonl:2: not JSON"),
        ("corpus.jsonl", '{"text": "x"}\n', r"corpus.jsonl:1: no _id"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\tadd\tone\n", "the score 'one' is not a number"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\tnone\t1\n", "there is no document 'none'"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq9\tadd\t1\n", "no query has a judgement"),
        ("queries.jsonl", '{"_id": "q1", "text": 3}\n', "the text of 'q1' is not a string"),
        (
            "queries.jsonl",
            '{"_id": "q1", "text": "a", "task": "qa"}\n{"_id": "q2", "text": "b", "task": "nl2code"}\n',
            "queries of several tasks",
        ),
    ],
)
def test_a_broken_folder_is_one_line_with_the_place(
    tmp_path: Path, file: str, content: str, said: str
) -> None:
    folder = write_set(tmp_path / "set")
    (folder / file).write_text(content)
    with pytest.raises(InputError, match=said), Folder(folder).load():
        pass


def test_what_a_folder_holds_is_told_apart_without_reading_it(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    before = Folder(folder).identity()
    assert Folder(folder).identity() == before
    os.utime(folder / "corpus.jsonl", (1, 1))
    assert Folder(folder).identity() != before


def test_a_set_of_the_catalogue_is_its_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (benchmark,) = find_benchmarks(["MLQuestions"])
    assert isinstance(benchmark.source, CatalogSet)
    folder = benchmark.source.entry.folder
    folder.mkdir(parents=True)
    monkeypatch.setattr("codekin.data.sets.hub_files", lambda *_: [])
    (folder / "test.csv").write_text(
        "input_text,target_text\nA passage.,what?\nAnother.,why?\n Another. ,how?\n"
    )
    with benchmark.load() as loaded:
        (part,) = loaded.parts
        assert (loaded.split, loaded.task) == ("test", Task.QA)
        texts = dict(zip(part.documents, part.texts(), strict=True))
        answers = {
            part.queries[query]: [texts[key] for key in judged] for query, judged in part.qrels.items()
        }
    assert answers == {"what?": ["A passage."], "why?": ["Another."], "how?": ["Another."]}
    assert len(texts) == 2


def test_a_task_of_mteb_is_read_as_mteb_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    mteb = pytest.importorskip("mteb")
    (benchmark,) = find_benchmarks(["CoSQA"])

    def load(task: Any, **_: Any) -> None:
        task.queries = {"test": {"q1": "sum", "q2": "nothing judged"}}
        task.corpus = {"test": {"d1": {"title": "Add", "text": "def add(): ...\n"}, "d2": {"text": " x "}}}
        task.relevant_docs = {"test": {"q1": {"d1": 1}}}
        task.data_loaded = True

    monkeypatch.setattr(type(mteb.get_task("CosQA")), "load_data", load)
    with benchmark.load() as loaded:
        (part,) = loaded.parts
        assert (loaded.split, loaded.revision) == ("test", "bc5efb7e9d437246ce393ed19d772e08e4a79535")
        assert (part.queries, part.qrels) == ({"q1": "sum"}, {"q1": {"d1": 1}})
        assert dict(zip(part.documents, part.texts(), strict=True)) == {"d1": "Add def add(): ...", "d2": "x"}
