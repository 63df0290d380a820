"""The model of an index: what the index records of it, and its embedder, loaded when a vector is first wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codekin.embed import DEFAULT_MODEL, Embedder, Precision, TaskCalibration, VectorCache, quantise
from codekin.errors import InputError, MissingExtraError, ModelError
from codekin.tasks import Role, Task

_INT8 = "int8"  # the one type of number whose vectors are visibly others
_SLOW_TEXTS = 64  # that a transformer embeds before their vectors are kept for the next process

Load = Callable[..., Embedder]
"""What loads a model: called as `Embedder` is, with a name, `dtype` and `cache`."""


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """The model that makes the vectors of an index."""

    name: str
    """What loads it again from anywhere: a bundled or hub name, or the absolute path of a local one."""
    kind: str
    dimensions: int
    dtype: str
    fingerprint: str
    """"" where only the choice is known: the index is to be made."""
    since: int = 0
    """The generation in which its vectors began: records of one index are equal only if no other came between."""

    @property
    def narrow(self) -> str | None:
        """The type of number that loading it again must ask for."""
        return _INT8 if self.dtype == _INT8 else None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a user asks of an index's model; None where whatever it is will do."""

    model: str | None
    dimensions: int | None
    dtype: str | None

    def difference(self, made: ModelRecord) -> str:
        """What the index is made with and what is asked for instead, "" where they agree."""
        if self.model not in (None, made.name):
            return f"{made.name}, not {self.model}"
        if self.dimensions not in (None, made.dimensions):
            return f"{made.dimensions} dimensions, not {self.dimensions}"
        if self.dtype and (self.dtype == _INT8) != (made.dtype == _INT8):
            return f"{made.dtype}, not {self.dtype}"
        return ""


class IndexModel:
    """The embedder that a record names, loaded when it is first needed: most of what an index does needs none.

    `dtype` is what it computes in, where that was asked for; `rebuild` is the command that makes the index anew;
    `load` is what loads the embedder.
    Raises ModelError, once the embedder is needed, for a model that is gone or has changed since it made the index.
    """

    def __init__(
        self,
        record: ModelRecord,
        embedder: Embedder | None = None,
        *,
        dtype: str | None = None,
        rebuild: str = "",
        load: Load = Embedder,
    ) -> None:
        self.record = record
        self._embedder = embedder
        self._dtype = dtype
        self._rebuild = rebuild
        self._load = load

    @property
    def is_fast(self) -> bool:
        """Whether texts are embedded about as fast as files are read and cut into them."""
        return self.record.kind == "static"

    @property
    def is_unchanged(self) -> bool:
        """Whether the model is what it was when it made the index."""
        return self._loaded.fingerprint == self.record.fingerprint

    def documents(
        self, texts: Sequence[str], progress: Callable[[float], None] | None = None
    ) -> NDArray[np.int8]:
        """(n, d) int8: what n chunks are found by. `progress` is called with the share of them that is done."""
        count = len(texts)
        rows = np.empty((count, self.record.dimensions), np.int8)
        step = max(1, count) if self.is_fast else _SLOW_TEXTS
        for start in range(0, count, step):
            part = texts[start : start + step]
            tell = _scaled(progress, start / count, len(part) / count) if progress else None
            rows[start : start + step] = self._encode(part, Task.NL2CODE, Role.DOCUMENT, tell)
        return rows

    def query(self, text: str, task: Task) -> NDArray[np.int8]:
        """(d,) int8: what a query is compared by."""
        vector: NDArray[np.int8] = self._encode([text], task, Role.QUERY)[0]
        return vector

    def calibration(self, task: Task) -> TaskCalibration | None:
        """What is known of the cosines between queries of a task and the index's vectors."""
        known = self._loaded.calibration
        return known.of(task, self.record.dimensions) if known else None

    def _encode(
        self, texts: Sequence[str], task: Task, role: Role, progress: Callable[[int, int], None] | None = None
    ) -> NDArray[Any]:
        if not self.is_unchanged:
            raise ModelError(
                f"the model {self.record.name} has changed since it made this index; {self._rebuild} makes it anew"
            )
        made = self._loaded.encode(texts, task, role, self.record.dimensions, progress=progress)
        return quantise(made, Precision.INT8).rows

    @property
    def _loaded(self) -> Embedder:
        if self._embedder is None:
            cache = None if self.is_fast else VectorCache()
            try:
                self._embedder = self._load(
                    self.record.name, dtype=self.record.narrow or self._dtype, cache=cache
                )
            except (ModelError, MissingExtraError) as error:
                raise ModelError(
                    f"{error}; this index is made with it, and only --mode lexical searches it without"
                ) from None
        return self._embedder


def _scaled(progress: Callable[[float], None], done: float, share: float) -> Callable[[int, int], None]:
    """Tells what is done of a share of the work after what was done before."""
    return lambda part, whole: progress(done + share * part / whole)


def absolute(model: str | None) -> str | None:
    """A model's name as a record holds it."""
    is_local = model and model != DEFAULT_MODEL and Path(model).exists()
    return str(Path(model).resolve()) if model and is_local else model


def open_model(asked: Asked, known: ModelRecord | None, rebuild: str, load: Load = Embedder) -> IndexModel:
    """The model for an index to be made: what is asked for, else what is `known`, else the bundled one.

    Raises ModelError for a model that is not there, InputError for a size that it does not have.
    """
    name = asked.model
    if name is None:
        name = known.name if known else DEFAULT_MODEL
    kept = known if known and known.name == name else None
    embedder = load(name, dtype=asked.dtype or (kept.narrow if kept else None), cache=VectorCache())
    dimensions = asked.dimensions
    if dimensions is None:
        dimensions = kept.dimensions if kept and kept.dimensions in embedder.sizes else embedder.dimensions
    if dimensions not in embedder.sizes:
        sizes = ", ".join(map(str, embedder.sizes))
        raise InputError(f"model {name} has no vectors of {dimensions} dimensions; sizes: {sizes}")
    record = ModelRecord(name, embedder.kind, dimensions, embedder.dtype, embedder.fingerprint)
    return IndexModel(record, embedder, rebuild=rebuild, load=load)
