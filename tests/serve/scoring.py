"""A rerank API of another server, which answers when a test lets it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from threading import Event

from listening import listening


@contextmanager
def scorer(release: Event, *, fail: bool = False) -> Iterator[tuple[str, list[list[str]]]]:
    """A model that answers once it is released, the longer a text the better, or refuses; and what it was asked."""
    asked: list[list[str]] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_POST(self) -> None:
            texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["documents"]
            asked.append(texts)
            release.wait(30)
            scores = [{"index": place, "relevance_score": len(text)} for place, text in enumerate(texts)]
            data = json.dumps({"results": scores}).encode()
            with suppress(ConnectionError):  # a client that no longer waits
                self.send_response(400 if fail else 200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

    with listening(Handler) as url:
        yield f"{url}/v1#by-length", asked
