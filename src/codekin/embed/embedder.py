"""Embedder: texts to vectors, whatever the model behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codekin.embed.folders import StaticFiles, static_files
from codekin.embed.safetensors import read_safetensors
from codekin.embed.static import StaticModel
from codekin.errors import InputError, ModelError
from codekin.tasks import Role, Task

DEFAULT_MODEL = "codekin-static"
_BUNDLED = Path(__file__).parent / "models"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that comes with codekin: `bytes` is its size on disk, `licence` an SPDX identifier."""

    name: str
    kind: str
    dimensions: int
    licence: str
    installed: bool
    default: bool
    bytes: int


class Embedder:
    """Turns texts into vectors whose dot products say how alike their meanings are.

    `model` is the name of a bundled model or a local folder with a static model as model2vec or
    sentence-transformers write it. Raises ModelError where there is no such model or its files are at fault.
    An embedder is not safe for use by several threads at once.
    """

    def __init__(self, model: str = DEFAULT_MODEL) -> None:
        self._files = _find(model)
        self._model = StaticModel(self._files)
        self.name = model
        self.dimensions = self._model.dimensions
        self.sizes = self._model.sizes

    @cached_property
    def fingerprint(self) -> str:
        """32 hexadecimal digits, other ones whenever the model's files differ in any byte."""
        return self._files.fingerprint()

    def encode(
        self,
        texts: Sequence[str],
        task: Task | str = Task.NL2CODE,
        role: Role | str = Role.DOCUMENT,
        dimensions: int | None = None,
    ) -> NDArray[np.float32]:
        """The texts' vectors, (n, d) float32, rows of unit length; the zero row for a text of no known word.

        `dimensions` is one of `sizes` (default: the largest): a Matryoshka model's leading numbers are a vector
        of their own (arXiv 2205.13147). A text has the same vector whatever else is in the call. A static model
        has one vector space for all tasks and roles: an instruction prefix would add the same sum to every
        text. Raises InputError for an unknown task, role or size, or a single string in place of a sequence.
        """
        Task.parse(task)
        Role.parse(role)
        if isinstance(texts, str):
            raise InputError("encode takes a sequence of texts, not one string: pass [text]")
        if dimensions is not None and dimensions not in self.sizes:
            sizes = ", ".join(map(str, self.sizes))
            raise InputError(f"model {self.name} has no vectors of {dimensions} dimensions; sizes: {sizes}")
        return self._model.encode(texts, dimensions or self.dimensions)


def available_models() -> list[ModelInfo]:
    """The models that come with codekin, the default first."""
    names = sorted(
        (folder.name for folder in _BUNDLED.iterdir()), key=lambda name: (name != DEFAULT_MODEL, name)
    )
    return [_describe(name) for name in names]


def _describe(name: str) -> ModelInfo:
    files = static_files(_BUNDLED / name)
    table = read_safetensors(files.tensors)[files.table]
    return ModelInfo(
        name=name,
        kind="static",
        dimensions=int(table.shape[1]),
        licence=str(files.read_config().get("licence", "unknown")),
        installed=True,
        default=name == DEFAULT_MODEL,
        bytes=sum(file.stat().st_size for file in (files.config, files.tokenizer, files.tensors)),
    )


def _find(model: str) -> StaticFiles:
    if (_BUNDLED / model).is_dir() and "/" not in model and model not in ("", ".", ".."):
        return static_files(_BUNDLED / model)
    if model and Path(model).is_dir():
        return static_files(Path(model))
    names = ", ".join(sorted(folder.name for folder in _BUNDLED.iterdir()))
    raise ModelError(
        f"no model {model!r}: bundled is {names}; else give a local folder with a static model "
        "(transformer checkpoints are not read by this version)"
    )
