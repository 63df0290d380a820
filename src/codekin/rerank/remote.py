"""A reranker behind an HTTP API of Jina's form, which Cohere's, vLLM's and codekin's own servers share.

Jina: https://api.jina.ai/redoc; Cohere: https://docs.cohere.com/reference/rerank
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from threading import Event, Thread

import numpy as np

from codekin.embed.endpoint import Endpoint
from codekin.errors import ModelError
from codekin.rerank.reranker import Scores
from codekin.tasks import Task


class RemoteReranker:
    """The model called `model` of the API at `url`, which `/rerank` follows; `key` may be empty.

    All texts go in one request, and a budget of time is that of its answer: all are scored or none. Raises InputError
    for a URL that is none, and for a key that no header can hold.
    """

    def __init__(self, url: str, model: str, key: str = "") -> None:
        self._endpoint = Endpoint(url, model, key)
        self.name = self._endpoint.name

    def load(self) -> None:
        """The server has done so."""

    def score(self, query: str, texts: Sequence[str], task: Task, seconds: float | None = None) -> Scores:
        """`Reranker.score`; raises ModelError where the server is not reached, refuses, or has no answer in time."""
        if not texts:
            return np.empty(0, np.float32)
        body = {
            "model": self._endpoint.model,
            "query": query,
            "documents": [text.encode("utf-8", "replace").decode() for text in texts],
            "top_n": len(texts),
            "return_documents": False,
        }
        ended = Event()
        answered: SimpleQueue[tuple[int, bytes] | Exception] = SimpleQueue()

        def ask() -> None:
            try:
                answered.put(self._endpoint.post("rerank", body, ended))
            except Exception as error:  # raised where it is waited for
                answered.put(error)

        # A daemon: whoever has no more time does not wait for a server that takes its own.
        Thread(target=ask, daemon=True).start()
        try:
            answer = answered.get(timeout=seconds)
        except Empty:
            raise ModelError(f"model {self.name}: no answer in {seconds:g} s") from None
        finally:
            ended.set()
        if isinstance(answer, Exception):
            raise answer
        status, content = answer
        if status != 200:
            said = self._endpoint.message(status, content)
            raise ModelError(f"model {self.name}: the server refuses the request: {said}")
        return self._read(content, len(texts))

    def _read(self, content: bytes, count: int) -> Scores:
        """The scores of an answer in the order of the texts, (count,)."""
        try:
            found = {
                int(one["index"]): float(one["relevance_score"]) for one in json.loads(content)["results"]
            }
        except (ValueError, LookupError, TypeError):
            raise ModelError(f"model {self.name}: the answer is no list of scores") from None
        if sorted(found) != list(range(count)):
            raise ModelError(f"model {self.name}: {len(found)} scores for {count} texts")
        if not all(map(math.isfinite, found.values())):
            raise ModelError(f"model {self.name}: a score that is not finite")
        return np.array([found[index] for index in range(count)], np.float32)
