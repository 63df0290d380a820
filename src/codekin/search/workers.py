"""Extraction by several processes at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue

from codekin.search.extracting import Embedding, Extracted, Extractor, Job
from codekin.workers import Answer, Workers, cores

# Bytes of source that are worth another process: what one extracts in twice the time that it takes to start.
_WORTH_A_WORKER = 3 << 20


def worker_count(size: int) -> int:
    """Workers worth starting, beside this process, for so many bytes of source."""
    return max(0, min(cores(), size // _WORTH_A_WORKER, 8) - 1) if sys.executable else 0


def extract_all(
    jobs: Iterator[Job], workers: int, extractor: Extractor, embedding: Embedding
) -> Iterator[Extracted]:
    """Every job's result, in the order in which they come; this process works on jobs as well.

    `embedding` hears of what is embedded in this process.
    """
    answers: SimpleQueue[Answer] = SimpleQueue()
    handed = 0
    with Workers(extractor.extract, workers) as pool:
        for job in jobs:
            # Workers have one job at hand and one to come; the next is done here.
            if handed < 2 * workers:
                pool.give(job, answers)
                handed += 1
            else:
                yield extractor.extract(job, embedding)
            for answer in _at_hand(answers):
                yield pool.result(answer)
                handed -= 1
        while handed:
            unclaimed = pool.take_back()
            yield pool.result(answers.get()) if unclaimed is None else extractor.extract(unclaimed, embedding)
            handed -= 1


def _at_hand(answers: SimpleQueue[Answer]) -> Iterator[Answer]:
    with suppress(Empty):
        while True:
            yield answers.get_nowait()
