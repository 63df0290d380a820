"""GradCache (Gao et al., arXiv 2101.06983): the gradients of a large batch in the memory of a small one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from codekin.train.processes import gather, world

Chunk = TypeVar("Chunk")


def backward(
    encode: Callable[[Chunk], Tensor],
    chunks: Sequence[Chunk],
    loss: Callable[[Tensor], Tensor],
    scale: float = 1.0,
) -> Tensor:
    """Adds the gradients of `scale` times the loss to those of the parameters of `encode`; the loss, a scalar.

    `encode` makes (rows, d) of a chunk, and `loss` a scalar of all rows: those of the chunks one after another, and
    of several processes in their order. There is the graph of one chunk at a time: all are encoded without one
    first, then the loss gives each row its gradient, then each chunk is encoded once more, with the random numbers
    of its first time, and takes its rows' gradients back. Each process adds the part that came through its own rows.
    """
    if len(chunks) == 1 and world()[1] == 1:
        value = loss(encode(chunks[0]))
        (value * scale).backward()  # type: ignore[no-untyped-call]
        return value.detach()
    states, encoded = [], []
    with torch.no_grad():
        for chunk in chunks:
            states.append(_RandomState())
            encoded.append(encode(chunk))
    rows, start = gather(torch.cat(encoded))
    rows.requires_grad_()
    value = loss(rows)
    (gradient,) = torch.autograd.grad(value * scale, rows)
    after = _RandomState()
    for chunk, state, once in zip(chunks, states, encoded, strict=True):
        state.restore()
        encode(chunk).backward(gradient[start : start + len(once)])  # type: ignore[no-untyped-call]
        start += len(once)
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
