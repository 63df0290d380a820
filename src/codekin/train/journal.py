"""A run's log: a JSON object a line, and the same in TensorBoard where that is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from codekin.errors import InputError

LOG = "log.jsonl"


class Journal:
    """Goes on behind `step`: what a killed run wrote of later steps is taken out."""

    def __init__(self, folder: Path, step: int) -> None:
        self._path = folder / LOG
        try:
            kept = _up_to(self._path, step) if step and self._path.is_file() else []
            self._path.write_text("".join(kept), encoding="utf-8")
        except OSError as error:
            raise InputError(f"{self._path} cannot be written: {error}") from None
        self._board: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self._board = SummaryWriter(folder / "tensorboard", purge_step=step)

    def note(self, step: int, figures: dict[str, Any]) -> None:
        """Writes the figures of a step; those in a dict are named by both keys in TensorBoard."""
        try:
            with open(self._path, "a", encoding="utf-8") as stream:
                stream.write(json.dumps({"step": step, **figures}) + "\n")
        except OSError as error:
            raise InputError(f"step {step}: {self._path} cannot be written: {error}") from None
        if self._board:
            for name, figure in figures.items():
                several = figure if isinstance(figure, dict) else {"": figure}
                for key, value in several.items():
                    if value is not None:
                        self._board.add_scalar(f"{name}/{key}".rstrip("/"), value, step)


def _up_to(path: Path, step: int) -> list[str]:
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            written = json.loads(line)["step"]
        except (ValueError, KeyError, TypeError):
            break  # cut off as the run was killed
        if written <= step:
            kept.append(line)
    return kept
