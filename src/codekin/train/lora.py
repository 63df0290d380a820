"""Low-rank adaptation (arXiv 2106.09685)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's name for it)

from codekin.train.recipe import Lora


class LoraLinear(nn.Module):
    """A product of which W stays and alpha / rank * B A, added to it, is learned.

    A (rank, in) begins at random, B (out, rank) at zero.
    """

    def __init__(self, linear: nn.Linear, recipe: Lora) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self.lora_a = nn.Parameter(torch.empty(recipe.rank, linear.in_features, device=linear.weight.device))
        self.lora_b = nn.Parameter(torch.zeros(linear.out_features, recipe.rank, device=linear.weight.device))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))
        self._scale = recipe.alpha / recipe.rank
        self._dropout = recipe.dropout

    def forward(self, rows: Tensor) -> Tensor:
        """(t, in) to (t, out)."""
        dropped = F.dropout(rows, self._dropout, self.training)
        low = F.linear(F.linear(dropped, self.lora_a), self.lora_b)
        return F.linear(rows, self.weight, self.bias) + low * self._scale

    def merged(self) -> Tensor:
        """The learned weight, (out, in) float32."""
        return self.weight.detach().float() + self._scale * (self.lora_b.detach() @ self.lora_a.detach())


def adapt(module: nn.Module, recipe: Lora) -> None:
    """Puts a LoraLinear in the place of every product of `module`."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Linear):
            setattr(module, name, LoraLinear(child, recipe))
        else:
            adapt(child, recipe)
