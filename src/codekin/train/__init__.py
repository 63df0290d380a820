"""Training: pairs and a teacher to a model. `train` runs a recipe whole."""

from __future__ import annotations

from codekin.errors import MissingExtraError

try:
    import torch  # noqa: F401
except ImportError:
    raise MissingExtraError("training", "train") from None

from codekin.train.recipe import Recipe, load_recipe
from codekin.train.run import TrainReport, train

__all__ = ["Recipe", "TrainReport", "load_recipe", "train"]
