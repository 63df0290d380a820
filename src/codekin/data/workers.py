"""Work shared among processes, its results in the order of the jobs.

A worker runs `work` in another process of the same Python: jobs come in by its standard input, results go out by its
standard output, pickled, and the end of its input ends it. Unlike multiprocessing this asks nothing of the program
that uses codekin (no guarded main module, no fork among its threads). A worker that dies costs nothing: its job is
done here.
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
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")

# Jobs at hand for each worker: a slow reader of the results must not fill the memory.
_AHEAD = 8
# The path is this process's: Python puts the current folder first, whose modules may be anybody's.
_WORKER = "import sys; sys.path[:] = sys.argv[1:]; from codekin.data.workers import work; work()"


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(function: Callable[[_Job], _Result], jobs: Iterable[_Job], workers: int) -> Iterator[_Result]:
    """`function` of every job, in their order, by so many processes; 0 does the work in this one.

    `function` is one of a module, so that it can be named to another process.
    """
    if not workers or not sys.executable:
        yield from map(function, jobs)
        return
    waiting: SimpleQueue[tuple[_Job, SimpleQueue[Any]] | None] = SimpleQueue()
    pending: deque[tuple[_Job, SimpleQueue[Any]]] = deque()
    threads = [Thread(target=_serve, args=(function, waiting), daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    try:
        for job in jobs:
            pending.append((job, SimpleQueue()))
            waiting.put(pending[-1])
            if len(pending) >= _AHEAD * workers:
                yield _result(function, *pending.popleft())
        while pending:
            yield _result(function, *pending.popleft())
    finally:
        with suppress(Exception):
            while True:
                waiting.get_nowait()
        for _ in threads:
            waiting.put(None)
    for thread in threads:
        thread.join()


def _result(function: Callable[[_Job], _Result], job: _Job, answer: SimpleQueue[Any]) -> _Result:
    done, result = answer.get()
    return result if done else function(job)


def _serve(function: Callable[[Any], Any], waiting: SimpleQueue[Any]) -> None:
    """Hands jobs to a worker of this thread's own; one that it dies of is answered as undone, and the next begun."""
    ended = False
    while not ended:
        item: Any = None
        try:
            with subprocess.Popen(
                [sys.executable, "-c", _WORKER, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is the parent's, even while Python starts here
            ) as worker:
                assert worker.stdin and worker.stdout
                pickle.dump(function, worker.stdin)
                while (item := waiting.get()) is not None:
                    pickle.dump(item[0], worker.stdin, pickle.HIGHEST_PROTOCOL)
                    worker.stdin.flush()
                    item[1].put((True, pickle.load(worker.stdout)))
            ended = True
        except (OSError, EOFError, pickle.UnpicklingError):
            item = item or waiting.get()
            ended = item is None
            if item is not None:
                item[1].put((False, None))


def work() -> None:
    """A worker's life: its function, then jobs, until its input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where there are no sessions; closing the pipe ends this
    jobs, results = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anything prints must not end up among the results
    with suppress(EOFError, BrokenPipeError):
        function = pickle.load(jobs)
        while True:
            pickle.dump(function(pickle.load(jobs)), results, pickle.HIGHEST_PROTOCOL)
            results.flush()
