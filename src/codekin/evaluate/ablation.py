"""The models of an ablation: several checkpoints side by side, as in the paper's Table 5."""

from __future__ import annotations

import re
from pathlib import Path

from codekin.embed.config import Pooling
from codekin.errors import InputError

_POOLINGS = [pooling.value for pooling in Pooling]
_OF_A_MODEL = ("config.json", "modules.json")


def checkpoints(folder: Path) -> dict[str, Path]:
    """The models in `folder` by their column's name: its subfolders, those of training's runs at RUN/model.

    The poolings come as Table 5 has them, then the others by name, checkpoint-500 before checkpoint-1000; a file of
    GGUF is a model too. Raises InputError where there are fewer than two.
    """
    if not folder.is_dir():
        raise InputError(f"no folder {folder}")
    found = {}
    for path in folder.iterdir():
        if path.suffix == ".gguf":
            found[path.stem] = path
            continue
        for place in (path, path / "model"):
            if any((place / name).is_file() for name in _OF_A_MODEL):
                found[path.name] = place
                break
    if len(found) < 2:
        raise InputError(f"an ablation compares two models or more, and {folder} holds {len(found)}")
    return {name: found[name] for name in sorted(found, key=_order)}


def _order(name: str) -> tuple[int, list[tuple[int, str]]]:
    parts = [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
    return _POOLINGS.index(name) if name in _POOLINGS else len(_POOLINGS), parts
