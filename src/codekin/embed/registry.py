"""Which models there are, and where the one that a user names lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from codekin.embed.checkpoints import Checkpoint
from codekin.embed.folders import StaticFiles, open_folder, static_files
from codekin.embed.safetensors import read_safetensors
from codekin.errors import ModelError

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


def find_model(name: str) -> StaticFiles | Checkpoint:
    """The model of that name: a bundled one, a local folder, a .gguf file, or a model of the Hugging Face hub."""
    if (_BUNDLED / name).is_dir() and "/" not in name and name not in ("", ".", ".."):
        return static_files(_BUNDLED / name)
    if name and Path(name).is_dir():
        return open_folder(Path(name), name)
    raise ModelError(f"no model {name!r}")


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
