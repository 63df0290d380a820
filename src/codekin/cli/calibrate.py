"""`codekin calibrate`: what a model's scores mean."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

from codekin.cli import options
from codekin.cli.meter import Counting
from codekin.cli.terminal import aligned
from codekin.tasks import Task

if TYPE_CHECKING:
    from codekin.embed.calibration import Calibration, TaskCalibration


@click.command()
@click.argument("model")
@click.option(
    "--set",
    "sets",
    multiple=True,
    required=True,
    metavar="[TASK=]FOLDER_OR_PAIRS",
    help="Pairs whose answers are known: a folder in BEIR's layout, or a file of pairs as `codekin data` writes them. "
    "TASK is that of queries that do not say theirs (default: nl2code). Repeatable.",
)
@options.device
@options.as_json
def calibrate(model: str, sets: tuple[str, ...], device: str | None, as_json: bool) -> None:
    """Measure which scores of MODEL say that something answers, and which say nothing.

    For each task of the sets, and each of the model's sizes: the scores of pairs that belong together, of those that
    only look so and of unrelated ones, and how the vectors lie. It is kept in the model's folder, or for a model that
    has none of its own among the user's data, and from then on a search with the model says when nothing answers.
    """
    from codekin.cli.results import print_json
    from codekin.embed import Embedder, VectorCache
    from codekin.evaluate import calibrate, read_labelled

    labelled = [one for given in sets for one in read_labelled(*_set(given))]
    embedder = Embedder(model, device=device, cache=VectorCache())
    with Counting("embedding tokens") as bar:
        found = calibrate(embedder, labelled, progress=lambda what, done, total: bar(done, total, what))
    place = embedder.keep_calibration(found)
    if as_json:
        print_json({"model": model, "file": str(place), **found.to_dict()})
        return
    for of, sizes in found.tasks.items():
        print(f"{of.value}, {max(sizes)} dimensions")
        _print(sizes[max(sizes)])
        print()
    print(f"{place}: {_sizes(found)}")


def _set(given: str) -> tuple[str, Task | None]:
    """What is to be read, and the task that it says."""
    task, equals, where = given.partition("=")
    return (where, Task(task)) if equals and task in Task.__members__.values() else (given, None)


def _print(found: TaskCalibration) -> None:
    rows = [["pairs", "number", "mean", "5%", "25%", "50%", "75%", "95%"]]
    for name, scores in (("related", found.related), ("hard", found.hard), ("unrelated", found.unrelated)):
        levels = (scores.quantiles.get(percent, math.nan) for percent in ("5", "25", "50", "75", "95"))
        rows.append([name, f"{scores.count:,}", f"{scores.mean:.3f}", *(f"{level:.3f}" for level in levels)])
    for line in aligned(rows):
        print(f"  {line}")
    thresholds = ", ".join(f"{rate} at {score:.3f}" for rate, score in found.thresholds.items())
    print(f"  AUC {found.auc:.3f}, against hard pairs {found.hard_auc:.3f}")
    print(
        f"  thresholds by false-positive rate: {thresholds or 'too few pairs'}; balanced {found.balanced:.3f}"
    )
    lie = found.geometry
    print(
        f"  noise floor {lie.noise_floor:.3f}, effective dimensions {lie.effective_dimensions:.0f}, "
        f"anisotropy {lie.anisotropy:.3f}"
    )


def _sizes(found: Calibration) -> str:
    sizes = sorted({size for of in found.tasks.values() for size in of})
    return f"{', '.join(task.value for task in found.tasks)} at {', '.join(map(str, sizes))} dimensions"
