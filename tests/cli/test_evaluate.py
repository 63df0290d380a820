"""`codekin evaluate` as it is typed: tables, files, runs that go on, and mistakes in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import Run
from embedding_server import serving
from sets import write_set

MODELS = """
import hashlib

import numpy as np


def drawn(text):
    row = np.random.default_rng(list(hashlib.sha256(text.encode()).digest())).normal(size=8)
    return row / np.linalg.norm(row)


class Fine:
    def encode(self, texts):
        return np.array([drawn(text) for text in texts])


class Nan(Fine):
    def encode(self, texts):
        return super().encode(texts) * (np.nan if len(texts) > 1 else 1)


class Long(Fine):
    def encode(self, texts):
        return 2 * super().encode(texts)


fine, nan, long = Fine(), Nan(), Long()
"""


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """Two sets, and the folder that a user stands in."""
    write_set(tmp_path / "sets" / "one")
    write_set(tmp_path / "sets" / "two", task="qa")
    (tmp_path / "sets" / "mine.py").write_text(MODELS)
    return tmp_path / "sets"


def test_a_table_of_models_and_sets(run: Run, sets: Path) -> None:
    found = run("evaluate", "codekin-static", "bm25", "mine:fine", "-b", "one", "-b", "two", cwd=sets)
    assert found.returncode == 0, found.stderr
    rows = [line.split() for line in found.stdout.splitlines() if line.strip()]
    assert rows[0] == ["benchmark", "task", "codekin-static", "bm25", "mine:fine"]
    assert [row[:2] for row in rows[2:4]] == [["one", "nl2code"], ["two", "qa"]]
    assert "average of 2 sets" in found.stdout
    assert "64" in found.stdout
    assert found.stderr == ""


def test_one_object_for_programs(run: Run, sets: Path) -> None:
    found = run(
        "evaluate", "bm25", "codekin-static", "-b", "one", "-b", "CoSQA+", "--task", "code2code", "--json",
        "--size", "64", "--precision", "int8", cwd=sets,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    told = json.loads(found.stdout)
    assert {result["task"] for result in told["results"]} == {"code2code"}
    assert [
        (one["model"], one["dimensions"], one["precision"], one["rescored"]) for one in told["results"]
    ] == [
        ("bm25", None, "float32", False),
        ("codekin-static", 64, "int8", False),
        ("codekin-static", 64, "int8", True),
    ]
    assert told["results"][0]["queries"] == 5
    assert told["skipped"] == [{"model": None, "benchmark": "CoSQA+", "reason": told["skipped"][0]["reason"]}]
    assert "left out CoSQA+: CoSQA+ is not to be downloaded" in found.stderr


def test_files_and_a_run_that_goes_on(run: Run, sets: Path) -> None:
    command = (
        "evaluate",
        "mine:fine",
        "bm25",
        "-b",
        "one",
        "-o",
        "kept",
        "--markdown",
        "t.md",
        "--html",
        "p.html",
    )
    first = run(*command, cwd=sets)
    assert first.returncode == 0, first.stderr
    assert (sets / "t.md").read_text().startswith("| benchmark | task | mine:fine | bm25 |")
    assert "send failed requests again" in (sets / "p.html").read_text()
    assert len(list((sets / "kept").glob("*.result.json"))) == 2
    assert len(list((sets / "kept" / "results").rglob("one.json"))) == 2
    (sets / "mine.py").write_text(
        MODELS.replace("return np.array", "assert len(texts) == 1; return np.array")
    )
    again = run(*command, cwd=sets)
    assert (again.returncode, again.stdout) == (0, first.stdout)


def test_what_was_measured_is_shown_where_a_file_cannot_be_written(run: Run, sets: Path) -> None:
    (sets / "kept").mkdir()
    (sets / "kept" / "results").touch()
    found = run("evaluate", "bm25", "-b", "one", "-o", "kept", cwd=sets)
    assert found.returncode == 2
    assert found.stdout.split()[:3] == ["benchmark", "task", "bm25"]
    assert found.stderr.startswith("codekin: cannot write kept/results/") and found.stderr.count("\n") == 1


def test_services_are_models(run: Run, sets: Path) -> None:
    with serving() as server:
        name = f"jina+{server.url}#jina-code-embeddings-0.5b"
        found = run("evaluate", name, "-b", "two", "--json", cwd=sets, env={"JINA_API_KEY": "sk-mine"})
        assert found.returncode == 0, found.stderr
        assert {body["task"] for body in server.bodies} >= {"qa.query", "qa.passage"}
        assert {headers["Authorization"] for headers in server.headers} == {"Bearer sk-mine"}
        asked = len(server.bodies)
        again = run("evaluate", name, "-b", "two", "--json", cwd=sets, env={"JINA_API_KEY": "sk-mine"})
        assert (
            json.loads(again.stdout)["results"][0]["figures"]
            == json.loads(found.stdout)["results"][0]["figures"]
        )
        assert len(server.bodies) == asked
        plain = run(
            "evaluate", f"{server.url}#m", "-b", "two", "--key-variable", "MINE", cwd=sets, env={"MINE": "k"}
        )
        assert plain.returncode == 0, plain.stderr
        assert server.headers[-1]["Authorization"] == "Bearer k"
        assert "task" not in server.bodies[-1]
        url = server.url
    gone = run("evaluate", f"{url}#m", "-b", "two", cwd=sets, env={"XDG_CACHE_HOME": str(sets / "other")})
    assert gone.returncode == 2
    assert gone.stderr.startswith("codekin: model m at 127.0.0.1:")
    assert gone.stderr.endswith("cannot be reached: Connection refused\n")


def test_a_folder_of_checkpoints_is_table_5(run: Run, sets: Path, turned_model) -> None:
    turned_model(sets / "runs" / "mean" / "model")
    turned_model(sets / "runs" / "last" / "model")
    found = run("evaluate", "--ablation", "runs", "-b", "one", "--markdown", "t.md", cwd=sets)
    assert found.returncode == 0, found.stderr
    assert (sets / "t.md").read_text().startswith("| benchmark | task | last | mean |")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name a model: codekin evaluate codekin-static bm25 --benchmark FOLDER"),
        (("bm25", "-b", "cosq"), "no benchmark, group or folder is called 'cosq'; see CoSQA, CoSQA+"),
        (("bm25", "-b", "./nowhere"), "no file or folder ./nowhere"),
        (("bm25", "-b", "one", "--data", "nowhere"), "no folder nowhere"),
        (("nothing", "-b", "one"), "no model 'nothing': bundled is codekin-static"),
        (
            ("mine:other", "-b", "one"),
            "model mine:other: AttributeError: module 'mine' has no attribute 'other'",
        ),
        (("mine:np", "-b", "one"), "mine:np cannot be evaluated: it has no method encode"),
        (("mine:long", "-b", "one"), "model mine:long gives vectors that are not of unit length"),
        (
            ("codekin-static", "-b", "one", "--size", "100"),
            "has no vectors of 100 numbers; sizes: 64, 128, 256",
        ),
        (("bm25", "-b", "one", "--html", "no/p.html"), "cannot write no/p.html: no folder no"),
        (("http://localhost:1/v1", "-b", "one"), "'http://localhost:1/v1' is no URL of an API"),
        (("--ablation", "one", "-b", "one"), "an ablation compares two models or more"),
    ],
)
def test_a_mistake_is_one_line(run: Run, sets: Path, arguments: tuple[str, ...], said: str) -> None:
    found = run("evaluate", *arguments, cwd=sets)
    assert (found.returncode, found.stdout) == (2, "")
    assert said in found.stderr
    assert found.stderr.startswith("codekin: ")
    assert found.stderr.count("\n") == 1


def test_what_fails_is_said_and_the_rest_is_shown(run: Run, sets: Path) -> None:
    corpus = sets / "one" / "corpus.jsonl"
    corpus.write_text(corpus.read_text().replace("{", "{{", 1))
    found = run("evaluate", "bm25", "mine:nan", "-b", "one", "-b", "two", cwd=sets)
    assert found.returncode == 2
    left_out = found.stderr.splitlines()
    assert left_out[0].startswith("left out one: one/corpus.jsonl:1: not JSON")
    assert left_out[1].startswith("left out mine:nan on two: model mine:nan gives NaN or infinite numbers")
    assert len(left_out) == 2
    assert "two" in found.stdout


def test_search_is_a_command_below(run: Run, sets: Path) -> None:
    assert "Usage: codekin evaluate search" in run("evaluate", "search", "--help", cwd=sets).stdout
    own = run("evaluate", "--help", cwd=sets).stdout
    assert "Usage: codekin evaluate [OPTIONS] MODEL..." in own
    assert "codekin evaluate search" in own
