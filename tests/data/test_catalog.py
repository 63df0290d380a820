"""The catalogue, and each adapter on small records of the form that the original files have."""

import bz2
import csv
import gzip
import io
import json
import os
import pty
import subprocess
import sysconfig
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hub_server import Site, serve

from codekin.data import DataSet, Kind, Pair, Use, find_set, read_pairs, select_sets, write_pairs
from codekin.data.adapters import plain
from codekin.data.catalog import CATALOG
from codekin.data.sets import ByHand, Fold, Hub, Web
from codekin.errors import InputError
from codekin.tasks import Task

COMMAND = Path(sysconfig.get_path("scripts")) / "codekin"

# Table 2 of the paper: nDCG@10 of the 0.5B model, by which its two averages can be told.
SCORES = {
    "CoSQA+": 15.42, "CoSQA": 39.25, "MBPP": 89.01, "COIR-CodeSearchNet": 85.73, "CodeSearchNet": 90.68,
    "Doc2Code": 95.98, "SWE-Bench": 83.00, "CodeEditSearch": 83.25, "CommitPackFT": 63.00, "AppsRetrieval": 84.17,
    "LeetCode": 57.86, "CodeChef": 94.03, "SyntheticText2SQL": 72.80, "Spider": 81.65, "WikiSQL": 98.31,
    "CodeFeedbackMT": 89.56, "CodeFeedbackST": 85.73, "StackOverflowQA": 91.04, "DS-1000": 59.77,
    "MLQuestions": 81.05, "CodeTransOceanContest": 90.37, "CodeTransOceanDL": 41.69, "CodeChefXLang": 99.70,
    "CodeSearchNetCC": 90.41, "HumanEval": 96.77,
}  # fmt: skip


def test_the_paper_s_sets_are_all_there():
    training, benchmarks = select_sets(Use.TRAINING), select_sets(Use.BENCHMARK)
    assert len(training) == len({entry.name for entry in training}) == 33
    assert Counter(entry.kind for entry in training) == {Kind.MTEB: 10, Kind.ADAPTED: 19, Kind.SYNTHETIC: 4}
    assert Counter(entry.task.value for entry in training) == {
        "nl2code": 14, "qa": 9, "code2code": 8, "code2nl": 1, "code2completion": 1,
    }  # fmt: skip
    assert {entry.name for entry in benchmarks} == set(SCORES)
    assert len(benchmarks) == 25
    averaged = [SCORES[entry.name] for entry in benchmarks if entry.average]
    assert round(sum(averaged) / len(averaged), 2) == 78.72
    assert round(sum(SCORES.values()) / len(SCORES), 2) == 78.41
    assert not any(entry.average for entry in training)


@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: f"{entry.name}-{entry.use.value}")
def test_every_entry_says_what_a_user_needs(entry: DataSet):
    assert entry.source.page.startswith("https://")
    assert entry.licence
    assert (entry.commercial is None) == (entry.licence in ("unknown", "per-record"))
    if entry.licence in ("research-only", "CC-BY-NC-SA-4.0"):
        assert entry.commercial is False
    # One problem, commit or text must not be trained on and measured with.
    for other in CATALOG:
        if other.use is not entry.use and other.source == entry.source:
            apart = other.split != entry.split or {other.fold, entry.fold} == {Fold.FIT, Fold.HELD_OUT}
            assert apart, other.name


def test_sets_are_found_by_name_and_chosen():
    assert find_set("cosqa").use is Use.TRAINING
    assert find_set("cosqa", Use.BENCHMARK).split == "test"
    assert find_set("HumanEval").use is Use.BENCHMARK
    with pytest.raises(InputError, match="no data set is called 'leetcodep2p'; see LeetCodeP2S"):
        find_set("leetcodep2p")
    with pytest.raises(InputError, match="no training set is called 'HumanEval'"):
        find_set("HumanEval", Use.TRAINING)
    assert [entry.name for entry in select_sets(task=Task.CODE2NL)] == ["COIR-CodeSearchNet"] * 2
    assert {entry.licence for entry in select_sets(licence="cc-by-nc-sa-4.0")} == {"CC-BY-NC-SA-4.0"}
    assert len(select_sets(Use.TRAINING, kind=Kind.SYNTHETIC)) == 4


