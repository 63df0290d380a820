"""The static model as a torch module, and its export to the files that `codekin.embed` reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's name for it)

from codekin.embed.safetensors import write_safetensors
from codekin.embed.static import damped


@dataclass(frozen=True)
class Bags:
    """Texts as tokens and what each counts, one after the other: text i owns entries starts[i]:starts[i + 1]."""

    tokens: NDArray[np.int32]
    counts: NDArray[np.float32]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    @classmethod
    def of(cls, tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int, count_exponent: float) -> Bags:
        """The texts' bags, each over its first `max_tokens` known tokens."""
        unknown = tokenizer.token_to_id(tokenizer.model.unk_token)
        tokens, counts, starts = [], [], [0]
        for begin in range(0, len(texts), 1024):
            for encoding in tokenizer.encode_batch_fast(list(texts[begin : begin + 1024])):
                ids = np.array(encoding.ids, dtype=np.int32)
                found, times = np.unique(ids[ids != unknown][:max_tokens], return_counts=True)
                tokens.append(found)
                counts.append(damped(times, count_exponent).astype(np.float32))
                starts.append(starts[-1] + found.size)
        return cls(np.concatenate(tokens), np.concatenate(counts), np.array(starts, dtype=np.int64))

    def batch(self, rows: NDArray[np.intp]) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens, their counts, and the offsets of those texts, as `StaticStudent` takes them."""
        lengths = self.starts[rows + 1] - self.starts[rows]
        offsets = np.cumsum(lengths) - lengths
        entries = np.arange(int(lengths.sum())) + np.repeat(self.starts[rows] - offsets, lengths)
        return (
            torch.from_numpy(self.tokens[entries].astype(np.int64)),
            torch.from_numpy(self.counts[entries]),
            torch.from_numpy(offsets),
        )


class StaticStudent(nn.Module):
    """A vector and a positive weight for each token; a text is the weighted sum of its tokens.

    The weight is a parameter of its own, as logarithm: an optimiser with a step per number, such as Adam, would
    otherwise take many steps to make a frequent token's whole row small.
    """

    def __init__(self, vectors: NDArray[np.float32], weights: NDArray[np.float32]) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.from_numpy(vectors.copy()))
        self.log_weights = nn.Parameter(torch.from_numpy(weights).clamp_min(1e-6).log())

    def forward(self, tokens: Tensor, counts: Tensor, offsets: Tensor) -> Tensor:
        """The texts' sums, (n, d), not of unit length."""
        weights = self.log_weights[tokens].exp() * counts
        return F.embedding_bag(tokens, self.vectors, offsets, mode="sum", per_sample_weights=weights)

    @torch.inference_mode()
    def embed(self, bags: Bags) -> Tensor:
        """All the texts' sums, (n, d)."""
        return torch.cat(
            [self(*bags.batch(rows)) for rows in np.split(np.arange(len(bags)), range(1024, len(bags), 1024))]
        )

    def export(self) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """The table in int8, (v, d), and each token's weight with its row's scale in it, (v,).

        The weights keep 11 bits, so that sums of products are exact in float64 (`codekin.embed.static`).
        """
        vectors = self.vectors.detach().numpy().astype(np.float64)
        weights = self.log_weights.detach().exp().numpy().astype(np.float64)
        largest = np.abs(vectors).max(axis=1)
        scale = np.where(largest > 0, largest / 127, 1.0)
        table = np.rint(vectors / scale[:, None]).astype(np.int8)
        combined = weights * scale
        return table, (combined / combined.max()).astype(np.float16).astype(np.float32)


def write_model(
    folder: Path,
    student: StaticStudent,
    tokenizer: Tokenizer,
    *,
    sizes: Sequence[int],
    count_exponent: float,
    licence: str,
) -> None:
    """Write the model to `folder`, in the layout of model2vec."""
    folder.mkdir(parents=True, exist_ok=True)
    table, weights = student.export()
    write_safetensors(folder / "model.safetensors", {"embeddings": table, "weights": weights})
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    config = {
        "model_type": "model2vec",
        "normalize": True,
        "max_length": None,
        "embedding_dtype": "int8",
        "words": True,
        "sizes": list(sizes),
        "count_exponent": count_exponent,
        "licence": licence,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
