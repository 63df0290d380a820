"""Extraction by several processes at once.

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
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from codekin.errors import ModelError
from codekin.search.extracting import Embedding, Extracted, Extractor, Job
from codekin.search.model import IndexModel, ModelRecord

# Bytes of source that are worth another process: what one extracts in twice the time that it takes to start.
_WORTH_A_WORKER = 3 << 20
# The path is this process's: Python puts the current folder first, whose modules may be anybody's.
_WORKER = "import sys; sys.path[:] = sys.argv[1:]; from codekin.search.workers import work; work()"


def worker_count(size: int) -> int:
    """Workers worth starting, beside this process, for so many bytes of source."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(0, min(cores, size // _WORTH_A_WORKER, 8) - 1) if sys.executable else 0


def extract_all(
    jobs: Iterator[Job],
    workers: int,
    *,
    root: Path,
    model: IndexModel,
    max_bytes: int,
    embedding: Embedding,
) -> Iterator[Extracted]:
    """Every job's result, in the order in which they come; this process works on jobs as well.

    `embedding` hears of what is embedded in this process.
    """
    extractor = Extractor(root, model, max_bytes=max_bytes)
    waiting: SimpleQueue[Job | None] = SimpleQueue()
    done: SimpleQueue[Job | Extracted] = SimpleQueue()
    settings = (root, model.record, max_bytes)
    threads = [Thread(target=_serve, args=(settings, waiting, done), daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    handed = 0
    try:
        for job in jobs:
            # Workers have one job at hand and one to come; the next is done here.
            if handed < 2 * workers:
                waiting.put(job)
                handed += 1
            else:
                yield extractor.extract(job, embedding)
            with suppress(Empty):
                while True:
                    yield _finished(done.get_nowait(), extractor)
                    handed -= 1
        while handed:
            try:
                unclaimed = waiting.get_nowait()
            except Empty:
                yield _finished(done.get(), extractor)
            else:
                assert unclaimed is not None
                yield extractor.extract(unclaimed, embedding)
            handed -= 1
    finally:
        for _ in threads:
            waiting.put(None)


def _finished(result: Job | Extracted, extractor: Extractor) -> Extracted:
    return extractor.extract(result) if isinstance(result, Job) else result


def _serve(
    settings: tuple[Path, ModelRecord, int],
    waiting: SimpleQueue[Job | None],
    done: SimpleQueue[Job | Extracted],
) -> None:
    """Hands jobs to a worker of this thread's own; a job that the worker does not answer comes back as it was."""
    job: Job | None = None
    try:
        with subprocess.Popen(
            [sys.executable, "-c", _WORKER, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is the parent's, even while Python starts here
        ) as worker:
            assert worker.stdin and worker.stdout
            pickle.dump(settings, worker.stdin)
            while (job := waiting.get()) is not None:
                pickle.dump(job, worker.stdin)
                worker.stdin.flush()
                done.put(pickle.load(worker.stdout))
    except (OSError, EOFError, pickle.UnpicklingError):
        while job is not None:
            done.put(job)
            job = waiting.get()


def work() -> None:
    """A worker's life: its settings, then jobs, until its input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where there are no sessions; closing the pipe ends this
    jobs, results = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anything prints must not end up among the results
    with suppress(
        EOFError, BrokenPipeError, ModelError
    ):  # what is wrong with a model the parent meets itself
        root, record, max_bytes = pickle.load(jobs)
        extractor = Extractor(root, IndexModel(record), max_bytes=max_bytes)
        while True:
            pickle.dump(extractor.extract(pickle.load(jobs)), results)
            results.flush()