def _parquet(path: Path, records: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)


def _jsonl(path: Path, records: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def _csv(header: str, *rows: tuple[object, ...], delimiter: str = ",") -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows([header.split(","), *rows])
    return text.getvalue()


def _pairs(name: str, folder: Path, use: Use = Use.TRAINING) -> list[Pair]:
    return list(find_set(name, use).pairs(folder))


def _texts(name: str, folder: Path, use: Use = Use.TRAINING) -> list[tuple[str, str, str]]:
    return [(pair.query, pair.document, pair.language) for pair in _pairs(name, folder, use)]


def _coir(folder: Path, prefix: str = "") -> None:
    corpus = {"_id": "d1", "partition": "train", "text": "SELECT 1", "language": "", "title": ""}
    query = {"_id": "q1", "partition": "train", "text": "one", "language": "", "title": ""}
    judgement = {"query-id": "q1", "corpus-id": "d1", "score": 1}
    _parquet(folder / f"{prefix}corpus" / "corpus-00000-of-00001.parquet", [corpus])
    _parquet(folder / f"{prefix}queries" / "queries-00000-of-00001.parquet", [query])
    _parquet(folder / (f"{prefix}qrels" if prefix else "data") / "train-00000-of-00001.parquet", [judgement])


def test_coir(tmp_path: Path):
    _coir(tmp_path / "whole")
    assert _pairs("SyntheticText2SQL", tmp_path / "whole") == [
        Pair("one", "SELECT 1", Task.NL2CODE, "sql", "SyntheticText2SQL", "MIT", "", "mteb")
    ]
    _coir(tmp_path / "parts", "go-")
    assert _texts("COIR-CodeSearchNet", tmp_path / "parts") == [("one", "SELECT 1", "go")]


def test_codeforces_submissions(tmp_path: Path):
    record = {
        "contestId": 4, "index": "A", "name": "Watermelon", "programmingLanguage": "PyPy 3", "verdict": "OK",
        "problem-description": "Can it be divided into two even parts?", "input-specification": "w",
        "code": "print('YES')", "test_cases": [{"input": "8", "output": "YES"}],
    }  # fmt: skip
    wrong = {**record, "verdict": "WRONG_ANSWER", "code": "print('NO')"}
    _parquet(tmp_path / "data" / "train-00000-of-00009.parquet", [record, wrong])
    assert _texts("CodeForcesP2S", tmp_path) == [
        ("Can it be divided into two even parts?", "print('YES')", "python")
    ]


def test_description2code(tmp_path: Path):
    archive = tmp_path / "description2code_current.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        for site, problem in (
            ("CodeForces", "4_A"),
            ("hackerearth/problem_college", "sum"),
            ("codechef/easy", "TEST"),
        ):
            root = f"description2code_current/{site}/{problem}"
            bundle.writestr(f"{root}/description/description.txt", "Add them.")
            for number in range(3):
                bundle.writestr(f"{root}/solutions_python/{number}.txt", f"print({number}) # {site}")
            bundle.writestr(f"{root}/solutions_c++/0.txt", "int main() {}")
            bundle.writestr(f"{root}/solutions_c++/1.txt", "int main() { }")
    for folder in (archive, tmp_path):
        assert _texts("CodeForcesS2S", folder) == [
            ("int main() {}", "int main() { }", "cpp"),
            ("print(0) # CodeForces", "print(1) # CodeForces", "python"),
        ]
    assert [query for query, _, _ in _texts("HackerEarth", tmp_path)] == [
        "int main() {}",
        "print(0) # hackerearth/problem_college",
    ]


