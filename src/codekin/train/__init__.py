"""Training: pairs to a model. `train` runs a recipe whole."""

from __future__ import annotations

from codekin.errors import MissingExtraError

try:
    import torch  # noqa: F401
except ImportError:
    raise MissingExtraError("training", "train") from None

from codekin.train.recipe import DecoderRecipe, Recipe, StaticRecipe, load_recipe
from codekin.train.static import StaticReport, train_static

__all__ = ["DecoderRecipe", "Recipe", "StaticRecipe", "StaticReport", "load_recipe", "train_static"]
