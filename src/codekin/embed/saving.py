"""Model folders that sentence-transformers, transformers and codekin load to the same vectors."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codekin import __version__
from codekin.embed.config import BertConfig, DecoderConfig, Pooling, read_json
from codekin.embed.folders import LATENT_ATTENTION, OLD_POOLINGS, POOLINGS, SENTENCE_CONFIG
from codekin.embed.safetensors import write_safetensors
from codekin.embed.static import StaticModel
from codekin.embed.tokens import TextTokenizer
from codekin.errors import InputError, MissingExtraError, ModelError

if TYPE_CHECKING:
    import torch

_POOLING = "pooling."
# What stands in a folder that this module wrote.
_WRITTEN = re.compile(
    r"(calibration|config|config_sentence_transformers|modules|sentence_bert_config|tokenizer|tokenizer_config)\.json"
    r"|model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json|README\.md|[12]_\w+"
)
_STATIC_KEYS = ("max_length", "words", "sizes", "count_exponent", "licence")
_DAMPED = (
    "A token that a text repeats counts less than its number of times, which sentence-transformers has no setting "
    "for: codekin alone makes the vectors of this folder for texts with repeated words."
)
_NO_MODULE = (
    "Its pooling is latent attention (arXiv 2405.17428), which sentence-transformers has no module for: "
    "codekin alone makes the vectors of this folder."
)


def save_folder(
    folder: Path,
    config: DecoderConfig | BertConfig,
    tokenizer: TextTokenizer,
    state: Iterable[tuple[str, torch.Tensor]],
    *,
    pooling: Pooling,
    prompts: Mapping[str, str],
    sizes: Sequence[int],
    max_length: int,
    licence: str | None,
) -> None:
    """Write a decoder or encoder to `folder` as sentence-transformers writes it (https://sbert.net).

    `state` gives the base model's tensors by transformers' names, and those of latent attention as "pooling.<name>";
    they are written in their own types. The folder appears whole or not at all; one that is
    there is replaced where it holds nothing but a model that codekin saved. Raises InputError where it holds
    anything else, ModelError where it cannot be written, MissingExtraError without huggingface_hub.
    """
    tensors = dict(state)
    latent = {name: tensors.pop(name) for name in list(tensors) if name.startswith(_POOLING)}
    stored = str(next(iter(tensors.values())).dtype).removeprefix("torch.")
    with _whole_folder(folder) as new:
        _write_tensors(new, tensors)
        _write(
            new / "config.json",
            {**config.to_transformers(), "dtype": stored, "matryoshka_dimensions": [*sizes]},
        )
        tokenizer.save(new)
        _write(new / "sentence_bert_config.json", {"max_seq_length": max_length, "do_lower_case": False})
        module = LATENT_ATTENTION if pooling is Pooling.LATENT else "Pooling"
        place = f"1_{module}"
        _write_modules(new, {"": "Transformer", place: module, "2_Normalize": "Normalize"})
        if pooling is Pooling.LATENT:
            own = {name.removeprefix(_POOLING): tensor for name, tensor in latent.items()}
            _write_tensors(new / place, own)
            _write(new / place / "config.json", {"note": _NO_MODULE})
        else:
            modes = {key: POOLINGS.get(name) == pooling for key, name in OLD_POOLINGS.items()}
            _write(new / place / "config.json", {"word_embedding_dimension": config.hidden_size, **modes})
        _write_sentence_config(new, prompts, {})
        _write_card(new, licence, _NO_MODULE if pooling is Pooling.LATENT else "")


def _write_tensors(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """model.safetensors, in several files where it is large. Raises OSError where they cannot be written."""
    try:
        from huggingface_hub import save_torch_state_dict
        from safetensors import SafetensorError
    except ImportError:
        raise MissingExtraError("saving a decoder", "models") from None
    try:
        save_torch_state_dict(tensors, folder, max_shard_size="5GB")
    except SafetensorError as error:  # what the disk refuses is an error of safetensors' own
        raise OSError(str(error)) from None


def save_static(folder: Path, model: StaticModel, config: Mapping[str, Any]) -> None:
    """Write a static model to `folder` as sentence-transformers writes its StaticEmbedding, its `config` kept.

    The folder comes to be, or is refused, as `save_folder` says.
    """
    with _whole_folder(folder) as new:
        rows, tokenizer = model.export()
        write_safetensors(new / "model.safetensors", {"embedding.weight": rows})
        (new / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
        _write_modules(new, {"": "StaticEmbedding", "1_Normalize": "Normalize"})
        kept = {key: config[key] for key in _STATIC_KEYS if key in config}
        _write_sentence_config(new, {}, kept)
        _write_card(new, config.get("licence"), "" if model.count_exponent == 1 else _DAMPED)


@contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """A new folder to write in, which takes the place of `folder` at the end."""
    _check_place(folder)
    folder = folder.resolve()
    new, old = (folder.with_name(f".{folder.name}.{secrets.token_hex(4)}") for _ in range(2))
    try:
        new.mkdir(parents=True)
        yield new
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except OSError as error:
        raise ModelError(f"{folder}: cannot be written: {error}") from None
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _check_place(folder: Path) -> None:
    if not folder.exists():
        return
    names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else {folder.name}
    config = folder / SENTENCE_CONFIG
    ours = config.is_file() and "codekin" in (read_json(config).get("__version__") or {})
    if names and not (ours and all(map(_WRITTEN.fullmatch, names))):
        raise InputError(f"{folder} holds other things than a model that codekin saved: name a new folder")


def _write_modules(folder: Path, modules: Mapping[str, str]) -> None:
    """modules.json; the names of its classes are those that every version of sentence-transformers knows."""
    listed = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate(modules.items())
    ]
    for path in filter(None, modules):
        (folder / path).mkdir(exist_ok=True)
    _write(folder / "modules.json", listed)


def _write_sentence_config(folder: Path, prompts: Mapping[str, str], more: Mapping[str, Any]) -> None:
    config: dict[str, Any] = {
        "__version__": {"codekin": __version__},
        "model_type": "SentenceTransformer",
        "prompts": dict(prompts),
        "default_prompt_name": None,
        "similarity_fn_name": "cosine",
    }
    _write(folder / SENTENCE_CONFIG, {**config, **more})


def _write_card(folder: Path, licence: str | None, note: str = "") -> None:
    head = ["---", "library_name: sentence-transformers", "pipeline_tag: feature-extraction"]
    if licence:
        head.append(f"license: {licence.lower()}")
    text = "\n".join([*head, "---", "", "# Embedding model", "", "Written by codekin.", note]).rstrip()
    (folder / "README.md").write_text(text + "\n", encoding="utf-8")


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
