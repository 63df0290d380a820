"""A larger embedding model as reranker: of the texts, only the candidates are ever embedded."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence

from codekin.embed import Embedder
from codekin.rerank.reranker import Scores, paced
from codekin.tasks import Role, Task


class EmbeddingReranker:
    """The cosine of a text's vector to the query's; vectors come from the embedder's cache where it has them."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.name = embedder.name

    def load(self) -> None:
        self._embedder.load()

    def score(self, query: str, texts: Sequence[str], task: Task, seconds: float | None = None) -> Scores:
        started = time.monotonic()
        [wanted] = self._encode([query], task, Role.QUERY)
        left = None if seconds is None else seconds - (time.monotonic() - started)

        # Row by row, unlike a matrix product, so that a score depends on its text alone.
        def cosines(some: Sequence[str]) -> Scores:
            made: Scores = (self._encode(some, Task.NL2CODE, Role.DOCUMENT) * wanted).sum(axis=1)
            return made

        return paced(cosines, texts, left)

    def _encode(self, texts: Sequence[str], task: Task, role: Role) -> Scores:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of texts that are cut: what is read of them says enough
            return self._embedder.encode(texts, task, role)
