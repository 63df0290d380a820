"""What a server does with clients that are many, slow, rude or gone, and how it starts, ends and tells of itself."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from running import Server, serving
from shop import DECODER

from codekin import Embedder

WORDS = "open close read write send retry parse merge split join sort filter cache request response".split()


def _texts(count: int) -> list[str]:
    return [
        " ".join(WORDS[(number * 7 + place) % len(WORDS)] for place in range(number % 9 + 1)) + f" {number}"
        for number in range(count)
    ]


def _request(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _raw(server: Server, data: bytes, seconds: float = 20) -> bytes:
    """What a server answers to bytes, until it closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        return _rest(connection)


def _rest(connection: socket.socket) -> bytes:
    answer = b""
    with suppress(ConnectionResetError):
        while part := connection.recv(1 << 16):
            answer += part
    return answer


def _is_well(server: Server) -> None:
    assert server.get("/health").json == {"status": "ok"}
    assert server.post("/v1/embeddings", {"input": "a"}).status == 200


# ---- many


def _load(server: Server, path: str, clients: int, seconds: float) -> tuple[int, list[str]]:
    """Embeddings asked by clients at once, each compared with the vector that its text has alone."""
    texts = _texts(100)
    embedder = Embedder(path)
    wanted = np.concatenate([embedder.encode([text], role="query") for text in texts])
    wrong: list[str] = []
    done = 0
    ends = time.monotonic() + seconds

    async def client(number: int) -> None:
        nonlocal done
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        place = number * 37
        while time.monotonic() < ends:
            place = (place + 1) % 95
            count = place % 5 + 1
            body = json.dumps({"input": texts[place : place + count], "task": "nl2code.query"}).encode()
            writer.write(_request("/v1/embeddings", body))
            told = await reader.readuntil(b"\r\n\r\n")
            content = await reader.readexactly(int(re.findall(rb"content-length: (\d+)", told)[0]))
            if not told.startswith(b"HTTP/1.1 200"):
                wrong.append(content.decode())
                return
            given = np.array([one["embedding"] for one in json.loads(content)["data"]])
            if given.shape != (count, embedder.dimensions) or not np.allclose(
                given, wanted[place : place + count], atol=1e-5
            ):
                wrong.append(f"{place}")
            done += 1
        writer.close()

    async def run() -> None:
        await asyncio.gather(*(client(number) for number in range(clients)))

    asyncio.run(run())
    return done, wrong


@pytest.mark.parametrize("seconds", [2.0, pytest.param(60.0, marks=pytest.mark.slow)])
def test_64_clients_get_what_one_would(server: Server, decoder_server: Server, decoder: Path, seconds: float):
    for each, model in ((server, "codekin-static"), (decoder_server, str(decoder))):
        done, wrong = _load(each, model, 64, seconds)
        assert not wrong and done >= 64
    counted = re.findall(
        r"codekin_batch_texts_(sum|count) ([\d.]+)", decoder_server.get("/metrics").body.decode()
    )
    texts = {name: float(number) for name, number in counted}
    assert texts["sum"] > 3 * texts["count"]  # requests were computed together


def test_searches_at_once_get_their_own_answers(server: Server):
    queries = ["retry a failed request", "sort numbers around a pivot", "add an item to the cart"]

    def ask(query: str) -> list[tuple[str, float]]:
        told = server.post("/v1/search", {"query": query, "anyway": True}).json
        return [(one["path"], one["score"]) for one in told["results"]]

    alone = {query: ask(query) for query in queries}
    with ThreadPoolExecutor(32) as pool:
        for query, found in zip(queries * 60, pool.map(ask, queries * 60), strict=True):
            assert found == alone[query]


def _memory(server: Server, requests: int) -> float:
    """Megabytes grown in the second half of so many requests of all kinds."""
    kinds = [
        ("/v1/embeddings", lambda n: {"input": [f"text {n}", f"def f{n}(): pass"]}),
        ("/v1/search", lambda n: {"query": f"where is {n} retried", "exclude": [f"*.x{n}"], "anyway": True}),
        ("/v1/rerank", lambda n: {"query": f"q{n}", "documents": [f"d{n}", "d"]}),
        ("/v1/embeddings", lambda n: {"input": "a", "dimensions": n + 1000}),
        ("/nowhere", lambda n: {}),
    ]

    async def client(numbers: range) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for number in numbers:
            path, make = kinds[number % len(kinds)]
            body = json.dumps(make(number)).encode()
            path = path if path != "/nowhere" else f"/nowhere/{number}"
            writer.write(_request(path, body))
            told = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(re.findall(rb"content-length: (\d+)", told)[0]))
        writer.close()

    async def run(start: int) -> None:
        share = requests // 2 // 8
        await asyncio.gather(
            *(client(range(start + part * share, start + (part + 1) * share)) for part in range(8))
        )

    asyncio.run(run(0))
    before = server.resident_bytes()
    asyncio.run(run(requests))
    return (server.resident_bytes() - before) / 1e6


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.parametrize("requests", [1_600, pytest.param(20_000, marks=pytest.mark.slow)])
def test_memory_does_not_grow(server: Server, requests: int):
    assert _memory(server, requests) < 3 + requests / 5_000


