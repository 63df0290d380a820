"""What a model's configuration says: the shape of its transformer, and how its vectors are pooled."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codekin.errors import ModelError
from codekin.tasks import Choice

# The architectures that are one of these decoders; JinaCodeEmbeddingModel is a Qwen2 decoder with a method for
# encoding.
_FAMILIES = {
    "Qwen2Model": "qwen2",
    "Qwen2ForCausalLM": "qwen2",
    "JinaCodeEmbeddingModel": "qwen2",
    "Qwen3Model": "qwen3",
    "Qwen3ForCausalLM": "qwen3",
}
_ENCODERS = ("BertModel", "bert")
# What transformers takes where a Qwen configuration does not say.
_DEFAULT_ROPE_THETA = 10_000.0
_DEFAULT_NORM_EPS = 1e-6
_DEFAULT_BERT_EPS = 1e-12


class Pooling(Choice):
    """How a text's hidden states become its vector."""

    LAST = "last"
    MEAN = "mean"
    LATENT = "latent"


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """A Qwen2 or Qwen3 decoder: RMSNorm, rotary positions, grouped-query attention, SwiGLU.

    Qwen2 (arXiv 2407.10671) adds a bias to queries, keys and values (`qkv_bias`); Qwen3 (arXiv 2505.09388) drops it
    and normalises queries and keys a head (`qk_norm`). `tied` says that the output head is the token table.
    Raises ValueError where the numbers cannot belong to such a decoder.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    rope_theta: float
    norm_eps: float
    qkv_bias: bool
    qk_norm: bool
    tied: bool
    max_positions: int

    def __post_init__(self) -> None:
        _check_whole(self, ("vocab_size", "hidden_size", "intermediate_size", "layers", "heads"))
        _check_whole(self, ("kv_heads", "head_dim", "max_positions"))
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} heads do not share {self.kv_heads} key-value heads evenly")
        if self.head_dim % 2:
            raise ValueError(f"rotary positions need an even head_dim, not {self.head_dim}")

    @classmethod
    def from_transformers(cls, config: Mapping[str, Any], path: Path) -> DecoderConfig:
        """The decoder that transformers' `config.json` at `path` describes.

        Raises ModelError, naming the file, for another architecture, a variant that codekin does not compute
        (scaled rotary positions, sliding windows, attention to later tokens), and missing or impossible numbers.
        """
        family = _family(config, path)
        rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
        scaling = rope.get("rope_type", rope.get("type", "default"))
        packed = config.get("quantization_config") or {}
        unsupported = {
            f"rotary positions scaled by {scaling!r}": scaling != "default",
            "sliding-window attention": bool(config.get("use_sliding_window")),
            f"weights packed by {packed.get('quant_method')!r}": bool(packed),
            "attention to later tokens": config.get("is_causal") is False,
            f"activation {config.get('hidden_act')!r}": config.get("hidden_act", "silu") != "silu",
            "biases in every projection": family == "qwen3" and bool(config.get("attention_bias")),
        }
        for feature, present in unsupported.items():
            if present:
                raise ModelError(f"{path}: {feature}: codekin does not compute it")
        try:
            heads, hidden = config["num_attention_heads"], config["hidden_size"]
            # Qwen3 has a default of its own; Qwen2 divides the hidden size.
            head_dim = config.get("head_dim") or (128 if family == "qwen3" else hidden // heads)
            return cls(
                vocab_size=config["vocab_size"],
                hidden_size=hidden,
                intermediate_size=config["intermediate_size"],
                layers=config["num_hidden_layers"],
                heads=heads,
                kv_heads=config.get("num_key_value_heads") or heads,
                head_dim=head_dim,
                rope_theta=float(rope.get("rope_theta", config.get("rope_theta", _DEFAULT_ROPE_THETA))),
                norm_eps=float(config.get("rms_norm_eps", _DEFAULT_NORM_EPS)),
                qkv_bias=family == "qwen2",
                qk_norm=family == "qwen3",
                tied=bool(config.get("tie_word_embeddings", False)),
                max_positions=config["max_position_embeddings"],
            )
        except KeyError as error:
            raise ModelError(f"{path}: {error.args[0]} is missing") from None
        except (TypeError, ValueError, ZeroDivisionError) as error:
            raise ModelError(f"{path}: {error}") from None

    @property
    def parameters(self) -> int:
        """How many numbers the decoder has, its head aside."""
        attention = 2 * self.hidden_size * self.head_dim * (self.heads + self.kv_heads)
        biases = self.head_dim * (self.heads + 2 * self.kv_heads) if self.qkv_bias else 0
        norms = 2 * self.hidden_size + (2 * self.head_dim if self.qk_norm else 0)
        layer = attention + biases + norms + 3 * self.hidden_size * self.intermediate_size
        return (self.vocab_size + 1) * self.hidden_size + self.layers * layer

    def to_transformers(self) -> dict[str, Any]:
        """The `config.json` that transformers, old and new, reads as this decoder without a head."""
        family = "qwen3" if self.qk_norm else "qwen2"
        return {
            "architectures": ["Qwen3Model" if self.qk_norm else "Qwen2Model"],
            "model_type": family,
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "max_position_embeddings": self.max_positions,
            "rms_norm_eps": self.norm_eps,
            "rope_theta": self.rope_theta,
            "rope_parameters": {"rope_type": "default", "rope_theta": self.rope_theta},
            "attention_dropout": 0.0,
            "use_sliding_window": False,
            "tie_word_embeddings": self.tied,
        }


@dataclass(frozen=True, slots=True)
class BertConfig:
    """A BERT encoder (arXiv 1810.04805): learned positions, attention to all tokens, a norm after each block.

    Raises ValueError where the numbers cannot belong to such an encoder.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    norm_eps: float
    token_types: int
    max_positions: int

    def __post_init__(self) -> None:
        _check_whole(self, ("vocab_size", "hidden_size", "intermediate_size", "layers", "heads"))
        _check_whole(self, ("token_types", "max_positions"))
        if self.hidden_size % self.heads:
            raise ValueError(f"{self.heads} heads do not share {self.hidden_size} numbers evenly")

    @classmethod
    def from_transformers(cls, config: Mapping[str, Any], path: Path) -> BertConfig:
        """The encoder that transformers' `config.json` at `path` describes.

        Raises ModelError, naming the file, for a variant that codekin does not compute, and for missing or impossible
        numbers.
        """
        activation, positions = (
            config.get("hidden_act", "gelu"),
            config.get("position_embedding_type", "absolute"),
        )
        if activation != "gelu" or positions != "absolute" or config.get("is_decoder"):
            raise ModelError(
                f"{path}: a BERT with activation {activation!r} and {positions} positions, or as a decoder: "
                "codekin does not compute it"
            )
        try:
            return cls(
                vocab_size=config["vocab_size"],
                hidden_size=config["hidden_size"],
                intermediate_size=config["intermediate_size"],
                layers=config["num_hidden_layers"],
                heads=config["num_attention_heads"],
                norm_eps=float(config.get("layer_norm_eps", _DEFAULT_BERT_EPS)),
                token_types=config.get("type_vocab_size", 2),
                max_positions=config["max_position_embeddings"],
            )
        except KeyError as error:
            raise ModelError(f"{path}: {error.args[0]} is missing") from None
        except (TypeError, ValueError) as error:
            raise ModelError(f"{path}: {error}") from None

    @property
    def parameters(self) -> int:
        """How many numbers the encoder has, its pooler aside."""
        hidden, wide = self.hidden_size, self.intermediate_size
        layer = 4 * (hidden + 1) * hidden + (hidden + 1) * wide + (wide + 1) * hidden + 4 * hidden
        return (self.vocab_size + self.max_positions + self.token_types + 2) * hidden + self.layers * layer

    def to_transformers(self) -> dict[str, Any]:
        """The `config.json` that transformers reads as this encoder."""
        return {
            "architectures": ["BertModel"],
            "model_type": "bert",
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "hidden_act": "gelu",
            "layer_norm_eps": self.norm_eps,
            "type_vocab_size": self.token_types,
            "max_position_embeddings": self.max_positions,
            "position_embedding_type": "absolute",
        }


def transformer_config(config: Mapping[str, Any], path: Path) -> DecoderConfig | BertConfig:
    """The model that transformers' `config.json` at `path` describes; raises ModelError for one that is neither."""
    named = config.get("architectures") or [config.get("model_type")]
    kind = BertConfig if named[0] in _ENCODERS else DecoderConfig
    return kind.from_transformers(config, path)


def _check_whole(config: object, names: Sequence[str]) -> None:
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} is {value!r}, not a positive whole number")


def _family(config: Mapping[str, Any], path: Path) -> str:
    named = config.get("architectures") or [config.get("model_type", "unknown")]
    for architecture in named:
        if architecture in _FAMILIES:
            return _FAMILIES[architecture]
        if architecture in _FAMILIES.values():  # a configuration without architectures has its model_type
            return str(architecture)
    raise ModelError(
        f"{path}: architecture {', '.join(map(str, named))}; codekin reads Qwen2, Qwen3 and BERT"
    )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; raises ModelError where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path}: not a JSON object")
    return content
