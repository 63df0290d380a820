"""The second stage over HTTP: both stages' scores, what it never keeps waiting, and the first stage where it fails."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from bert_folders import save_classifier
from running import Server, serving
from scoring import scorer
from shop import RETRY, SORTING

from codekin import CodeIndex
from codekin.rerank import open_reranker
from codekin.search import SecondStage
from codekin.tasks import Task

QUESTION = "sort numbers around a pivot"
DOCUMENTS = ["open a file and read its lines", SORTING, RETRY]


@pytest.fixture(scope="module")
def reranking(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Search in `tree`, with the bundled model as its own second stage."""
    with serving(tmp_path_factory.mktemp("cache"), "--repo", tree, "--rerank", "codekin-static") as running:
        yield running


def search(server: Server, **asked: Any) -> dict[str, Any]:
    answer = server.post("/v1/search", {"query": QUESTION, "anyway": True, **asked})
    assert answer.status == 200, answer.body
    told: dict[str, Any] = answer.json
    return told


def places(told: dict[str, Any]) -> list[tuple[str, int, float]]:
    return [(one["path"], one["start_line"], one["score"]) for one in told["results"]]


def test_a_search_has_both_stages_of_the_index(reranking: Server, tree: Path, tmp_path: Path) -> None:
    with CodeIndex(tree, index=tmp_path) as index:
        for how, stage in (
            (True, SecondStage("codekin-static")),
            ({"candidates": 2}, SecondStage("codekin-static", candidates=2)),
            ({"model": "codekin-static", "budget_ms": 30_000}, SecondStage("codekin-static", budget=30)),
        ):
            told = search(reranking, rerank=how, top=3)
            expected = index.search(QUESTION, 3, anyway=True, rerank=stage)
            assert places(told) == [(one.path, one.start_line, round(one.score, 4)) for one in expected]
            for one, wanted in zip(told["results"], expected, strict=True):
                assert one["first_score"] == round(wanted.first_score or 0, 4)
                assert (one["second_score"] is None) == (wanted.second_score is None)
            done = told["rerank"]
            assert index.reranked
            assert (done["model"], done["candidates"], done["scored"], done["problem"]) == (
                "codekin-static",
                index.reranked.candidates,
                index.reranked.scored,
                "",
            )
            assert done["seconds"] > 0


def test_a_search_that_does_not_ask_for_it_has_none(reranking: Server, server: Server) -> None:
    for how in ({}, {"rerank": False}):
        told = search(reranking, **how)
        assert "rerank" not in told and "first_score" not in told["results"][0]
        assert places(told) == places(search(server))


@pytest.mark.parametrize(
    ("how", "status", "said"),
    [
        ({"model": "Qwen/Qwen3-Reranker-0.6B"}, 404, "is not served here; 'codekin-static' is"),
        ({"candidates": 0}, 400, "rerank must be true, false, or an object"),
        ({"budget_ms": -1}, 400, "rerank must be true, false, or an object"),
        ("codekin-static", 400, "rerank must be true, false, or an object"),
    ],
)
def test_wrong_wishes_are_told_in_a_line(reranking: Server, how: Any, status: int, said: str) -> None:
    answer = reranking.post("/v1/search", {"query": QUESTION, "rerank": how})
    error = answer.json["error"]
    assert answer.status == status and said in error["message"] and error["param"] == "rerank"


def test_a_server_without_one_says_so(server: Server) -> None:
    answer = server.post("/v1/search", {"query": QUESTION, "rerank": True})
    assert answer.status == 400 and "codekin serve --rerank" in answer.json["error"]["message"]


def test_a_model_that_cannot_be_loaded_leaves_the_first_stage(tree: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "cache", "--repo", tree, "--rerank=nowhere") as server:
        told = search(server, rerank=True)
        assert places(told) == places(search(server))
        assert "no model 'nowhere'" in told["rerank"]["problem"] and told["rerank"]["scored"] == 0
        assert [one["second_score"] for one in told["results"]] == [None] * len(told["results"])
        refused = server.post("/v1/rerank", {"query": QUESTION, "documents": DOCUMENTS})
        assert refused.status == 503 and "no model 'nowhere'" in refused.json["error"]["message"]
        [record] = [one for one in server.records() if one["level"] == "error"]
        assert record["event"] == "the second stage cannot be loaded" and "nowhere" in record["error"]


def test_a_stage_that_fails_leaves_the_first(tree: Path, tmp_path: Path) -> None:
    with (
        scorer(release := Event(), fail=True) as (url, _),
        serving(tmp_path / "cache", "--repo", tree, "--rerank", url) as server,
    ):
        release.set()
        told = search(server, rerank=True)
        assert places(told) == places(search(server))
        assert "the server refuses the request" in told["rerank"]["problem"]
        text = server.get("/metrics").body.decode()
        assert 'codekin_reranked_total{scored="none"} 1.0' in text
        [line] = [one for one in server.records() if "reranked" in one]
        assert line["reranked"] == 0 and line["status"] == 200 and "problem" not in line


