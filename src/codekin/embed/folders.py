"""Model folders as Hugging Face's libraries write them: which files make which model, and what they say of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codekin.embed.checkpoints import Checkpoint, spdx
from codekin.embed.config import BertConfig, read_json, transformer_config
from codekin.embed.fingerprints import fingerprint
from codekin.embed.tokens import TextTokenizer
from codekin.errors import MissingExtraError, ModelError

if TYPE_CHECKING:
    import torch

# The reference implementation refuses larger headers of safetensors.
_MAX_HEADER_BYTES = 100_000_000
# The module of a folder whose pooling is latent attention, which sentence-transformers has not.
LATENT_ATTENTION = "LatentAttention"
SENTENCE_CONFIG = "config_sentence_transformers.json"
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
        return fingerprint((self.config, self.tokenizer, self.tensors))


@dataclass(frozen=True)
class SentenceModules:
    """What sentence-transformers' files in a folder say (https://sbert.net).

    `transformer` and `pooling` are the folders of those modules' own files, `max_length` is the longest text in tokens,
    `cut` the size that vectors are cut to.
    """

    transformer: Path
    pooling: Path | None = None
    latent: bool = False
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
        # The base model's tensors stand below `model.`, or `bert.`, where a head was saved with it.
        self._placed = {
            name.removeprefix("model.").removeprefix("bert."): (file, name) for name, file in placed.items()
        }
        if pooling is not None:
            self._placed |= {f"pooling.{name}": (pooling, name) for name in _open(pooling).keys()}  # noqa: SIM118
        self.files = tuple(dict.fromkeys(file for file, _ in self._placed.values())) or (whole,)
        for file in self.files:
            _open(file)

    def __contains__(self, tensor: str) -> bool:
        return tensor in self._placed

    def file(self, tensor: str) -> Path:
        return self._placed[tensor][0] if tensor in self._placed else self.files[0]

    def read(self, tensor: str) -> torch.Tensor:
        file, name = self._placed[tensor]
        try:
            # A handle maps the whole file; with one of its own, a tensor's pages go when it goes.
            read: torch.Tensor = _open(file).get_tensor(name)
        except Exception as error:  # the index may promise what the shard has not
            raise ModelError(f"{file}: tensor {tensor!r} cannot be read: {error}") from None
        if not read.is_floating_point() or read.itemsize < 2:
            raise ModelError(f"{file}: tensor {tensor!r} has type {read.dtype}, which codekin does not read")
        return read


def open_folder(folder: Path, name: str) -> StaticFiles | Checkpoint:
    """The model in `folder`, which the user calls `name`; raises ModelError that says what is missing or wrong."""
    said = _sentence_modules(folder)
    source = said.transformer / "config.json"
    settings = _optional(source)
    # model2vec calls its models so, or by no name at all.
    named = settings.get("architectures") or [settings.get("model_type", "model2vec")]
    if named[0] in ("StaticModel", "model2vec"):
        return static_files(folder)
    config = transformer_config(settings, source)
    pooling = _pooling(said, config.hidden_size)
    if pooling is None and isinstance(config, BertConfig):
        pooling = "mean"  # its last token says no more of a text than any other
    own = said.pooling / "model.safetensors" if said.pooling and said.latent else None
    weights = SafetensorsFiles(said.transformer, own)
    tokenizer = TextTokenizer.from_folder(said.transformer)
    if tokenizer.size > config.vocab_size:
        raise ModelError(
            f"{said.transformer}: the tokenizer has {tokenizer.size} tokens, {source.name} {config.vocab_size}"
        )
    return Checkpoint(
        name=name,
        config=config,
        tokenizer=tokenizer,
        pooling=pooling,
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
    sentence_config = folder / SENTENCE_CONFIG
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


def _sentence_modules(folder: Path) -> SentenceModules:
    listed = folder / "modules.json"
    if not listed.is_file():
        return SentenceModules(folder)
    places: dict[str, Path] = {}
    for kind, place in _modules(listed):
        name = kind.rpartition(".")[2]
        if name not in ("Transformer", "Pooling", LATENT_ATTENTION, "Normalize", "StaticEmbedding"):
            raise ModelError(f"{listed}: module {kind}: codekin does not compute it")
        places[name] = folder / place
    transformer = places.get("Transformer", folder)
    general, limits = folder / SENTENCE_CONFIG, transformer / "sentence_bert_config.json"
    said, limited = _optional(general), _optional(limits)
    prompts = {name: text for name, text in (said.get("prompts") or {}).items() if text is not None}
    default, longest = said.get("default_prompt_name"), limited.get("max_seq_length")
    if not all(isinstance(text, str) for text in prompts.values()):
        raise ModelError(f"{general}: prompts are no strings")
    if default is not None and default not in prompts:
        raise ModelError(f"{general}: no prompt {default!r}, which is the default")
    if limited.get("do_lower_case"):
        raise ModelError(f"{limits}: do_lower_case: codekin does not compute it")
    if longest is not None and not (isinstance(longest, int) and longest > 0):
        raise ModelError(f"{limits}: max_seq_length is {longest!r}, not a positive whole number")
    return SentenceModules(
        transformer=transformer,
        pooling=places.get("Pooling", places.get(LATENT_ATTENTION)),
        latent=LATENT_ATTENTION in places,
        prompts=prompts,
        default_prompt=default,
        max_length=longest,
        cut=said.get("truncate_dim"),
    )


def _modules(path: Path) -> list[tuple[str, str]]:
    """Each module's class and folder."""
    try:
        modules = [
            (str(module["type"]), str(module["path"])) for module in json.loads(path.read_text("utf-8"))
        ]
    except (OSError, ValueError, TypeError, KeyError):
        modules = []
    if not modules:
        raise ModelError(f"{path}: no list of modules")
    return modules


def _pooling(modules: SentenceModules, hidden: int) -> str | None:
    """codekin's name for the pooling that a Pooling module's configuration, old or new, asks for."""
    if modules.latent or modules.pooling is None:
        return "latent" if modules.latent else None
    path = modules.pooling / "config.json"
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
    size = said.get("embedding_dimension", said.get("word_embedding_dimension", hidden))
    if size != hidden:
        raise ModelError(f"{path}: {size} numbers a token, the transformer makes {hidden}")
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
        raise MissingExtraError(f"model {file.parent}", "models") from None
    try:
        return safe_open(str(file), framework="pt")
    except ImportError:  # of torch
        raise MissingExtraError(f"model {file.parent}", "models") from None
    except FileNotFoundError:
        raise ModelError(f"{file}: the file is missing") from None
    except (SafetensorError, OSError) as error:
        cut = _cut_tensor(file)
        where = f"tensor {cut!r} is cut off" if cut else f"cut off, or not a safetensors file: {error}"
        raise ModelError(f"{file}: {where}") from None


def _cut_tensor(file: Path) -> str | None:
    """The first tensor that goes beyond the file's end."""
    try:
        with file.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(min(size, _MAX_HEADER_BYTES)))
            data = file.stat().st_size - stream.tell()
        return next((name for name, at in header.items() if at.get("data_offsets", (0, 0))[1] > data), None)
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None


def _sizes(settings: Mapping[str, Any], cut: int | None, full: int, path: Path) -> tuple[int, ...]:
    """The Matryoshka sizes that config.json lists, the one that sentence-transformers cuts to, and the full one."""
    own = settings.get("matryoshka_dimensions") or settings.get("matryoshka_dims") or []
    if not isinstance(own, list):
        raise ModelError(f"{path}: matryoshka_dimensions {own!r} are no list")
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
