"""The pooling ablation (arXiv 2508.21290, Table 5): one recipe, trained once with each pooling."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from codekin.embed.config import Pooling
from codekin.errors import InputError
from codekin.train.recipe import DecoderRecipe
from codekin.train.trainer import CHECKPOINT, Progress, TrainReport, train_decoder


def ablate(
    recipe: DecoderRecipe,
    *,
    output: Path,
    resume: bool = False,
    device: str | None = None,
    progress: Progress | None = None,
) -> dict[str, TrainReport]:
    """Each pooling's report; its run is in the folder of its name below `output`.

    With `resume` a run that was begun goes on. Raises InputError where the recipe has no dev set to compare by.
    """
    if not recipe.data.dev:
        raise InputError("an ablation compares dev sets: name folders in BEIR's layout as data.dev")
    reports = {}
    for pooling in Pooling:
        own = replace(recipe, model=replace(recipe.model, pooling=pooling.value))
        folder = output / pooling.value
        begun = resume and (folder / CHECKPOINT).is_file()
        reports[pooling.value] = train_decoder(
            own, output=folder, resume=begun, device=device, progress=progress
        )
    return reports
