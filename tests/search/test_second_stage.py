"""The second stage: both scores, the first stage's answer where it fails, and its budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from numpy.typing import NDArray

from codekin import CodeIndex
from codekin.errors import InputError, ModelError
from codekin.rerank.reranker import paced
from codekin.search import Result, SecondStage, search_together
from codekin.tasks import Task

QUERY = "filter the cache of a session"


def checksum(text: str) -> int:
    return crc32(text.encode()) % 1000


class ByChecksum:
    """A reranker that prefers texts by their checksum, and takes `pause` seconds for each."""

    name = "by-checksum"

    def __init__(self, pause: float = 0.0) -> None:
        self.pause = pause
        self.asked: list[str] = []

    def load(self) -> None:
        time.sleep(self.pause)

    def score(
        self, query: str, texts: Sequence[str], task: Task, seconds: float | None = None
    ) -> NDArray[np.float32]:
        assert query == QUERY and task is Task.QA
        self.asked = list(texts)
        return paced(self._checksums, texts, seconds)

    def _checksums(self, texts: Sequence[str]) -> NDArray[np.float32]:
        time.sleep(self.pause * len(texts))
        return np.array([checksum(text) for text in texts], np.float32)


class Failing(ByChecksum):
    def __init__(self, fail: Callable[[], NDArray[np.float32]]) -> None:
        super().__init__()
        self._fail = fail

    def _checksums(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._fail()


def plain(results: Sequence[Result]) -> list[Result]:
    return [replace(result, first_score=None, second_score=None) for result in results]


def key(result: Result) -> tuple[str, int]:
    return result.path, result.start_line


@pytest.fixture
def index(large_tree: Path, tmp_path: Path) -> CodeIndex:
    return CodeIndex(large_tree, index=tmp_path / "index")


def test_results_are_in_the_order_of_both_scores(index: CodeIndex) -> None:
    first = index.search(QUERY, 30, task=Task.QA)
    assert index.reranked is None and first[0].first_score is None
    reranker = ByChecksum()
    stage = SecondStage(reranker, candidates=30, weight=0.8)
    found = index.search(QUERY, 10, task=Task.QA, rerank=stage)
    done = index.reranked
    assert done is not None
    assert (done.model, done.candidates, done.scored, done.problem) == ("by-checksum", 30, 30, "")
    # What is scored is the head of what a vector is made of: the names that a chunk goes by, and its text.
    heads = [f"{one.symbol}\n{one.text}" for one in first]
    assert all(head[:100] in text for text, head in zip(reranker.asked, heads, strict=True))
    assert max(len(text) for text in reranker.asked) == 400
    scored = {key(one): (one.score, checksum(text)) for one, text in zip(first, reranker.asked, strict=True)}
    assert [(one.first_score, one.second_score) for one in found] == [scored[key(one)] for one in found]
    assert [key(one) for one in found] != [key(one) for one in first[:10]]
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def raising(error: Exception) -> Callable[[], NDArray[np.float32]]:
    def fail() -> NDArray[np.float32]:
        raise error

    return fail


@pytest.mark.parametrize(
    ("fail", "problem"),
    [
        (raising(ModelError("the server is gone")), "the server is gone"),
        (raising(RuntimeError("out of memory\nat line 3")), "RuntimeError: out of memory"),
        (lambda: np.array([np.nan, 1], np.float32), "ArithmeticError: scores that are no number a text"),
    ],
)
def test_a_stage_that_fails_leaves_the_first_ones_answer(
    index: CodeIndex, fail: Callable[[], NDArray[np.float32]], problem: str
) -> None:
    first = index.search(QUERY, 10, task=Task.QA)
    found = index.search(QUERY, 10, task=Task.QA, rerank=SecondStage(Failing(fail)))
    assert plain(found) == first
    assert all(one.first_score == one.score and one.second_score is None for one in found)
    assert index.reranked is not None
    assert (index.reranked.scored, index.reranked.problem) == (0, problem)
    assert index.answered


def test_a_model_that_is_not_there_is_a_stage_that_fails(index: CodeIndex) -> None:
    found = index.search(QUERY, 5, rerank=SecondStage("nowhere-at-all"))
    assert plain(found) == index.search(QUERY, 5)


def test_what_the_budget_has_no_time_for_counts_as_the_last(index: CodeIndex) -> None:
    first = index.search(QUERY, 40, task=Task.QA)
    stage = SecondStage(ByChecksum(0.03), candidates=40, budget=0.4)
    found = index.search(QUERY, 40, task=Task.QA, rerank=stage)
    done = index.reranked
    assert done is not None
    # Loading takes longer than all the budget here, and does not count.
    assert 2 < done.scored < 40 and done.seconds < 1.5
    assert {key(one) for one in found} == {key(one) for one in first}
    assert {key(one) for one in found if one.second_score is not None} == {
        key(one) for one in first[: done.scored]
    }
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True)


def test_more_results_than_candidates(index: CodeIndex) -> None:
    first = index.search(QUERY, 20, task=Task.QA)
    found = index.search(QUERY, 20, task=Task.QA, rerank=SecondStage(ByChecksum(), candidates=5))
    assert {key(one) for one in found} == {key(one) for one in first}
    assert {key(one) for one in found if one.second_score is not None} == {key(one) for one in first[:5]}


def test_several_folders_are_reranked_as_one(large_tree: Path, tree: Path, tmp_path: Path) -> None:
    indexes = [CodeIndex(root, index=tmp_path / root.name / "index") for root in (large_tree, tree)]
    reranker = ByChecksum()
    found = search_together(
        indexes, QUERY, 60, task=Task.QA, anyway=True, rerank=SecondStage(reranker, weight=1e6)
    )
    assert len(reranker.asked) == 50
    scores = [result.second_score for _, result in found[:50]]
    assert scores == sorted(scores, reverse=True)  # type: ignore[type-var]
    assert all(index.reranked is not None for index in indexes)


def test_nothing_found_is_nothing_reranked(index: CodeIndex) -> None:
    assert index.search(QUERY, task=Task.QA, include=["*.none"], rerank=SecondStage(ByChecksum())) == []
    assert index.reranked is not None and not index.reranked.problem


def test_the_bundled_model_reranks_without_torch(index: CodeIndex) -> None:
    found = index.search(QUERY, 10, mode="lexical", rerank=SecondStage("codekin-static"))
    assert index.reranked is not None and index.reranked.scored == index.reranked.candidates
    assert all(one.second_score is not None and -1.001 < one.second_score < 1.001 for one in found)


@pytest.mark.parametrize(
    "wrong", [{"candidates": 0}, {"weight": 0.0}, {"weight": np.nan}, {"budget": 0.0}, {"budget": -1.0}]
)
def test_numbers_that_are_none_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        SecondStage("codekin-static", **wrong)  # type: ignore[arg-type]
