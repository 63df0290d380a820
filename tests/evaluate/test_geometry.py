"""The geometry of vectors, against spectra and cones that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codekin.evaluate.geometry import anisotropy, effective_dimensions, noise_floor


def along_axes(*variances: float) -> np.ndarray:
    """Vectors whose covariance is diagonal with these numbers, up to a factor: two opposite ones an axis."""
    roots = np.sqrt(np.array(variances))
    return np.concatenate([np.diag(roots), -np.diag(roots)]).astype(np.float32)


@pytest.mark.parametrize(
    ("variances", "expected"),
    [
        ((1.0,) * 7, 7.0),
        ((5.0, 0.0, 0.0), 1.0),
        ((3.0, 1.0), 16 / 10),
        ((4.0, 2.0, 1.0, 1.0), 64 / 22),
        (tuple(2.0**-k for k in range(20)), 3 * (1 - 2.0**-20) ** 2 / (1 - 4.0**-20)),
    ],
)
def test_effective_dimensions_of_known_spectra(variances: tuple[float, ...], expected: float) -> None:
    assert effective_dimensions(along_axes(*variances)) == pytest.approx(expected, rel=1e-5)


def test_effective_dimensions_do_not_depend_on_where_or_how_the_vectors_are_turned() -> None:
    rng = np.random.default_rng(3)
    vectors = along_axes(4.0, 2.0, 1.0, 1.0)
    turned = vectors @ np.linalg.qr(rng.normal(size=(4, 4)))[0] + rng.normal(size=4)
    assert effective_dimensions(turned.astype(np.float32)) == pytest.approx(64 / 22, rel=1e-4)


def test_effective_dimensions_of_fewer_vectors_than_dimensions_and_of_equal_ones() -> None:
    assert effective_dimensions(np.eye(5, 900, dtype=np.float32)) == pytest.approx(4.0, rel=1e-5)
    assert effective_dimensions(np.ones((4, 3), np.float32)) == 0.0


@given(st.floats(0.0, 1.0))
def test_anisotropy_of_a_cone_is_the_square_of_its_axis(height: float) -> None:
    """Vectors (h, +-r) around an axis: every pair on opposite sides, the axis h in common."""
    radius = math.sqrt(1 - height**2)
    vectors = np.concatenate([np.eye(50), -np.eye(50)]) * radius
    vectors = np.column_stack([np.full(100, height), vectors]).astype(np.float32)
    pairs = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    brute = pairs[~np.eye(100, dtype=bool)].mean()
    assert anisotropy(vectors) == pytest.approx(brute, abs=1e-6)
    assert anisotropy(vectors) == pytest.approx(height**2 - radius**2 / 99, abs=1e-5)


def test_the_noise_floor_leaves_out_what_answers() -> None:
    rng = np.random.default_rng(5)
    queries, documents = (rng.normal(size=(n, 6)).astype(np.float32) for n in (8, 11))
    scores = queries @ documents.T
    answers = np.zeros((8, 11), bool)
    answers[np.arange(8), np.arange(8)] = True
    found = noise_floor(queries, documents, float(scores[answers].sum()), 8)
    assert found == pytest.approx(float(scores[~answers].mean()), rel=1e-5)
    assert math.isnan(noise_floor(queries[:1], documents[:1], 0.3, 1))
    assert math.isnan(anisotropy(queries[:1]))
