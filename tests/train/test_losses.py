"""Losses against values worked out by hand, and what holds of them for any vectors."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from codekin.train import losses  # noqa: E402
from codekin.train.losses import cosine_distance, info_nce, matryoshka  # noqa: E402

IDENTITY = torch.eye(2)


def test_info_nce_by_hand() -> None:
    # Logits are 1/t on the diagonal, 0 beside it: -log(e^2 / (e^2 + 1)) at t = 0.5, the same in both directions.
    assert info_nce(IDENTITY, IDENTITY, 0.5).item() == pytest.approx(math.log(1 + math.exp(-2)), abs=1e-6)
    # Every document the same: chance, log 2 by query, and log 2 by document.
    same = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert info_nce(same, same, 0.05).item() == pytest.approx(math.log(2), abs=1e-6)
    # Both wrong: log(1 + e^2).
    assert info_nce(IDENTITY, IDENTITY.flip(0), 0.5).item() == pytest.approx(
        math.log(1 + math.exp(2)), abs=1e-6
    )


def test_info_nce_weighs_both_directions() -> None:
    queries = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    # Rows of logits (1, 0), (1, 0); columns (1, 1), (0, 0).
    by_query = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(1))) / 2
    assert info_nce(queries, IDENTITY, 1.0).item() == pytest.approx(by_query, abs=1e-6)
    both = info_nce(queries, IDENTITY, 1.0, symmetric=True).item()
    assert both == pytest.approx((by_query + math.log(2)) / 2, abs=1e-6)


def test_hard_negatives_by_hand() -> None:
    # One query, its answer at cosine 1, a hard negative at 0.8: log(1 + e^((0.8 - 1) / 0.05)).
    documents = torch.tensor([[1.0, 0.0], [0.8, 0.6]])
    loss = info_nce(torch.tensor([[1.0, 0.0]]), documents, 0.05)
    assert loss.item() == pytest.approx(math.log1p(math.exp(-4)), abs=1e-6)


def unit_rows(count: int, seed: int) -> NDArray[np.float64]:
    rows = np.random.default_rng(seed).normal(size=(count, 8))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(params=[1 << 22, 60, 1])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One block for all, blocks of a few rows with a smaller last one, a row a block."""
    monkeypatch.setattr(losses, "_BLOCK", request.param)
    yield


@pytest.mark.parametrize("symmetric", [False, True])
def test_info_nce_is_the_papers_sum(block: None, symmetric: bool) -> None:
    queries, documents = unit_rows(10, 1), unit_rows(17, 2)
    similarities = queries @ documents.T / 0.05
    by_query = -np.mean(np.diag(similarities)[:10] - np.log(np.exp(similarities).sum(1)))
    own = similarities[:, :10]
    by_document = -np.mean(np.diag(own) - np.log(np.exp(own).sum(0)))
    expected = (by_query + by_document) / 2 if symmetric else by_query
    loss = info_nce(torch.from_numpy(queries), torch.from_numpy(documents), 0.05, symmetric=symmetric)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("symmetric", [False, True])
def test_gradients_are_those_of_differences(block: None, symmetric: bool) -> None:
    queries, documents = (
        torch.from_numpy(unit_rows(n, seed)).requires_grad_() for n, seed in ((5, 3), (11, 4))
    )

    def loss(queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
        return matryoshka(
            lambda q, d: info_nce(q, d, 0.3, symmetric=symmetric),
            [3, 8],
            queries,
            documents,
            weights=[1.0, 2.0],
        )

    assert torch.autograd.gradcheck(loss, (queries, documents))


def test_a_large_batch_needs_a_block() -> None:
    # 8,192 x 8,192 similarities alone would be 256 MB.
    queries, documents = torch.randn(8192, 2).requires_grad_(), torch.randn(8192, 2)
    with torch.profiler.profile(profile_memory=True) as profile:
        info_nce(queries, documents, 0.05).backward()
    largest = max(event.self_cpu_memory_usage for event in profile.events())
    assert largest <= losses._BLOCK * 4


def test_cosine_distance_by_hand() -> None:
    vectors = torch.tensor([[2.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
    targets = torch.tensor([[5.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    assert cosine_distance(vectors, targets).item() == pytest.approx(
        (0 + 1 - math.sqrt(0.5) + 2) / 3, abs=1e-6
    )


def test_matryoshka_is_the_mean_over_cut_unit_vectors() -> None:
    q = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    d = torch.tensor([[1.0, 0.0], [2.0, 0.0]])
    # At size 1 all are (1): distance 0. At size 2 the first row's cosine is 0.6.
    assert matryoshka(cosine_distance, [1, 2], q, d).item() == pytest.approx((0 + 0.4 / 2) / 2, abs=1e-6)
    weighted = matryoshka(cosine_distance, [1, 2], q, d, weights=[1, 3]).item()
    assert weighted == pytest.approx(0.2 * 3 / 4, abs=1e-6)
