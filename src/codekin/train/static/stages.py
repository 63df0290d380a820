"""The two stages of training a static student: towards a teacher's vectors, then by contrast within pairs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the field's name for it)

from codekin.data import Sampler
from codekin.train.losses import cosine_distance, info_nce, matryoshka
from codekin.train.recipe import Contrast, Distil
from codekin.train.static.student import Bags, StaticStudent

# Token weights live on a logarithmic scale, where steps this much larger than the vectors' are of equal effect.
_WEIGHT_RATE = 3.0
_WARM_UP = 0.05


class Optimiser:
    """Adam over a student's two parameters, its rate rising over the first steps and then falling to zero."""

    def __init__(self, student: StaticStudent, learning_rate: float, steps: int) -> None:
        groups = [
            {"params": [student.vectors], "lr": learning_rate},
            {"params": [student.log_weights], "lr": learning_rate * _WEIGHT_RATE},
        ]
        self._adam = torch.optim.Adam(groups, fused=True)
        warm_up = max(1, int(steps * _WARM_UP))
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._adam,
            lambda step: min((step + 1) / warm_up, max(0.0, (steps - step) / (steps - warm_up + 1))),
        )

    def step(self, loss: Tensor) -> None:
        """One step down `loss`."""
        self._adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._adam.step()
        self._schedule.step()


def distil(
    student: StaticStudent,
    bags: Bags,
    targets: NDArray[np.float32],
    sizes: Sequence[int],
    recipe: Distil,
    rng: np.random.Generator,
) -> Iterator[float]:
    """Move each text's vector to its target, (n, d); yields every epoch's mean loss."""
    batches = len(bags) // recipe.batch or 1
    optimiser = Optimiser(student, recipe.learning_rate, batches * recipe.epochs)
    for _ in range(recipe.epochs):
        total = 0.0
        for rows in np.array_split(rng.permutation(len(bags)), batches):
            wanted = torch.from_numpy(targets[rows])
            loss = matryoshka(cosine_distance, sizes, student(*bags.batch(rows)), wanted)
            optimiser.step(loss)
            total += loss.item()
        yield total / batches


def contrast(
    student: StaticStudent,
    queries: Bags,
    documents: Bags,
    sampler: Sampler,
    sizes: Sequence[int],
    recipe: Contrast,
    judge: Callable[[StaticStudent], float],
    rng: np.random.Generator,
) -> Iterator[tuple[float, float]]:
    """InfoNCE over the batches of `sampler`.

    Yields every epoch's mean loss and `judge`'s figure for it; the student ends as it was when that was best.
    """
    schedule = [sampler.epoch(number) for number in range(recipe.epochs)]
    optimiser = Optimiser(student, recipe.learning_rate, sum(map(len, schedule)))
    best, best_state, since = judge(student), copy.deepcopy(student.state_dict()), 0
    for batches in schedule:
        total = 0.0
        for rows in batches:
            both = _join(queries.batch(rows), documents.batch(rows))
            q, d = student(*_drop(both, recipe.token_dropout, rng)).chunk(2)
            loss = matryoshka(lambda q, d: info_nce(q, d, recipe.temperature, symmetric=True), sizes, q, d)
            optimiser.step(loss)
            total += loss.item()
        figure = judge(student)
        yield total / len(batches), figure
        if figure > best:
            best, best_state, since = figure, copy.deepcopy(student.state_dict()), 0
        else:
            since += 1
            if since >= recipe.patience:
                break
    student.load_state_dict(best_state)


def ndcg_at_10(queries: Tensor, documents: Tensor) -> float:
    """nDCG@10 where document i alone answers query i; rows need not be of unit length, (n, d) each."""
    similarities = F.normalize(queries, dim=1) @ F.normalize(documents, dim=1).T
    rank = (similarities > similarities.diagonal()[:, None]).sum(1)
    gain = torch.where(rank < 10, 1 / torch.log2(rank + 2.0), 0.0)
    return float(gain.mean())


def _join(
    first: tuple[Tensor, Tensor, Tensor], second: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Both runs of texts as one: one look-up has one gradient the size of the table, two would have two."""
    offsets = torch.cat([first[2], second[2] + len(first[0])])
    return torch.cat([first[0], second[0]]), torch.cat([first[1], second[1]]), offsets


def _drop(
    bag: tuple[Tensor, Tensor, Tensor], share: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """The bag with that share of its tokens left out at random."""
    if not share:
        return bag
    tokens, counts, offsets = bag
    kept = torch.from_numpy((rng.random(len(tokens)) >= share).astype(np.float32))
    return tokens, counts * kept, offsets
