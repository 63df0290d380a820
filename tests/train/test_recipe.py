"""Recipes: the bundled one loads, and a mistake is named."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from codekin.errors import InputError
from codekin.train import load_recipe
from codekin.train.recipe import RECIPES


def _edited(tmp_path: Path, old: str, new: str) -> Path:
    text = (RECIPES / "static.toml").read_text()
    assert old in text
    path = tmp_path / "edited.toml"
    path.write_text(text.replace(old, new))
    return path


def test_the_bundled_recipe() -> None:
    recipe = load_recipe("static")
    assert recipe.name == "codekin-static"
    assert recipe.model.sizes == (64, 128, 256)
    assert recipe.model.dimensions == 256


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("temperature =", "temprature =", r"unknown key contrast\.temprature; .*contrast\.temperature\?"),
        ("seed = 7", "sead = 7", r"unknown key sead; did you mean seed\?"),
        ("seed = 7", "", "key seed is missing"),
        ("seed = 7", 'seed = "7"', "seed must be an integer, not '7'"),
        ("seed = 7", "seed = true", "seed must be an integer, not True"),
        ("sizes = [64, 128, 256]", "sizes = [64, 0.5]", r"model\.sizes must be a list of integers"),
        ("[distil]", "[distill]", r"did you mean distil\?"),
        ("seed = 7", "seed =", "not TOML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_recipe(_edited(tmp_path, old, new))


def test_an_unknown_recipe_lists_the_bundled() -> None:
    with pytest.raises(InputError, match="bundled recipes: static"):
        load_recipe("no-such-recipe")