def test_code_search_net(tmp_path: Path):
    def record(language: str, code: str) -> dict[str, object]:
        return {
            "repo": "me/it", "path": "a.py", "func_name": "f", "original_string": code, "language": language,
            "code": code, "code_tokens": [], "docstring": "Adds two.", "docstring_tokens": [], "sha": "", "url": "",
            "partition": "train",
        }  # fmt: skip

    python = 'def f(a, b):\n        """Adds two.\n        """\n        print a\n        return a + b'
    for language, code in (("python", python), ("go", "func f() {}")):
        with zipfile.ZipFile(tmp_path / f"{language}.zip", "w") as bundle:
            content = gzip.compress((json.dumps(record(language, code)) + "\n").encode())
            bundle.writestr(f"{language}/final/jsonl/train/{language}_train_0.jsonl.gz", content)
            bundle.writestr(f"{language}/final/jsonl/test/{language}_test_0.jsonl.gz", b"not looked at")
            bundle.writestr(f"{language}_licenses.pkl", b"")
    assert _texts("CodeSearchNet", tmp_path) == [
        ("Adds two.", "func f() {}", "go"),
        ("Adds two.", "def f(a, b):\n        print a\n        return a + b", "python"),
    ]
    assert _pairs("CodeSearchNet", tmp_path)[0].path == "a.py"


def test_commits_and_their_two_folds(tmp_path: Path):
    records = [
        {
            "commit": f"{number:040x}", "old_file": "a.cpp", "new_file": "a.cpp", "old_contents": "int a;\nint b;\n",
            "new_contents": f"int a;\nint c{number};\n", "subject": "Rename b", "message": f"Rename b to c{number}\n",
            "lang": "C++", "license": "bsd-3-clause", "repos": "me/it",
        }
        for number in range(400)
    ]  # fmt: skip
    _jsonl(tmp_path / "data" / "c++" / "data.jsonl", records)
    fit, held_out = _pairs("CommitPackFT", tmp_path), _pairs("CommitPackFT", tmp_path, Use.BENCHMARK)
    assert {pair.query for pair in fit} | {pair.query for pair in held_out} == {r["message"] for r in records}
    assert not {pair.query for pair in fit} & {pair.query for pair in held_out}
    assert 8 <= len(held_out) <= 35  # one in twenty
    first = fit[0]
    number = first.query.removeprefix("Rename b to c").strip()
    assert first.document == f"--- a/a.cpp\n+++ b/a.cpp\n@@ -1,2 +1,2 @@\n int a;\n-int b;\n+int c{number};"
    assert (first.language, first.licence, first.path) == ("cpp", "bsd-3-clause", "a.cpp")


def test_code_edits_are_those_that_mteb_takes(tmp_path: Path):
    edit = {"commit": "c", "instruction": "Fix it", "diff": "-a\n+b"}
    _parquet(tmp_path / "c++" / "train-00000-of-00001.parquet", [edit] * 1001)
    _parquet(tmp_path / "shell" / "train-00000-of-00001.parquet", [edit])
    pairs = _pairs("CodeEditSearch", tmp_path, Use.BENCHMARK)
    assert Counter(pair.language for pair in pairs) == {"cpp": 1000, "bash": 1}


def test_cosqa_plus(tmp_path: Path):
    pair = {
        "pair-idx": 1,
        "query-idx": 7,
        "code-idx": 9,
        "query": "sort list",
        "code": "def s(): ...",
        "label": 1,
    }
    (tmp_path / "finetune").mkdir()
    (tmp_path / "finetune" / "train_query_code_pairs.json").write_text(
        json.dumps([pair, {**pair, "label": 0}], indent=4)
    )
    (tmp_path / "test_agent_query.json").write_text(json.dumps([{"query-idx": 7, "query": "sort list"}]))
    (tmp_path / "test_agent_codebase.json").write_text(json.dumps([{"code-idx": 9, "code": "def s(): ..."}]))
    true = [{"pair-idx": 1, "query-idx": 7, "code-idx": 9, "label": 1}]
    (tmp_path / "test_agent_pairs_true.json").write_text(json.dumps(true))
    for use in Use:
        assert _texts("CoSQA+", tmp_path, use) == [("sort list", "def s(): ...", "python")]


