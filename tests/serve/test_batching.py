"""The batching of requests: what is computed together, who waits for whom, and what is not computed at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest

from codekin import Embedder
from codekin.errors import InputError
from codekin.serve import BusyError, SharedEmbedder, SharedEmbedders
from codekin.tasks import Role, Task

CODE = ["def add(a, b): return a + b", "sort a list of numbers", "open a file", "x = 1", "class A: pass"]


class Batches:
    """The number of texts of each batch; the first is held until `go`."""

    def __init__(self, embedder: SharedEmbedder) -> None:
        self.texts: list[int] = []
        self.began, self.go = threading.Event(), threading.Event()
        embedder.on_batch = self._note
        self._embedder = embedder
        self.blocker = embedder.submit(["first"], Task.QA, Role.QUERY, None, [1])
        assert self.began.wait(10)

    def _note(self, texts: int, tokens: int, seconds: float) -> None:
        self.texts.append(texts)
        self.began.set()
        assert self.go.wait(10)


@pytest.fixture
def embedder(decoder: Path) -> Iterator[SharedEmbedder]:
    opened = SharedEmbedder(decoder, device="cpu")
    yield opened
    opened.close()


def test_what_waits_is_computed_together(embedder: SharedEmbedder, decoder: Path):
    here = Embedder(decoder, device="cpu")
    held = Batches(embedder)
    asked = [embedder.submit([text], Task.NL2CODE, Role.QUERY, None, [60]) for text in CODE]
    others = [embedder.submit([text], Task.QA, Role.QUERY, None, [60]) for text in CODE]
    held.go.set()
    for task, futures in ((Task.NL2CODE, asked), (Task.QA, others)):
        rows = np.concatenate([future.result(30) for future in futures])
        np.testing.assert_allclose(rows, here.encode(CODE, task, Role.QUERY), atol=1e-5)
    assert held.texts == [1, 5, 5]


def test_a_batch_has_so_many_tokens(embedder: SharedEmbedder):
    held = Batches(embedder)
    futures = [embedder.submit(["x"], Task.QA, Role.QUERY, None, [400]) for _ in range(5)]
    futures.append(embedder.submit(["a text longer than a batch"], Task.QA, Role.QUERY, None, [5_000]))
    held.go.set()
    for future in futures:
        future.result(30)
    assert held.texts == [1, 2, 2, 1, 1]


def test_a_large_request_lets_small_ones_pass(embedder: SharedEmbedder):
    held = Batches(embedder)
    large = embedder.submit(["x" * 100] * 40, Task.QA, Role.QUERY, None, [500] * 40)
    small = embedder.submit(["x"], Task.QA, Role.DOCUMENT, None, [10])
    done: list[str] = []
    large.add_done_callback(lambda _: done.append("large"))
    small.add_done_callback(lambda _: done.append("small"))
    held.go.set()
    large.result(60), small.result(60)
    assert done == ["small", "large"]
    assert held.texts == [1, 2, 1, *[2] * 19]


def test_rows_keep_their_places(embedder: SharedEmbedder, decoder: Path):
    texts = [f"{text} " * (number % 7 + 1) for number, text in enumerate(CODE * 20)]
    np.testing.assert_allclose(
        embedder.encode(texts), Embedder(decoder, device="cpu").encode(texts), atol=1e-5
    )


def test_cancelled_requests_are_not_computed(embedder: SharedEmbedder):
    held = Batches(embedder)
    gone = embedder.submit(["x"], Task.QA, Role.QUERY, None, [50])
    kept = embedder.submit(["y"], Task.QA, Role.QUERY, None, [30])
    assert embedder.queued == 80
    assert gone.cancel() and embedder.queued == 30
    held.go.set()
    kept.result(30)
    assert held.texts == [1, 1]


def test_too_much_is_refused_until_there_is_room(embedder: SharedEmbedder):
    held = Batches(embedder)
    first = embedder.submit(["x"], Task.QA, Role.QUERY, None, [1_000_000])  # alone it may be of any size
    with pytest.raises(BusyError, match="ask again in") as refused:
        embedder.submit(["y"], Task.QA, Role.QUERY, None, [1])
    assert 1 <= refused.value.retry_after <= 60
    inner = threading.Thread(target=embedder.encode, args=(["an index's own"],))
    inner.start()
    held.go.set()
    inner.join(30)
    first.result(30)
    embedder.submit(["y"], Task.QA, Role.QUERY, None, [1]).result(30)


def test_what_fails_fails_alone(embedder: SharedEmbedder):
    held = Batches(embedder)
    good = embedder.submit(["x"], Task.QA, Role.QUERY, None, [10])
    bad = embedder.submit([None], Task.QA, Role.QUERY, None, [10])  # type: ignore[list-item]
    held.go.set()
    with pytest.raises(TypeError):
        bad.result(30)
    assert good.result(30).shape == (1, 32)


def test_progress_can_end_it(embedder: SharedEmbedder):
    held = Batches(embedder)

    def stop(done: int, total: int) -> None:
        assert done == 0 and total > 0
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embedder.encode(["x"], progress=stop)
    assert embedder.queued == 0
    held.go.set()


def test_arguments_are_checked_at_once(embedder: SharedEmbedder):
    with pytest.raises(InputError, match="no vectors of 7 dimensions"):
        embedder.encode(["x"], dimensions=7)
    with pytest.raises(InputError, match="unknown task"):
        embedder.encode(["x"], "nonsense")
    assert embedder.encode([]).shape == (0, 32)


def test_closing_cancels_what_waits(decoder: Path):
    models = SharedEmbedders()
    embedder = models(str(decoder))
    assert models(str(decoder)) is embedder and models("codekin-static") is not embedder
    assert models(str(decoder / ".." / decoder.name)) is embedder
    held = Batches(embedder)
    waiting = embedder.submit(["x"], Task.QA, Role.QUERY, None, [1])
    held.go.set()
    models.close()
    assert waiting.cancelled() or waiting.done()
    with pytest.raises(CancelledError):
        embedder.encode(["x"])


def test_many_threads_get_their_own_vectors():
    texts = [f"def f{number}(a): return {number} * a" for number in range(200)]
    wanted = {size: Embedder().encode(texts, dimensions=size) for size in (64, 256)}
    shared = SharedEmbedder()
    wrong: list[int] = []

    def ask(thread: int) -> None:
        for number in range(thread, 200, 7):
            size = (64, 256)[number % 2]
            given = shared.encode(texts[number : number + 3], dimensions=size)
            if not np.array_equal(given, wanted[size][number : number + 3]):
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shared.close()
    assert not wrong
