"""Training: a recipe and pairs to a model."""

from __future__ import annotations

from codekin.errors import MissingExtraError

try:
    import torch  # noqa: F401
except ImportError:
    raise MissingExtraError("training", "train") from None

from codekin.train.ablation import ablate
from codekin.train.recipe import DecoderRecipe, Recipe, StaticRecipe, load_recipe
from codekin.train.static import StaticReport, train_static
from codekin.train.trainer import TrainReport, train_decoder

__all__ = [
    "DecoderRecipe",
    "Recipe",
    "StaticRecipe",
    "StaticReport",
    "TrainReport",
    "ablate",
    "load_recipe",
    "train_decoder",
    "train_static",
]