def test_data_science(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "stacksample.zip", "w") as bundle:
        questions = _csv(
            "Id,OwnerUserId,CreationDate,ClosedDate,Score,Title,Body",
            (80, "26.0", "2008-08-01T13:57:07Z", "NA", 26, "Café plots", "<p>How, in <code>R</code>?</p>"),
            (90, "58.0", "2008-08-01T14:41:24Z", "NA", 144, "Merge branches", "<p>In SVN?</p>"),
        )
        answers = _csv(
            "Id,OwnerUserId,CreationDate,ParentId,Score,Body",
            (92, "61.0", "2008-08-01", 90, 13, "<p>No.</p>"),
            (95, "61.0", "2008-08-01", 80, 3, "<pre><code>plot(x)\nlines(y)</code></pre>"),
            (96, "61.0", "2008-08-01", 80, 2, "<p>Do not.</p>"),
        )
        bundle.writestr("Questions.csv", questions.encode("latin-1"))
        bundle.writestr("Answers.csv", answers.encode("latin-1"))
        bundle.writestr("Tags.csv", _csv("Id,Tag", (80, "r"), (80, "plot"), (90, "svn")))
    assert _texts("DataScience", tmp_path) == [("Café plots\n\nHow, in R?", "plot(x)\nlines(y)", "")]


def test_stack_exchange(tmp_path: Path):
    site = tmp_path / "codereview.stackexchange.com"
    site.mkdir()
    (site / "Posts.xml").write_text(
        '\ufeff<?xml version="1.0" encoding="utf-8"?>\n<posts>\n'
        '  <row Id="1" PostTypeId="1" AcceptedAnswerId="3" Score="5" Title="Faster &amp; shorter?" '
        'Body="&lt;p&gt;Mine is slow.&lt;/p&gt;&#xA;&lt;pre&gt;&lt;code&gt;x = 1&#xA;&lt;/code&gt;&lt;/pre&gt;" />\n'
        '  <row Id="2" PostTypeId="2" ParentId="1" Score="2" Body="&lt;p&gt;No.&lt;/p&gt;" />\n'
        '  <row Id="3" PostTypeId="2" ParentId="1" Score="0" Body="&lt;p&gt;Accepted.&lt;/p&gt;" />\n'
        '  <row Id="4" PostTypeId="2" ParentId="1" Score="3" Body="&lt;p&gt;Good.&lt;/p&gt;" />\n'
        '  <row Id="5" PostTypeId="2" ParentId="99" Score="9" Body="&lt;p&gt;To nothing.&lt;/p&gt;" />\n'
        "</posts>\n",
        encoding="utf-8",
    )
    body = "Mine is slow.\n\nx = 1"
    for name, query in (
        ("StackExchangeTitle", "Faster & shorter?"),
        ("StackExchangeBody", body),
        ("StackExchangePost", f"Faster & shorter?\n\n{body}"),
    ):
        assert _texts(name, tmp_path) == [(query, "Accepted.", ""), (query, "Good.", "")]
    (site / "Posts.xml").write_text("<posts><row Id=")
    with pytest.raises(InputError, match=r"Posts\.xml: not XML"):
        _pairs("StackExchangeTitle", tmp_path)


def test_doc2code(tmp_path: Path):
    code = (
        "def f(x): DCNL  DCSP if x: DCNL DCSP  DCSP return 'a DCSP b' DCNL DCSP return None\n"
        "def g(): DCNL  DCSP pass\n"
    )
    (tmp_path / "data_ps.declbodies.train.gz").write_bytes(gzip.compress(code.encode()))
    texts = b"'Says a b. DCNL  :param x: isn\\'t\xe9 used'\n\"Nothing.\"\n"
    (tmp_path / "data_ps.descriptions.train").write_bytes(texts)
    assert _texts("Doc2Code", tmp_path) == [
        (
            "Says a b.\n:param x: isn't\ufffd used",
            "def f(x):\n    if x:\n        return 'a b'\n    return None",
            "python",
        ),
        ("Nothing.", "def g():\n    pass", "python"),
    ]
    (tmp_path / "data_ps.descriptions.train").write_text("Unquoted\n\n")
    with pytest.raises(InputError, match=r"data_ps\.descriptions\.train:1: not a quoted string"):
        _pairs("Doc2Code", tmp_path)


