"""Services of OpenAI's and Jina's form, on a real server with faults."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from embedding_server import LONGEST, serving, vector

from codekin.embed import VectorCache
from codekin.embed.endpoint import Endpoint, parse_endpoint
from codekin.embed.remote import RemoteModel, jina_task
from codekin.errors import InputError, ModelError
from codekin.tasks import Role, Task

TEXTS = [f"def f{number}(): ..." for number in range(150)]
NL2CODE, QUERY, DOCUMENT = Task.NL2CODE, Role.QUERY, Role.DOCUMENT


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codekin.retries._LONGEST_WAIT", 0.01)


def test_vectors_come_in_the_order_of_the_texts() -> None:
    texts = ["", *TEXTS, TEXTS[3]]
    done: list[tuple[int, int]] = []
    with serving() as server:
        model = RemoteModel(server.url + "/", "m", key="sk-secret")
        found = model.encode(texts, NL2CODE, DOCUMENT, lambda *now: done.append(now))
    assert np.allclose(found, [vector(text or " ") for text in texts])
    assert found.dtype == np.float32
    assert sorted(len(body["input"]) for body in server.bodies) == [23, 64, 64]
    assert {body["path"] for body in server.bodies} == {"/v1/embeddings"}
    assert server.bodies[0]["model"] == "m"
    assert "task" not in server.bodies[0]
    assert {headers["Authorization"] for headers in server.headers} == {"Bearer sk-secret"}
    assert done[-1][1] == len(texts)


def test_jinas_api_is_told_the_task() -> None:
    with serving() as server:
        model = RemoteModel(server.url, "jina-code-embeddings-0.5b", jina=True)
        found = model.encode(["x" * 2 * LONGEST], Task.CODE2NL, QUERY)
    assert server.bodies[0]["task"] == "code2nl.query"
    assert server.bodies[0]["truncate"] is True
    assert "Authorization" not in server.headers[0]
    assert np.allclose(found, [vector("x" * 2 * LONGEST, "code2nl.query")])
    assert jina_task("jina-code-embeddings-1.5b", NL2CODE, DOCUMENT) == "nl2code.passage"
    assert jina_task("jina-embeddings-v4", Task.QA, QUERY) == "code.query"
    assert jina_task("jina-embeddings-v3", Task.QA, DOCUMENT) == "retrieval.passage"


def test_a_busy_server_is_asked_again_when_it_says_so() -> None:
    with serving(lambda number, body: ("busy", "broken", "")[min(number, 2)]) as server:
        found = RemoteModel(server.url, "m").encode(TEXTS[:3], NL2CODE, QUERY)
    assert np.allclose(found, [vector(text) for text in TEXTS[:3]])
    assert len(server.bodies) == 3
    assert server.times[1] - server.times[0] >= 0.95


def test_what_was_paid_for_is_not_asked_again(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path)
    with serving(lambda number, body: "refused" if "def f149(): ..." in body["input"] else "") as server:
        model = RemoteModel(server.url, "m", cache=cache)
        first = model.encode(TEXTS[:64], NL2CODE, QUERY)
        with pytest.raises(ModelError):
            model.encode(TEXTS, NL2CODE, QUERY)
        asked = len(server.bodies)
        assert np.array_equal(model.encode(TEXTS[:64], NL2CODE, DOCUMENT), first)
        assert len(server.bodies) == asked
        RemoteModel(server.url, "other", cache=cache).encode(TEXTS[:1], NL2CODE, QUERY)
        assert len(server.bodies) == asked + 1


def test_a_text_that_is_too_long_is_cut_and_counted() -> None:
    texts = ["short", "a" * (LONGEST + 5), "b" * 2 * LONGEST]
    with serving() as server:
        model = RemoteModel(server.url, "m")
        found = model.encode(texts, NL2CODE, DOCUMENT)
    assert np.allclose(found[0], vector("short"))
    assert np.allclose(found[1], vector("a" * ((LONGEST + 5) * 3 // 4)))
    assert model.truncated == 2


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("key", r"model m at 127.0.0.1:\d+: the server refuses the key \(HTTP 401\)"),
        ("refused", r"refuses the request: HTTP 400: no such model; key \[key\]"),
        ("moved", "refuses the request: HTTP 307"),
        ("broken", "no answer in 8 attempts; the last: HTTP 503: out of order"),
        ("short", "1 embeddings for 2 texts"),
        ("other", "the answer is no list of embeddings"),
        ("nan", "gives NaN or infinite numbers, in 2 of 2 vectors"),
        ("long", "not of unit length: 2 of 2, one of 2"),
    ],
)
def test_what_a_server_will_not_do_is_one_line_without_the_key(fault: str, said: str) -> None:
    with serving(lambda number, body: fault) as server, pytest.raises(ModelError, match=said) as error:
        RemoteModel(server.url, "m", key="sk-secret").encode(TEXTS[:2], NL2CODE, QUERY)
    assert "sk-secret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_unsound_vectors_are_not_kept(tmp_path: Path) -> None:
    with serving(lambda number, body: ("nan", "long", "")[min(number, 2)]) as server:
        model = RemoteModel(server.url, "m", cache=VectorCache(tmp_path))
        for _ in range(2):
            with pytest.raises(ModelError):
                model.encode(TEXTS[:2], NL2CODE, QUERY)
        assert np.allclose(
            model.encode(TEXTS[:2], NL2CODE, QUERY), [vector(text) for text in TEXTS[:2]], atol=1e-6
        )


def test_an_interrupt_does_not_wait_for_the_server() -> None:
    with serving(lambda number, body: "slow") as server:
        program = f"from codekin.embed.remote import RemoteModel; RemoteModel({server.url!r}, 'm')"
        asking = subprocess.Popen(
            [sys.executable, "-c", f"{program}.encode(['a'], None, None)"], stderr=subprocess.DEVNULL
        )
        while not server.bodies:
            time.sleep(0.01)
        asking.send_signal(signal.SIGINT)
        assert asking.wait(3) != 0


def test_a_key_is_sent_without_the_line_break_of_its_file() -> None:
    with serving() as server:
        RemoteModel(server.url, "m", key="sk-secret\n").encode(TEXTS[:1], NL2CODE, QUERY)
    assert server.headers[0]["Authorization"] == "Bearer sk-secret"
    for key in ("sk-日本", "sk\n-secret"):
        with pytest.raises(InputError, match=r"characters that HTTP cannot send$"):
            RemoteModel(server.url, "m", key=key)


def test_a_server_that_is_not_there_is_said_at_once() -> None:
    with serving() as server:
        url = server.url
    with pytest.raises(ModelError, match="cannot be reached: Connection refused"):
        RemoteModel(url, "m").encode(TEXTS, NL2CODE, QUERY)


def test_which_names_are_services() -> None:
    assert parse_endpoint("https://api.openai.com/v1#m") == ("https://api.openai.com/v1", "m", False)
    assert parse_endpoint("https://api.jina.ai/v1#m") == ("https://api.jina.ai/v1", "m", True)
    assert parse_endpoint("jina+http://localhost:8080/v1#a/b") == ("http://localhost:8080/v1", "a/b", True)
    assert parse_endpoint("owner/name") is None
    assert parse_endpoint("https://notjina.ai/v1#m") == ("https://notjina.ai/v1", "m", False)
    assert parse_endpoint("http://[::1/v1#m") == ("http://[::1/v1", "m", False)


@pytest.mark.parametrize(
    ("url", "model"),
    [
        ("https://host/v1", ""),
        ("ftp://host", "m"),
        ("https://user:word@host/v1", "m"),
        ("http://host/v 1", "m"),
        ("http://host/é", "m"),
        ("http://host:port/v1", "m"),
        ("http://[::1/v1", "m"),
        ("http://", "m"),
    ],
)
def test_a_url_that_is_none_is_refused(url: str, model: str) -> None:
    with pytest.raises(InputError, match="no URL of an API"):
        RemoteModel(url, model)


@pytest.mark.parametrize("url", ["http://localhost:1/v1", "http://[::1]:1/v1/", "https://a-b.c.de/x/@v1?a=b"])
def test_a_url_that_is_one_is_taken(url: str) -> None:
    assert Endpoint(url, "m").url == url.rstrip("/")
