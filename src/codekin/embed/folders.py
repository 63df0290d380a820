"""Model folders as Hugging Face's libraries write them: which files make which model, and what they say of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codekin.embed.checkpoints import Checkpoint, spdx
from codekin.embed.config import DecoderConfig
from codekin.embed.tokens import TextTokenizer
from codekin.errors import MissingExtraError, ModelError

if TYPE_CHECKING:
    import torch

# The module of a folder whose pooling is latent attention, which sentence-transformers has not.
LATENT_ATTENTION = "LatentAttention"
# sentence-transformers' names for the poolings that codekin computes, old and new.
POOLINGS = {"lasttoken": "last", "mean": "mean"}
OLD_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


@dataclass(frozen=True)
class StaticFiles:
    """The three files of a static model, and the name its table has in the tensors file."""

    config: Path
    tokenizer: Path
    tensors: Path
    table: str

    @property
    def complete(self) -> bool:
        return self.config.is_file() and self.tokenizer.is_file() and self.tensors.is_file()

    def read_config(self) -> dict[str, Any]:
        """The configuration; raises ModelError where it is not a JSON object."""
        return read_json(self.config)

    def fingerprint(self) -> str:
        """32 hexadecimal digits that change with any byte of the three files."""
        digest = hashlib.sha256()
        for file in (self.config, self.tokenizer, self.tensors):
            content = file.read_bytes()
            digest.update(len(content).to_bytes(8, "little"))
            digest.update(content)
        return digest.hexdigest()[:32]


@dataclass(frozen=True)
class SentenceModules:
    """What sentence-transformers' files in a folder say (https://sbert.net).

    `transformer` is the folder of the transformer's own files, `max_length` the longest text in tokens, `cut` the
    size that vectors are cut to.
    """

    transformer: Path
    pooling: str | None = None
    pooling_tensors: Path | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    max_length: int | None = None
    cut: int | None = None


class SafetensorsFiles:
    """The tensors of one safetensors file, or of the shards that `model.safetensors.index.json` names.

    Raises ModelError where a file is missing, cut off or of another kind.
    """

    def __init__(self, folder: Path, pooling: Path | None) -> None:
        """`pooling` is the file of the pooling's own tensors, where it has any."""
        index, whole = folder / "model.safetensors.index.json", folder / "model.safetensors"
        if whole.is_file():
            placed = dict.fromkeys(_open(whole).keys(), whole)
        elif index.is_file():
            placed = {name: folder / file for name, file in _weight_map(index).items()}
        else:
            raise ModelError(
                f"{folder}: model.safetensors is missing; codekin reads no other weights of a folder"
            )
        # The base model's tensors stand below `model.` where a head was saved with it.
        self._placed = {name.removeprefix("model."): (file, name) for name, file in placed.items()}
        if pooling is not None:
            self._placed |= {f"pooling.{name}": (pooling, name) for name in _open(pooling).keys()}  # noqa: SIM118
        self.files = tuple(dict.fromkeys(file for file, _ in self._placed.values()))
        self._opened = {file: _open(file) for file in self.files}

    def __contains__(self, tensor: str) -> bool:
        return tensor in self._placed

    def file(self, tensor: str) -> Path:
        return self._placed[tensor][0] if tensor in self._placed else self.files[0]

    def read(self, tensor: str) -> torch.Tensor:
        file, name = self._placed[tensor]
        try:
            read: torch.Tensor = self._opened[file].get_tensor(name)
        except Exception as error:  # the index may promise what the shard has not
            raise ModelError(f"{file}: tensor {tensor!r} cannot be read: {error}") from None
        if not read.is_floating_point() or read.itemsize < 2:
            raise ModelError(f"{file}: tensor {tensor!r} has type {read.dtype}, which codekin does not read")
        return read


def open_folder(folder: Path, name: str) -> StaticFiles | Checkpoint:
    """The model in `folder`, which the user calls `name`; raises ModelError that says what is missing or wrong."""
    said = _sentence_modules(folder)
    source = said.transformer / "config.json"
    if not source.is_file() or "architectures" not in (settings := read_json(source)):
        return static_files(folder)
    config = DecoderConfig.from_transformers(settings, source)
    weights = SafetensorsFiles(said.transformer, said.pooling_tensors)
    tokenizer = TextTokenizer.from_folder(said.transformer)
    if tokenizer.size > config.vocab_size:
        raise ModelError(
            f"{said.transformer}: the tokenizer has {tokenizer.size} tokens, {source.name} {config.vocab_size}"
        )
    return Checkpoint(
        name=name,
        config=config,
        tokenizer=tokenizer,
        pooling=said.pooling,
        prompts=said.prompts,
        default_prompt=said.default_prompt,
        sizes=_sizes(settings, said.cut, config.hidden_size, source),
        max_length=min(said.max_length or tokenizer.max_length or config.max_positions, config.max_positions),
        licence=_licence(folder / "README.md"),
        files=(source, *tokenizer.files, *weights.files),
        weights=weights,
    )


