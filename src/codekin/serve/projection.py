"""A map of vectors: places in the plane that keep neighbours together.

The principal components give the first layout. Neighbours then attract and strangers repel each other, as in UMAP
(McInnes et al., 2018) with all points moved at once; strangers are drawn by chance.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.float32]

MOST_POINTS = 20_000
"""That are laid out by all of their neighbours; of more, the rest goes where its nearest ones of these are."""

_NEIGHBOURS = 12
_ROUNDS = 300
_STRANGERS = 10  # a point and round
_NEAREST = 3  # that a point which is added lies amid
# What all neighbours of a point pull together: much at first, so that groups form before they part.
_FIRST_PULL, _LAST_PULL = 16.0, 2.0
_FORMED = 0.4  # of the rounds have passed by then
_SOFT = 0.3  # keeps the push of those at one place finite
_LARGEST_STEP = 4.0
_BLOCK = 512
_MOST_NEW = 0.2  # of the rows of a map that is continued
_NOISE = 1e-2


def project(vectors: NDArray[np.int8], check: Callable[[], None] = lambda: None) -> Places:
    """(n, 2) float32, from 0 to 1: a map of the n rows of `vectors` (n, d), the same for the same rows.

    `check` is called now and then; an exception of its ends the work.
    """
    count = len(vectors)
    if count < 3:
        return np.linspace(0.25, 0.75, count, dtype=np.float32)[:, None].repeat(2, axis=1)
    if count > MOST_POINTS:
        chosen = np.linspace(0, count - 1, MOST_POINTS).astype(np.int64)
        same = np.full(count, -1)
        same[chosen] = np.arange(MOST_POINTS)
        return _placed(vectors, same, vectors[chosen], project(vectors[chosen], check), check)
    rows = _unit(vectors)
    neighbours, _ = _nearest(rows, rows, min(_NEIGHBOURS, count - 1), check, apart=True)
    rng = np.random.default_rng(0)
    layout = _principal(rows)
    layout += rng.normal(0, _NOISE, layout.shape).astype(np.float32)  # equal rows have to part
    return _framed(_settle(layout, neighbours, rng, check))


def continued(
    vectors: NDArray[np.int8],
    known: NDArray[np.int8],
    places: Places,
    check: Callable[[], None] = lambda: None,
) -> Places | None:
    """(n, 2): `vectors` (n, d) put into the map of `known` (m, d), whose places are (m, 2).

    An equal row takes an equal row's place, any other one lies amid those nearest to it. None where so many are new
    that a map of their own shows more.
    """
    if vectors.shape[1] != known.shape[1]:
        return None
    by_row = {row.tobytes(): place for place, row in enumerate(known)}
    same = np.array([by_row.get(row.tobytes(), -1) for row in vectors], np.int64)
    if (same < 0).sum() > _MOST_NEW * len(vectors):
        return None
    return _placed(vectors, same, known, places, check)


def _placed(
    vectors: NDArray[np.int8],
    same: NDArray[np.int64],
    known: NDArray[np.int8],
    places: Places,
    check: Callable[[], None],
) -> Places:
    """(n, 2): each vector at the place of the known one that is the `same`, or amid the nearest where that is -1."""
    found = places[same]
    new = np.flatnonzero(same < 0)
    if len(new):
        nearest, cosines = _nearest(_unit(vectors[new]), _unit(known), min(_NEAREST, len(known)), check)
        weights = np.maximum(cosines, 1e-6)
        weights /= weights.sum(axis=1, keepdims=True)
        found[new] = (places[nearest] * weights[:, :, None]).sum(axis=1)
    return found


def _unit(vectors: NDArray[np.int8]) -> NDArray[np.float32]:
    rows: NDArray[np.float32] = vectors.astype(np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    np.divide(rows, lengths, out=rows, where=lengths > 0)
    return rows


def _nearest(
    queries: NDArray[np.float32],
    rows: NDArray[np.float32],
    count: int,
    check: Callable[[], None],
    *,
    apart: bool = False,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(q, count) each: the nearest rows of every query, in any order, and their cosines.

    `apart` says that the queries are the rows, of which none is its own neighbour.
    """
    found = np.empty((len(queries), count), np.int64)
    cosines = np.empty((len(queries), count), np.float32)
    for start in range(0, len(queries), _BLOCK):
        check()
        block = queries[start : start + _BLOCK] @ rows.T
        if apart:
            own = np.arange(len(block))
            block[own, own + start] = -np.inf
        best = np.argpartition(block, -count, axis=1)[:, -count:]
        found[start : start + _BLOCK] = best
        cosines[start : start + _BLOCK] = np.take_along_axis(block, best, axis=1)
    return found, cosines


def _principal(rows: NDArray[np.float32]) -> Places:
    """(n, 2): the first two principal components, each of deviation 1."""
    centred = (rows - rows.mean(axis=0)).astype(np.float64)
    _, directions = np.linalg.eigh(centred.T @ centred)
    axes = directions[:, -2:][:, ::-1]
    # A direction's sign is anyone's choice: the largest component shall be positive.
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    places = centred @ axes
    return np.asarray(places / np.maximum(places.std(axis=0), 1e-9), np.float32)


def _settle(
    layout: Places, neighbours: NDArray[np.int64], rng: np.random.Generator, check: Callable[[], None]
) -> Places:
    """The layout (n, 2) once the forces between the points have moved them."""
    count, width = neighbours.shape
    heads, tails = np.repeat(np.arange(count), width), neighbours.ravel()
    # An edge attracts both of its ends; sorted by the end that it moves, the pulls at a point are one run.
    ends = np.concatenate([heads, tails])
    order = np.argsort(ends, kind="stable")
    ends, others = ends[order], np.concatenate([tails, heads])[order]
    starts = np.searchsorted(ends, np.arange(count))
    share = (1 / np.diff(np.append(starts, len(ends)))).astype(np.float32)
    x, y = layout.T.copy()
    for turn in range(_ROUNDS):
        check()
        passed = turn / _ROUNDS
        pull = share * np.float32(_FIRST_PULL + (_LAST_PULL - _FIRST_PULL) * min(1.0, passed / _FORMED))
        right, up = x[others] - x[ends], y[others] - y[ends]
        force = 1 / (1 + right * right + up * up)
        move_x = np.add.reduceat(right * force, starts) * pull
        move_y = np.add.reduceat(up * force, starts) * pull
        for _ in range(_STRANGERS):
            strangers = rng.permutation(count)  # each point is the stranger of one
            right, up = x - x[strangers], y - y[strangers]
            square = right * right + up * up
            force = 1 / ((_SOFT + square) * (1 + square))
            right *= force
            up *= force
            move_x += right
            move_y += up
            move_x[strangers] -= right
            move_y[strangers] -= up
        pace = np.float32(1 - passed)
        x += np.clip(move_x, -_LARGEST_STEP, _LARGEST_STEP) * pace
        y += np.clip(move_y, -_LARGEST_STEP, _LARGEST_STEP) * pace
    return np.stack([x, y], axis=1)


def _framed(layout: Places) -> Places:
    """From 0 to 1 in both directions, in proportion; what lies far out comes to the edge of the rest."""
    low, high = np.percentile(layout, [0.2, 99.8], axis=0)
    middle, reach = (low + high) / 2, max(float((high - low).max()) / 2, 1e-9)
    return np.asarray(np.clip(0.5 + (layout - middle) / (2.1 * reach), 0, 1), np.float32)
