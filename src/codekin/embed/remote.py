"""An embedding model behind an HTTP API of OpenAI's form, or of Jina's, which has a task beside the texts.

OpenAI: https://platform.openai.com/docs/api-reference/embeddings/create; Jina: https://api.jina.ai/redoc
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codekin.embed.cache import VectorCache
from codekin.embed.endpoint import Endpoint
from codekin.embed.vectors import checked
from codekin.errors import ModelError
from codekin.tasks import Role, Task

_AT_ONCE = 4
_BATCH_TEXTS = 64
_BATCH_CHARACTERS = 200_000
# A text that is refused as too long is cut by a quarter at a time, down to this.
_SHORTEST_CUT = 1_000
_TOO_LONG = re.compile(r"token|length|long|context", re.IGNORECASE)


class RemoteModel:
    """The model called `model` of the API at `url`, which `/embeddings` follows; `key` may be empty.

    With `jina`, the task of the texts goes with them, and the server puts the instruction before them; else texts go
    as they are, for no such API has a place for instructions. What was paid for once is taken from `cache`. Raises
    InputError for a URL that is none, and for a key that no header can hold.
    """

    def __init__(
        self, url: str, model: str, *, key: str = "", jina: bool = False, cache: VectorCache | None = None
    ) -> None:
        self._endpoint = Endpoint(url, model, key)
        self.name, self.jina = self._endpoint.name, jina
        self.truncated = 0
        """How many texts were cut, because the server takes none of their length."""
        self._cache = cache
        self._lock = threading.Lock()

    @property
    def identity(self) -> str:
        """What the vectors depend on as far as it can be known."""
        return f"{self._endpoint.url} {self._endpoint.model} {self.jina}"

    def encode(
        self,
        texts: Sequence[str],
        task: Task,
        role: Role,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> NDArray[np.float32]:
        """The texts' vectors, (n, d) float32. `progress` is called with the texts done, and all.

        Raises ModelError where the server cannot be reached (see `Endpoint.post`), refuses key or request, or
        answers with anything but a vector a text.
        """
        said = jina_task(self._endpoint.model, task, role) if self.jina else ""
        keys = [self._cache_key(said, text) for text in texts]
        known = self._cache.get(keys) if self._cache else {}
        wanted = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        done = len(texts) - len(wanted)
        for batch, rows in self._answers(wanted, said):
            if self._cache:
                self._cache.put(batch, rows)
            known |= dict(zip(batch, rows, strict=True))
            done += len(rows)
            progress(done, len(texts))
        sizes = {row.shape[0] for row in known.values()}
        if len(sizes) > 1:
            raise ModelError(
                f"model {self.name} gives vectors of several sizes: {', '.join(map(str, sorted(sizes)))}"
            )
        return np.array([known[key] for key in keys], np.float32).reshape(len(keys), *sizes or (0,))

    def _answers(
        self, wanted: dict[bytes, str], said: str
    ) -> Iterator[tuple[list[bytes], NDArray[np.float32]]]:
        """The texts by batches with their vectors as they come, several batches asked for at once."""
        waiting: SimpleQueue[list[bytes]] = SimpleQueue()
        answered: SimpleQueue[tuple[list[bytes], NDArray[np.float32] | Exception]] = SimpleQueue()
        batches = list(_batches(wanted))
        for batch in batches:
            waiting.put(batch)
        ended = threading.Event()

        def ask() -> None:
            with contextlib.suppress(Empty):
                while not ended.is_set():
                    batch = waiting.get_nowait()
                    try:
                        answered.put((batch, self._ask([wanted[key] for key in batch], said, ended)))
                    except Exception as error:  # raised where it is waited for
                        answered.put((batch, error))

        # Daemons: whoever interrupts does not wait for a server that takes its time.
        for _ in batches[:_AT_ONCE]:
            threading.Thread(target=ask, daemon=True).start()
        try:
            for _ in batches:
                batch, rows = answered.get()
                if isinstance(rows, Exception):
                    raise rows
                yield batch, rows
        finally:
            ended.set()

    def _ask(self, texts: list[str], said: str, ended: threading.Event) -> NDArray[np.float32]:
        """One request, or several where the server takes no more at once, or no text of the length."""
        asked = [text or " " for text in texts]
        cut = 0
        while True:
            body: dict[str, Any] = {"model": self._endpoint.model, "input": asked}
            body |= {"task": said, "truncate": True} if said else {"encoding_format": "float"}
            status, answer = self._endpoint.post("embeddings", body, ended)
            if status == 200:
                with self._lock:
                    self.truncated += cut
                return self._read(answer, len(texts))
            problem = self._endpoint.message(status, answer)
            if status not in (400, 413, 422):
                break
            if len(texts) > 1:
                half = len(texts) // 2
                return np.concatenate([self._ask(some, said, ended) for some in (texts[:half], texts[half:])])
            if len(asked[0]) <= _SHORTEST_CUT or not _TOO_LONG.search(problem):
                break
            asked, cut = [asked[0][: len(asked[0]) * 3 // 4]], 1
        raise ModelError(f"model {self.name}: the server refuses the request: {problem}")

    def _read(self, answer: bytes, count: int) -> NDArray[np.float32]:
        """The rows of an answer in the order of the texts, (count, d)."""
        try:
            data = sorted(json.loads(answer)["data"], key=lambda one: int(one["index"]))
            places = [int(one["index"]) for one in data]
            rows = np.array([one["embedding"] for one in data], np.float32)
        except (ValueError, LookupError, TypeError):
            raise ModelError(f"model {self.name}: the answer is no list of embeddings") from None
        if places != list(range(count)):
            raise ModelError(f"model {self.name}: {len(places)} embeddings for {count} texts")
        return checked(rows, count, self.name)

    def _cache_key(self, said: str, text: str) -> bytes:
        digest = hashlib.blake2b(digest_size=16)
        for part in (self.identity, said, text):
            content = part.encode("utf-8", "surrogatepass")
            digest.update(len(content).to_bytes(8, "little") + content)
        return digest.digest()


def jina_task(model: str, task: Task, role: Role) -> str:
    """What Jina's API calls a task and role; only the code models know each task by itself."""
    side = "query" if role is Role.QUERY else "passage"
    if "code-embeddings" in model:
        return f"{task.value}.{side}"
    return f"{'code' if 'v4' in model else 'retrieval'}.{side}"


def _batches(wanted: dict[bytes, str]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for key, text in wanted.items():
        if batch and (len(batch) == _BATCH_TEXTS or size + len(text) > _BATCH_CHARACTERS):
            yield batch
            batch, size = [], 0
        batch.append(key)
        size += len(text)
    if batch:
        yield batch
