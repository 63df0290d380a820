"""A model's server, spoken to in JSON over HTTP: patient with what is busy, plain about what is wrong."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import threading
import time
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from codekin.errors import InputError, ModelError
from codekin.retries import backoff, is_transient, retry_after

_JINA = "jina+"
_ATTEMPTS = 8
_TIMEOUT = 120.0
# A host, or an IPv6 address; no user, no password, and nothing that HTTP would have to be told in other characters.
_URL = re.compile(r"https?://(?:[\w.-]+|\[[0-9a-f:.]+\])(?::\d+)?(?:/[!-~]*)?", re.IGNORECASE | re.ASCII)


class Endpoint:
    """The model called `model` of the API at `url`; `key` may be empty. Safe for several threads.

    Raises InputError for a URL that is none, and for a key that no header can hold.
    """

    def __init__(self, url: str, model: str, key: str = "") -> None:
        if not (_URL.fullmatch(url) and model):
            raise InputError(
                f"{url!r} is no URL of an API; an example: https://api.openai.com/v1#text-embedding-3-small"
            )
        key = key.strip()  # a file that it is read from ends in a line break
        if not (key.isascii() and key.isprintable()):
            raise InputError(f"the key for {url} has characters that HTTP cannot send")
        self.url, self.model = url.rstrip("/"), model
        self.name = f"{model} at {urlsplit(url).netloc}"
        self._key = key
        self._opener = build_opener(_NoRedirects)
        self._lock = threading.Lock()
        self._paused_until = 0.0
        self._answered = False

    def post(self, path: str, body: dict[str, Any], ended: threading.Event) -> tuple[int, bytes]:
        """Status and body of the answer of `path` below the URL; no further attempt is made once it has `ended`.

        Asks again after a timeout, a broken connection and the statuses 408, 409, 425, 429 and 5xx, as `Retry-After`
        says or else later and later. Raises ModelError where the server cannot be reached or refuses the key.
        """
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "codekin"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        data = json.dumps(body).encode()
        problem = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                ended.wait(backoff(attempt))
            while (left := self._paused_until - time.monotonic()) > 0 and not ended.wait(left):
                pass
            if ended.is_set():
                break
            try:
                with self._opener.open(
                    Request(f"{self.url}/{path}", data, headers), timeout=_TIMEOUT
                ) as response:
                    answer = response.read()
                self._answered = True
                return 200, answer
            except HTTPError as error:
                if error.code in (401, 403):
                    raise ModelError(
                        f"model {self.name}: the server refuses the key (HTTP {error.code})"
                    ) from None
                answer = error.read()
                if not is_transient(error.code):
                    return error.code, answer
                problem = self.message(error.code, answer)
                pause = time.monotonic() + retry_after(error.headers.get("Retry-After", ""))
                with self._lock:
                    self._paused_until = max(self._paused_until, pause)
            except (OSError, http.client.HTTPException) as error:
                reason = error.reason if isinstance(error, URLError) else error
                problem = str(getattr(reason, "strerror", None) or reason) or type(error).__name__
                # A server that never was there is a mistake in the URL, not a bad moment.
                if (
                    not self._answered
                    and isinstance(error, URLError)
                    and not isinstance(reason, TimeoutError)
                ):
                    raise ModelError(f"model {self.name} cannot be reached: {problem}") from None
        raise ModelError(f"model {self.name}: no answer in {_ATTEMPTS} attempts; the last: {problem}")

    def message(self, status: int, answer: bytes) -> str:
        """What an error says, in one line without the key."""
        text = answer.decode("utf-8", "replace")
        with contextlib.suppress(ValueError, LookupError, TypeError):
            said = json.loads(text)
            text = str(said.get("detail") or said["error"]["message"])
        line = f"HTTP {status}: {' '.join(text.split())[:300]}"
        return line.replace(self._key, "[key]") if self._key else line


class _NoRedirects(HTTPRedirectHandler):
    """A redirect is an answer: the key is for the server that was named."""

    def redirect_request(self, *_: Any) -> None:
        return None


def parse_endpoint(name: str) -> tuple[str, str, bool] | None:
    """URL, model and whether the API is Jina's, of `https://host/v1#model`; None where the name is no URL.

    Jina's are those on jina.ai, and others where `jina+https://...` says so.
    """
    jina, address = name.startswith(_JINA), name.removeprefix(_JINA)
    if not address.startswith(("http://", "https://")):
        return None
    url, _, model = address.partition("#")
    host = re.split("[/:]", url.partition("//")[2])[0].lower()
    return url, model, jina or host == "jina.ai" or host.endswith(".jina.ai")