def test_nothing_waits_for_a_slow_second_stage(tree: Path, tmp_path: Path) -> None:
    """More searches than there are threads wait for it; others are answered at once, and budgets are kept."""
    release = Event()
    with (
        scorer(release) as (url, asked),
        serving(tmp_path / "cache", "--repo", tree, "--rerank", url) as server,
        ThreadPoolExecutor(24) as clients,
    ):
        first = places(search(server))
        waiting = [clients.submit(search, server, rerank=True) for _ in range(20)]
        while not asked:
            time.sleep(0.01)
        times = []
        for _ in range(20):
            began = time.monotonic()
            assert places(search(server)) == first
            times.append(time.monotonic() - began)
        assert statistics.median(times) < 0.2
        began = time.monotonic()
        late = search(server, rerank={"budget_ms": 300})
        assert time.monotonic() - began < 2
        assert places(late) == first and late["rerank"]["problem"] == "no time for it in 0.3 s"
        assert not any(one.done() for one in waiting)
        release.set()
        for one in waiting:
            told = one.result(30)
            assert told["rerank"]["scored"] == told["rerank"]["candidates"] > 0
            second = [hit["second_score"] for hit in told["results"]]
            assert max(second) == second[0] and places(told) != first
        # One search at a time.
        assert len(asked) == 20


def test_a_budget_is_the_servers_where_a_search_has_none(tree: Path, tmp_path: Path) -> None:
    release = Event()
    with (
        scorer(release) as (url, _),
        serving(tmp_path / "cache", "--repo", tree, "--rerank", url, "--budget", "200ms") as server,
    ):
        told = search(server, rerank=True)
        assert told["rerank"]["problem"] and places(told) == places(search(server))
        assert told["elapsed_ms"] < 2000
        release.set()
        assert not search(server, rerank={"budget_ms": 20_000})["rerank"]["problem"]


def test_a_request_is_not_given_up_for_its_second_stage(tree: Path, tmp_path: Path) -> None:
    with (
        scorer(Event()) as (url, _),
        serving(tmp_path / "cache", "--repo", tree, "--rerank", url, "--timeout", "3") as server,
    ):
        told = search(server, rerank={"budget_ms": 60_000})
        assert told["results"] and told["rerank"]["problem"]


def test_rerank_is_by_the_second_stage(reranking: Server) -> None:
    """Our own client of the API, and a second stage over another server's."""
    remote = open_reranker(f"{reranking.url}/v1#codekin-static")
    local = open_reranker("codekin-static")
    documents = DOCUMENTS * 30
    asked = (QUESTION, documents, Task.NL2CODE)
    np.testing.assert_allclose(remote.score(*asked), local.score(*asked).clip(0), atol=1e-6)
    answer = reranking.post("/v1/rerank", {"query": QUESTION, "documents": documents, "top_n": 2}).json
    assert len(answer["results"]) == 2 and answer["results"][0]["index"] in range(1, 90, 3)
    refused = reranking.post("/v1/rerank", {"query": QUESTION, "documents": documents, "model": "other"})
    assert refused.status == 404 and "'codekin-static' is" in refused.json["error"]["message"]


def test_a_cross_encoder_is_served_beside_the_embedding_model(tree: Path, tmp_path: Path) -> None:
    for name in ("sentence_transformers", "torch", "transformers"):
        pytest.importorskip(name)
    folder = save_classifier(tmp_path / "tiny-cross-encoder")
    expected = open_reranker(folder).score(QUESTION, DOCUMENTS, Task.NL2CODE)
    body = {"query": QUESTION, "documents": DOCUMENTS}
    with serving(tmp_path / "cache", "--repo", tree, "--rerank", folder) as server:
        told = server.post("/v1/rerank", body).json
        assert told["model"] == folder.name and "usage" not in told
        scores = {one["index"]: one["relevance_score"] for one in told["results"]}
        assert [scores[place] for place in range(3)] == pytest.approx(expected.tolist(), abs=1e-5)
        assert [one["relevance_score"] for one in told["results"]] == sorted(scores.values(), reverse=True)
        cosines = server.post("/v1/rerank", {**body, "model": "codekin-static"}).json
        assert cosines["model"] == "codekin-static" and cosines["usage"]["total_tokens"] > 0
        assert cosines["results"][0]["index"] == 1
        models = {one["id"]: one["capabilities"] for one in server.get("/v1/models").json["data"]}
        assert models == {"codekin-static": ["embed", "rerank"], folder.name: ["rerank"]}
        assert server.get(f"/v1/models/{folder.name}").json["id"] == folder.name
        refused = server.post("/v1/embeddings", {"input": "a", "model": folder.name})
        assert refused.status == 404
        reranked = search(server, rerank=True)["rerank"]
        assert (reranked["model"], reranked["problem"]) == (folder.name, "")


def test_metrics_count_what_was_scored(tree: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "cache", "--repo", tree, "--rerank", "codekin-static") as server:
        scored = search(server, rerank=True)["rerank"]["scored"]
        search(server, rerank={"candidates": 1, "budget_ms": 0.0001})
        text = server.get("/metrics").body.decode()
        assert 'codekin_reranked_total{scored="all"} 1.0' in text
        assert 'codekin_reranked_total{scored="none"} 1.0' in text
        assert f"codekin_rerank_texts_total {float(scored)}" in text
        assert "codekin_rerank_seconds_count 2.0" in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--budget", "1s"], "--budget is for --rerank"),
        (["--rerank", "--budget", "soon"], "is no time"),
    ],
)
def test_wrong_options_are_told(tmp_path: Path, options: list[str], said: str) -> None:
    with pytest.raises(AssertionError, match=said), serving(tmp_path, *options):
        pass
