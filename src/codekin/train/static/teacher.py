"""A sentence encoder as teacher: its vectors, kept on disk."""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from codekin.embed import Embedder
from codekin.errors import ModelError

_KEY_BYTES = 16


class Teacher:
    """A sentence encoder such as all-MiniLM-L6-v2 (BERT, arXiv 1810.04805), its texts cut at `max_tokens`.

    `folder` is one that `Embedder` loads. Raises ModelError where it is not, or its tokenizer.json is missing.
    """

    def __init__(self, folder: Path, *, max_tokens: int) -> None:
        self._embedder = Embedder(folder, max_length=max_tokens, dtype=_fastest_type())
        self.dimensions = self._embedder.dimensions
        tokenizer, weights = folder / "tokenizer.json", folder / "model.safetensors"
        for file in (tokenizer, weights):
            if not file.is_file():
                raise ModelError(f"teacher {folder}: {file.name} is missing")
        ids = Tokenizer.from_file(str(tokenizer)).get_vocab()
        self.vocabulary = sorted(ids, key=lambda token: ids[token])
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        self.identity = f"{digest[:16]}-{max_tokens}"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The texts' vectors, (n, d) float32, unit length."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of texts that are cut: that is what max_tokens is for
            return self._embedder.encode(texts)


class VectorCache:
    """A teacher's vectors by text, appended to two files of `folder`; an interrupted run goes on from there."""

    def __init__(self, teacher: Teacher, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._teacher = teacher
        self._keys = folder / f"{teacher.identity}.keys"
        self._vectors = folder / f"{teacher.identity}.f16"
        self._row_bytes = 2 * teacher.dimensions
        self._rows: dict[bytes, int] = {}
        for file in (self._keys, self._vectors):
            file.touch()
        # Whatever a killed run left incomplete, in either file, is cut off.
        rows = min(self._keys.stat().st_size // _KEY_BYTES, self._vectors.stat().st_size // self._row_bytes)
        for file, width in ((self._keys, _KEY_BYTES), (self._vectors, self._row_bytes)):
            with open(file, "r+b") as stream:
                stream.truncate(rows * width)
        keys = self._keys.read_bytes()
        for row in range(rows):
            self._rows[keys[row * _KEY_BYTES : (row + 1) * _KEY_BYTES]] = row

    def fill(self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None) -> None:
        """Compute and store the vectors of those texts that have none."""
        missing = {key: text for text in texts if (key := _key(text)) not in self._rows}
        keys, todo = list(missing), list(missing.values())
        step = 4096
        for start in range(0, len(todo), step):
            vectors = self._teacher.encode(todo[start : start + step])
            with open(self._vectors, "ab") as stream:
                stream.write(vectors.astype(np.float16).tobytes())
            with open(self._keys, "ab") as stream:
                stream.write(b"".join(keys[start : start + step]))
            for key in keys[start : start + step]:
                self._rows[key] = len(self._rows)
            if progress:
                progress(min(start + step, len(todo)), len(todo))

    def rows(self, texts: Sequence[str]) -> NDArray[np.intp]:
        """Each text's row in `matrix`, (n,); -1 where the text has no vector yet."""
        return np.array([self._rows.get(_key(text), -1) for text in texts], dtype=np.intp)

    def matrix(self) -> NDArray[np.float16]:
        """All stored vectors, (rows, d) float16, memory-mapped."""
        shape = (len(self._rows), self._teacher.dimensions)
        if not self._rows:
            return np.empty(shape, dtype=np.float16)
        return np.memmap(self._vectors, dtype=np.float16, mode="r", shape=shape)


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=_KEY_BYTES).digest()


@cache
def _fastest_type() -> str:
    """bfloat16 where this processor multiplies it faster than float32: it is 2 times faster or 100 slower.

    What a student learns from need not be exact. The shortest of several measurements, once a process: what else runs
    on the machine must not choose.
    """
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.ones(256, 384, dtype=dtype), torch.ones(384, 384, dtype=dtype)
        a @ b
        runs = []
        for _ in range(12):
            start = time.perf_counter()
            a @ b
            runs.append(time.perf_counter() - start)
        seconds[dtype] = min(runs)
    return str(min(seconds, key=lambda dtype: seconds[dtype])).removeprefix("torch.")
