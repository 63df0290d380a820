#!/usr/bin/env python3
"""codekin's near duplicates beside datasketch's, on the same texts at the same threshold, in one run.

    python benchmarks/near_duplicates.py PAIRS [--texts 20000]

PAIRS is a JSONL file of pairs; their documents are looked at, a tenth of them once more with a word changed. Prints
the time of each, and the share of the changed copies (those that are near-equal, as counted exactly) that it finds.
Both make sketches of 128 numbers over runs of three words; datasketch gets its words hashed by a fast hash.
"""

from __future__ import annotations

import argparse
import random
import re
import time
from collections.abc import Callable
from itertools import islice
from zlib import crc32

import numpy as np
from datasketch import MinHash, MinHashLSH

from codekin.data import read_pairs
from codekin.data.minhash import ROWS, THRESHOLD, near_equal, sketches

_WORD = re.compile(rb"\w+")
_BATCH = 2048


def runs(text: str) -> set[bytes]:
    words = _WORD.findall(text.lower().encode())
    return {b" ".join(words[i : i + 3]) for i in range(max(1, len(words) - 2))}


def ours(texts: list[str]) -> list[bool]:
    rows = np.concatenate([sketches(texts[i : i + _BATCH]) for i in range(0, len(texts), _BATCH)])
    labels = near_equal(rows)
    return (labels != np.arange(len(labels))).tolist()


def theirs(texts: list[str]) -> list[bool]:
    index = MinHashLSH(threshold=THRESHOLD, num_perm=ROWS)
    found = []
    for number, text in enumerate(texts):
        sketch = MinHash(num_perm=ROWS, hashfunc=crc32)
        sketch.update_batch(list(runs(text)))
        found.append(bool(index.query(sketch)))
        index.insert(number, sketch, check_duplication=False)
    return found


def measure(name: str, find: Callable[[list[str]], list[bool]], texts: list[str], copies: list[int]) -> float:
    started = time.perf_counter()
    found = find(texts)
    seconds = time.perf_counter() - started
    recall = np.mean([found[i] for i in copies])
    print(f"{name:11} {seconds:7.2f} s   {len(texts) / seconds:9,.0f} texts/s   copies found {recall:.4f}")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pairs")
    parser.add_argument("--texts", type=int, default=20_000)
    arguments = parser.parse_args()
    texts = [pair.document for pair in islice(read_pairs(arguments.pairs), arguments.texts)]
    rng = random.Random(0)
    copies = []
    for text in rng.sample(texts, len(texts) // 10):
        words = text.split(" ")
        words[rng.randrange(len(words))] = "changed"
        copy = " ".join(words)
        one, other = runs(text), runs(copy)
        if len(one & other) >= THRESHOLD * len(one | other):
            copies.append(len(texts))
        texts.append(copy)
    print(f"{len(texts):,} texts, {len(copies):,} of them near-equal to an earlier one by construction")
    a = measure("codekin", ours, texts, copies)
    b = measure("datasketch", theirs, texts, copies)
    print(f"codekin / datasketch: {a / b:.3f} of the time")


if __name__ == "__main__":
    main()
