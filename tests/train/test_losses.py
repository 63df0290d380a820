"""Losses against values worked out by hand, and what holds of them for any vectors."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

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
    assert info_nce(queries, IDENTITY, 1.0).item() == pytest.approx((by_query + math.log(2)) / 2, abs=1e-6)


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
