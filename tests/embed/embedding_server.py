"""A server that speaks the embeddings API on localhost, with faults on demand."""

from __future__ import annotations

import hashlib
import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import numpy as np
from listening import listening

LONGEST = 3_000
"""Characters of a text that the server takes."""


def vector(text: str, task: str = "") -> list[float]:
    """What the server answers for a text: eight numbers of unit length."""
    seed = int.from_bytes(hashlib.sha256(f"{task}\0{text}".encode()).digest()[:8], "big")
    row = np.random.default_rng(seed).normal(size=8)
    return [float(number) for number in row / np.linalg.norm(row)]


@dataclass
class EmbeddingServer:
    """What was asked: bodies and headers in order, with their times."""

    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)


@contextmanager
def serving(
    fault: Callable[[int, dict[str, Any]], str] = lambda number, body: "",
) -> Iterator[EmbeddingServer]:
    """Serve vectors, or the fault that `fault(number of the request, body)` names."""
    server = EmbeddingServer()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(server.bodies)
                server.bodies.append({**body, "path": self.path})
                server.headers.append(dict(self.headers))
                server.times.append(time.monotonic())
            status, headers, answer = self._answer(fault(number, body), body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        @staticmethod
        def _answer(kind: str, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
            if kind == "busy":
                return 429, {"Retry-After": "1"}, {"error": {"message": "slow down"}}
            if kind == "broken":
                return 503, {}, {"detail": "out of order"}
            if kind == "key":
                return 401, {}, {"error": {"message": f"wrong key {'sk-secret'}"}}
            if kind == "refused":
                return 400, {}, {"detail": "no such model; key sk-secret"}
            if kind == "moved":
                return 307, {"Location": "http://127.0.0.1:9/"}, {}
            if not body.get("truncate") and any(len(text) > LONGEST for text in body["input"]):
                return 400, {}, {"error": {"message": "This model's maximum context length is 750 tokens"}}
            if any(not text for text in body["input"]):
                return 400, {}, {"error": {"message": "input cannot be an empty string"}}
            rows = [
                {"index": index, "embedding": vector(text, body.get("task", ""))}
                for index, text in enumerate(body["input"])
            ]
            if kind == "short":
                rows = rows[1:]
            if kind in ("nan", "long"):
                factor = math.nan if kind == "nan" else 2.0
                rows = [
                    {**row, "embedding": [factor * number for number in row["embedding"]]} for row in rows
                ]
            if kind == "slow":
                time.sleep(5)
            return 200, {}, {"object": "list"} if kind == "other" else {"data": rows[::-1]}

    with listening(Handler) as address:
        server.url = f"{address}/v1"
        yield server
