"""What stands before the app: who may ask, how large and how long a request may be, and what is noted of it."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from codekin.serve.errors import ApiError, as_api_error
from codekin.serve.logs import LOGGER
from codekin.serve.metrics import Metrics

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_BYTES = 8 << 20
_BODY_SECONDS = 30.0
_OPEN = frozenset({"/health", "/ready"})
_PRIVATE = frozenset({"query", "problem"})  # another server may say what it was sent
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True, slots=True)
class Limits:
    """Who and what is let in.

    Without `keys`, requests are answered whose Host is this machine's own name for itself: a page of the web that
    had its name resolved to 127.0.0.1 cannot read what is served here. `seconds` is the time for one request.
    """

    keys: Sequence[str] = ()
    seconds: float = 120.0
    log_queries: bool = False


class _GoneError(Exception):
    """The client hung up."""


class Guard:
    """An ASGI app around another.

    It reads the whole body before the app sees the request, at most `MOST_BYTES` in half a minute; ends the app's work
    when the client hangs up or the time is over; answers what the app does not; and logs each request, and counts it in
    `metrics`. The app finds `request_id` and `log`, the fields of its log line, in its scope.
    """

    def __init__(self, app: App, limits: Limits, metrics: Metrics | None = None) -> None:
        self._app = app
        self._limits = limits
        self._keys = [key.encode() for key in limits.keys]
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        scope["request_id"] = f"req-{uuid.uuid4().hex}"
        scope["log"] = {}
        answer = _Answer(send, scope["request_id"])
        try:
            await self._answer(scope, receive, answer, began)
        except _GoneError:
            answer.status = answer.status or 499  # nginx's number for a client that hung up
        except Exception as error:
            told = as_api_error(error)
            if told.status == 500:
                LOGGER.exception("error", extra={"fields": {"id": scope["request_id"]}})
            if not answer.status:
                await answer.error(told)
        finally:
            self._note(scope, answer.status, time.perf_counter() - began)

    async def _answer(self, scope: Scope, receive: Receive, answer: _Answer, began: float) -> None:
        headers = dict(scope["headers"])
        self._admit(scope["path"], headers)
        body = await _read(receive, headers, min(_BODY_SECONDS, self._limits.seconds))
        given = False

        async def receive_body() -> Message:
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": body, "more_body": False}
            await asyncio.Event().wait()  # the guard itself sees the client hang up
            raise AssertionError

        work = asyncio.ensure_future(self._app(scope, receive_body, answer.send))
        gone = asyncio.ensure_future(receive())
        try:
            left = max(0.0, self._limits.seconds - (time.perf_counter() - began))
            await asyncio.wait({work, gone}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
            elif gone.done():
                raise _GoneError
            else:
                raise ApiError(504, f"not done within {self._limits.seconds:g} s", code="timeout")
        finally:
            for task in (work, gone):
                if not task.done():
                    task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    def _admit(self, path: str, headers: dict[bytes, bytes]) -> None:
        if path in _OPEN:
            return
        if self._keys:
            given = _credentials(headers.get(b"authorization", b""))
            # Every key is compared, and each in constant time: how long it takes says nothing of any.
            if sum(hmac.compare_digest(given, key) for key in self._keys) == 0:
                # For the page: a browser asks for the key. Chromium reads only the first scheme of the header.
                challenge = {"WWW-Authenticate": 'Basic realm="codekin"'}
                raise ApiError(
                    401,
                    "no such API key; send one as a bearer token",
                    code="invalid_api_key",
                    headers=challenge,
                )
            return
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if name not in _LOOPBACK:
            raise ApiError(
                403, "this server answers as localhost alone, unless it has an API key", code="wrong_host"
            )

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        if self._metrics:
            self._metrics.count_request(route, status, seconds)
        if scope["path"] in _OPEN:  # which is asked every second, by whatever looks after servers
            return
        told = {
            key: value
            for key, value in scope["log"].items()
            if key not in _PRIVATE or self._limits.log_queries
        }
        fields = {
            "id": scope["request_id"],
            "client": scope["client"][0] if scope.get("client") else None,
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "ms": round(1000 * seconds, 2),
            **told,
        }
        LOGGER.info("request", extra={"fields": fields})


class _Answer:
    """The way to the client; `status` is that of the answer begun, or 0."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._id = request_id.encode()
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), (b"x-request-id", self._id)]}
        await self._send(message)

    async def error(self, error: ApiError) -> None:
        """Answers an error and closes the connection, on which the rest of the request may still come."""
        body = orjson.dumps(error.content)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
            *((name.lower().encode(), value.encode()) for name, value in error.headers.items()),
        ]
        await self.send({"type": "http.response.start", "status": error.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body, "more_body": False})


async def _read(receive: Receive, headers: dict[bytes, bytes], seconds: float) -> bytes:
    """The whole body of a request."""
    announced = headers.get(b"content-length", b"")
    too_large = ApiError(413, f"a request has at most {MOST_BYTES} bytes", code="request_too_large")
    if announced.isdigit() and int(announced) > MOST_BYTES:
        raise too_large
    parts = []
    size = 0
    deadline = time.monotonic() + seconds
    while True:
        try:
            message = await asyncio.wait_for(receive(), max(0.0, deadline - time.monotonic()))
        except (TimeoutError, asyncio.TimeoutError):
            raise ApiError(408, f"the body did not come within {seconds:g} s", code="slow_body") from None
        if message["type"] == "http.disconnect":
            raise _GoneError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MOST_BYTES:
            raise too_large
        if not message.get("more_body"):
            return b"".join(parts)


def _credentials(header: bytes) -> bytes:
    """The key of an Authorization header: a bearer token, or what a browser asked for as password (RFC 7617)."""
    scheme, _, value = header.strip().partition(b" ")
    if scheme.lower() == b"bearer":
        return value.strip()
    if scheme.lower() == b"basic":
        try:
            return base64.b64decode(value, validate=True).partition(b":")[2]
        except binascii.Error:
            pass
    return b""
