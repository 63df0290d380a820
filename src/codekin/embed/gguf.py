"""GGUF files: a decoder, its tokenizer and its weights in one file, the weights often of few bits.

The file's head is read here: the reader of the `gguf` package takes seconds for a vocabulary of 150,000 tokens. The
package knows the block formats and makes floats of them.
"""

from __future__ import annotations

import math
import mmap
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize
from tokenizers import AddedToken
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing

from codekin.embed.checkpoints import Checkpoint, spdx
from codekin.embed.config import DecoderConfig
from codekin.embed.tokens import TextTokenizer, qwen2_tokenizer
from codekin.errors import ModelError

if TYPE_CHECKING:
    import torch

# Value types of the metadata that are one number (the specification's gguf_metadata_value_type).
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
# Kinds of token: those that are added to the byte-level vocabulary, and the rows that stand for none.
_CONTROL, _USER_DEFINED, _UNUSED = 3, 4, 5
_POOLINGS = {0: None, 1: "mean", 3: "last"}
_TENSORS = {
    "token_embd": "embed_tokens",
    "output_norm": "norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# Weights made floats of at once: the temporary arrays of a block format stay within a processor's cache.
_STEP = 1 << 18


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A tensor's shape, rows first, the number of its type, and where its bytes start in the file."""

    shape: tuple[int, ...]
    kind: int
    start: int


class GgufFile:
    """A GGUF file's metadata and tensors, by transformers' names.

    Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Raises ModelError where the file is none, or
    is cut off.
    """

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:  # an empty file cannot be mapped
            raise ModelError(f"{path}: cannot be read: {error}") from None
        self._path = path
        self.metadata: dict[str, Any] = {}
        self._tensors: dict[str, _Tensor] = {}
        self._at = 0
        try:
            self._read_head()
        except (struct.error, ValueError, LookupError):
            raise ModelError(f"{path}: cut off, or damaged, at byte {self._at:,} of its head") from None

    def __contains__(self, tensor: str) -> bool:
        return tensor in self._tensors

    def file(self, tensor: str) -> Path:
        return self._path

    def rows(self, tensor: str) -> int:
        """How many rows the tensor has; 0 where it is missing."""
        return self._tensors[tensor].shape[0] if tensor in self._tensors else 0

    def read(self, tensor: str) -> torch.Tensor:
        """The tensor in float32, whatever the file packs it in."""
        import torch

        found = self._tensors[tensor]
        place = f"{self._path}: tensor {tensor!r}"
        try:
            kind = GGMLQuantizationType(found.kind)
            block, size = GGML_QUANT_SIZES[kind]
        except (ValueError, KeyError):
            raise ModelError(f"{place} is of the unknown type {found.kind}") from None
        count = math.prod(found.shape)
        if found.shape[-1] % block:
            raise ModelError(f"{place}: rows of {found.shape[-1]} are no whole blocks of {kind.name}")
        end = found.start + count // block * size
        if end > len(self._bytes):
            raise ModelError(f"{place} ends at byte {end:,} of {len(self._bytes):,}: the file is cut off")
        packed = np.frombuffer(self._bytes, np.uint8, end - found.start, found.start)
        floats = np.empty(count, np.float32)

        def unpack(first: int) -> None:
            part = packed[first // block * size : (first + _STEP) // block * size]
            floats[first : first + _STEP] = dequantize(part, kind)

        try:
            with ThreadPoolExecutor() as pool:  # numpy works outside the interpreter's lock
                list(pool.map(unpack, range(0, count, _STEP)))
        except NotImplementedError:
            raise ModelError(f"{place} is of type {kind.name}, which codekin does not read") from None
        return torch.from_numpy(floats).view(found.shape)

    def _read_head(self) -> None:
        if self._bytes[:4] != b"GGUF":
            raise ModelError(f"{self._path}: not a GGUF file")
        self._at = 4
        version = self._number("I")
        if version not in (2, 3):
            raise ModelError(f"{self._path}: GGUF version {version}; codekin reads 2 and 3, little-endian")
        tensors, entries = self._number("Q"), self._number("Q")
        for _ in range(entries):
            key = self._string()
            self.metadata[key] = self._value(self._number("I"))
        for _ in range(tensors):
            name = self._string()
            shape = self._numbers("Q", self._number("I"))
            kind, offset = self._number("I"), self._number("Q")
            self._tensors[_renamed(name)] = _Tensor(shape[::-1], kind, offset)
        alignment = self.metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise ValueError
        data = -(-self._at // alignment) * alignment
        self._tensors = {
            name: _Tensor(tensor.shape, tensor.kind, data + tensor.start)
            for name, tensor in self._tensors.items()
        }

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            return self._number(_NUMBERS[kind])
        inner, count = self._number("I"), self._number("Q")
        if inner == _STRING:
            return [self._string() for _ in range(count)]
        return self._numbers(_NUMBERS[inner], count)

    def _number(self, code: str) -> Any:
        return self._numbers(code, 1)[0]

    def _numbers(self, code: str, count: int) -> tuple[Any, ...]:
        layout = f"<{count}{code}"
        size = struct.calcsize(layout)
        numbers = struct.unpack_from(layout, self._bytes, self._at)
        self._at += size
        return numbers

    def _string(self) -> str:
        start = self._at + 8
        end = start + int.from_bytes(self._bytes[self._at : start], "little")
        if end > len(self._bytes):
            raise IndexError
        self._at = end
        return self._bytes[start:end].decode("utf-8")


def open_gguf(path: Path, name: str) -> Checkpoint:
    """The model in a .gguf file, which the user calls `name`; raises ModelError that says what is wrong with it."""
    file = GgufFile(path)
    try:
        return _checkpoint(file, path, name)
    except KeyError as error:
        raise ModelError(f"{path}: {error.args[0]} is missing in its metadata") from None
    except (TypeError, ValueError, IndexError, ArithmeticError) as error:
        raise ModelError(f"{path}: its metadata is damaged: {error}") from None


def _checkpoint(file: GgufFile, path: Path, name: str) -> Checkpoint:
    config = _config(file, path)
    said = file.metadata
    tokenizer = _tokenizer(said, path, config.max_positions)
    if tokenizer.size > config.vocab_size:
        raise ModelError(
            f"{path}: {tokenizer.size} tokens, but {config.vocab_size} rows in 'embed_tokens.weight'"
        )
    pooling = said.get(f"{said['general.architecture']}.pooling_type", 0)
    if pooling not in _POOLINGS:
        raise ModelError(f"{path}: pooling_type {pooling}; codekin computes 1 (mean) and 3 (last token)")
    return Checkpoint(
        name=name,
        config=config,
        tokenizer=tokenizer,
        pooling=_POOLINGS[pooling],
        prompts={},
        default_prompt=None,
        sizes=(config.hidden_size,),
        max_length=config.max_positions,
        licence=spdx(said.get("general.license")),
        files=(path,),
        weights=file,
    )


def _config(file: GgufFile, path: Path) -> DecoderConfig:
    said = file.metadata
    family = said["general.architecture"]
    if family not in ("qwen2", "qwen3"):
        raise ModelError(f"{path}: architecture {family}; codekin reads decoders of the Qwen2 and Qwen3 kind")
    if said.get("split.count", 1) > 1:
        raise ModelError(
            f"{path}: one of {said['split.count']} parts; join them with llama-gguf-split --merge"
        )
    scaling = said.get(f"{family}.rope.scaling.type", "none")
    if scaling != "none":
        raise ModelError(f"{path}: rotary positions scaled by {scaling!r}: codekin does not compute it")
    if said.get(f"{family}.attention.causal", True) is False:
        raise ModelError(f"{path}: attention to later tokens: codekin does not compute it")
    heads, hidden = said[f"{family}.attention.head_count"], said[f"{family}.embedding_length"]
    return DecoderConfig(
        vocab_size=file.rows("embed_tokens.weight"),
        hidden_size=hidden,
        intermediate_size=said[f"{family}.feed_forward_length"],
        layers=said[f"{family}.block_count"],
        heads=heads,
        kv_heads=said.get(f"{family}.attention.head_count_kv", heads),
        head_dim=said.get(f"{family}.attention.key_length", hidden // heads),
        rope_theta=said.get(f"{family}.rope.freq_base", 10_000.0),
        norm_eps=said[f"{family}.attention.layer_norm_rms_epsilon"],
        qkv_bias=family == "qwen2",
        qk_norm=family == "qwen3",
        tied="lm_head.weight" not in file,
        max_positions=said[f"{family}.context_length"],
    )


def _tokenizer(said: dict[str, Any], path: Path, longest: int) -> TextTokenizer:
    kind, words = said["tokenizer.ggml.model"], said.get("tokenizer.ggml.pre", "qwen2")
    if (kind, words) != ("gpt2", "qwen2"):
        raise ModelError(f"{path}: tokenizer {kind}/{words}; codekin reads Qwen2's, gpt2/qwen2")
    tokens = said["tokenizer.ggml.tokens"]
    kinds = said["tokenizer.ggml.token_type"]
    vocabulary, added = {}, {}
    for place, (token, kind) in enumerate(zip(tokens, kinds, strict=True)):
        if kind in (_CONTROL, _USER_DEFINED):
            added[place] = AddedToken(token, special=kind == _CONTROL, normalized=False)
        elif kind != _UNUSED:
            vocabulary[token] = place
    merges = [(left, right) for left, right in (merge.split(" ") for merge in said["tokenizer.ggml.merges"])]
    # What stands at an end of every text, where the file says that something does.
    ends = {
        end: said[f"tokenizer.ggml.{end}_token_id"]
        for end in ("bos", "eos")
        if said.get(f"tokenizer.ggml.add_{end}_token", False)
    }
    names = {end: tokens[place] for end, place in ends.items()}
    try:
        tokenizer = qwen2_tokenizer(BPE(vocabulary, merges), added)
        tokenizer.post_processor = TemplateProcessing(
            single=[*filter(None, (names.get("bos"), "$A", names.get("eos")))],
            special_tokens=[(names[end], place) for end, place in ends.items()],
        )
    except Exception as error:  # tokenizers raises plain Exception
        raise ModelError(f"{path}: its tokenizer is damaged: {error}") from None
    settings = {"tokenizer_class": "Qwen2Tokenizer", "model_max_length": longest}
    for role, key in (("bos_token", "bos"), ("eos_token", "eos"), ("pad_token", "padding")):
        if f"tokenizer.ggml.{key}_token_id" in said:
            settings[role] = tokens[said[f"tokenizer.ggml.{key}_token_id"]]
    return TextTokenizer(tokenizer, settings, ())


def _renamed(name: str) -> str:
    """transformers' name for a tensor of a GGUF file: `blk.0.attn_q.weight` is `layers.0.self_attn.q_proj.weight`."""
    part, _, kind = name.rpartition(".")
    if not part.startswith("blk."):
        return f"{_TENSORS.get(part, part)}.{kind}"
    _, layer, part = part.split(".", 2)
    return f"layers.{layer}.{_TENSORS.get(part, part)}.{kind}"
