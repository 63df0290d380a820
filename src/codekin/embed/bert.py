"""The BERT encoder (arXiv 1810.04805) in torch, as sentence encoders such as all-MiniLM-L6-v2 are built on it.

Modules carry transformers' names, so that a checkpoint's tensors are the state of this module. Texts are packed as for
the decoder: no row is padding, and only attention sees the texts apart.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from codekin.embed.config import BertConfig
from codekin.embed.qwen2 import Pack, Prefix, rows_at


class Bert(nn.Module):
    """Token ids to hidden states."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = _Embeddings(config)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(_Layer(config) for _ in range(config.layers))})

    def forward(self, pack: Pack, prefix: Prefix | None = None, *, ends_only: bool = False) -> Tensor:
        """(t, hidden), or with `ends_only` (n, hidden): the last token of each text.

        Every token sees all of its text, so that no prefix has a state of its own: there is none.
        """
        if prefix is not None:
            raise ValueError("BERT has no prefixes")
        hidden = self.embeddings(pack)
        inside = None if bool(pack.inside.all()) else pack.inside[:, None, None]
        for layer in self.encoder["layer"]:  # type: ignore[attr-defined]
            hidden = layer(hidden, pack, inside)
        states: Tensor = hidden[pack.ends] if ends_only else hidden
        return states


class _Embeddings(nn.Module):
    """A token's vector, its position's, and that of the first of BERT's two kinds of text."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embeddings = nn.Embedding(config.max_positions, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.token_types, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)

    def forward(self, pack: Pack) -> Tensor:
        # The tables may be kept in a smaller type than the one computed in.
        dtype = self.LayerNorm.weight.dtype
        summed = self.word_embeddings(pack.ids).to(dtype) + self.position_embeddings(pack.positions).to(dtype)
        normed: Tensor = self.LayerNorm(summed + self.token_type_embeddings.weight[0].to(dtype))
        return normed


class _Layer(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        hidden, wide = config.hidden_size, config.intermediate_size
        self.attention = nn.ModuleDict({"self": _Attention(config), "output": _Output(config, hidden)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(hidden, wide)})
        self.output = _Output(config, wide)

    def forward(self, hidden: Tensor, pack: Pack, inside: Tensor | None) -> Tensor:
        attended = self.attention["self"](hidden, pack, inside)
        hidden = self.attention["output"](attended, hidden)
        transformed: Tensor = self.output(functional.gelu(self.intermediate["dense"](hidden)), hidden)
        return transformed


class _Attention(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query, self.key, self.value = (
            nn.Linear(config.hidden_size, config.hidden_size) for _ in range(3)
        )

    def forward(self, hidden: Tensor, pack: Pack, inside: Tensor | None) -> Tensor:
        """(t, hidden) -> (t, hidden); `inside`, (n, 1, 1, longest), hides the filling, None where there is none."""
        queries, keys, values = (
            rows_at(product(hidden).view(len(hidden), self.heads, -1), pack.grid).transpose(1, 2)
            for product in (self.query, self.key, self.value)
        )
        attended = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=inside)
        return rows_at(attended.transpose(1, 2).flatten(0, 1), pack.cells).flatten(1)


class _Output(nn.Module):
    """A product, what went into the block added to it, and the norm of both."""

    def __init__(self, config: BertConfig, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)

    def forward(self, made: Tensor, before: Tensor) -> Tensor:
        normed: Tensor = self.LayerNorm(self.dense(made) + before)
        return normed
