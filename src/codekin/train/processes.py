"""One run in several processes, as torchrun starts them: who is who, and what they exchange."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Tensor, distributed

# The others wait while the first process measures and saves.
_PATIENCE = timedelta(hours=3)


@contextmanager
def joined() -> Iterator[None]:
    """Joins the processes that torchrun has started; outside of torchrun this process is the only one."""
    if "RANK" not in os.environ or distributed.is_initialized():
        yield
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    distributed.init_process_group("nccl" if cuda else "gloo", timeout=_PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def world() -> tuple[int, int]:
    """This process's number, and how many there are."""
    if not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def gather(rows: Tensor) -> tuple[Tensor, int]:
    """Every process's rows, (n, d) in the order of the processes, and where this one's stand among them."""
    rank, count = world()
    if count == 1:
        return rows, 0
    lengths = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(count)]
    distributed.all_gather(lengths, torch.tensor([len(rows)], device=rows.device))
    sizes = [int(length) for length in lengths]
    padded = rows.new_zeros(max(sizes), rows.shape[1])
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in range(count)]
    distributed.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)]), sum(sizes[:rank])


def sum_gradients(parameters: Iterable[Tensor]) -> None:
    """Makes each gradient the sum of all processes': the loss is one of all, of which each has worked out a part."""
    if world()[1] == 1:
        return
    waiting = []
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        waiting.append(distributed.all_reduce(parameter.grad, async_op=True))
    for work in waiting:
        work.wait()
