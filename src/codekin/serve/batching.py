"""Dynamic batching: texts of many requests in one pass of the model.

What waits while a batch is computed makes up the next one, so a single request waits for nothing and many share the
passes over the model's weights.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from codekin.embed import DEFAULT_MODEL, Embedder
from codekin.errors import CodekinError
from codekin.tasks import Role, Task

if TYPE_CHECKING:
    from codekin.embed import VectorCache

# Of one batch. On a CPU it is what a decoder packs into one pass, so that nobody waits for two; a GPU wants more at
# once, and a static model has no passes.
_CPU_TOKENS = 1_024
_GPU_TOKENS = 16_384
_STATIC_TOKENS = 65_536
_QUEUED_BATCHES = 64
_CHARACTERS_A_TOKEN = 3  # where nobody has counted
_TELL_SECONDS = 0.25
_LONGEST_RETRY = 60
_PACE_MEMORY = 0.2

Progress = Callable[[int, int], None]
Vectors = NDArray[np.float32]


class BusyError(CodekinError):
    """More waits already than a server takes; `retry_after` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too much waits already; ask again in {retry_after} s")
        self.retry_after = retry_after


@dataclass(eq=False)
class _Job:
    """The texts of one request, longest first: `rows` are their places in it.

    `taken` of them are in a batch or were, `missing` of them and `left` tokens are not yet computed.
    """

    key: tuple[Task, Role, int]
    texts: Sequence[str]
    rows: NDArray[np.int64]
    lengths: Sequence[int]
    vectors: Vectors
    left: int
    taken: int = 0
    missing: int = 0
    future: Future[Vectors] = field(default_factory=Future)

    def place(self, first: int, vectors: Vectors) -> None:
        """Puts vectors in their place, and answers when there are all."""
        end = first + len(vectors)
        self.vectors[self.rows[first:end]] = vectors
        self.left -= sum(self.lengths[first:end])
        self.missing -= len(vectors)
        if not self.missing:
            with suppress(InvalidStateError):  # cancelled meanwhile
                self.future.set_result(self.vectors)

    def fail(self, error: Exception) -> None:
        with suppress(InvalidStateError):
            self.future.set_exception(error)


@dataclass(frozen=True, slots=True)
class _Share:
    """The texts of a job, from `first` to before `end`, that are in a batch."""

    job: _Job
    first: int
    end: int