# ---- rude


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        os.urandom(2000),
    ],
)
def test_what_is_no_http_is_refused(server: Server, data: bytes):
    answer = _raw(server, data)
    assert answer.startswith(b"HTTP/1.1 400")
    _is_well(server)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"a"',
        b"\xff\xfe",
        b'{"input": "\\ud800"}',
        b"[" * 50_000,
        b'{"input": 1e999}',
    ],
)
def test_what_is_no_request_is_refused_in_openais_form(server: Server, body: bytes):
    for path in ("/v1/embeddings", "/v1/rerank", "/v1/search"):
        answer = server.post(path, body)
        assert answer.status == 400, answer
        error = answer.json["error"]
        assert error["type"] == "invalid_request_error" and "\n" not in error["message"]
        assert set(error) == {"message", "type", "param", "code"}


def test_other_paths_and_methods_are_refused_in_openais_form(server: Server):
    assert server.get("/v1/nothing").status == 404
    answer = server.get("/v1/embeddings")
    assert answer.status == 405 and answer.json["error"]["type"] == "invalid_request_error"
    form = server.post("/v1/embeddings", b"input=a", **{"Content-Type": "text/plain"})
    assert form.status == 400 and "application/json" in form.json["error"]["message"]


def test_huge_requests_are_refused_unread(server: Server):
    head = b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    answer = _raw(server, head + b"Content-Length: 99999999999\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 413") and b"request_too_large" in answer
    part = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    answer = _raw(server, head + b"Transfer-Encoding: chunked\r\n\r\n" + part * 200)
    assert answer.startswith(b"HTTP/1.1 413")
    answer = _raw(server, b"GET /health HTTP/1.1\r\n" + b"X-Long: " + b"x" * 200_000)
    assert answer.startswith(b"HTTP/1.1 431")
    many = server.post("/v1/rerank", {"query": "a", "documents": ["b"] * 5000})
    assert many.status == 400
    _is_well(server)


def test_slow_requests_are_not_waited_for(tmp_path: Path):
    """Slowloris: connections that never finish their requests, beside which others are answered."""
    head = _request("/v1/embeddings", b" " * 1000)[:-1000]
    beginnings = [b"G", b"GET / HTTP/1.1\r\n", head[:-2], head, b"\r\n", _request("/health", b"") + b"GET"]
    with serving(tmp_path, "--timeout", "1") as server:
        slow = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(60)]
        try:
            for place, connection in enumerate(slow):
                connection.sendall(beginnings[place % len(beginnings)])
            began = time.monotonic()
            while time.monotonic() - began < 2.5:
                for connection in slow:
                    _drip(connection)
                _is_well(server)
                time.sleep(0.2)
            for connection in slow:
                answer = _rest(connection)
                assert b"HTTP/1.1 408" in answer or b"HTTP/1.1 400" in answer or not answer
        finally:
            for connection in slow:
                connection.close()
        time.sleep(0.2)
        assert 408 in {record.get("status") for record in server.records()}


