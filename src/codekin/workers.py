"""Work shared among processes.

A worker is another process of the same Python: jobs come in by its standard input, results go out by its standard
output, pickled, and the end of its input ends it. Unlike multiprocessing this asks nothing of the program that uses
codekin (no guarded main module, no fork among its threads). A worker that dies costs nothing: its job is done here.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Generic, NamedTuple, TypeVar

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")

# Jobs at hand for each worker: a slow reader of the results must not fill the memory.
_AHEAD = 8
# The path is this process's: Python puts the current folder first, whose modules may be anybody's.
_WORKER = "import sys; sys.path[:] = sys.argv[1:]; from codekin.workers import work; work()"


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Answer(NamedTuple):
    """What came of a job: its result, where a worker `is_done` with it."""

    job: Any
    is_done: bool
    result: Any = None


class Workers(Generic[_Job, _Result]):
    """So many processes that run `function`, which can be pickled: one of a module, or a method of what can be.

    As a context manager they end with the block, without being waited for.
    """

    def __init__(self, function: Callable[[_Job], _Result], count: int) -> None:
        self._function = function
        self._waiting: SimpleQueue[tuple[_Job, SimpleQueue[Answer]] | None] = SimpleQueue()
        self._threads = [Thread(target=self._serve, daemon=True) for _ in range(count)]

    def __enter__(self) -> Workers[_Job, _Result]:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        while self.take_back() is not None:
            pass
        for _thread in self._threads:
            self._waiting.put(None)

    def join(self) -> None:
        """Waits, after the block, until the processes have ended."""
        for thread in self._threads:
            thread.join()

    def give(self, job: _Job, answers: SimpleQueue[Answer]) -> None:
        """A job for the next worker that is free; its answer comes in `answers`."""
        self._waiting.put((job, answers))

    def take_back(self) -> _Job | None:
        """A job that no worker has begun, which then has no answer; None where there is none."""
        with suppress(Empty):
            if (item := self._waiting.get_nowait()) is not None:
                return item[0]
        return None

    def result(self, answer: Answer) -> _Result:
        """An answer's result; what a worker left undone is done here."""
        return answer.result if answer.is_done else self._function(answer.job)

    def _serve(self) -> None:
        """Hands jobs to a worker of this thread's own; one that it dies of is undone, and the next worker begun."""
        ended = False
        while not ended:
            item = None
            try:
                with subprocess.Popen(
                    [sys.executable, "-c", _WORKER, *sys.path],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    start_new_session=True,  # Ctrl-C is the parent's, even while Python starts here
                ) as worker:
                    assert worker.stdin and worker.stdout
                    pickle.dump(self._function, worker.stdin)
                    while (item := self._waiting.get()) is not None:
                        pickle.dump(item[0], worker.stdin, pickle.HIGHEST_PROTOCOL)
                        worker.stdin.flush()
                        item[1].put(Answer(item[0], True, pickle.load(worker.stdout)))
                ended = True
            except Exception:  # a pipe that broke, what cannot be pickled
                item = item or self._waiting.get()
                ended = item is None
                if item is not None:
                    item[1].put(Answer(item[0], False))


def in_order(function: Callable[[_Job], _Result], jobs: Iterable[_Job], workers: int) -> Iterator[_Result]:
    """`function` of every job, in their order, by so many processes; 0 does the work in this one.

    `function` is what `Workers` takes; its errors are raised here.
    """
    if not workers or not sys.executable:
        yield from map(function, jobs)
        return
    pending: deque[SimpleQueue[Answer]] = deque()
    with Workers(function, workers) as pool:
        for job in jobs:
            pending.append(SimpleQueue())
            pool.give(job, pending[-1])
            if len(pending) >= _AHEAD * workers:
                yield pool.result(pending.popleft().get())
        while pending:
            yield pool.result(pending.popleft().get())
    pool.join()  # so that their processor time is known


def work() -> None:
    """A worker's life: its function, then jobs, until its input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where there are no sessions; closing the pipe ends this
    jobs, results = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anything prints must not end up among the results
    with suppress(Exception):  # the parent meets it itself
        function = pickle.load(jobs)
        while True:
            pickle.dump(function(pickle.load(jobs)), results, pickle.HIGHEST_PROTOCOL)
            results.flush()
