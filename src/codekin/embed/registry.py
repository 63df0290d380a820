"""Which models there are, and where the one that a user names lies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from codekin.embed.checkpoints import Checkpoint
from codekin.embed.folders import StaticFiles, open_folder, static_files
from codekin.embed.hub import HubName, cached, fetch
from codekin.embed.safetensors import read_safetensors
from codekin.errors import MissingExtraError, ModelError

DEFAULT_MODEL = "codekin-static"
_BUNDLED = Path(__file__).parent / "models"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that comes with codekin, or one of the hub that it knows.

    `kind` is "static" or "transformer", `sizes` are the Matryoshka sizes, ascending, `licence` is an SPDX identifier,
    `installed` says that it lies on this machine, `bytes` is its weights' size there or on the hub, `note` what it is
    for, in a few words.
    """

    name: str
    kind: str
    dimensions: int
    sizes: tuple[int, ...]
    licence: str
    installed: bool
    default: bool
    bytes: int
    note: str


_HUB = [
    ModelInfo(name, "transformer", sizes[-1], sizes, licence, False, False, weights, note)
    for name, sizes, licence, weights, note in (
        (
            "jinaai/jina-code-embeddings-0.5b",
            (64, 128, 256, 512, 896),
            "CC-BY-NC-4.0",
            988_065_536,
            "code search in 15 languages; not for commercial use",
        ),
        (
            "jinaai/jina-code-embeddings-1.5b",
            (128, 256, 512, 1024, 1536),
            "CC-BY-NC-4.0",
            3_087_428_608,
            "the same, larger; not for commercial use",
        ),
        (
            "Qwen/Qwen3-Embedding-0.6B",
            (32, 64, 128, 256, 512, 768, 1024),
            "Apache-2.0",
            1_191_553_024,
            "texts of all kinds, code among them",
        ),
        (
            "sentence-transformers/all-MiniLM-L6-v2",
            (384,),
            "Apache-2.0",
            90_868_376,
            "prose; a second stage for search on a CPU",
        ),
        (
            "Qwen/Qwen2.5-Coder-0.5B",
            (896,),
            "Apache-2.0",
            988_065_536,
            "a backbone to train, no search model yet",
        ),
        (
            "Qwen/Qwen2.5-Coder-1.5B",
            (1536,),
            "Apache-2.0",
            3_087_428_608,
            "a backbone to train, no search model yet",
        ),
    )
]


def find_model(name: str) -> StaticFiles | Checkpoint:
    """The model of that name: a bundled one, a local folder or .gguf file, or a model of the Hugging Face hub.

    Raises ModelError that says what is wrong with the name or the model's files, MissingExtraError where reading it
    needs a package that is not installed.
    """
    if name in _bundled():
        return static_files(_BUNDLED / name)
    path = Path(name).expanduser()
    if name and path.exists():
        return open_folder(path, name) if path.is_dir() else _open_file(path, name)
    if on_hub := HubName.parse(name):
        found = fetch(on_hub)
        return (
            _open_file(found, name) if on_hub.file else _with_what_is_known(open_folder(found, name), on_hub)
        )
    raise ModelError(
        f"no model {name!r}: bundled is {', '.join(_bundled())}; else give a local folder, a .gguf file, "
        "or a name on the Hugging Face hub (owner/name)"
    )


def own_folder(name: str) -> Path | None:
    """The folder that holds the model of that name alone; None for a file, or what the hub's cache holds."""
    if name in _bundled():
        return _BUNDLED / name
    path = Path(name).expanduser()
    return path if name and path.is_dir() else None


def available_models() -> list[ModelInfo]:
    """The models that come with codekin, the default first, then those of the hub that it knows."""
    found = [
        replace(model, installed=True) if (on_hub := HubName.parse(model.name)) and cached(on_hub) else model
        for model in _HUB
    ]
    return [_describe(name) for name in _bundled()] + found


def _bundled() -> list[str]:
    return sorted(
        (folder.name for folder in _BUNDLED.iterdir()), key=lambda name: (name != DEFAULT_MODEL, name)
    )


def _describe(name: str) -> ModelInfo:
    files = static_files(_BUNDLED / name)
    config = files.read_config()
    dimensions = int(read_safetensors(files.tensors)[files.table].shape[1])
    return ModelInfo(
        name=name,
        kind="static",
        dimensions=dimensions,
        sizes=tuple(config.get("sizes", (dimensions,))),
        licence=str(config.get("licence", "unknown")),
        installed=True,
        default=name == DEFAULT_MODEL,
        bytes=sum(file.stat().st_size for file in (files.config, files.tokenizer, files.tensors)),
        note="code search at once, on any CPU",
    )


def _with_what_is_known(found: StaticFiles | Checkpoint, name: HubName) -> StaticFiles | Checkpoint:
    """Sizes and licence of a known model whose files do not say them."""
    known = next((model for model in _HUB if model.name == name.repository), None)
    if known is None or not isinstance(found, Checkpoint) or found.config.hidden_size != known.dimensions:
        return found
    sizes = found.sizes if len(found.sizes) > 1 else known.sizes
    return replace(found, sizes=sizes, licence=found.licence or known.licence)


def _open_file(path: Path, name: str) -> Checkpoint:
    if path.suffix != ".gguf":
        raise ModelError(f"{path} is a file but no .gguf; of other models give the folder")
    try:
        from codekin.embed.gguf import open_gguf
    except ImportError:
        raise MissingExtraError(f"model {name}", "models") from None
    return open_gguf(path, name)
