"""The map's places: neighbours stay neighbours, the same vectors give the same map, and a map can be continued."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from codekin.serve import projection
from codekin.serve.projection import continued, project

GROUPS, EACH, SIZE = 12, 40, 64


def grouped(seed: int = 0) -> NDArray[np.int8]:
    """Vectors of groups in directions of their own, one group after the other."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 1, (GROUPS, SIZE)).repeat(EACH, axis=0)
    rows = centres + rng.normal(0, 0.6, centres.shape)
    rows /= np.abs(rows).max(axis=1, keepdims=True)
    return np.round(127 * rows).astype(np.int8)


def purity(places: NDArray[np.float32]) -> float:
    """The share of points whose nearest other one is of their group."""
    square = ((places[:, None] - places[None]) ** 2).sum(axis=-1)
    np.fill_diagonal(square, np.inf)
    return float((square.argmin(axis=1) // EACH == np.arange(len(places)) // EACH).mean())


def test_groups_stay_together() -> None:
    vectors = grouped()
    places = project(vectors)
    assert places.shape == (GROUPS * EACH, 2) and places.dtype == np.float32
    assert np.isfinite(places).all() and places.min() >= 0 and places.max() <= 1
    assert (places.max(axis=0) - places.min(axis=0)).max() > 0.8
    plain = projection._principal(projection._unit(vectors))
    assert purity(plain) < 0.9 and purity(places) > 0.99


def test_the_same_vectors_give_the_same_map() -> None:
    assert np.array_equal(project(grouped()), project(grouped()))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5])
def test_few_points(count: int) -> None:
    places = project(grouped()[:count])
    assert places.shape == (count, 2) and np.isfinite(places).all()
    assert len(np.unique(places, axis=0)) == count


def test_equal_and_empty_vectors_have_places_of_their_own() -> None:
    vectors = grouped()
    vectors[:20] = vectors[0]
    vectors[100:110] = 0
    places = project(vectors)
    assert np.isfinite(places).all() and len(np.unique(places, axis=0)) == len(vectors)
    assert purity(places[:20]) == 1


def test_of_many_points_the_rest_goes_to_its_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "MOST_POINTS", 200)
    places = project(grouped())
    assert len(places) == GROUPS * EACH and purity(places) > 0.95


def test_a_map_is_continued() -> None:
    vectors = grouped()
    places = project(vectors)
    changed = np.delete(vectors, [3, 50], axis=0)[::-1].copy()
    changed[7] = grouped(1)[0]
    found = continued(changed, vectors, places)
    assert found is not None
    stay = np.arange(len(changed)) != 7
    assert np.array_equal(found[stay], np.delete(places, [3, 50], axis=0)[::-1][stay])
    assert np.isfinite(found[7]).all() and 0 <= found[7].min() <= found[7].max() <= 1
    near = vectors[130].astype(np.int16)
    near[:4] += 3
    [place] = continued(np.vstack([vectors, near.clip(-127, 127).astype(np.int8)]), vectors, places)[-1:]  # type: ignore[index]
    distance = np.linalg.norm(places - place, axis=1)
    assert distance.argmin() // EACH == 130 // EACH


def test_a_map_of_other_vectors_is_not_continued() -> None:
    vectors = grouped()
    places = project(vectors)
    assert continued(grouped(1), vectors, places) is None
    assert continued(vectors[:, :32], vectors, places) is None


def test_it_ends_when_it_is_told() -> None:
    turns = 0

    def check() -> None:
        nonlocal turns
        turns += 1
        if turns == 5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        project(grouped(), check)
    assert turns == 5