def _drip(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.sendall(b"x")


def test_cut_requests_leave_nothing(server: Server):
    whole = _request("/v1/embeddings", b" " * 5000)
    for data in (b"", whole[:2], whole[:-5000], whole[:-2000]):
        for _ in range(30):
            with socket.create_connection(("127.0.0.1", server.port)) as connection:
                connection.sendall(data)
    _is_well(server)
    time.sleep(0.2)
    assert not [record for record in server.records() if record["level"] == "error"]


def test_a_client_that_hangs_up_ends_its_work(decoder_server: Server):
    body = json.dumps({"input": [f"{'x ' * 900}{number}" for number in range(200)]}).encode()

    def queued() -> float:
        metrics = decoder_server.get("/metrics").body.decode()
        return float(re.findall(r"^codekin_queued_tokens ([\d.e+]+)", metrics, re.MULTILINE)[0])

    with socket.create_connection(("127.0.0.1", decoder_server.port)) as connection:
        connection.sendall(_request("/v1/embeddings", body))
        deadline = time.monotonic() + 20
        while not queued():
            assert time.monotonic() < deadline
            time.sleep(0.005)
    deadline = time.monotonic() + 5
    while queued():
        assert time.monotonic() < deadline, "what nobody waits for is still to be computed"
        time.sleep(0.02)
    time.sleep(0.1)
    assert 499 in {record.get("status") for record in decoder_server.records()}


def test_a_full_queue_is_told(decoder: Path, tmp_path: Path):
    texts = [f"{'x ' * 990}{number}" for number in range(30)]
    with serving(tmp_path, "--model", decoder) as server, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: server.post("/v1/embeddings", {"input": texts}), range(4)))
        refused = [answer for answer in answers if answer.status == 429]
        assert refused and {answer.status for answer in answers} == {200, 429}
        for answer in refused:
            assert (
                1 <= int({key.lower(): value for key, value in answer.headers.items()}["retry-after"]) <= 60
            )
            assert answer.json["error"]["type"] == "rate_limit_error"
        assert server.post("/v1/embeddings", {"input": "a"}).status == 200


def test_what_takes_too_long_is_given_up(decoder: Path, tmp_path: Path):
    with serving(tmp_path, "--model", decoder, "--timeout", "0.3") as server:
        answer = server.post("/v1/embeddings", {"input": [f"{'x ' * 990}{number}" for number in range(400)]})
        assert answer.status == 504 and answer.json["error"]["code"] == "timeout"
        assert server.post("/v1/embeddings", {"input": "a"}).status == 200


# ---- who may ask


def test_keys(tree: Path, tmp_path: Path):
    options = ("--repo", tree, "--api-key", "first-key", "--api-key", "other-key")
    with serving(tmp_path, *options) as server:
        asked = [
            ("GET", "/v1/models"),
            ("GET", "/v1/status"),
            ("GET", "/metrics"),
            ("GET", "/docs"),
            ("GET", "/"),
        ]
        for _, path in asked:
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer first-key2"}):
                answer = server.get(path, **headers)
                assert answer.status == 401 and answer.json["error"]["code"] == "invalid_api_key"
                assert "Basic" in {k.lower(): v for k, v in answer.headers.items()}["www-authenticate"]
        basic = base64.b64encode(b"anybody:other-key").decode()
        for header in ("Bearer first-key", "bearer other-key", f"Basic {basic}"):
            assert server.get("/v1/models", Authorization=header).status == 200
        assert server.get("/health").status == server.get("/ready").status == 200
        assert "first-key" not in "".join(server.log)


def test_keys_from_the_environment(tmp_path: Path):
    with serving(tmp_path, env={"CODEKIN_API_KEY": "one two"}) as server:
        assert server.get("/v1/models").status == 401
        assert server.get("/v1/models", Authorization="Bearer two").status == 200


