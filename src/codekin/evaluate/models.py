"""What can be evaluated: embedders, services, sentence-transformers' models, any object with `encode`, and BM25."""

from __future__ import annotations

import hashlib
import inspect
import os
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from codekin.embed import Embedder, VectorCache
from codekin.embed.endpoint import parse_endpoint
from codekin.embed.remote import RemoteModel
from codekin.embed.vectors import checked
from codekin.errors import CodekinError, InputError, MissingExtraError, ModelError
from codekin.tasks import Role, Task

BM25 = "bm25"
MAX_LENGTH = 8_192
"""The longest text in tokens that a decoder reads here, as in the published evaluation (arXiv 2508.21290)."""

_OBJECT = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_PROBE = "def add(a, b): return a + b"

Share = Callable[[float], None]
"""Called with the share of the texts that is done, 0 to 1."""


@runtime_checkable
class Encoder(Protocol):
    """A model that gives vectors.

    `sizes` are its Matryoshka sizes, ascending, the full one last; `parameters` None where they are not known;
    `truncated` how many texts were longer than it reads.
    """

    name: str

    @property
    def sizes(self) -> tuple[int, ...]: ...
    @property
    def parameters(self) -> int | None: ...
    @property
    def truncated(self) -> int: ...

    def identity(self) -> str:
        """Another text whenever the vectors would be others, as far as that can be known."""
        ...

    def encode(self, texts: Sequence[str], task: Task, role: Role, progress: Share) -> NDArray[np.float32]:
        """The texts' vectors at full size, (n, d) float32, rows of unit length or, without a known token, zero."""
        ...


class Lexical:
    """BM25 over the parts of identifiers; it has no vectors."""

    name = BM25
    parameters = None


Model = Encoder | Lexical


def open_model(
    model: object,
    *,
    name: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    key_variable: str | None = None,
    cache: VectorCache | None = None,
) -> Model:
    """The model that a user means.

    "bm25"; `https://host/v1#model`, an API of OpenAI's or Jina's form (`jina+https://` says so of another host), whose
    key is in the environment as `key_variable`, by default JINA_API_KEY or OPENAI_API_KEY; `module:object`, a Python
    object; any name that `Embedder` takes, and folders that sentence-transformers alone reads; or, from Python, an
    object with `encode` itself. `name` is what results call it, by default what it was asked for as. `device` and
    `dtype` are for decoders; a static model, which has no choice of them, takes no notice.

    Raises ModelError or InputError in one line where there is no such model.
    """
    opened: Model
    if isinstance(model, (str, Path)):
        opened = _named(str(model), device, dtype, key_variable, cache)
    elif isinstance(model, Embedder):
        opened = EmbedderModel(model)
    elif type(model).__module__.partition(".")[0] == "sentence_transformers":
        opened = SentenceModel(model, type(model).__name__)
    elif hasattr(model, "encode"):
        opened = ObjectModel(model, type(model).__qualname__)
    else:
        raise InputError(f"{model!r} cannot be evaluated: it has no method encode")
    opened.name = name or opened.name
    return opened


def _named(
    name: str, device: str | None, dtype: str | None, key_variable: str | None, cache: VectorCache | None
) -> Model:
    if name.lower() == BM25:
        return Lexical()
    if endpoint := parse_endpoint(name):
        url, model, jina = endpoint
        key = os.environ.get(key_variable or ("JINA_API_KEY" if jina else "OPENAI_API_KEY"), "")
        return ServiceModel(RemoteModel(url, model, key=key, jina=jina, cache=cache))
    if _OBJECT.fullmatch(name) and not Path(name).exists():
        found = _imported(name)
        if not hasattr(found, "encode"):
            raise InputError(f"{name} cannot be evaluated: it has no method encode")
        return ObjectModel(found, name)
    try:
        embedder = Embedder(name, cache=cache)
        if embedder.max_length is not None:
            longest = min(embedder.max_length, MAX_LENGTH)
            embedder = Embedder(name, device=device, dtype=dtype, max_length=longest, cache=cache)
        return EmbedderModel(embedder)
    except ModelError:
        folder = Path(name).expanduser()
        if not (folder / "modules.json").is_file():
            raise
        # A model that codekin does not compute, or one that is damaged: then what codekin says of it is told.
        if (other := _sentence_transformer(folder, device)) is None:
            raise
        return SentenceModel(other, name)


def _sentence_transformer(folder: Path, device: str | None) -> object | None:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise MissingExtraError(f"{folder}, which sentence-transformers computes,", "evaluate") from None
    try:
        return SentenceTransformer(str(folder), device=device)
    except Exception:  # its own errors, transformers', torch's
        return None


