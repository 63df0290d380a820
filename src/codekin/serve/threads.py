"""Threads for what a server computes for its clients, and a bound to what waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import TypeVar

from codekin.serve.batching import BusyError

_T = TypeVar("_T")


class Threads:
    """`count` threads; BusyError where more than `most` calls are begun or wait for them."""

    def __init__(self, name: str, count: int, most: int) -> None:
        self._threads = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._free = BoundedSemaphore(most)

    async def run(self, ask: Callable[[], _T]) -> _T:
        """What `ask` returns; it is not begun once nobody waits for it any longer."""
        if not self._free.acquire(blocking=False):
            raise BusyError(1)
        future = self.submit(ask)
        future.add_done_callback(lambda _: self._free.release())
        return await asyncio.wrap_future(future)

    def submit(self, work: Callable[[], _T]) -> Future[_T]:
        """Work of the server's own, which no bound refuses."""
        return self._threads.submit(work)

    def close(self) -> None:
        """Waits for what was begun; what waits is not."""
        self._threads.shutdown(cancel_futures=True)
