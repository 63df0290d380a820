"""GradCache (Gao et al., arXiv 2101.06983): the gradients of a large batch in the memory of a small one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from codekin.train.processes import gather

Chunk = TypeVar("Chunk")


def backward(
    encode: Callable[[Chunk], Tensor],
    chunks: Sequence[Chunk],
    loss: Callable[[Tensor], Tensor],
    scale: float = 1.0,
) -> Tensor:
    """Adds the gradients of `scale` times the loss to those of the parameters of `encode`; the loss, a scalar.

    `encode` makes (rows, d) of a chunk, and `loss` a scalar of all rows: those of the chunks one after another, and
    of several processes in their order. There is the graph of one chunk at a time: all but the last are encoded
    without one first, then the loss gives each row its gradient, which the last chunk takes back at once, and each
    other one when it has been encoded once more, with the random numbers of its first time. Each process adds the
    part that came through its own rows.
    """
    states, encoded = [], []
    with torch.no_grad():
        for chunk in chunks[:-1]:
            states.append(_RandomState())
            encoded.append(encode(chunk))
    last = encode(chunks[-1])
    own = torch.cat([*encoded, last.detach()])
    rows, start = gather(own)
    value = loss(rows.requires_grad_())
    (gradient,) = torch.autograd.grad(value * scale, rows)
    *parts, part = torch.split(gradient[start : start + len(own)], [len(each) for each in (*encoded, last)])
    last.backward(part)  # type: ignore[no-untyped-call]
    after = _RandomState()
    for chunk, state, part in zip(chunks[:-1], states, parts, strict=True):
        state.restore()
        encode(chunk).backward(part)  # type: ignore[no-untyped-call]
    after.restore()
    return value.detach()


class _RandomState:
    """Where the random numbers of the CPU and of the current GPU stand."""

    def __init__(self) -> None:
        self._cpu = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None

    def restore(self) -> None:
        torch.set_rng_state(self._cpu)
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda)
