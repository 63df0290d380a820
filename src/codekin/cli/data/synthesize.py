"""`codekin data synthesize`: pairs written by a language model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from codekin.cli.meter import Counting
from codekin.cli.terminal import count
from codekin.errors import InputError

if TYPE_CHECKING:
    from codekin.data import Usage


@click.command()
@click.argument("family", metavar="FAMILY")
@click.argument("source")
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--url",
    default="https://api.openai.com/v1",
    show_default=True,
    metavar="URL",
    envvar="OPENAI_BASE_URL",
    help="The API, up to /chat/completions. [env: OPENAI_BASE_URL]",
)
@click.option("--model", required=True, metavar="NAME", help="The model as the API names it.")
@click.option(
    "--key-variable",
    default="OPENAI_API_KEY",
    show_default=True,
    metavar="NAME",
    help="The environment variable with the key.",
)
@click.option(
    "--template",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A prompt of your own with the family's $placeholders.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    metavar="N",
    help="Requests at a time.",
)
@click.option(
    "--requests-per-minute", type=click.FloatRange(0, min_open=True), metavar="N", help="Rate limit."
)
@click.option(
    "--tokens-per-minute",
    type=click.FloatRange(0, min_open=True),
    metavar="N",
    help="Rate limit of tokens, read and written together.",
)
@click.option(
    "--max-tokens", type=click.IntRange(min=0), metavar="N", help="End before more tokens are used."
)
@click.option("--max-cost", type=click.FloatRange(min=0), metavar="SUM", help="End before more is spent.")
@click.option(
    "--input-price",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="SUM",
    help="Price of a million tokens read.",
)
@click.option(
    "--output-price",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="SUM",
    help="Price of a million tokens written.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="For an answer.",
)
def synthesize(
    family: str,
    source: str,
    target: Path,
    url: str,
    model: str,
    key_variable: str,
    template: Path | None,
    concurrency: int,
    requests_per_minute: float | None,
    tokens_per_minute: float | None,
    max_tokens: int | None,
    max_cost: float | None,
    input_price: float,
    output_price: float,
    timeout: float,
) -> None:
    """Have a language model write pairs.

    \b
    FAMILY is what is made of SOURCE:
      solutions   a problem's solution in eight more languages
      frameworks  deep-learning code with other frameworks
      questions   what one would ask to find a piece of code

    SOURCE is a file or folder of pairs, or hf:owner/name; for questions also a folder of source code. Rows are
    appended to TARGET, a .jsonl file. Interrupted, the same command goes on where it stopped.
    """
    from codekin.data import Endpoint, synthesize

    if max_cost is not None and not (input_price or output_price):
        raise InputError("--max-cost needs --input-price and --output-price, for a million tokens")
    endpoint = Endpoint(
        url=url,
        model=model,
        key=os.environ.get(key_variable, ""),
        concurrency=concurrency,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        max_tokens=max_tokens,
        max_cost=max_cost,
        input_price=input_price,
        output_price=output_price,
        timeout=timeout,
    )
    with Counting("writing") as progress:

        def tell(done: int, usage: Usage) -> None:
            progress(done, 0, _spent(usage))

        report = synthesize(family, source, target, endpoint, template=template, progress=tell)
    print(f"{target}: {count(report.written, 'row')} written, {report.present:,} there before")
    for name, rows in report.derived.items():
        print(f"{target.with_name(name)}: {count(rows, 'pair')}")
    if report.set_aside:
        print(f"{target.with_suffix('.rejected.jsonl')}: {count(report.set_aside, 'item')} set aside")
    print(f"{count(report.usage.attempts, 'request')}, {_spent(report.usage)}")
    if report.spent:
        raise InputError("the budget is used up; the same command with a larger one goes on")


def _spent(usage: Usage) -> str:
    tokens = f"{usage.input_tokens:,} tokens read, {usage.output_tokens:,} written"
    return f"{tokens}, cost {usage.cost:,.4f}" if usage.cost else tokens