def test_question_and_answer_in_one_json_array(tmp_path: Path):
    """The file is 407 MB: it is parsed a record at a time."""
    rows = [{"question": f"How {number}?", "answer": "Do " + "x" * 1000} for number in range(2000)]
    (tmp_path / "glaive_code_assistant_v2.json").write_text(json.dumps(rows, indent=1))
    pairs = _pairs("GlaiveCodeAssistantV2", tmp_path)
    assert [pair.query for pair in pairs] == [row["question"] for row in rows]
    assert {pair.licence for pair in pairs} == {"Apache-2.0"}
    (tmp_path / "glaive_code_assistant_v2.json").write_text(json.dumps(rows)[:-300])
    with pytest.raises(InputError, match="record 2000: not JSON"):
        _pairs("GlaiveCodeAssistantV2", tmp_path)
    (tmp_path / "glaive_code_assistant_v2.json").write_text('[{"question": "q", "answer": null}]')
    with pytest.raises(InputError, match="record 1: answer is missing"):
        _pairs("GlaiveCodeAssistantV2", tmp_path)


def test_leetcode(tmp_path: Path):
    def answer(language: str, code: str) -> str:
        return f"\n    ```{language}\n{code}\n\n    ```\n    \n    The algorithm: use a map. O(n)."

    records = [
        {
            "id": number, "slug": f"problem-{number}", "title": "Two", "difficulty": "Easy", "content": f"Sum {number}",
            "java": answer("java", "class S {}"), "c++": answer("cpp", "class S {};"),
            "python": answer("python", "def s():\n    pass"), "javascript": "No solution.",
        }
        for number in range(60)
    ]  # fmt: skip
    _jsonl(tmp_path / "leetcode-train.jsonl", records)
    fit, held_out = _texts("LeetCodeP2S", tmp_path), _texts("LeetCode", tmp_path, Use.BENCHMARK)
    assert len(fit) + len(held_out) == 180
    assert {query for query, _, _ in held_out}.isdisjoint(query for query, _, _ in fit)
    assert [(code, own) for _, code, own in fit[:3]] == [
        ("def s():\n    pass", "python"),
        ("class S {}", "java"),
        ("class S {};", "cpp"),
    ]
    across = _texts("LeetCodeXLang", tmp_path)
    assert len(across) == 2 * len(fit)  # six ordered pairs of three languages
    assert across[0] == ("def s():\n    pass", "class S {}", "java")


def test_records_with_a_column_for_each_side(tmp_path: Path):
    mbpp = {
        "task_id": 601, "text": "Write a function to add.", "code": "def add(a, b):\r\n  return a + b",
        "test_list": ["assert add(1, 2) == 3"], "test_setup_code": "", "challenge_test_list": [],
    }  # fmt: skip
    _parquet(tmp_path / "mbpp" / "full" / "train-00000-of-00001.parquet", [mbpp])
    assert _texts("MBPP", tmp_path / "mbpp") == [(mbpp["text"], mbpp["code"], "python")]
    spider = {
        "db_id": "concert",
        "question": "How many?",
        "query": "SELECT count(*) FROM s",
        "query_toks": ["SELECT"],
    }
    _parquet(tmp_path / "spider" / "spider" / "validation-00000-of-00001.parquet", [spider])
    assert _texts("Spider", tmp_path / "spider", Use.BENCHMARK) == [
        ("How many?", "SELECT count(*) FROM s", "sql")
    ]
    swe = {
        "repo": "a/b",
        "instance_id": "a__b-1",
        "problem_statement": "It fails.",
        "patch": "diff --git a/x b/x\n",
    }
    _parquet(tmp_path / "swe" / "data" / "test-00000-of-00001.parquet", [swe])
    assert _texts("SWE-Bench", tmp_path / "swe", Use.BENCHMARK) == [
        ("It fails.", "diff --git a/x b/x\n", "python")
    ]
    row = (10245, "Factor analysis, a method, describes variability.", "What is factor analysis", 10245)
    for name, delimiter in (("dev.csv", ","), ("test.tsv", "\t")):  # on the hub, and in the repository
        (tmp_path / name).write_text(_csv(",input_text,target_text,indexes", row, delimiter=delimiter))
    for use in Use:
        assert _texts("MLQuestions", tmp_path, use) == [(row[2], row[1], "")]


