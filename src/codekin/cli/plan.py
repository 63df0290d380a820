"""`codekin plan`: what an index of so many chunks takes."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from codekin.cli import options
from codekin.cli.progress import IndexingProgress
from codekin.cli.terminal import aligned, duration, size
from codekin.errors import InputError

if TYPE_CHECKING:
    from codekin.search.sizing import Figures, Need

_DAY = 86_400


@click.command()
@click.argument("path", required=False, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--chunks", "wanted", metavar="N", help="So many chunks: 20000, 1.5M, 2e9.")
@options.model
@click.option("--dimensions", type=click.IntRange(min=1), metavar="N", help="A smaller size of the model's.")
@click.option(
    "--qps",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    metavar="N",
    show_default=True,
    help="Queries a second.",
)
@click.option("--cores", type=click.IntRange(min=1), default=16, show_default=True, help="Of a machine.")
@click.option("--memory", default="64G", metavar="SIZE", show_default=True, help="Of a machine.")
@options.as_json
def plan(
    path: Path | None,
    wanted: str | None,
    model: str | None,
    dimensions: int | None,
    qps: float,
    cores: int,
    memory: str,
    as_json: bool,
) -> None:
    """Compute the disk, memory, machines and time of an index.

    It is of --chunks, or of the folder PATH, which is indexed to measure it: with both, of so many chunks like those of
    the folder. What was not measured is computed with figures that come with codekin; each says where it is from.
    """
    from codekin.cli.results import print_json
    from codekin.embed import DEFAULT_MODEL
    from codekin.search import sizing

    if path is None and wanted is None:
        raise InputError("say how many with --chunks N, or name a folder to measure")
    chunks = 0 if wanted is None else _read_count(wanted)
    machine = sizing.Machine(cores, float(options.read_size(memory, "--memory")))
    figures = sizing.read_figures()
    known = sizing.find_model(model or DEFAULT_MODEL, dimensions, figures)
    if path is not None:
        with IndexingProgress() as progress:
            counted, figures = sizing.measure(path, known, figures, progress)
        chunks = chunks or counted
    found = sizing.plan(chunks, known, figures, queries=qps, machine=machine)
    if as_json:
        used = {name for need in found.needs for name in need.figures}
        named = {name: asdict(figures.named[name]) for name in sorted(used & figures.named.keys())}
        print_json({**asdict(found), "figures": named, "search": figures.search, "date": figures.date})
        return
    rate = f"{qps:g} {'query' if qps == 1 else 'queries'} a second"
    print(f"{chunks:,} chunks, {known.name}, {known.dimensions} dimensions, {rate}")
    print(f"on machines of {cores} cores and {size(round(machine.memory))}\n")
    for command in found.commands:
        print(f"  {command}")
    names = list(dict.fromkeys(name for need in found.needs for name in need.figures))
    rows = [
        (
            need.what,
            _amount(need),
            need.certainty,
            " ".join(f"[{names.index(name) + 1}]" for name in need.figures),
        )
        for need in found.needs
    ]
    width = max(len(_amount(need)) for need in found.needs)
    print()
    print("\n".join(aligned([(what, amount.rjust(width), *rest) for what, amount, *rest in rows], left=4)))
    print()
    for number, name in enumerate(names, 1):
        print(f"[{number}] {_told(name, figures)}")
    print(f"\nMeasured on {figures.machine}, {figures.date}, where nothing else is said.")


def _read_count(text: str) -> int:
    """The whole number that `text` says: "20000", "1.5M", "2e9"."""
    plain = text.strip().lower().replace(",", "").replace("_", "")
    factor = {"k": 1e3, "m": 1e6, "b": 1e9}.get(plain[-1:], 1)
    try:
        number = float(plain[:-1] if factor > 1 else plain) * factor
    except ValueError:
        number = 0.0
    if not 1 <= number <= 1e15:
        raise InputError(f"--chunks {text} is no number of chunks; write like 20000, 1.5M, 2e9")
    return round(number)


def _amount(need: Need) -> str:
    if need.unit == "bytes":
        return size(round(need.amount))
    if need.unit == "seconds":
        in_a_day = math.ceil(need.amount / _DAY)
        return duration(need.amount) + (f" (with {in_a_day:,}: 1 day)" if in_a_day > 1 else "")
    return f"{need.amount:,.0f}"


def _told(name: str, figures: Figures) -> str:
    """A figure with its source, in a line."""
    if name == "search":
        points = " and ".join(
            f"{duration(seconds)} in {chunks:,.0f} chunks" for chunks, seconds in figures.search
        )
        return f"{points}, of 256 dimensions (measured: python benchmarks/scale.py)"
    figure = figures.named[name]
    return f"{_number(figure.value)} {figure.unit} ({figure.how}: {figure.source})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
