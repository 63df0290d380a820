"""Embedder: texts to vectors, whatever the model behind it."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from codekin.embed.calibration import Calibration, find_calibration, write_calibration
from codekin.embed.checkpoints import Checkpoint
from codekin.embed.config import BertConfig, Pooling
from codekin.embed.registry import DEFAULT_MODEL, find_model, own_folder
from codekin.embed.static import StaticModel
from codekin.embed.vectors import shorten
from codekin.errors import InputError, MissingExtraError
from codekin.tasks import Role, Task, instruction

if TYPE_CHECKING:
    from codekin.embed.cache import VectorCache
    from codekin.embed.transformer import TransformerModel

Progress = Callable[[int, int], None]
"""Called with the work done and the whole of it, in tokens."""


class Embedder:
    """Turns texts into vectors whose dot products say how alike their meanings are.

    `model` is the name of a bundled model, a local folder or a `.gguf` file, or a model of the Hugging Face hub
    ("jinaai/jina-code-embeddings-0.5b", "name@revision"): a static model as model2vec or sentence-transformers write
    it, a Qwen2 or Qwen3 decoder, or a BERT sentence encoder. The rest is for the transformers alone:

    - `device`: as torch names it; default: a GPU where there is one, else the CPU.
    - `dtype`: "float32", "bfloat16", "float16" or, on a CPU, "int8"; default: the one that a measurement finds worth
      it on the device, which is float32 on all but CPUs with matrix units for bfloat16.
    - `pooling`: "last", "mean" or "latent"; default: the model's own, else "last", or "mean" of BERT.
    - `max_length`: the longest text in tokens, its instruction counted; longer ones are cut at their end.
    - `cache`: vectors that were made before are taken from it, new ones put there.

    Raises ModelError where there is no such model or device, its files are at fault or it does not go with an
    argument, InputError for a name or number that is none, MissingExtraError where one needs what is not
    installed. An embedder is not safe for use by several threads at once.
    """

    name: str
    """The model as it was asked for."""
    kind: str
    """"static" or "transformer"."""
    dimensions: int
    """The full size of a vector."""
    sizes: tuple[int, ...]
    """The Matryoshka sizes, ascending, the full one last."""
    max_length: int | None
    """The longest text in tokens; None for static models, which read all of it."""
    device: str
    dtype: str
    pooling: str
    truncated: int
    """How many texts of the last call of `encode` were longer than `max_length`; those in the cache do not count."""

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        device: str | None = None,
        dtype: str | None = None,
        pooling: str | None = None,
        max_length: int | None = None,
        cache: VectorCache | None = None,
    ) -> None:
        self.name = str(model)
        self.truncated = 0
        self._files = find_model(self.name)
        if isinstance(self._files, Checkpoint):
            self._open(self._files, device, dtype, pooling, max_length)
            self._cache = cache
            return
        asked = {"device": device, "dtype": dtype, "pooling": pooling, "max_length": max_length}
        for option, value in asked.items():
            if value is not None:
                raise InputError(f"{option} is for transformers; {self.name} is a static model")
        self._static = StaticModel(self._files)
        self._cache = None  # making a vector is quicker than finding it
        self.kind, self.device, self.dtype, self.pooling = "static", "cpu", "float32", Pooling.MEAN.value
        self.dimensions, self.sizes, self.max_length = self._static.dimensions, self._static.sizes, None

    def _open(
        self,
        checkpoint: Checkpoint,
        device: str | None,
        dtype: str | None,
        pooling: str | None,
        max_length: int | None,
    ) -> None:
        self.kind, self.dimensions, self.sizes = (
            "transformer",
            checkpoint.config.hidden_size,
            checkpoint.sizes,
        )
        self._pooling = Pooling.parse(pooling or checkpoint.pooling or Pooling.LAST)
        longest = checkpoint.config.max_positions
        if max_length is not None and not 1 <= max_length <= longest:
            raise InputError(
                f"max_length {max_length} is not from 1 to {longest}, the most that {self.name} reads"
            )
        self.max_length = max_length or checkpoint.max_length
        try:
            from codekin.embed import devices
        except ImportError:
            raise MissingExtraError(f"model {self.name}", "models") from None
        self._place = place = devices.pick_device(device)
        self._number = devices.NumberType.parse(dtype) if dtype else devices.fastest_type(place)
        if self._number is devices.NumberType.INT8 and place.type != "cpu":
            raise InputError(f"int8 is for CPUs; on {place} take float16 or bfloat16")
        if self._number is devices.NumberType.INT8 and not devices.int8_pays():
            raise InputError("int8 is no faster than float32 on this CPU; leave dtype out")
        self.device, self.dtype, self.pooling = str(place), self._number.value, self._pooling.value

    @cached_property
    def _transformer(self) -> TransformerModel:
        """Loaded when the first text asks for it: what lies in the cache needs none."""
        from codekin.embed.transformer import TransformerModel

        assert isinstance(self._files, Checkpoint) and self.max_length
        return TransformerModel.load(self._files, self._place, self._number, self._pooling, self.max_length)

    def load(self) -> None:
        """Brings a transformer into memory, which otherwise the first text does that is not in the cache."""
        if self.kind != "static":
            _ = self._transformer

    @property
    def parameters(self) -> int:
        """How many numbers the model has learnt."""
        if isinstance(self._files, Checkpoint):
            return self._files.config.parameters
        return self._static.parameters

    @cached_property
    def fingerprint(self) -> str:
        """32 hexadecimal digits, other ones whenever the vectors would differ.

        They stand for every byte of the model's files, the pooling and the longest text, and for int8, whose
        vectors are visibly others; the wider types agree among themselves to within a thousandth.
        """
        if not isinstance(self._files, Checkpoint):
            return self._files.fingerprint()
        parts = (self._files.fingerprint, self.pooling, str(self.max_length), str(self.dtype == "int8"))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]

    @cached_property
    def calibration(self) -> Calibration | None:
        """What `codekin calibrate` has measured of this model, None if nothing."""
        return find_calibration(own_folder(self.name), self.fingerprint)

    def keep_calibration(self, measured: Calibration) -> Path:
        """Keeps it in the model's folder, or the user's, for every later embedder of this model; returns the file.

        Of tasks that it says nothing of, what was known stays.
        """
        known = self.calibration.tasks if self.calibration else {}
        self.calibration = Calibration(measured.fingerprint, {**known, **measured.tasks})
        return write_calibration(self.calibration, own_folder(self.name))

    def instruction(self, task: Task | str, role: Role | str) -> str:
        """What is put before the raw text: the model's own prompt of that name, else Table 1's (arXiv 2508.21290).

        A model's prompts are those of sentence-transformers: "nl2code_query", or "query" for every task; where all
        are empty, as it writes them when none were given, it has none. BERT, which follows no instructions, is given
        none but its own. Raises InputError for an unknown task or role.
        """
        task, role = Task.parse(task), Role.parse(role)
        prompts = self._files.prompts if isinstance(self._files, Checkpoint) else {}
        prompts = prompts if any(prompts.values()) else {}
        own = prompts.get(f"{task.value}_{role.value}", prompts.get(role.value))
        if own is not None:
            return own
        is_encoder = isinstance(self._files, Checkpoint) and isinstance(self._files.config, BertConfig)
        return "" if is_encoder else instruction(task, role)

    def encode(
        self,
        texts: Sequence[str],
        task: Task | str = Task.NL2CODE,
        role: Role | str = Role.DOCUMENT,
        dimensions: int | None = None,
        *,
        any_dimension: bool = False,
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        """The texts' vectors, (n, d) float32, rows of unit length; the zero row for a text without any known token.

        `dimensions` is one of `sizes` (default: the largest): a Matryoshka model's leading numbers are a vector
        of their own (arXiv 2205.13147), cut off and brought to unit length again; `any_dimension` allows other sizes.
        A text has the same vector whatever else is in the call, to 1e-5. A static model has one vector space for all
        tasks and roles: an instruction would add the same sum to every text. Texts that are cut are counted in
        `truncated` and warned of. Raises InputError for an unknown task, role or size, or a single string in place
        of a sequence.
        """
        prefix = self.instruction(task, role)
        size = self._check(texts, dimensions, any_dimension)
        if self.kind == "static":
            return self._static.encode(texts, size)
        vectors = self._encode_cached(texts, prefix, progress)
        if self.truncated:
            warnings.warn(
                f"{self.truncated} of {len(texts)} texts are longer than {self.max_length} tokens and were cut",
                stacklevel=2,
            )
        return shorten(vectors, size)

    def count_tokens(
        self, texts: Sequence[str], task: Task | str = Task.NL2CODE, role: Role | str = Role.DOCUMENT
    ) -> list[int]:
        """How many tokens each text is to the model, its instruction counted, before any is cut.

        Safe for several threads, and beside `encode`.
        """
        if not isinstance(self._files, Checkpoint):
            return self._static.count_tokens(texts)
        prefix = self.instruction(task, role)
        return [len(tokens) for tokens in self._files.tokenizer.encode([prefix + text for text in texts])]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens of the model's tokenizer. Raises InputError for a number that is no token."""
        tokenizer = self._files.tokenizer if isinstance(self._files, Checkpoint) else self._static
        if wrong := [token for token in tokens if not 0 <= token < tokenizer.size]:
            raise InputError(f"{wrong[0]} is no token of {self.name}, which has {tokenizer.size}")
        return tokenizer.decode(tokens)

    def save(self, folder: str | Path) -> None:
        """Write the model to `folder`, which sentence-transformers, transformers and codekin load to the same vectors.

        Tensors keep the type that they are stored in, and GGUF's become float32. A folder that holds nothing but a
        model that codekin saved is replaced. Latent attention, and a static model's powers of counts, are known to
        codekin alone. Raises InputError where the folder holds anything else, ModelError where it cannot be written.
        """
        from codekin.embed.saving import save_folder, save_static

        place = Path(folder).expanduser()
        if not isinstance(self._files, Checkpoint):
            save_static(place, self._static, self._files.read_config())
            return
        from codekin.embed.transformer import stored_tensors

        assert self.max_length
        save_folder(
            place,
            self._files.config,
            self._files.tokenizer,
            stored_tensors(self._files, self._pooling),
            pooling=self._pooling,
            prompts={f"{t.value}_{r.value}": self.instruction(t, r) for t in Task for r in Role},
            sizes=self.sizes,
            max_length=self.max_length,
            licence=self._files.licence,
        )

    def _check(self, texts: Sequence[str], dimensions: int | None, any_dimension: bool = False) -> int:
        """The size that is asked for; raises InputError for one that there is not, and for a single string."""
        if isinstance(texts, str):
            raise InputError("encode takes a sequence of texts, not one string: pass [text]")
        size = self.dimensions if dimensions is None else dimensions
        if size not in self.sizes and not (any_dimension and 1 <= size <= self.dimensions):
            sizes = ", ".join(map(str, self.sizes))
            raise InputError(f"model {self.name} has no vectors of {size} dimensions; sizes: {sizes}")
        return size

    def _encode_cached(
        self, texts: Sequence[str], prefix: str, progress: Progress | None
    ) -> NDArray[np.float32]:
        if self._cache is None:
            vectors, self.truncated = self._transformer.encode(texts, prefix, progress)
            return vectors
        keys = [self._key(prefix, text) for text in texts]
        known = self._cache.get(keys)
        fresh = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        self.truncated = 0
        if fresh:
            made, self.truncated = self._transformer.encode(list(fresh.values()), prefix, progress)
            # What one type of number is too narrow for, another may hold.
            sound = np.flatnonzero(np.isfinite(made).all(axis=1))
            made_of = list(fresh)
            self._cache.put([made_of[row] for row in sound], made[sound])
            known |= dict(zip(fresh, made, strict=True))
        return np.array([known[key] for key in keys], np.float32).reshape(len(keys), self.dimensions)

    def _key(self, prefix: str, text: str) -> bytes:
        """What a text's full-size vector is kept by."""
        digest = hashlib.blake2b(digest_size=16)
        for part in (self.fingerprint, prefix, text):
            content = part.encode("utf-8", "surrogatepass")
            digest.update(len(content).to_bytes(8, "little") + content)
        return digest.digest()
