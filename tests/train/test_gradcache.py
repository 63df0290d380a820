"""GradCache against the plain backward pass: the same gradients, in one process and in several."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from codekin.train.gradcache import backward  # noqa: E402
from codekin.train.losses import info_nce, matryoshka  # noqa: E402
from codekin.train.processes import joined, sum_gradients, world  # noqa: E402

PAIRS = 24


def encoder(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(12, 32), nn.Tanh(), nn.Dropout(dropout), nn.Linear(32, 16))


def texts() -> torch.Tensor:
    """The inputs of 24 queries, their documents and 8 hard negatives."""
    return torch.randn(2 * PAIRS + 8, 12, generator=torch.Generator().manual_seed(6))


def loss(rows: torch.Tensor) -> torch.Tensor:
    return matryoshka(lambda q, d: info_nce(q, d, 0.05), [4, 16], rows[:PAIRS], rows[PAIRS:])


def gradients(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("size", [1, 7, 56])
def test_gradients_are_those_of_one_pass(size: int) -> None:
    model = encoder()
    plain = loss(model(texts()))
    plain.backward()
    expected = gradients(model)
    model.zero_grad()
    value = backward(model, texts().split(size), loss)
    assert value.item() == pytest.approx(plain.item(), rel=1e-6)
    assert len(expected) == 4
    for ours, theirs in zip(gradients(model), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_dropout_is_the_same_in_both_passes() -> None:
    model = encoder(dropout=0.5)
    chunks = texts().split(9)
    torch.manual_seed(8)
    # One graph over all chunks, drawing in the same order as the pass without a graph.
    plain = loss(torch.cat([model(chunk) for chunk in chunks]))
    behind = torch.rand(3)
    plain.backward()
    expected = gradients(model)
    model.zero_grad()
    torch.manual_seed(8)
    value = backward(model, chunks, loss)
    assert torch.equal(torch.rand(3), behind)
    assert value.item() == pytest.approx(plain.item(), rel=1e-6)
    for ours, theirs in zip(gradients(model), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_the_memory_is_that_of_a_chunk() -> None:
    live, most = 0, 0

    class Held(torch.autograd.Function):
        """Tells when the graph of a chunk goes."""

        @staticmethod
        def forward(ctx, rows):  # type: ignore[no-untyped-def]
            return rows.clone()

        @staticmethod
        def backward(ctx, gradient):  # type: ignore[no-untyped-def]
            nonlocal live
            live -= 1
            return gradient

    model = encoder()

    def encode(chunk: torch.Tensor) -> torch.Tensor:
        nonlocal live, most
        rows = model(chunk)
        if torch.is_grad_enabled():
            live += 1
            most = max(most, live)
            return Held.apply(rows)
        return rows

    backward(encode, texts().split(7), loss)
    assert (most, live) == (1, 0)


def _steps(rank: int, count: int, folder: Path) -> None:
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": (folder / "port").read_text(),
    }
    torch.set_num_threads(1)
    with joined():
        torch.save(descend(), folder / f"losses-{rank}.pt")


def descend() -> list[float]:
    """The losses of five steps, each process encoding its share of the texts, of unequal numbers."""
    model, everything = encoder(), texts()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    rank, count = world()
    places = torch.cat([torch.arange(len(everything))[r::count] for r in range(count)]).argsort()
    losses = []
    for _ in range(5):
        optimiser.zero_grad()
        value = backward(model, everything[rank::count].split(9), lambda rows: loss(rows[places]))
        sum_gradients(model.parameters())
        optimiser.step()
        losses.append(value.item())
    return losses


@pytest.mark.parametrize("count", [3, pytest.param(4, marks=pytest.mark.slow)])
def test_several_processes_descend_as_one(count: int, tmp_path: Path) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        (tmp_path / "port").write_text(str(free.getsockname()[1]))
    torch.multiprocessing.spawn(_steps, (count, tmp_path), nprocs=count)
    alone = descend()
    assert alone[-1] < alone[0]
    for rank in range(count):
        assert torch.load(tmp_path / f"losses-{rank}.pt") == pytest.approx(alone, rel=1e-5)
