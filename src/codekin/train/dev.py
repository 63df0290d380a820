"""Dev sets: folders in BEIR's layout, small enough to encode anew every so many steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codekin import ranked
from codekin.data import Files, choose_split, retrievals
from codekin.embed.transformer import TransformerModel
from codekin.errors import InputError
from codekin.tasks import Role, Task, instruction

_CUT = 10
_ROWS = 256


@dataclass(frozen=True)
class DevSet:
    """Queries of one task, the corpus they are asked of, and the gains of its documents, by number."""

    name: str
    task: Task
    queries: list[str]
    documents: list[str]
    gains: list[dict[int, float]]

    @classmethod
    def read(cls, folder: str | Path) -> DevSet:
        """The set of a folder: of its splits the one called dev, else test. Raises InputError where it has neither."""
        with Files(folder) as files:
            (part, *others) = retrievals(files, choose_split(files, ("dev", "test")))
            if others:
                raise InputError(f"{folder} is in parts; give the folder of one")
            judged = part.read()
            documents = list(judged.texts())
        numbers = {key: number for number, key in enumerate(judged.documents)}
        return cls(
            name=Path(folder).name,
            task=judged.task or Task.NL2CODE,
            queries=list(judged.queries.values()),
            documents=documents,
            gains=[
                {numbers[key]: grade for key, grade in graded.items()} for graded in judged.qrels.values()
            ],
        )

    def ndcg(self, model: TransformerModel) -> float:
        """nDCG@10 of the model's full-size vectors, 0 to 1."""
        queries, _ = model.encode(self.queries, instruction(self.task, Role.QUERY))
        documents, _ = model.encode(self.documents, instruction(self.task, Role.DOCUMENT))
        return ndcg_at_10(queries, documents, self.gains)


def ndcg_at_10(
    queries: NDArray[np.float32], documents: NDArray[np.float32], gains: list[dict[int, float]]
) -> float:
    """The mean nDCG@10 (Järvelin and Kekäläinen, 2002) of ranking by dot product, (n, d) against (m, d).

    `gains` is each query's judged documents by number; equal scores rank by number.
    """
    gains_by_rank = np.zeros((len(queries), _CUT))
    ideal = np.zeros((len(queries), _CUT))
    for start in range(0, len(queries), _ROWS):
        for row, scores in enumerate(queries[start : start + _ROWS] @ documents.T, start):
            best = np.argsort(-scores, kind="stable")[:_CUT]
            gains_by_rank[row, : len(best)] = [gains[row].get(int(number), 0.0) for number in best]
            judged = sorted(gains[row].values(), reverse=True)[:_CUT]
            ideal[row, : len(judged)] = judged
    return float(ranked.ndcg(gains_by_rank, ideal, _CUT).mean())
