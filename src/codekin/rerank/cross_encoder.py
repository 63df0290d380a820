"""A CrossEncoder of sentence-transformers (https://sbert.net): query and text are read together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from codekin.errors import MissingExtraError, ModelError
from codekin.rerank.reranker import Scores, paced
from codekin.tasks import Task


class CrossEncoderReranker:
    """The model in `folder`, whatever its architecture, computed by sentence-transformers.

    Raises ModelError where it cannot be loaded, fails, or gives more than one number a pair, MissingExtraError where
    sentence-transformers is not installed.
    """

    def __init__(self, folder: Path, name: str, *, device: str | None = None) -> None:
        self.name = name
        self._folder, self._device = folder, device
        self._model: Any = None

    def load(self) -> None:
        if self._model is not None:
            return
        try:
            from sentence_transformers import CrossEncoder
        except ImportError:
            raise MissingExtraError(f"reranker {self.name}", "rerank") from None
        try:
            model = CrossEncoder(str(self._folder), device=self._device, local_files_only=True)
        except Exception as error:  # its own errors, transformers', torch's
            raise ModelError(f"reranker {self.name} cannot be loaded: {_line(error)}") from None
        if model.num_labels != 1:
            raise ModelError(
                f"{self.name} sorts pairs into {model.num_labels} classes; a reranker gives one number"
            )
        self._model = model

    def score(self, query: str, texts: Sequence[str], task: Task, seconds: float | None = None) -> Scores:
        self.load()
        return paced(lambda some: self._predict(query, some), texts, seconds)

    def _predict(self, query: str, texts: Sequence[str]) -> Scores:
        pairs = [(query, text.encode("utf-8", "replace").decode()) for text in texts]
        try:
            return np.asarray(self._model.predict(pairs, show_progress_bar=False), np.float32)
        except Exception as error:
            raise ModelError(f"reranker {self.name}: {_line(error)}") from None


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]
