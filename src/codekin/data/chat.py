"""A chat model behind an OpenAI-compatible API, asked concurrently within rates and a budget."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from codekin.errors import InputError, MissingExtraError
from codekin.retries import backoff, is_transient, retry_after

_ATTEMPTS = 8
# What a request adds to its text: roles and separators.
_OVERHEAD = 16
_BYTES_PER_TOKEN = 3


class BudgetError(Exception):
    """The next request could cost more than is left."""


class AnswerError(Exception):
    """No answer of use: `reason` says why, `answer` is what came, and `again` whether asking again may help."""

    def __init__(self, reason: str, *, again: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.answer = ""
        self.again = again


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and how a model is asked. `url` is what `/chat/completions` follows; `key` may be empty.

    Rates are limits a minute, None for none. Prices are for a million tokens; `max_tokens` (read and written
    together) and `max_cost` end the run before a request that could cross them. `timeout` is in seconds.
    """

    url: str
    model: str
    key: str = ""
    concurrency: int = 8
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_tokens: int | None = None
    max_cost: float | None = None
    input_price: float = 0.0
    output_price: float = 0.0
    timeout: float = 120.0

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r}, {self.model!r})"  # without the key


@dataclass(slots=True)
class Usage:
    """What was asked and what it cost, in the currency of the prices; a request may take several attempts."""

    attempts: int = 0
    answers: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0


