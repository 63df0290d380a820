"""Recipes: the bundled ones load, and a mistake is named."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from codekin.data import Use, select_sets
from codekin.errors import InputError
from codekin.train import DecoderRecipe, StaticRecipe, load_recipe
from codekin.train.recipe import RECIPES


def _edited(tmp_path: Path, old: str, new: str) -> Path:
    text = (RECIPES / "static.toml").read_text()
    assert old in text
    path = tmp_path / "edited.toml"
    path.write_text(text.replace(old, new))
    return path


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.toml")))
def test_bundled_recipes_load(name: str) -> None:
    loaded = load_recipe(name)
    assert isinstance(loaded, StaticRecipe if name == "static" else DecoderRecipe)
    assert load_recipe(f"recipes/{name}.toml") == loaded


def test_the_static_recipe() -> None:
    recipe = load_recipe("static")
    assert recipe.name == "codekin-static"
    assert isinstance(recipe, StaticRecipe)
    assert (recipe.model.dimensions, recipe.model.sizes) == (256, (64, 128, 256))


@pytest.mark.parametrize(
    ("name", "batch", "sizes"),
    [
        ("paper-0.5b", 512, (64, 128, 256, 512, 896)),
        ("paper-1.5b", 256, (128, 256, 512, 1024, 1536)),
    ],
)
def test_the_papers_recipes(name: str, batch: int, sizes: tuple[int, ...]) -> None:
    """Section 4 of arXiv 2508.21290 and the model card; a recipe that extends another keeps what it does not say."""
    recipe = load_recipe(name)
    assert isinstance(recipe, DecoderRecipe)
    assert recipe.model.sizes == sizes
    training = recipe.training
    assert (training.batch, training.max_length, training.steps) == (batch, 512, 1500)
    assert (training.temperature, training.symmetric, recipe.model.pooling) == (0.05, False, "last")
    assert set(recipe.data.train) == {entry.name for entry in select_sets(Use.TRAINING)}


def test_overrides() -> None:
    changed = load_recipe(
        "lora-cpu", ["training.batch=8", "lora.alpha = 4", 'data.train=["a.jsonl"]', "model.base=mine/"]
    )
    assert isinstance(changed, DecoderRecipe) and changed.lora
    assert (changed.training.batch, changed.lora.alpha) == (8, 4.0)
    assert (changed.data.train, changed.model.base) == (("a.jsonl",), "mine/")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.bach=8", r"unknown key training\.bach; did you mean training\.batch\?"),
        ("training.batch", "sets nothing"),
        ("seed.of=1", "seed is no table"),
        ("training.batch=many", "training.batch must be an integer, not 'many'"),
        ("data.mixed=1", "data.mixed must be true or false"),
        ("kind=bert", "kind must be one of static, decoder"),
    ],
)
def test_mistakes_of_overrides_are_named(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_recipe("lora-cpu", [override])


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
    with pytest.raises(InputError, match=r"bundled recipes: lora-cpu, .*static"):
        load_recipe("no-such-recipe")