def test_wiki_sql(tmp_path: Path):
    table = {
        "id": "1-1",
        "header": ["State/territory", "Notes"],
        "types": ["text", "text"],
        "rows": [["a", "b"]],
    }
    question = {
        "phase": 1, "table_id": "1-1", "question": "How many notes?",
        "sql": {"sel": 1, "conds": [[0, 0, "South  Australia"], [1, 1, 5]], "agg": 3},
    }  # fmt: skip
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as bundle:
        for name, records in (("train.tables", [table]), ("train", [question]), ("test", [{"other": 1}])):
            data = "".join(json.dumps(record) + "\n" for record in records).encode()
            member = tarfile.TarInfo(f"data/{name}.jsonl")
            member.size = len(data)
            bundle.addfile(member, io.BytesIO(data))
    (tmp_path / "data.tar.bz2").write_bytes(bz2.compress(content.getvalue()))
    query = "SELECT COUNT Notes FROM table WHERE State/territory = South Australia AND Notes > 5"
    assert _texts("WikiSQL", tmp_path) == [("How many notes?", query, "sql")]


def test_ds1000_and_human_eval(tmp_path: Path):
    prompt = "Problem:\nI have a frame.\nA:\n<code>\nimport pandas\n</code>\nresult = ...\nBEGIN SOLUTION\n"
    _jsonl(tmp_path / "test.jsonl", [{"prompt": prompt, "reference_code": "result = df", "metadata": {}}])
    assert _texts("DS-1000", tmp_path, Use.BENCHMARK) == [("I have a frame.", "result = df", "python")]
    record = {
        "task_id": "HumanEval/0", "entry_point": "near", "test": "",
        "prompt": 'from typing import List\n\n\ndef near(n: List[int]) -> bool:\n    """ Are any two close?\n'
        '    >>> near([1])\n    False\n    """\n',
        "canonical_solution": "    return len(n) > 1\n",
    }  # fmt: skip
    _parquet(tmp_path / "openai_humaneval" / "test-00000-of-00001.parquet", [record])
    assert _texts("HumanEval", tmp_path, Use.BENCHMARK) == [
        ("Are any two close?", "def near(n: List[int]) -> bool:\n    return len(n) > 1", "python")
    ]


def _written(query: str, document: str, language: str, path: str, task: str = "nl2code") -> dict[str, object]:
    """A row as `codekin data synthesize` writes it."""
    return {
        "query": query, "document": document, "task": task, "language": language, "source": "CodeChefP2S",
        "licence": "unknown", "path": f"{path}#0123456789abcdef", "kind": "solutions@0123456789ab:gpt-4o",
    }  # fmt: skip


def test_translated_solutions_and_their_two_folds(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "description2code_current.zip", "w") as bundle:
        for number in range(60):
            root = f"description2code_current/codechef/easy/P{number}"
            bundle.writestr(f"{root}/description/description.txt", f"Problem {number}")
            for own, solutions in (("c++", 2), ("python", 1)):
                for solution in range(solutions):
                    bundle.writestr(f"{root}/solutions_{own}/{solution}.txt", f"{own} {number} {solution}")
    seeds = _pairs("CodeChefP2S", tmp_path) + _pairs("CodeChef", tmp_path, Use.BENCHMARK)
    assert {(pair.query, pair.document) for pair in seeds} == {
        (f"Problem {number}", f"{own} {number} 0") for number in range(60) for own in ("c++", "python")
    }
    with pytest.raises(InputError, match="holds no pairs yet; codekin data synthesize writes them"):
        _pairs("CodeChefXLang", tmp_path)
    paths = [f"codechef/easy/P{number}" for number in range(60)]
    rows = [_written(f"Problem {n}", f"rust {n}", "rust", path) for n, path in enumerate(paths)]
    across = [
        _written(f"python {n} 0", f"rust {n}", "rust", path, "code2code") for n, path in enumerate(paths)
    ]
    _jsonl(tmp_path / "codechef.jsonl", rows)
    _jsonl(tmp_path / "codechef.xlang.jsonl", across)
    _jsonl(tmp_path / "codechef.s2s.jsonl", across[:30])
    _jsonl(tmp_path / "codechef.rejected.jsonl", [{"key": "0", "reason": "no code"}])
    write_pairs(tmp_path / "seeds.jsonl", seeds)  # where it does no harm
    fit, held_out = _pairs("CodeChefP2S", tmp_path), _pairs("CodeChef", tmp_path, Use.BENCHMARK)
    assert len(fit) + len(held_out) == 60 * 3
    assert {pair.query for pair in fit}.isdisjoint(pair.query for pair in held_out)
    problems = {pair.path.partition("#")[0] for pair in held_out}
    assert 0 < len(problems) < 15
    across_held_out = _pairs("CodeChefXLang", tmp_path, Use.BENCHMARK)
    assert {pair.path.partition("#")[0] for pair in across_held_out} == problems
    assert len(across_held_out) + len(_pairs("CodeChefXLang", tmp_path)) == 60
    assert len(_pairs("CodeChefS2S", tmp_path)) <= 30