def _imported(name: str) -> object:
    module, _, attribute = name.partition(":")
    sys.path.insert(0, "")  # as `python -m` finds modules: in the folder one stands in
    try:
        found: object = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:  # whatever the user's module raises
        raise ModelError(f"model {name}: {type(error).__name__}: {error}") from None
    finally:
        sys.path.remove("")
    return found


class EmbedderModel:
    """An Embedder, with its own instructions for each task."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.name, self.sizes, self.truncated = embedder.name, embedder.sizes, 0

    @cached_property
    def parameters(self) -> int | None:
        return self._embedder.parameters

    def identity(self) -> str:
        return f"{self._embedder.fingerprint} {self._embedder.dtype}"

    def encode(self, texts: Sequence[str], task: Task, role: Role, progress: Share) -> NDArray[np.float32]:
        def share(done: int, total: int) -> None:
            progress(done / total if total else 0.0)

        vectors = self._embedder.encode(texts, task, role, progress=share)
        self.truncated += self._embedder.truncated
        # A static model has no vector for a text of which it knows no token.
        return checked(vectors, len(texts), self.name, zeros=self._embedder.kind == "static")


class _Opaque(ABC):
    """A model that says nothing of itself: its size is what it gives, and so is what sets it apart."""

    parameters: int | None = None

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def truncated(self) -> int:
        return 0

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        return (self._sound([_PROBE], Task.NL2CODE, Role.DOCUMENT).shape[1],)

    def identity(self) -> str:
        """Of a query's and a document's vector to two places: more may be another order of summing."""
        (size,) = self.sizes
        digest = hashlib.sha256()
        for role in Role:
            vector = self._sound([_PROBE], Task.NL2CODE, role, size=size)
            digest.update(np.rint(100 * vector).astype(np.int8).tobytes())
        return f"{self.name} {digest.hexdigest()}"

    def encode(self, texts: Sequence[str], task: Task, role: Role, progress: Share) -> NDArray[np.float32]:
        (size,) = self.sizes
        return self._sound(texts, task, role, progress, size=size)

    def _sound(
        self,
        texts: Sequence[str],
        task: Task,
        role: Role,
        progress: Share = lambda _: None,
        *,
        size: int | None = None,
    ) -> NDArray[np.float32]:
        try:
            found = self._vectors(texts, task, role, progress)
        except CodekinError:
            raise
        except (Exception, SystemExit) as error:  # whatever others' code raises
            raise ModelError(f"model {self.name}: {type(error).__name__}: {error}") from error
        return checked(found, len(texts), self.name, size=size)

    @abstractmethod
    def _vectors(self, texts: Sequence[str], task: Task, role: Role, progress: Share) -> object:
        """What the model gives for the texts."""


class ServiceModel(_Opaque):
    """An embedding model behind an HTTP API."""

    def __init__(self, remote: RemoteModel) -> None:
        super().__init__(remote.name)
        self._remote = remote

    @property
    def truncated(self) -> int:
        return self._remote.truncated

    def identity(self) -> str:
        return self._remote.identity

    def _vectors(self, texts: Sequence[str], task: Task, role: Role, progress: Share) -> object:
        return self._remote.encode(texts, task, role, lambda done, total: progress(done / total))


class SentenceModel(_Opaque):
    """A model of sentence-transformers, with its prompt of the task ("nl2code_query"), else of the role ("query")."""

    def __init__(self, model: Any, name: str) -> None:
        super().__init__(name)
        self._model = model
        self.parameters = sum(int(parameter.numel()) for parameter in model.parameters())

    def _vectors(self, texts: Sequence[str], task: Task, role: Role, progress: Share) -> object:
        names = (f"{task.value}_{role.value}", role.value)
        prompt = next((name for name in names if (self._model.prompts or {}).get(name)), None)
        return self._model.encode(
            list(texts), prompt_name=prompt, show_progress_bar=False, normalize_embeddings=True
        )


class ObjectModel(_Opaque):
    """Any object with `encode(texts)`; `task` and `role` are given to it, as their names, where it takes them."""

    def __init__(self, model: Any, name: str) -> None:
        super().__init__(name)
        self._model = model
        try:
            taken = [*inspect.signature(model.encode).parameters.values()]
        except (TypeError, ValueError):  # of a function that is not Python's
            taken = []
        every = any(one.kind is one.VAR_KEYWORD for one in taken)
        self._takes = [
            option for option in ("task", "role") if every or any(one.name == option for one in taken)
        ]

    def _vectors(self, texts: Sequence[str], task: Task, role: Role, progress: Share) -> object:
        said = {"task": task.value, "role": role.value}
        return self._model.encode(list(texts), **{option: said[option] for option in self._takes})