def test_another_address_takes_a_key(tmp_path: Path):
    command = [sys.executable, "-c", "from codekin.cli import main; main()", "serve", "--port", "0"]
    done = subprocess.run(
        [*command, "--host", "0.0.0.0"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "codekin: 0.0.0.0 is not this machine alone: serving there takes an --api-key\n"
    done = subprocess.run(
        [*command, "--api-key", ""], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2 and done.stderr == "codekin: an --api-key is empty: everybody would have it\n"
    with serving(tmp_path, "--host", "0.0.0.0", "--api-key", "k") as server:
        assert server.get("/v1/models", Authorization="Bearer k", Host="codekin.example").status == 200


def test_other_names_of_this_machine_are_refused_without_a_key(server: Server):
    """A page whose name is made to resolve to 127.0.0.1 reads nothing."""
    for host in ("evil.example", "evil.example:80", "localhost.evil.example", ""):
        answer = server.get("/v1/status", Host=host)
        assert answer.status in (400, 403) and b"shop" not in answer.body
    for host in ("localhost", "LOCALHOST:99", "127.0.0.1:8000", "[::1]:8000", "[::1]"):
        assert server.get("/v1/status", Host=host).status == 200


def test_no_other_page_may_ask(server: Server):
    answer = server.get("/v1/status", Origin="https://evil.example")
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


# ---- what it tells


def test_logs_are_json_and_without_queries(server: Server):
    server.post("/v1/search", {"query": "marmalade sandwiches"})
    server.post("/v1/embeddings", {"input": ["marmalade"] * 3})
    server.get("/v1/related?path=marmalade.py&line=1")
    time.sleep(0.2)
    assert "marmalade" not in "".join(server.log)
    record = [one for one in server.records() if one.get("texts") == 3][-1]
    assert record["path"] == "/v1/embeddings" and record["status"] == 200 and record["tokens"] >= 3
    assert record["ms"] > 0 and record["id"].startswith("req-") and record["client"] == "127.0.0.1"


def test_queries_are_logged_when_asked_for(tree: Path, tmp_path: Path):
    with serving(tmp_path, "--repo", tree, "--log-queries") as server:
        answer = server.post("/v1/search", {"query": "marmalade"})
        time.sleep(0.2)
        (record,) = [one for one in server.records() if one.get("query")]
        assert record["query"] == "marmalade"
        assert {key.lower(): value for key, value in answer.headers.items()}["x-request-id"] == record["id"]


def test_metrics(server: Server):
    server.post("/v1/embeddings", {"input": "a"})
    server.get("/v1/no/such/path/4711")
    told = server.get("/metrics").body.decode()
    parser = pytest.importorskip("prometheus_client.parser")
    families = {family.name: family for family in parser.text_string_to_metric_families(told)}
    routes = {
        sample.labels["route"] for sample in families["codekin_requests"].samples if "route" in sample.labels
    }
    assert "/v1/embeddings" in routes and not any("4711" in route for route in routes)
    assert families["codekin_index_chunks"].samples[0].labels == {"repository": "shop"}
    assert {"codekin_request_seconds", "codekin_batch_texts", "codekin_queued_tokens"} <= set(families)


def test_docs_need_no_network(server: Server):
    page = server.get("/docs").body.decode()
    places = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert places and all(place.startswith("/docs/") for place in places)
    assert all(server.get(place).status == 200 for place in places)
    described = server.get("/openapi.json").json
    for path in ("/v1/embeddings", "/v1/rerank", "/v1/models", "/v1/search", "/v1/related", "/v1/status"):
        assert path in described["paths"]
    answers = described["paths"]["/v1/search"]["post"]["responses"]
    assert answers["4XX"]["content"]["application/json"]["schema"]["$ref"].endswith("ErrorAnswer")
    assert "422" not in answers


# ---- start and end


def test_the_end_waits_for_what_was_taken(decoder: Path, tmp_path: Path):
    texts = [f"{'x ' * 990}{number}" for number in range(15)]
    answers: list[Any] = []
    with serving(tmp_path, "--model", decoder) as server:
        asking = threading.Thread(
            target=lambda: answers.append(server.post("/v1/embeddings", {"input": texts}))
        )
        asking.start()
        deadline = time.monotonic() + 20
        while b"codekin_queued_tokens 0.0" in server.get("/metrics").body:
            assert time.monotonic() < deadline
        server.process.send_signal(signal.SIGTERM)
        asking.join(60)
        assert answers[0].status == 200 and len(answers[0].json["data"]) == 15
        server.process.wait(10)
        with pytest.raises(OSError):
            server.get("/health")


def test_ctrl_c_ends_indexing_at_what_it_has(tmp_path: Path, decoder: Path):
    """A server that is ended while a slow model embeds ends at once, and leaves a whole index."""
    root = tmp_path / "large"
    root.mkdir()
    for number in range(3_000):
        (root / f"f{number}.py").write_text(f"def f{number}(a):\n" + f"    return a + {number}\n" * 60)
    with serving(tmp_path / "cache", "--model", decoder, "--repo", root) as server:
        assert server.get("/v1/status").json["repositories"][0]["indexing"]
        told = server.post("/v1/search", {"query": "f7", "mode": "lexical"}).json
        assert told["indexing"] == ["large"]
        began = time.monotonic()
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(20) == 130
        assert time.monotonic() - began < 10


def test_a_port_in_use_is_told(server: Server):
    done = subprocess.run(
        [sys.executable, "-c", "from codekin.cli import main; main()", "serve", "--port", str(server.port)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert re.fullmatch(
        rf"codekin: cannot listen at 127.0.0.1:{server.port}: Address already in use; choose another --port\n",
        done.stderr,
    )


def test_a_model_of_a_folder_is_called_by_its_name(decoder_server: Server):
    (model,) = decoder_server.get("/v1/models").json["data"]
    assert model["id"] == DECODER and model["sizes"] == [32] and model["max_length"] == 2048
