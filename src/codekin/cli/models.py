"""`codekin models`: what can embed, and how fast."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from platformdirs import user_cache_path

import codekin
from codekin.cli import options
from codekin.cli.terminal import aligned, size
from codekin.errors import InputError
from codekin.replacing import replacing
from codekin.tasks import Role

if TYPE_CHECKING:
    from codekin.embed import ModelInfo

Speeds = dict[str, float | str]

# Long enough for a clock, short enough to wait for; a slow model takes what one text takes.
_SECONDS = 1.0
_DOCSTRING = re.compile(r'^ +"""([^"\n]+)', re.MULTILINE)


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--measure",
    is_flag=True,
    help="Measure the models of these names, or all that are installed, and remember their speed.",
)
@options.as_json
def models(names: tuple[str, ...], measure: bool, as_json: bool) -> None:
    """List the models that can embed.

    Speeds are of this machine, where --measure found them: queries one at a time, documents (functions) together.
    """
    from codekin.cli.results import print_json
    from codekin.embed import available_models

    if names and not measure:
        raise InputError("names are for --measure")
    known = available_models()
    speeds = _remembered()
    if measure:
        for name in names or [model.name for model in known if model.installed]:
            speeds[name] = _measured(name)
            if not as_json:
                print(_told(name, speeds[name]), flush=True)
            _remember(speeds)
    if as_json:
        rows = [{**asdict(model), "speed": speeds.get(model.name)} for model in known]
        print_json({"models": rows})
    elif not measure:
        _print_table(known, speeds)


def _print_table(known: Sequence[ModelInfo], speeds: dict[str, Speeds]) -> None:
    rows = [
        ("", "name", "kind", "dimensions", "size", "licence", "installed", "queries/s", "documents/s"),
    ]
    for model in known:
        speed = speeds.get(model.name)
        rows.append(
            (
                "*" if model.default else "",
                model.name,
                model.kind,
                str(model.dimensions),
                size(model.bytes),
                model.licence,
                "yes" if model.installed else "no",
                _rounded(speed["queries"]) if speed else "",
                _rounded(speed["documents"]) if speed else "",
            )
        )
    print("\n".join(aligned(rows, left=len(rows[0]))))
    print("\n* the default")
    if not speeds:
        print("codekin models --measure adds how fast they are on this machine")


def _told(name: str, speed: Speeds) -> str:
    rates = f"{_rounded(speed['queries'])} queries, {_rounded(speed['documents'])} documents a second"
    return f"{name}: {rates} ({speed['device']}, {speed['dtype']})"


def _rounded(rate: float | str) -> str:
    return f"{float(f'{rate:.2g}'):,g}"


def _measured(name: str) -> Speeds:
    """How many queries and documents a second a model makes here, and on what."""
    from codekin.embed import Embedder
    from codekin.source import chunk

    embedder = Embedder(name)
    # Real functions and real sentences about them that are always at hand: codekin's own.
    sources = sorted(Path(codekin.__file__).parent.rglob("*.py"))
    functions = [
        part.text
        for file in sources
        for part in chunk(file.read_text(encoding="utf-8"), "python")
        if part.kind in ("function", "method")
    ]
    sentences = [line for text in functions for line in _DOCSTRING.findall(text)]

    def queries(texts: Sequence[str]) -> None:
        for text in texts:
            embedder.encode([text], role=Role.QUERY)

    return {
        "queries": _rate(queries, sentences),
        "documents": _rate(embedder.encode, functions),
        "device": embedder.device,
        "dtype": embedder.dtype,
    }


def _rate(encode: Callable[[Sequence[str]], object], texts: Sequence[str]) -> float:
    """Texts a second, from as few as a clock needs: a large model takes seconds for a handful."""
    encode(texts[:1])
    number, seconds = 1, 0.0
    while True:
        done, started = 0, time.perf_counter()
        while done < number:
            some = texts[: number - done]
            encode(some)
            done += len(some)
        seconds = time.perf_counter() - started
        if seconds >= _SECONDS:
            return number / seconds
        number *= 2


def _remembered() -> dict[str, Speeds]:
    try:
        speeds = json.loads(_memo().read_text(encoding="utf-8"))
        return {
            str(name): {"queries": float(one["queries"]), "documents": float(one["documents"])}
            | {"device": str(one["device"]), "dtype": str(one["dtype"])}
            for name, one in speeds.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _remember(speeds: dict[str, Speeds]) -> None:
    with replacing(_memo()) as partial:
        partial.write_text(json.dumps(speeds), encoding="utf-8")


def _memo() -> Path:
    return user_cache_path("codekin", appauthor=False) / "speeds.json"
