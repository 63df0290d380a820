"""Results made by hand, as a run would have left them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from codekin.evaluate.page import Texts
from codekin.evaluate.results import Form, QueryResult, Result
from codekin.tasks import Task

NDCG = "ndcg_at_10"
# nDCG@10 of one relevant document by its rank: 1/log2(rank + 1), and 0 below the tenth.
GAINS = (1.0, 0.6309297536, 0.5, 0.4306765581, 0.3868528072, 0.0)


def made(
    model: str,
    benchmark: str,
    figures: Sequence[float],
    *,
    form: Form = Form(256),  # noqa: B008  frozen
    task: Task = Task.NL2CODE,
    subsets: Mapping[str, float] | None = None,
    parameters: int | None = None,
) -> Result:
    """A result whose i-th query, q<i>, has the i-th figure; its first document is d<i> if it is 1, else d0."""
    queries = {
        f"q{place}": QueryResult(
            {NDCG: figure, "recall_at_10": float(figure > 0)},
            ((f"d{place}" if figure == 1 else "d0", 0.75), (f"d{place}", 0.5)),
        )
        for place, figure in enumerate(figures)
    }
    mean = sum(figures) / len(figures)
    return Result(
        model=model,
        benchmark=benchmark,
        task=task,
        split="test",
        form=form,
        figures={NDCG: mean, "recall_at_10": sum(figure > 0 for figure in figures) / len(figures)},
        intervals={NDCG: (mean - 0.02, mean + 0.02)},
        documents=len(figures) + 1,
        seconds=1.5,
        queries=queries,
        revision="abc",
        subsets={name: {NDCG: figure} for name, figure in (subsets or {}).items()},
        parameters=parameters,
    )


def drawn(seed: int, number: int, skill: float) -> list[float]:
    """Figures of `number` queries; a share `skill` of them has the right document first."""
    source = random.Random(seed)
    return [1.0 if source.random() < skill else source.choice(GAINS[1:]) for _ in range(number)]


def texts(number: int) -> Texts:
    """Texts for `made`: query q<i> is answered by document d<i>."""
    return Texts(
        {f"q{place}": f"how to sort list number {place}" for place in range(number)},
        {f"d{place}": f"def sort_{place}(values):\n    return sorted(values)" for place in range(number)},
        {f"q{place}": {f"d{place}": 1} for place in range(number)},
    )


def run() -> list[Result]:
    """Two models on two of the paper's benchmarks and a folder, one of them at all sizes and precisions."""
    results = []
    for place, (benchmark, number) in enumerate((("CoSQA", 60), ("MBPP", 40), ("mine", 30))):
        for size, skill in ((256, 0.7), (128, 0.66), (64, 0.55)):
            for precision, rescored, lost in (
                ("float32", False, 0.0),
                ("int8", False, 0.02),
                ("int8", True, 0.0),
                ("binary", False, 0.2),
                ("binary", True, 0.03),
            ):
                results.append(
                    made(
                        "codekin-static",
                        benchmark,
                        drawn(place, number, skill - lost),
                        form=Form(size, precision, rescored),
                        parameters=7_600_000,
                    )
                )
        results.append(made("bm25", benchmark, drawn(100 + place, number, 0.4), form=Form()))
    return results
