"""The Qwen2 decoder (arXiv 2407.10671) in torch, for embedding: it computes what the pooled vector depends on.

Qwen3's variant (arXiv 2505.09388), with normalised queries and keys and without bias, is the same code. Modules
carry transformers' names, so that a checkpoint's tensors are the state of this module.

Texts are packed: their tokens stand one after another in (t, hidden), no row is padding, and only attention sees them
apart. A prefix that many texts share is computed once (`Decoder.prefix`). Where only the last token of each text is
read, the last layer computes that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from codekin.embed.config import DecoderConfig

# Rows of an MLP's wide product held at once: 80 MB in float32 at 4,864 columns, however long the text.
_MLP_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Prefix:
    """The state of p tokens that stand before every text of a pack: a causal model's, whatever follows them."""

    layers: list[tuple[Tensor, Tensor]]
    """Each layer's keys and values, (p, kv_heads, head_dim) both, keys rotated to their positions."""
    hidden: Tensor
    """(p, hidden): the final hidden states."""

    def __len__(self) -> int:
        return len(self.hidden)


class Pack:
    """n texts of t tokens in all, as one pass of the decoder sees them; `start` tokens stand before each.

    Attention works on a grid of n rows, each the prefix, then the text, then filling. A causal mask hides the
    filling from every token that is read, so that nothing else has to.
    """

    def __init__(
        self, texts: Sequence[Sequence[int]], start: int = 0, device: torch.device | None = None
    ) -> None:
        if not texts or not all(texts):
            raise ValueError("a pack holds one text or more, each of one token or more")
        lengths = torch.tensor([len(text) for text in texts])
        ends = lengths.cumsum(0)
        width = start + int(lengths.max())
        column = torch.arange(width)
        # Column c of a text's row holds token c of the prefix, or the text's own token c - start.
        own = (ends - lengths + start)[:, None] + (column - start)
        inside = column < start + lengths[:, None]
        grid = torch.where(column < start, column, own).where(inside, 0)
        read = inside & (column >= start)

        self.start = start
        """How many tokens stand before each text."""
        self.ids = torch.tensor([token for text in texts for token in text], device=device)
        """(t,): the tokens."""
        self.positions = column.expand(len(texts), -1)[read].to(device)
        """(t,): each token's position in its text, the prefix counted."""
        self.ends = (ends - 1).to(device)
        """(n,): where each text's last token stands among the t."""
        self.lengths = lengths.to(device)
        """(n,): tokens a text, the prefix not counted."""
        self.grid = grid.to(device)
        """(n, start + longest): which row of prefix and tokens stands in each cell."""
        self.cells = read.flatten().nonzero().squeeze(1).to(device)
        """(t,): each token's cell in the flattened grid."""
        self.inside = inside.to(device)
        """(n, start + longest) bool: whether a cell is no filling."""
        self.below: tuple[int, Tensor] | None = None
        """Hidden states, (t, hidden), and how many layers have made them, where a pass begins behind those."""


class Decoder(nn.Module):
    """Token ids to hidden states after the final norm."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.norm_eps)

    def forward(self, pack: Pack, prefix: Prefix | None = None, *, ends_only: bool = False) -> Tensor:
        """(t, hidden), or with `ends_only` (n, hidden): the last token of each text."""
        return self._run(pack, prefix, ends_only, None)

    def lower(self, pack: Pack, layers: int) -> Tensor:
        """(t, hidden): the hidden states that the lowest layers hand on to the next one."""
        return self._through(range(layers), pack, None, False, None)

    def prefix(self, tokens: Sequence[int]) -> Prefix:
        """The state of one token or more, to go before the texts of any number of packs."""
        layers: list[tuple[Tensor, Tensor]] = []
        hidden = self._run(Pack([tokens], device=self.norm.weight.device), None, False, layers)
        return Prefix(layers, hidden)

    def _run(
        self, pack: Pack, prefix: Prefix | None, ends_only: bool, record: list[tuple[Tensor, Tensor]] | None
    ) -> Tensor:
        first = pack.below[0] if pack.below else 0
        normed: Tensor = self.norm(
            self._through(range(first, len(self.layers)), pack, prefix, ends_only, record)
        )
        return normed

    def _through(
        self,
        layers: range,
        pack: Pack,
        prefix: Prefix | None,
        ends_only: bool,
        record: list[tuple[Tensor, Tensor]] | None,
    ) -> Tensor:
        # The table may be kept in a smaller type than the one computed in: a text reads few of its rows.
        hidden: Tensor = pack.below[1] if pack.below else self.embed_tokens(pack.ids)
        hidden = hidden.to(self.norm.weight.dtype)
        rotation = self._rotation(pack.positions, hidden.dtype)
        for number in layers:
            past = prefix.layers[number] if prefix else None
            last = ends_only and number == len(self.layers) - 1
            hidden = self.layers[number](hidden, rotation, pack, past, last, record)
        return hidden

    def _rotation(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosines and sines of rotary position embedding (arXiv 2104.09864), (t, 1, head_dim / 2) both."""
        half = self.config.head_dim // 2
        exponents = torch.arange(half, device=positions.device, dtype=torch.float32) / half
        angles = positions[:, None, None].float() * self.config.rope_theta**-exponents
        return angles.cos().to(dtype), angles.sin().to(dtype)