def static_files(folder: Path) -> StaticFiles:
    """The files of the static model in `folder`, in the layouts of model2vec and sentence-transformers.

    Raises ModelError that says what is missing.
    """
    plain = StaticFiles(
        folder / "config.json", folder / "tokenizer.json", folder / "model.safetensors", "embeddings"
    )
    sentence_config = folder / "config_sentence_transformers.json"
    nested = folder / "0_StaticEmbedding"
    candidates = (
        plain,
        StaticFiles(sentence_config, plain.tokenizer, plain.tensors, "embedding.weight"),
        StaticFiles(
            sentence_config, nested / "tokenizer.json", nested / "model.safetensors", "embedding.weight"
        ),
    )
    for files in candidates:
        if files.complete:
            return files
    missing = [file.name for file in (plain.config, plain.tokenizer, plain.tensors) if not file.is_file()]
    raise ModelError(f"{folder} is no model: {', '.join(missing)} missing")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; raises ModelError where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path}: not a JSON object")
    return content


def _sentence_modules(folder: Path) -> SentenceModules:
    listed = folder / "modules.json"
    if not listed.is_file():
        return SentenceModules(folder)
    transformer, pooling, tensors = folder, None, None
    for module in _modules(listed):
        kind, place = module["type"].rpartition(".")[2], folder / module["path"]
        if kind == "Transformer":
            transformer = place
        elif kind == "Pooling":
            pooling = _pooling(place / "config.json")
        elif kind == LATENT_ATTENTION:
            pooling, tensors = "latent", place / "model.safetensors"
        elif kind not in ("Normalize", "StaticEmbedding"):
            raise ModelError(f"{listed}: module {module['type']}: codekin does not compute it")
    said = _optional(folder / "config_sentence_transformers.json")
    prompts = {name: text for name, text in (said.get("prompts") or {}).items() if text is not None}
    default = said.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise ModelError(
            f"{folder / 'config_sentence_transformers.json'}: no prompt {default!r}, which is the default"
        )
    limits = _optional(transformer / "sentence_bert_config.json")
    if limits.get("do_lower_case"):
        raise ModelError(
            f"{transformer / 'sentence_bert_config.json'}: do_lower_case: codekin does not compute it"
        )
    return SentenceModules(
        transformer,
        pooling,
        tensors,
        prompts,
        default,
        limits.get("max_seq_length"),
        said.get("truncate_dim"),
    )


def _modules(path: Path) -> list[dict[str, str]]:
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        return [{"type": str(module["type"]), "path": str(module["path"])} for module in listed]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{path}: no list of modules: {error}") from None


def _pooling(path: Path) -> str:
    """codekin's name for the pooling of a Pooling module's configuration, old or new."""
    said = read_json(path)
    named = (
        said.get("pooling_mode") or [name for key, name in OLD_POOLINGS.items() if said.get(key)] or ["mean"]
    )
    modes = [named] if isinstance(named, str) else list(named)
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise ModelError(
            f"{path}: pooling {' and '.join(map(str, modes))}; codekin computes lasttoken or mean"
        )
    if not said.get("include_prompt", True) and modes != ["lasttoken"]:
        raise ModelError(f"{path}: pooling without the prompt (include_prompt): codekin does not compute it")
    return POOLINGS[modes[0]]


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _weight_map(index: Path) -> dict[str, str]:
    placed = read_json(index).get("weight_map")
    if (
        not isinstance(placed, dict)
        or not placed
        or not all(isinstance(file, str) for file in placed.values())
    ):
        raise ModelError(f"{index}: weight_map is no object of file names")
    return placed


def _open(file: Path) -> Any:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise MissingExtraError("a transformer model", "models") from None
    try:
        return safe_open(str(file), framework="pt")
    except FileNotFoundError:
        raise ModelError(f"{file}: the file is missing") from None
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file}: cut off, or not a safetensors file: {error}") from None


def _sizes(settings: Mapping[str, Any], cut: int | None, full: int, path: Path) -> tuple[int, ...]:
    """The Matryoshka sizes that config.json lists, the one that sentence-transformers cuts to, and the full one."""
    own = settings.get("matryoshka_dimensions") or settings.get("matryoshka_dims") or []
    listed = [*own, *([] if cut is None else [cut]), full]
    if not all(isinstance(size, int) and 0 < size <= full for size in listed):
        raise ModelError(f"{path}: sizes {listed} do not fit vectors of {full} numbers")
    return tuple(sorted(set(listed)))


def _licence(card: Path) -> str | None:
    """The licence in the head of a model card (https://huggingface.co/docs/hub/model-cards)."""
    try:
        text = card.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    head = re.match(r"---\r?\n(.*?)\r?\n---", text, re.DOTALL)
    named = re.search(r"^license: *[\"']?([\w.-]+)", head[1], re.MULTILINE) if head else None
    return spdx(named[1]) if named else None
