"""A sentence encoder as teacher: BERT with mean pooling, read from a Hugging Face folder, its vectors kept on disk."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the field's name for it)

from codekin.embed.safetensors import read_safetensors
from codekin.errors import ModelError

# Activations of a batch this small stay in the processor's cache: three times the speed of ten times as many.
_BATCH_TOKENS = 768
_KEY_BYTES = 16


class Teacher:
    """BERT (arXiv 1810.04805) with mean pooling and unit length, as in all-MiniLM-L6-v2.

    `folder` holds config.json, tokenizer.json and model.safetensors in the layout of Hugging Face; texts are
    cut at `max_tokens`. Raises ModelError where a file is missing or the model is no BERT.
    """

    def __init__(self, folder: Path, *, max_tokens: int) -> None:
        for name in ("config.json", "tokenizer.json", "model.safetensors"):
            if not (folder / name).is_file():
                raise ModelError(f"teacher {folder}: {name} is missing")
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config.get("model_type") != "bert":
            raise ModelError(f"teacher {folder}: model_type {config.get('model_type')!r} is not 'bert'")
        self.dimensions = int(config["hidden_size"])
        self._layers = int(config["num_hidden_layers"])
        self._heads = int(config["num_attention_heads"])
        self._epsilon = float(config["layer_norm_eps"])
        dtype = _fastest_dtype()
        self._weights = {
            name: torch.from_numpy(np.array(tensor)).to(dtype)
            for name, tensor in read_safetensors(folder / "model.safetensors").items()
            if tensor.dtype.kind == "f"
        }
        self._tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)
        ids = self._tokenizer.get_vocab()
        self.vocabulary = sorted(ids, key=lambda token: ids[token])
        digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        self.identity = f"{digest[:16]}-{max_tokens}"

    def encode(
        self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None
    ) -> NDArray[np.float32]:
        """The texts' vectors, (n, d) float32, unit length. `progress` is called with done and total texts."""
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        start = 0
        while start < len(order):
            size = max(1, _BATCH_TOKENS // len(tokens[order[start]]))
            batch = order[start : start + size]
            vectors[batch] = self._forward([tokens[i] for i in batch]).numpy()
            start += len(batch)
            if progress:
                progress(start, len(order))
        return vectors

    @torch.inference_mode()
    def _forward(self, batch: list[list[int]]) -> Tensor:
        longest = max(map(len, batch))
        ids = torch.zeros(len(batch), longest, dtype=torch.long)
        mask = torch.zeros(len(batch), longest, dtype=torch.bool)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = True
        w = self._weights
        x = (
            w["embeddings.word_embeddings.weight"][ids]
            + w["embeddings.position_embeddings.weight"][:longest]
            + w["embeddings.token_type_embeddings.weight"][0]
        )
        x = self._norm(x, "embeddings.LayerNorm")
        # Sorted by length, most batches are of one length: those need no mask, which is the fast path.
        attended = None if bool(mask.all()) else mask[:, None, None, :]
        for layer in range(self._layers):
            at = f"encoder.layer.{layer}."
            q, k, v = (
                self._linear(x, f"{at}attention.self.{part}")
                .view(*ids.shape, self._heads, -1)
                .transpose(1, 2)
                for part in ("query", "key", "value")
            )
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=attended).transpose(1, 2).flatten(2)
            attention = self._linear(mixed, f"{at}attention.output.dense")
            x = self._norm(x + attention, f"{at}attention.output.LayerNorm")
            inner = F.gelu(self._linear(x, f"{at}intermediate.dense"))
            x = self._norm(x + self._linear(inner, f"{at}output.dense"), f"{at}output.LayerNorm")
        counted = mask.unsqueeze(-1).float()
        return F.normalize((x.float() * counted).sum(1) / counted.sum(1), dim=-1)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return F.layer_norm(x, x.shape[-1:], weight, bias, self._epsilon)


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
def _fastest_dtype() -> torch.dtype:
    """bfloat16 where this processor multiplies it faster than float32: it is 2 times faster or 100 slower.

    The shortest of several measurements, once a process: what else runs on the machine must not choose.
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
    return min(seconds, key=lambda dtype: seconds[dtype])
