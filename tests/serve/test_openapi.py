"""Schemathesis: whatever the API's description allows, and what it does not, is answered without an error inside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from running import Server, serving

schemathesis = pytest.importorskip("schemathesis")

MODES = list(schemathesis.GenerationMode)


@pytest.fixture(scope="module")
def server(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """All that can be served, a second stage included."""
    with serving(tmp_path_factory.mktemp("cache"), "--repo", tree, "--rerank=codekin-static") as running:
        yield running


@pytest.mark.parametrize("mode", MODES, ids=[mode.value for mode in MODES])
def test_no_request_is_answered_by_an_error_inside(server: Server, mode: Any):
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    asked: dict[str, set[int]] = {}
    for found in schema.get_all_operations():
        operation = found.ok()
        _ask(operation, mode, asked.setdefault(operation.label, set()))
    assert {"POST /v1/embeddings", "POST /v1/rerank", "POST /v1/search", "GET /v1/related"} <= set(asked)
    expected = 200 if mode is schemathesis.GenerationMode.POSITIVE else 400
    assert expected in asked["POST /v1/search"] and expected in asked["POST /v1/rerank"]


def _ask(operation: Any, mode: Any, statuses: set[int]) -> None:
    @settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        answer = case.call()
        statuses.add(answer.status_code)
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400 and answer.headers.get("content-type") == "application/json":
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}

    # Nothing can be wrong with a request that has no parameters.
    with suppress(Unsatisfiable) if mode is schemathesis.GenerationMode.NEGATIVE else nullcontext():
        check()
