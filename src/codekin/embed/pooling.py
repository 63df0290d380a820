"""From a text's hidden states to one vector: last token, mean, or latent attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from codekin.embed.config import Pooling
from codekin.embed.qwen2 import Pack, Prefix

_LATENTS = 512
_LATENT_HEADS = 8
_EXPANSION = 4


class LastToken(nn.Module):
    """The hidden state of each text's last token (arXiv 2508.21290, section 3.1)."""

    def forward(self, decoder: nn.Module, pack: Pack, prefix: Prefix | None) -> Tensor:
        """(n, hidden)."""
        ends: Tensor = decoder(pack, prefix, ends_only=True)
        return ends


class Mean(nn.Module):
    """The mean over each text's tokens, those of its prefix included."""

    def forward(self, decoder: nn.Module, pack: Pack, prefix: Prefix | None) -> Tensor:
        """(n, hidden)."""
        return _mean(decoder(pack, prefix), pack, prefix.hidden if prefix else None)


class LatentAttention(nn.Module):
    """Tokens attend to trained latents, then a feed-forward layer, then the mean (NV-Embed, arXiv 2405.17428).

    The form of the published code: both blocks are residual, normalise their input, and the second is gated by GELU.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(_LATENTS, hidden))
        self.token_norm, self.latent_norm = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.to_queries = nn.Linear(hidden, hidden, bias=False)
        self.to_keys_values = nn.Linear(hidden, 2 * hidden, bias=False)
        self.to_out = nn.Linear(hidden, hidden, bias=False)
        self.wide_norm = nn.LayerNorm(hidden)
        self.widen = nn.Linear(hidden, 2 * _EXPANSION * hidden)
        self.narrow = nn.Linear(_EXPANSION * hidden, hidden)

    def forward(self, decoder: nn.Module, pack: Pack, prefix: Prefix | None) -> Tensor:
        """(n, hidden)."""
        tokens = self._attend(decoder(pack, prefix).float())
        return _mean(tokens, pack, self._attend(prefix.hidden.float()) if prefix else None)

    def _attend(self, tokens: Tensor) -> Tensor:
        """(t, hidden) -> (t, hidden)."""
        keys, values = self.to_keys_values(self.latent_norm(self.latents)).chunk(2, dim=-1)
        queries = self.to_queries(self.token_norm(tokens))
        attended = functional.scaled_dot_product_attention(_heads(queries), _heads(keys), _heads(values))
        tokens = tokens + self.to_out(attended.transpose(0, 1).flatten(1))
        wide, gate = self.widen(self.wide_norm(tokens)).chunk(2, dim=-1)
        widened: Tensor = tokens + self.narrow(wide * functional.gelu(gate))
        return widened


def _heads(rows: Tensor) -> Tensor:
    """(t, hidden) -> (heads, t, hidden / heads)."""
    return rows.view(len(rows), _LATENT_HEADS, -1).transpose(0, 1)


def _mean(tokens: Tensor, pack: Pack, before: Tensor | None) -> Tensor:
    """(t, hidden) -> (n, hidden): each text's mean, `before` (p, hidden) counted in front of each."""
    owner = torch.repeat_interleave(torch.arange(len(pack.lengths), device=tokens.device), pack.lengths)
    sums = torch.zeros(len(pack.lengths), tokens.shape[1], device=tokens.device).index_add(
        0, owner, tokens.float()
    )
    counts = pack.lengths
    if before is not None:
        sums, counts = sums + before.float().sum(0), counts + len(before)
    return sums / counts[:, None]


def pooling_module(pooling: Pooling, hidden: int) -> LastToken | Mean | LatentAttention:
    """The module of a pooling, its parameters not yet set."""
    if pooling is Pooling.LATENT:
        return LatentAttention(hidden)
    return Mean() if pooling is Pooling.MEAN else LastToken()
