#!/usr/bin/env python3
"""How faithful the page's map of a folder's code is, and how long it takes, beside scikit-learn's t-SNE.

python benchmarks/map.py FOLDER [--chunks 10000]

For each map the seconds, the trustworthiness (Venna and Kaski, 2001; 1 is best) and the share of the 15 nearest chunks
that are among the 15 nearest dots, both over 2,000 chunks of the map. The principal components are the floor.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness
from sklearn.neighbors import NearestNeighbors

from codekin import CodeIndex
from codekin.serve.projection import project

_NEAREST = 15
_JUDGED = 2_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--chunks", type=int, default=10_000, help="at most so many")
    asked = parser.parse_args()
    with CodeIndex(asked.folder) as index:
        vectors = index.contents().vectors
    rng = np.random.default_rng(0)
    vectors = vectors[np.sort(rng.permutation(len(vectors))[: asked.chunks])]
    rows = vectors.astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    tsne = TSNE(init="pca", metric="cosine", random_state=0)
    maps: dict[str, Callable[[], NDArray[np.float32]]] = {
        "codekin": lambda: project(vectors),
        "t-SNE": lambda: tsne.fit_transform(rows),
        "PCA": lambda: PCA(2).fit_transform(rows),
    }
    print(f"{len(rows):,} chunks")
    for name, draw in maps.items():
        began = time.perf_counter()
        places = draw()
        seconds = time.perf_counter() - began
        judged = np.sort(rng.permutation(len(rows))[:_JUDGED])
        trust = trustworthiness(rows[judged], places[judged], n_neighbors=_NEAREST)
        print(f"{name:8} {seconds:7.1f} s  trustworthiness {trust:.3f}  neighbours {_kept(rows, places):.3f}")


def _kept(rows: NDArray[np.float32], places: NDArray[np.float32]) -> float:
    """The mean share of the nearest rows that are nearest on the map."""
    judged = np.linspace(0, len(rows) - 1, min(_JUDGED, len(rows))).astype(int)
    near, shown = (
        NearestNeighbors(n_neighbors=_NEAREST + 1)
        .fit(points)
        .kneighbors(points[judged], return_distance=False)
        for points in (rows, places)
    )
    return float(
        np.mean([len(set(one) & set(other)) - 1 for one, other in zip(near, shown, strict=True)]) / _NEAREST
    )


if __name__ == "__main__":
    main()
