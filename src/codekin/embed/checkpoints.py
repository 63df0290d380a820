"""A transformer's checkpoint: its shape, its tokenizer, and its tensors, which are read one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from codekin.embed.config import BertConfig, DecoderConfig
from codekin.embed.fingerprints import fingerprint
from codekin.embed.tokens import TextTokenizer
from codekin.errors import ModelError

if TYPE_CHECKING:
    import torch

# The hub writes licences in lower case.
_SPDX = {name.lower(): name for name in ("Apache-2.0", "MIT", "CC-BY-4.0", "CC-BY-NC-4.0", "CC-BY-SA-4.0")}


class Weights(Protocol):
    """Tensors by the names that transformers gives them below the base model: `layers.0.self_attn.q_proj.weight`."""

    def __contains__(self, tensor: str) -> bool: ...

    def file(self, tensor: str) -> Path:
        """The file that holds the tensor, or would hold it."""
        ...

    def read(self, tensor: str) -> torch.Tensor:
        """The tensor, floating, on the CPU; raises ModelError where its bytes are cut off or of another type."""
        ...


@dataclass(frozen=True)
class Checkpoint:
    """A Qwen2 or Qwen3 decoder, or a BERT encoder, on disk, opened but not read.

    `name` is the user's own name for it. `pooling` is "last", "mean" or "latent", None where the files do not say;
    `prompts` are those of sentence-transformers by name, `default_prompt` the name of one; `sizes` the Matryoshka
    sizes, ascending, the last of them the full size; `max_length` the longest text in tokens; `licence` an SPDX
    identifier, None where unknown.
    """

    name: str
    config: DecoderConfig | BertConfig
    tokenizer: TextTokenizer
    pooling: str | None
    prompts: Mapping[str, str]
    default_prompt: str | None
    sizes: tuple[int, ...]
    max_length: int
    licence: str | None
    files: tuple[Path, ...] = field(repr=False)
    weights: Weights = field(repr=False)

    @cached_property
    def fingerprint(self) -> str:
        """32 hexadecimal digits, other ones whenever one of the files differs in any byte."""
        return fingerprint(self.files)

    def __contains__(self, tensor: str) -> bool:
        return tensor in self.weights

    def read(self, tensor: str, shape: tuple[int, ...]) -> torch.Tensor:
        """The tensor on the CPU as it is stored; what GGUF packs in fewer bits comes as float32.

        Names are those of transformers below the base model ("embed_tokens.weight", "layers.0.mlp.up_proj.weight"),
        and "lm_head.weight". Raises ModelError, naming tensor and file, where it is missing, cut off, of another
        shape, or holds a number that is not finite.
        """
        import torch

        file = self.weights.file(tensor)
        if tensor not in self.weights:
            raise ModelError(f"{file}: tensor {tensor!r} is missing")
        read = self.weights.read(tensor)
        if tuple(read.shape) != shape:
            raise ModelError(f"{file}: tensor {tensor!r} has shape {tuple(read.shape)}, not {shape}")
        # NaN is both least and greatest; one pass finds all.
        if read.numel() and not torch.isfinite(torch.stack(torch.aminmax(read))).all():
            raise ModelError(f"{file}: tensor {tensor!r} holds numbers that are not finite")
        return read


def spdx(licence: object) -> str | None:
    """The SPDX identifier of a licence as the hub writes it; None for "other" and what is no name."""
    if not isinstance(licence, str) or licence in ("", "other", "unknown"):
        return None
    return _SPDX.get(licence.lower(), licence)
