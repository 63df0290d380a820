"""Pairs whose query words and code words mean the same, one each: only training can tell which."""

from __future__ import annotations

import random

from codekin.data import Pair
from codekin.tasks import Task

SYNONYMS = {
    "list": "enumerate",
    "delete": "unlink",
    "copy": "clone",
    "send": "dispatch",
    "wait": "sleep",
    "parse": "decode",
    "join": "concat",
    "count": "len",
    "sort": "ordered",
    "find": "lookup",
    "open": "acquire",
    "close": "release",
    "start": "spawn",
    "stop": "terminate",
    "file": "path",
    "user": "account",
    "page": "view",
    "row": "record",
    "word": "token",
    "image": "bitmap",
}


def synonym_pairs(count: int) -> list[Pair]:
    """Pairs of Python and Ruby from twenty packages, always the same ones."""
    rng = random.Random(1)
    pairs = []
    for i in range(count):
        words = rng.sample(sorted(SYNONYMS), 3)
        code = "_".join(SYNONYMS[word] for word in rng.sample(words, 3))
        pairs.append(
            Pair(
                query=" ".join(words),
                document=f"def {code}(self):\n    return self.{code}",
                task=Task.NL2CODE,
                language=("python", "ruby")[i % 2],
                source=f"pypi:p{i % 20}@1",
                licence="MIT",
                path="a.py",
                kind="documentation",
            )
        )
    return pairs
