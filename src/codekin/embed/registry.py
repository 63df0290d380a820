"""Which models there are, and where the one that a user names lies."""

from __future__ import annotations

from pathlib import Path

from codekin.embed.checkpoints import Checkpoint
from codekin.embed.folders import StaticFiles, open_folder, static_files
from codekin.errors import ModelError

DEFAULT_MODEL = "codekin-static"
_BUNDLED = Path(__file__).parent / "models"


def find_model(name: str) -> StaticFiles | Checkpoint:
    """The model of that name: a bundled one, a local folder, a .gguf file, or a model of the Hugging Face hub."""
    if (_BUNDLED / name).is_dir() and "/" not in name and name not in ("", ".", ".."):
        return static_files(_BUNDLED / name)
    if name and Path(name).is_dir():
        return open_folder(Path(name), name)
    raise ModelError(f"no model {name!r}")
