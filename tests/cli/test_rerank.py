"""`codekin search --rerank`: the scores of both stages, and what is said where the second one fails."""

from __future__ import annotations

import json

import pytest
from commands import Run

QUESTION = "where are failed requests retried"


def test_json_has_the_scores_of_both_stages(run: Run) -> None:
    plain = json.loads(run("search", QUESTION, "--json").stdout)
    assert "rerank" not in plain and "first_score" not in plain["results"][0]
    result = run("search", QUESTION, "--rerank=codekin-static", "--json")
    assert result.returncode == 0 and not result.stderr
    answer = json.loads(result.stdout)
    done = answer["rerank"]
    assert (
        done["model"] == "codekin-static" and done["scored"] == done["candidates"] > 0 and not done["problem"]
    )
    first = {(one["path"], one["start_line"]): one["score"] for one in plain["results"]}
    for one in answer["results"]:
        assert one["first_score"] == first[one["path"], one["start_line"]]
        assert one["score"] >= one["first_score"] and isinstance(one["second_score"], float)


@pytest.mark.parametrize(
    ("reranker", "problem"),
    [("nowhere", "no model 'nowhere'"), ("http://127.0.0.1:9/v1#m", "cannot be reached")],
)
def test_a_second_stage_that_fails_is_one_line_on_stderr(run: Run, reranker: str, problem: str) -> None:
    plain = run("search", QUESTION)
    result = run("search", QUESTION, f"--rerank={reranker}", "--budget", "2s")
    assert (result.returncode, result.stdout) == (0, plain.stdout)
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("codekin: not reranked, this is the first stage's answer: ")
    assert problem in result.stderr
    told = json.loads(run("search", QUESTION, f"--rerank={reranker}", "--json").stdout)
    assert problem in told["rerank"]["problem"] and told["rerank"]["scored"] == 0


@pytest.mark.parametrize("wide", [["--all"], ["--level", "file"]])
def test_a_wide_search_tells_of_its_second_stage(run: Run, wide: list[str]) -> None:
    assert run("index").returncode == 0
    failed = run("search", QUESTION, *wide, "--rerank=nowhere", "--json")
    assert failed.returncode == 0 and failed.stderr.count("\n") == 1
    assert failed.stderr.startswith("codekin: not reranked, this is the first stage's answer: ")
    assert "no model 'nowhere'" in json.loads(failed.stdout)["rerank"]["problem"]
    done = json.loads(run("search", QUESTION, *wide, "--rerank=codekin-static", "--json").stdout)["rerank"]
    assert done["scored"] == done["candidates"] > 0 and not done["problem"]


@pytest.mark.parametrize("budget", ["soon", "0ms", "-3", "5 minutes"])
def test_a_budget_that_is_no_time_is_refused(run: Run, budget: str) -> None:
    result = run("search", QUESTION, "--rerank=codekin-static", f"--budget={budget}")
    assert result.returncode == 2 and "is no time; write like 300ms, 1.5s" in result.stderr


def test_a_budget_without_a_second_stage_is_refused(run: Run) -> None:
    result = run("search", QUESTION, "--budget", "300ms")
    assert result.returncode == 2 and "--budget is for --rerank" in result.stderr


def test_a_model_is_named_by_equals_alone(run: Run) -> None:
    """A bare --rerank before the query leaves the query to be asked, with the default model."""
    default = {"HF_HOME": "nowhere", "HF_HUB_OFFLINE": "1"}
    result = run("search", "--rerank", QUESTION, "--json", env=default)
    told = json.loads(result.stdout)
    assert told["query"] == QUESTION and told["rerank"]["model"].endswith("all-MiniLM-L6-v2")
    after = json.loads(run("search", QUESTION, ".", "--json", "--rerank", env=default).stdout)
    assert after["rerank"]["model"] == told["rerank"]["model"] and after["results"] == told["results"]
    words = run("search", "--rerank=codekin-static", "--json", "--anyway", "--", "--rerank")
    assert json.loads(words.stdout)["query"] == "--rerank"


def test_a_model_without_equals_is_told_of(run: Run) -> None:
    result = run("search", QUESTION, "--rerank", "codekin-static")
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert "no folder codekin-static; the model of a second stage is named as --rerank=MODEL" in result.stderr
