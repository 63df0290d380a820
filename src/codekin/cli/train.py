"""`codekin train`: a recipe to a model."""

from __future__ import annotations

import os
from pathlib import Path

import click

from codekin.cli import options
from codekin.cli.meter import Counting
from codekin.cli.terminal import duration
from codekin.errors import InputError


@click.command()
@click.argument("recipe")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change the recipe: training.batch=64, data.train='[\"pairs.jsonl\"]'. Repeatable.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The run's folder: model/, log.jsonl, checkpoint.pt. [default: the recipe's name]",
)
@click.option("--resume", is_flag=True, help="Go on with the run in the folder, to the very same model.")
@click.option("--ablate", is_flag=True, help="Train with each pooling and print the paper's Table 5.")
@options.device
def train(
    recipe: str,
    overrides: tuple[str, ...],
    output: Path | None,
    resume: bool,
    ablate: bool,
    device: str | None,
) -> None:
    """Train an embedding model.

    RECIPE is a TOML file or a bundled one: paper-0.5b, paper-1.5b, pooling-ablation, lora-cpu, static. Under
    torchrun (torchrun --nproc-per-node 4 --no-python codekin train ...) several GPUs share each batch.
    """
    from codekin.train import DecoderRecipe, load_recipe, train_static

    loaded = load_recipe(recipe, overrides)
    folder = output or Path(loaded.name)
    if not isinstance(loaded, DecoderRecipe):
        if resume or ablate or device:
            raise InputError(
                f"recipe {recipe} is of a static model: --resume, --ablate and --device are for decoders"
            )
        report = train_static(loaded, output=folder)
        print(f"{folder / 'model'}: held-out nDCG@10 {report.best_ndcg:.4f}, {duration(report.seconds)}")
        return
    from codekin.train import ablate as ablate_pooling
    from codekin.train import train_decoder

    with Counting("training", lambda steps: f"{steps:,.4g}") as progress:
        if ablate:
            reports = ablate_pooling(loaded, output=folder, resume=resume, device=device, progress=progress)
        else:
            run = train_decoder(loaded, output=folder, resume=resume, device=device, progress=progress)
    if int(os.environ.get("RANK", 0)):
        return
    if ablate:
        from codekin.evaluate import POOLINGS, Cell, figures_table

        figures = {
            pooling: {name: Cell(figure) for name, figure in report.figures.items()}
            for pooling, report in reports.items()
        }
        print(figures_table(figures, beside=POOLINGS).markdown())
        return
    told = "".join(f", {name} nDCG@10 {figure:.4f}" for name, figure in run.figures.items())
    print(
        f"{folder / 'model'}: the model of step {run.best_step} of {run.steps}{told}, {duration(run.seconds)}"
    )