class SharedEmbedder(Embedder):
    """An `Embedder` for many threads: it computes on one of its own, a batch of what waits at a time.

    A batch holds texts of one task, role and size, up to a number of tokens, in the order in which they came; a
    request that is larger goes on behind those that came after it. One that is cancelled is not begun, or not
    finished. `on_batch` is called after each batch with its texts, tokens and seconds.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        of_decoder = _CPU_TOKENS if self.device == "cpu" else _GPU_TOKENS
        self._batch_tokens = _STATIC_TOKENS if self.kind == "static" else of_decoder
        self.on_batch: Callable[[int, int, float], None] = lambda texts, tokens, seconds: None
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._pace = 0.0
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=f"model {self.name}", daemon=True)
        self._thread.start()

    def encode(
        self,
        texts: Sequence[str],
        task: Task | str = Task.NL2CODE,
        role: Role | str = Role.DOCUMENT,
        dimensions: int | None = None,
        *,
        any_dimension: bool = False,
        progress: Progress | None = None,
    ) -> Vectors:
        """`Embedder.encode` for work of the server's own, which no bound refuses; the texts are the model's sizes.

        An exception of `progress` ends it.
        """
        job = self._enqueue(texts, task, role, dimensions, None, bounded=False)
        total = job.left
        while True:
            try:
                return job.future.result(_TELL_SECONDS)
            except FutureTimeoutError:
                if job.future.done():  # the work's own
                    raise
            if progress:
                try:
                    progress(total - job.left, total)
                except BaseException:
                    job.future.cancel()
                    raise

    def submit(
        self,
        texts: Sequence[str],
        task: Task | str,
        role: Role | str,
        dimensions: int | None,
        lengths: Sequence[int],
    ) -> Future[Vectors]:
        """The vectors that `encode` would return, in the future; `lengths` are the texts' tokens.

        Raises what `encode` does, and BusyError where so much waits already that these texts had to wait for long.
        """
        return self._enqueue(texts, task, role, dimensions, lengths, bounded=True).future

    @property
    def queued(self) -> int:
        """The tokens that wait."""
        with self._changed:
            return self._waiting()

    def close(self) -> None:
        """Cancels what waits, and ends the thread."""
        with self._changed:
            self._closed = True
            for job in self._jobs:
                job.future.cancel()
            self._changed.notify()
        self._thread.join()

    def _enqueue(
        self,
        texts: Sequence[str],
        task: Task | str,
        role: Role | str,
        dimensions: int | None,
        lengths: Sequence[int] | None,
        *,
        bounded: bool,
    ) -> _Job:
        size = self._check(texts, dimensions)
        if lengths is None:
            lengths = [1 + len(text) // _CHARACTERS_A_TOKEN for text in texts]
        # Texts of like length together: a decoder pads them to the longest.
        rows = np.argsort(np.negative(lengths), kind="stable")
        job = _Job(
            key=(Task.parse(task), Role.parse(role), size),
            texts=[texts[row] for row in rows],
            rows=rows,
            lengths=[lengths[row] for row in rows],
            vectors=np.empty((len(texts), size), np.float32),
            left=sum(lengths),
            missing=len(texts),
        )
        if not texts:
            job.future.set_result(job.vectors)
            return job
        with self._changed:
            if self._closed:
                raise CancelledError
            waiting = self._waiting()
            # One request alone may be larger than the queue: it would never find room.
            if bounded and waiting and waiting + job.left > _QUEUED_BATCHES * self._batch_tokens:
                raise BusyError(self._retry_after(waiting))
            self._jobs.append(job)
            self._changed.notify()
        return job

    def _waiting(self) -> int:
        return sum(job.left for job in self._jobs if not job.future.done())

    def _retry_after(self, waiting: int) -> int:
        return min(_LONGEST_RETRY, max(1, math.ceil(waiting / self._pace))) if self._pace else 1

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._jobs and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                batch = self._take()
            if batch:
                self._compute(batch)

    def _take(self) -> list[_Share]:
        """The next batch, its head's task, role and size; who gets only a part of it goes behind the others."""
        batch: list[_Share] = []
        room = self._batch_tokens
        stay: deque[_Job] = deque()
        parted: list[_Job] = []
        for job in self._jobs:
            if job.future.done():  # cancelled, or failed
                continue
            if batch and job.key != batch[0].job.key:
                stay.append(job)
                continue
            first = job.taken
            while job.taken < len(job.texts):
                # A text that is longer than a batch is one.
                if job.lengths[job.taken] > room and (batch or job.taken > first):
                    break
                room -= job.lengths[job.taken]
                job.taken += 1
            if job.taken > first:
                batch.append(_Share(job, first, job.taken))
            if job.taken < len(job.texts):
                (parted if job.taken > first else stay).append(job)
        self._jobs = stay
        self._jobs.extend(parted)
        return batch

    def _compute(self, batch: list[_Share]) -> None:
        """Computes a batch; where it fails, each request by itself, so that one does not fail the others."""
        texts = [text for share in batch for text in share.job.texts[share.first : share.end]]
        task, role, size = batch[0].job.key
        began = time.perf_counter()
        try:
            vectors = super().encode(texts, task, role, size)
        except Exception as error:
            if len(batch) == 1:
                batch[0].job.fail(error)
                return
            for share in batch:
                self._compute([share])
            return
        seconds = time.perf_counter() - began
        tokens = sum(sum(share.job.lengths[share.first : share.end]) for share in batch)
        pace = tokens / max(seconds, 1e-6)
        self._pace += _PACE_MEMORY * (pace - self._pace) if self._pace else pace
        row = 0
        for share in batch:
            count = share.end - share.first
            share.job.place(share.first, vectors[row : row + count])
            row += count
        self.on_batch(len(texts), tokens, seconds)


class SharedEmbedders:
    """The models of a process, each loaded once: called as `Embedder` is, whose `cache` they do without."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[str, str | None], SharedEmbedder] = {}
        self._lock = threading.Lock()

    def __call__(
        self, model: str, *, dtype: str | None = None, cache: VectorCache | None = None
    ) -> SharedEmbedder:
        path = Path(model).expanduser()
        # An index knows a local model by its whole path.
        known = str(path.resolve()) if model != DEFAULT_MODEL and path.exists() else model
        with self._lock:
            if (known, dtype) not in self._loaded:
                self._loaded[known, dtype] = SharedEmbedder(model, dtype=dtype)
            return self._loaded[known, dtype]

    def close(self) -> None:
        """Ends them all."""
        for embedder in self._loaded.values():
            embedder.close()
