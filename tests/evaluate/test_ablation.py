"""Which folders are the columns of an ablation."""

from __future__ import annotations

from pathlib import Path

import pytest

from codekin.errors import InputError
from codekin.evaluate.ablation import checkpoints


def model(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")


def test_runs_checkpoints_and_files_in_order(tmp_path: Path) -> None:
    for name in ("latent/model", "checkpoint-1000", "mean/model", "checkpoint-500", "last/model", "lora"):
        model(tmp_path / name)
    (tmp_path / "q8.gguf").touch()
    (tmp_path / "logs").mkdir()
    (tmp_path / "notes.txt").touch()
    found = checkpoints(tmp_path)
    assert list(found) == ["last", "mean", "latent", "checkpoint-500", "checkpoint-1000", "lora", "q8"]
    assert found["last"] == tmp_path / "last" / "model" and found["lora"] == tmp_path / "lora"


@pytest.mark.parametrize("names", [(), ("last/model",)])
def test_fewer_than_two_are_no_ablation(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        model(tmp_path / name)
    with pytest.raises(InputError, match=f"two models or more, and .* holds {len(names)}$"):
        checkpoints(tmp_path)
    with pytest.raises(InputError, match="no folder"):
        checkpoints(tmp_path / "gone")
