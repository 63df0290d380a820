"""Our models for the mteb package: `mteb.evaluate(mteb_model(NAME), tasks)`.

mteb's own code (https://github.com/embeddings-benchmark/mteb) then ranks and counts, and comes to the figures of
`codekin evaluate`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from codekin.embed.vectors import shorten
from codekin.errors import InputError, MissingExtraError
from codekin.evaluate.benchmarks import MTEB_TASKS, paper_task
from codekin.evaluate.models import Encoder, Lexical, open_model
from codekin.evaluate.nearest import products
from codekin.tasks import Role, Task

if TYPE_CHECKING:
    from mteb.models import ModelMeta


class MtebModel:
    """An encoder as mteb's EncoderProtocol asks for it; queries and documents have the instructions of their task."""

    def __init__(self, encoder: Encoder, meta: ModelMeta, dimensions: int, task: Task) -> None:
        self.mteb_model_meta = meta
        self._encoder, self._dimensions, self._task = encoder, dimensions, task

    def encode(
        self, inputs: Any, *, task_metadata: Any, prompt_type: Any = None, **_: Any
    ) -> NDArray[np.float32]:
        """The vectors of the texts in the batches of `inputs`, (n, d) float32, rows of unit length."""
        texts = [text for batch in inputs for text in batch["text"]]
        role = Role.QUERY if getattr(prompt_type, "value", prompt_type) == "query" else Role.DOCUMENT
        named = (name for name, task in MTEB_TASKS.items() if task == task_metadata.name)
        task = next(map(paper_task, named), self._task)
        return shorten(self._encoder.encode(texts, task, role, lambda _: None), self._dimensions)

    def similarity(self, first: Any, second: Any) -> NDArray[np.float32]:
        """(n, m) float32: the cosines of all pairs of rows."""
        return products(np.asarray(first), np.asarray(second))

    def similarity_pairwise(self, first: Any, second: Any) -> NDArray[np.float32]:
        """(n,) float32: the cosine of each row to the one beside it."""
        rows = np.asarray(first, np.float64), np.asarray(second, np.float64)
        return np.asarray(np.einsum("ij,ij->i", *rows), np.float32)


def mteb_model(model: object, *, dimensions: int | None = None, task: Task | str = Task.NL2CODE) -> MtebModel:
    """A model for `mteb.evaluate`: what `codekin evaluate` takes, but for bm25, and objects with `encode`.

    `dimensions` is the size that vectors are cut to, by default the full one. `task` is that of mteb's tasks that are
    not among the paper's benchmarks. Raises ModelError or InputError in one line where there is no such model or
    size, MissingExtraError without mteb.
    """
    try:
        from mteb.models import ModelMeta
    except ImportError:
        raise MissingExtraError("mteb", "evaluate") from None
    encoder = open_model(model)
    if isinstance(encoder, Lexical):
        raise InputError("bm25 has no vectors for mteb; mteb has a BM25 of its own")
    size = dimensions or encoder.sizes[-1]
    if not 1 <= size <= encoder.sizes[-1]:
        raise InputError(f"model {encoder.name} has no vectors of {size} numbers; sizes: {encoder.sizes}")
    name = re.sub(r"[^\w.-]+", "-", encoder.name).strip("-.") or "model"
    meta = ModelMeta.create_empty(
        {
            "name": encoder.name if re.fullmatch(r"[\w.-]+/[\w.-]+", encoder.name) else f"local/{name}",
            "revision": "no_revision_available",
            "n_parameters": encoder.parameters,
            "embed_dim": size,
            "similarity_fn_name": "cosine",
        }
    )
    return MtebModel(encoder, meta, size, Task.parse(task))
