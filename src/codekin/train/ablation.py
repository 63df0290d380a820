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


def table(reports: dict[str, TrainReport]) -> str:
    """Table 5's form, in Markdown: nDCG@10 in percent, a row a dev set, a column a pooling, the best in bold."""
    rows = [["benchmark", *reports], ["---", *("---:" for _ in reports)]]
    figures = {name: [report.figures[name] for report in reports.values()] for name in _sets(reports)}
    means = [sum(report.figures.values()) / len(report.figures) for report in reports.values()]
    for name, values in [*figures.items(), ("Average", means)]:
        best = max(values)
        shown = [f"**{100 * value:.2f}**" if value == best else f"{100 * value:.2f}" for value in values]
        rows.append([name, *shown])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _sets(reports: dict[str, TrainReport]) -> list[str]:
    return list(next(iter(reports.values())).figures)