def test_moved_deep_learning_code(tmp_path: Path):
    _jsonl(tmp_path / "dl.jsonl", [_written("import torch", "import jax", "python", "a.py", "code2code")])
    _jsonl(tmp_path / "dl.rejected.jsonl", [{"key": "0"}])
    assert _texts("SyntheticDLTrans", tmp_path) == [("import torch", "import jax", "python")]


def test_html_becomes_text():
    html = "<p>One &amp; two<br>three</p>\n\n\n<ul><li>a</li><li>b</li></ul>"
    html += "<pre><code>if x &lt; 1:\n\n    y</code></pre>"
    assert plain(html) == "One & two\nthree\n\n- a\n- b\n\nif x < 1:\n\n    y"


def test_a_folder_without_the_set_is_named(tmp_path: Path):
    for entry in CATALOG:
        with pytest.raises(InputError) as caught:
            list(entry.pairs(tmp_path))
        assert str(tmp_path) in str(caught.value)
        with pytest.raises(InputError, match="no file or folder"):
            list(entry.pairs(tmp_path / "nowhere"))


def test_fetch_brings_the_files_of_a_split_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _coir(tmp_path / "source")
    source = tmp_path / "source"
    files = {p.relative_to(source).as_posix(): p.read_bytes() for p in source.rglob("*.parquet")}
    files["data/test-00000-of-00001.parquet"] = b"not wanted"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    entry = find_set("SyntheticText2SQL")
    with serve(Site(repositories={"CoIR-Retrieval/synthetic-text2sql": files})) as site:
        monkeypatch.setenv("HF_ENDPOINT", site.url)
        folder = entry.fetch()
        assert folder == entry.folder
        assert tmp_path in folder.parents
        asked = {path for _, path, _ in site.requests if "resolve" in path}
        assert len(asked) == 3
        assert all("686b87296c3a0191b5d9415a00526c62db9fce09" in path for path in asked)
        assert [pair.query for pair in entry.pairs()] == ["one"]
        site.cuts = [100]
        command = [
            COMMAND,
            "data",
            "fetch",
            entry.name,
            "--folder",
            tmp_path / "own",
            "--to",
            tmp_path / "out.parquet",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines()[1:] == [f"{tmp_path}/out.parquet: 1 pair"]
    assert list(read_pairs(tmp_path / "out.parquet")) == list(entry.pairs())


def test_a_terminal_sees_how_far_a_download_is(tmp_path: Path):
    content = json.dumps({"slug": "s", "content": "x" * 5_000_000}).encode()
    master, slave = pty.openpty()
    files = {"leetcode-train.jsonl": content}
    with serve(Site(repositories={"greengerong/leetcode": files}, pause=0.4)) as site:
        environment = {**os.environ, "HF_ENDPOINT": site.url, "TERM": "xterm-256color", "COLUMNS": "120"}
        command = [COMMAND, "data", "fetch", "LeetCode", "--folder", tmp_path]
        done = subprocess.run(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=slave,
            text=True,
            timeout=120,
            check=False,
        )
    os.close(slave)
    shown = os.read(master, 1 << 20).decode()
    os.close(master)
    assert done.stdout == f"LeetCode: 5.0 MB in {tmp_path}\n"
    assert "leetcode-train.jsonl" in shown
    assert "of 5.0 MB" in shown


def test_every_source_is_pinned_or_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for entry in CATALOG:
        if isinstance(entry.source, ByHand):
            with pytest.raises(InputError, match="is not to be downloaded") as caught:
                entry.fetch(tmp_path / "nowhere")
            assert "\n" not in str(caught.value)
        elif isinstance(entry.source, Web):
            assert all(file.url.startswith("https://") for file in entry.source.files)
        else:
            assert isinstance(entry.source, Hub)