class Chat:
    """An `Endpoint` in use, as an asynchronous context manager."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Raises InputError for a URL that is none, MissingExtraError without the HTTP library."""
        try:
            import httpx2
        except ImportError:
            raise MissingExtraError("asking a model over HTTP", "data") from None
        if not endpoint.url.startswith(("http://", "https://")):
            raise InputError(f"{endpoint.url!r} is no URL of an API; an example: https://api.openai.com/v1")
        self._httpx = httpx2
        self._endpoint = endpoint
        self._requests = _Pace(endpoint.requests_per_minute)
        self._tokens = _Pace(endpoint.tokens_per_minute)
        self._budget = _Budget(endpoint)
        self._paused_until = 0.0
        self.usage = self._budget.usage
        headers = {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
        self._client = httpx2.AsyncClient(
            headers=headers, timeout=httpx2.Timeout(endpoint.timeout), follow_redirects=False
        )

    async def __aenter__(self) -> Chat:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def ask(self, prompt: str, longest: int) -> str:
        """The model's answer to `prompt`, of at most `longest` tokens.

        Asks again, later and later, after a timeout, a broken connection, a cut or garbled response, and the
        statuses 408, 409, 425, 429 and 5xx; `Retry-After` holds for all requests. Raises AnswerError for an answer
        without text or cut at `longest` and for another status, BudgetError, and InputError where nothing that
        could be asked would be answered: no server, no right key, a first request refused.
        """
        size = len(prompt.encode("utf-8", "replace"))
        body = {
            "model": self._endpoint.model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": longest,
        }
        problem = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(backoff(attempt))
            await self._turn(size // _BYTES_PER_TOKEN + longest)
            # No tokenizer makes more tokens than there are bytes.
            reserved = await self._budget.reserve(size + _OVERHEAD, longest)
            outcome = _Outcome()
            try:
                self.usage.attempts += 1
                outcome = await self._attempt(body, size // _BYTES_PER_TOKEN, longest)
            finally:
                self._budget.settle(reserved, outcome)
            if not outcome.problem:
                self.usage.answers += 1
                return outcome.text
            if not outcome.again:
                raise AnswerError(outcome.problem)
            problem = outcome.problem
        raise InputError(f"{self._endpoint.url}: no answer in {_ATTEMPTS} attempts; the last: {problem}")

    async def _turn(self, tokens: int) -> None:
        """Wait until the rates and the server let one more request go."""
        await self._requests.wait(1)
        await self._tokens.wait(tokens)
        while (left := self._paused_until - time.monotonic()) > 0:
            await asyncio.sleep(left)

    async def _attempt(self, body: dict[str, Any], input_tokens: int, longest: int) -> _Outcome:
        """One request; `input_tokens` is a guess, for where the server does not count."""
        url = f"{self._endpoint.url.rstrip('/')}/chat/completions"
        try:
            response = await self._client.post(url, json=body)
        except (self._httpx.ConnectError, self._httpx.ProxyError) as error:
            return _Outcome(problem=f"cannot connect: {error}", again=True)
        except self._httpx.RequestError as error:
            # The model may have answered, and whoever runs it may ask to be paid.
            problem = f"{type(error).__name__} {error}".strip()
            return _Outcome("", problem, input_tokens, longest, again=True)
        if response.status_code == 200:
            return _read(response.content, input_tokens, longest)
        status = f"HTTP {response.status_code}"
        if response.status_code in (401, 403):
            raise InputError(f"{self._endpoint.url} refuses the key ({status})")
        problem = f"{status}: {self._message(response.content)}"
        if is_transient(response.status_code):
            pause = retry_after(response.headers.get("Retry-After", ""))
            self._paused_until = max(self._paused_until, time.monotonic() + pause)
            return _Outcome(problem=problem, again=True)
        if self.usage.answers:
            raise AnswerError(problem, again=False)
        raise InputError(f"{self._endpoint.url} refuses the request ({problem})")

    def _message(self, body: bytes) -> str:
        """What an error response says, in one line without the key."""
        text = body.decode("utf-8", "replace")
        with contextlib.suppress(ValueError, KeyError, TypeError):
            text = str(json.loads(text)["error"]["message"])
        text = " ".join(text.split())[:300]
        return text.replace(self._endpoint.key, "[key]") if self._endpoint.key else text


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of a request: a text, or a problem after which another attempt may do better; and the tokens paid."""

    text: str = ""
    problem: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    again: bool = False


def _read(body: bytes, input_tokens: int, longest: int) -> _Outcome:
    try:
        record = json.loads(body)
        choice = record["choices"][0]
        text = choice["message"]["content"] or ""
        counts = record.get("usage") or {}
        paid = int(counts.get("prompt_tokens", input_tokens)), int(counts.get("completion_tokens", longest))
        finished = choice.get("finish_reason") != "length"
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return _Outcome("", "the response is no chat completion", input_tokens, longest, again=True)
    if not isinstance(text, str) or not text.strip():
        return _Outcome("", "the answer has no text", *paid)
    return _Outcome(text, "" if finished else f"the answer is cut at {longest} tokens", *paid)


class _Pace:
    """Spaces what comes so that no minute has more than `rate` of it."""

    def __init__(self, rate: float | None) -> None:
        self._seconds_each = 60 / rate if rate else 0.0
        self._next = 0.0

    async def wait(self, amount: float) -> None:
        now = time.monotonic()
        turn = max(now, self._next)
        self._next = turn + amount * self._seconds_each
        await asyncio.sleep(turn - now)


class _Budget:
    """Counts what is spent, and holds back for each request what it could cost at most."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.usage = Usage()
        self._endpoint = endpoint
        self._reserved = (0, 0)
        self._settled = asyncio.Event()

    async def reserve(self, input_tokens: int, output_tokens: int) -> tuple[int, int]:
        """Wait for requests under way until this one fits as well; raises BudgetError if it does not even alone."""
        while not self._fits(self._reserved[0] + input_tokens, self._reserved[1] + output_tokens):
            if self._reserved == (0, 0):
                raise BudgetError
            self._settled.clear()
            await self._settled.wait()
        self._reserved = self._reserved[0] + input_tokens, self._reserved[1] + output_tokens
        return input_tokens, output_tokens

    def settle(self, reserved: tuple[int, int], outcome: _Outcome) -> None:
        self._reserved = self._reserved[0] - reserved[0], self._reserved[1] - reserved[1]
        self.usage.input_tokens += outcome.input_tokens
        self.usage.output_tokens += outcome.output_tokens
        self.usage.cost += self._cost(outcome.input_tokens, outcome.output_tokens)
        self._settled.set()

    def _fits(self, input_tokens: int, output_tokens: int) -> bool:
        limits, usage = self._endpoint, self.usage
        tokens = usage.input_tokens + usage.output_tokens + input_tokens + output_tokens
        if limits.max_tokens is not None and tokens > limits.max_tokens:
            return False
        return (
            limits.max_cost is None or usage.cost + self._cost(input_tokens, output_tokens) <= limits.max_cost
        )

    def _cost(self, input_tokens: int, output_tokens: int) -> float:
        prices = self._endpoint
        return (input_tokens * prices.input_price + output_tokens * prices.output_price) / 1e6
