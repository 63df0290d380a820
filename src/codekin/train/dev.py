"""Dev sets: folders in BEIR's layout, small enough to encode anew every so many steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codekin.data import Files, retrievals, text_of
from codekin.embed.transformer import TransformerModel
from codekin.errors import InputError
from codekin.tasks import Role, Task, instruction

_CUT = 10
_DISCOUNTS = 1 / np.log2(np.arange(2, _CUT + 2))
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
            splits = "\n".join(files.names)
            (part, *others) = retrievals(files, "dev" if "qrels/dev" in splits else "test")
            if others:
                raise InputError(f"{folder} is in parts; give the folder of one")
            corpus = [
                (str(record.get("_id", record.get("id"))), text_of(record, at))
                for at, record in part.corpus()
            ]
            numbers = {key: number for number, (key, _) in enumerate(corpus)}
            judged: dict[str, dict[int, float]] = {}
            for at, judgement in part.qrels():
                query = str(judgement.get("query-id", judgement.get("query_id")))
                document = str(judgement.get("corpus-id", judgement.get("corpus_id")))
                if document not in numbers:
                    raise InputError(f"{at}: there is no document {document!r}")
                judged.setdefault(query, {})[numbers[document]] = float(judgement.get("score", 1))
            asked = [
                (key, text_of(record, at), record.get("task"))
                for at, record in part.queries()
                if (key := str(record.get("_id", record.get("id")))) in judged
            ]
        if not asked:
            raise InputError(f"{folder}: no query has a judgement")
        return cls(
            name=Path(folder).name,
            task=Task.parse(asked[0][2] or Task.NL2CODE),
            queries=[text for _, text, _ in asked],
            documents=[text for _, text in corpus],
            gains=[judged[key] for key, _, _ in asked],
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
    figures = []
    for start in range(0, len(queries), _ROWS):
        for scores, judged in zip(queries[start : start + _ROWS] @ documents.T, gains[start:], strict=False):
            ranked = np.argsort(-scores, kind="stable")[:_CUT]
            found = np.array([judged.get(int(number), 0.0) for number in ranked])
            ideal = np.sort([*judged.values()])[::-1][:_CUT]
            best = float(ideal @ _DISCOUNTS[: len(ideal)])
            figures.append(float(found @ _DISCOUNTS[: len(found)]) / best if best else 0.0)
    return float(np.mean(figures))
