"""A reranker behind HTTP: a real server, and what servers do wrong."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from codekin.errors import ModelError
from codekin.rerank import open_reranker
from codekin.tasks import Task

TEXTS = ["four", "eleven char", "", "two"]


@contextmanager
def serving(fault: Callable[[int], str] = lambda number: "") -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server whose score of a document is its length, or does what `fault(number of the request)` says."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            kind = fault(len(asked))
            asked.append({**body, "path": self.path, "key": self.headers.get("Authorization")})
            results = [
                {"index": index, "relevance_score": float(len(text))}
                for index, text in enumerate(body["documents"])
            ]
            status, answer = 200, {"results": sorted(results, key=lambda one: -one["relevance_score"])}
            if kind == "busy":
                status, answer = 503, {"detail": "busy"}  # type: ignore[dict-item]
            elif kind == "refused":
                status, answer = 400, {"detail": "no such model; key sk-secret"}  # type: ignore[dict-item]
            elif kind == "key":
                status = 401
            elif kind == "short":
                answer = {"results": results[1:]}
            elif kind == "twice":
                answer = {"results": [*results[1:], results[1]]}
            elif kind == "nan":
                results[0]["relevance_score"] = float("nan")
            elif kind == "other":
                answer = {"data": []}
            elif kind == "slow":
                time.sleep(3)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{httpd.server_address[1]}/v1", asked
    finally:
        httpd.shutdown()
        httpd.server_close()


def test_scores_come_in_the_order_of_the_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codekin.retries._LONGEST_WAIT", 0.01)
    monkeypatch.setenv("COHERE_API_KEY", "sk-secret\n")
    with serving(lambda number: "busy" if number < 2 else "") as (url, asked):
        reranker = open_reranker(f"{url}#a-model")
        assert reranker.name.startswith("a-model at 127.0.0.1:")
        assert reranker.score("q", TEXTS, Task.NL2CODE).tolist() == [4, 11, 0, 3]
        assert len(reranker.score("q", [], Task.NL2CODE)) == 0
    assert len(asked) == 3
    assert asked[2] == {
        "path": "/v1/rerank",
        "key": "Bearer sk-secret",
        "model": "a-model",
        "query": "q",
        "documents": TEXTS,
        "top_n": 4,
        "return_documents": False,
    }


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("refused", r"refuses the request: HTTP 400: no such model; key \[key\]"),
        ("key", "refuses the key"),
        ("short", "3 scores for 4 texts"),
        ("twice", "3 scores for 4 texts"),
        ("nan", "not finite"),
        ("other", "no list of scores"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(kind: str, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COHERE_API_KEY", "sk-secret")
    with serving(lambda _: kind) as (url, _), pytest.raises(ModelError, match=problem):
        open_reranker(f"{url}#m").score("q", TEXTS, Task.NL2CODE)


def test_a_server_is_not_waited_for_beyond_the_budget() -> None:
    with serving(lambda _: "slow") as (url, _):
        started = time.monotonic()
        with pytest.raises(ModelError, match=r"no answer in 0\.2 s"):
            open_reranker(f"{url}#m").score("q", TEXTS, Task.NL2CODE, 0.2)
        assert time.monotonic() - started < 1.5


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(ModelError, match="cannot be reached"):
        open_reranker("http://127.0.0.1:9/v1#m").score("q", TEXTS, Task.NL2CODE)


def test_surrogates_are_sent_as_what_json_holds() -> None:
    with serving() as (url, asked):
        found = open_reranker(f"{url}#m").score("q", ["a\udc80b"], Task.NL2CODE)
        assert np.array_equal(found, [3]) and asked[0]["documents"] == ["a?b"]