class _Layer(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.hidden_size, eps=config.norm_eps)
        self.self_attn = _Attention(config)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, eps=config.norm_eps)
        self.mlp = _MLP(config)

    def forward(
        self,
        hidden: Tensor,
        rotation: tuple[Tensor, Tensor],
        pack: Pack,
        past: tuple[Tensor, Tensor] | None,
        ends_only: bool,
        record: list[tuple[Tensor, Tensor]] | None,
    ) -> Tensor:
        attended = self.self_attn(self.input_layernorm(hidden), rotation, pack, past, ends_only, record)
        hidden = (hidden[pack.ends] if ends_only else hidden) + attended
        transformed: Tensor = self.mlp(self.post_attention_layernorm(hidden))
        return hidden + transformed


class _Attention(nn.Module):
    """Grouped-query attention (arXiv 2305.13245), causal within each text of a pack."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        hidden, width, kv_width = (
            config.hidden_size,
            self.heads * self.head_dim,
            self.kv_heads * self.head_dim,
        )
        self.q_proj = nn.Linear(hidden, width, bias=config.qkv_bias)
        self.k_proj = nn.Linear(hidden, kv_width, bias=config.qkv_bias)
        self.v_proj = nn.Linear(hidden, kv_width, bias=config.qkv_bias)
        self.o_proj = nn.Linear(width, hidden, bias=False)
        self.q_norm = nn.RMSNorm(self.head_dim, eps=config.norm_eps) if config.qk_norm else nn.Identity()
        self.k_norm = nn.RMSNorm(self.head_dim, eps=config.norm_eps) if config.qk_norm else nn.Identity()

    def forward(
        self,
        hidden: Tensor,
        rotation: tuple[Tensor, Tensor],
        pack: Pack,
        past: tuple[Tensor, Tensor] | None,
        ends_only: bool,
        record: list[tuple[Tensor, Tensor]] | None,
    ) -> Tensor:
        """(t, hidden), or with `ends_only` (n, hidden)."""
        cosines, sines = rotation
        keys = self.k_norm(self.k_proj(hidden).view(-1, self.kv_heads, self.head_dim))
        keys = _rotate(keys, cosines, sines)
        values = self.v_proj(hidden).view(-1, self.kv_heads, self.head_dim)
        if record is not None:
            record.append((keys, values))
        if ends_only:
            hidden, cosines, sines = hidden[pack.ends], cosines[pack.ends], sines[pack.ends]
        queries = self.q_norm(self.q_proj(hidden).view(-1, self.heads, self.head_dim))
        queries = _rotate(queries, cosines, sines)

        if past:
            keys, values = torch.cat((past[0], keys)), torch.cat((past[1], values))
        keys, values = self._on_grid(keys, pack), self._on_grid(values, pack)
        if ends_only:
            mask = pack.inside[:, None, None]
            attended = functional.scaled_dot_product_attention(
                queries.unsqueeze(2), keys, values, attn_mask=mask
            )
            return self._project(attended)
        # Queries of the prefix are needed by no one; any row may stand for them.
        if pack.start:
            queries = torch.cat((queries[:1].expand(pack.start, -1, -1), queries))
        attended = functional.scaled_dot_product_attention(
            rows_at(queries, pack.grid).transpose(1, 2), keys, values, is_causal=True
        )
        return self._project(rows_at(attended.transpose(1, 2).flatten(0, 1), pack.cells))

    def _on_grid(self, rows: Tensor, pack: Pack) -> Tensor:
        """Keys or values of prefix and tokens -> (n, heads, start + longest, head_dim), each for its group of heads."""
        return rows_at(rows, pack.grid).transpose(1, 2).repeat_interleave(self.heads // self.kv_heads, dim=1)

    def _project(self, attended: Tensor) -> Tensor:
        projected: Tensor = self.o_proj(attended.reshape(len(attended), -1))
        return projected


class _MLP(nn.Module):
    """SwiGLU (arXiv 2002.05202)."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        blocks = torch.split(hidden, _MLP_ROWS)
        outputs = [
            self.down_proj(functional.silu(self.gate_proj(rows)) * self.up_proj(rows)) for rows in blocks
        ]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def rows_at(rows: Tensor, numbers: Tensor) -> Tensor:
    """`rows[numbers]`, (r, heads, head_dim); on a CPU the gradient of indexing takes ten times as long."""
    return functional.embedding(numbers, rows.flatten(1)).view(*numbers.shape, *rows.shape[1:])


def _rotate(heads: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """(t, heads, head_dim), each half of a head turned by its angles, as transformers lays the halves out."""
    first, second = heads.chunk(2, dim=-1)
    return torch.cat((first * cosines - second * sines, second * cosines + first * sines), dim=-1)
