"""The HTTP server: the app, put together, and its run."""

from __future__ import annotations

import asyncio
import math
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, cast

import uvicorn
from fastapi import FastAPI, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from codekin import __version__
from codekin.errors import CodekinError, InputError
from codekin.serve import embeddings, errors, logs, page, searching
from codekin.serve.batching import SharedEmbedder
from codekin.serve.guard import App, Guard, Limits
from codekin.serve.metrics import CONTENT_TYPE, Metrics
from codekin.serve.second_stage import SharedStage
from codekin.serve.served import Served
from codekin.serve.threads import Threads
from codekin.tasks import Role, Task

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_HEADER_SECONDS = 10.0
_HEADER_BYTES = 64 << 10
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 2_048
_THREADS = 16  # that search
_MOST_WAITING = 256
_SWITCH_SECONDS = 0.0005  # Python's own turn is 5 ms, which a request would wait for at each step of a batch


def make_app(
    embedder: SharedEmbedder,
    repositories: Served,
    limits: Limits,
    beside: Mapping[str, Served] = MappingProxyType({}),
    stage: SharedStage | None = None,
) -> Guard:
    """The app that serves a model and repositories; it closes none of what it is given.

    `beside` are the same folders indexed with other models, by the model's name, for the page to compare; `stage` is
    the second stage that searches may ask for.
    """
    service = embeddings.Service(embedder, stage)
    metrics = Metrics(embedder, repositories, stage)
    threads = Threads("search", _THREADS, _MOST_WAITING)
    finder = searching.Finder(repositories, threads, stage)
    maps = page.Maps()
    loaded = False

    async def load() -> None:
        nonlocal loaded
        try:
            await asyncio.to_thread(embedder.encode, ["ready"], Task.NL2CODE, Role.QUERY)
            loaded = True
        except CodekinError as error:  # which every request is told, too
            logs.LOGGER.error("the model cannot be loaded", extra={"fields": {"error": str(error)}})

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sys.setswitchinterval(_SWITCH_SECONDS)
        for served in (repositories, *beside.values()):
            served.start()
        if stage:
            stage.start()
        loading = asyncio.ensure_future(load())
        yield
        loading.cancel()
        maps.close()
        threads.close()

    app = FastAPI(
        title="codekin",
        version=__version__,
        summary="Finds code by meaning.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses={
            "4XX": {"model": errors.ErrorAnswer, "description": "What is wrong with the request, or its key."}
        },
    )
    errors.install(app)
    app.include_router(embeddings.router(service))
    app.include_router(searching.router(finder))
    app.include_router(page.router(finder, maps, beside))
    app.mount("/web", page.WebFiles())

    @app.get("/health", tags=["server"])
    async def health() -> dict[str, str]:
        """Answers as soon as the server runs."""
        return {"status": "ok"}

    @app.get("/ready", tags=["server"], responses={503: {"description": "Not yet."}})
    async def ready() -> Response:
        """Answers 200 once the model is loaded and every repository has an index to answer from, else 503.

        A second stage is waited for, but for one that cannot be loaded: searches are answered without it.
        """
        is_ready = loaded and repositories.ready and (stage is None or stage.settled)
        return JSONResponse({"status": "ready" if is_ready else "starting"}, 200 if is_ready else 503)

    @app.get("/metrics", tags=["server"], response_class=Response)
    async def counted() -> Response:
        """Metrics for Prometheus."""
        return Response(await threads.run(metrics.text), media_type=CONTENT_TYPE)

    _add_docs(app)
    return Guard(app, limits, metrics)


def _add_docs(app: FastAPI) -> None:
    """The description of the API at /docs, with a script that needs no network."""
    app.mount("/docs/static", StaticFiles(packages=[("fastapi_offline", "static")]))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="codekin",
            swagger_js_url="/docs/static/swagger-ui-bundle.js",
            swagger_css_url="/docs/static/swagger-ui.css",
            swagger_favicon_url="/docs/static/favicon.png",
        )


class _Protocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, with an end to connections whose request's headers take too long or too much room."""

    def __init__(self, *arguments: Any, header_seconds: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._header_seconds = header_seconds
        self._in_headers = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._begin_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._header_end.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._in_headers and (self.cycle is None or self.cycle.response_complete):
            self._begin_headers()
        if self._in_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._in_headers and self._header_bytes > _HEADER_BYTES:
            self._refuse(431)

    def on_message_begin(self) -> None:
        if not self._in_headers:
            self._begin_headers()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._header_end.cancel()
        super().on_headers_complete()

    def _begin_headers(self) -> None:
        self._in_headers, self._header_bytes = True, 0
        self._header_end = self.loop.call_later(self._header_seconds, self._refuse, 408)

    def _refuse(self, status: int) -> None:
        if not self.transport.is_closing():
            phrase = HTTPStatus(status).phrase
            self.transport.write(
                f"HTTP/1.1 {status} {phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()
            )
            self.transport.close()


def serve(
    embedder: SharedEmbedder,
    repositories: Served,
    limits: Limits,
    beside: Mapping[str, Served] = MappingProxyType({}),
    stage: SharedStage | None = None,
    *,
    host: str,
    port: int,
    started: Callable[[str], None],
) -> None:
    """Serves a model and repositories; see `run`."""
    app = make_app(embedder, repositories, limits, beside, stage)
    run(app, limits, host=host, port=port, started=started)


def run(app: App, limits: Limits, *, host: str, port: int, started: Callable[[str], None]) -> None:
    """Serves an app until SIGTERM or Ctrl-C, then finishes what it took; `started` is told the server's address.

    Raises InputError where nothing can listen at `host` and `port`, or everybody could ask.
    """
    if host not in LOOPBACK and not limits.keys:
        raise InputError(f"{host} is not this machine alone: serving there takes an --api-key")
    if not all(limits.keys):
        raise InputError("an --api-key is empty: everybody would have it")
    logs.set_up()
    listening = _listen(host, port)
    protocol = partial(_Protocol, header_seconds=min(_HEADER_SECONDS, limits.seconds))
    config = uvicorn.Config(
        app,
        http=cast(type[_Protocol], protocol),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=math.ceil(limits.seconds),
    )
    address, bound = listening.getsockname()[:2]
    shown = f"[{address}]" if ":" in address else address
    started(f"http://{shown}:{bound}")
    uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        raise InputError(
            f"cannot listen at {host}:{port}: {error.strerror or error}; choose another --port"
        ) from None
    return listening
