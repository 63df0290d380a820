"""`codekin data negatives`: hard negatives for each pair."""

from __future__ import annotations

from pathlib import Path

import click

from codekin.cli.meter import Counting
from codekin.cli.terminal import count


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--model", metavar="MODEL", help="Rank by this model's vectors. [default: BM25]")
@click.option(
    "-n",
    "--count",
    "number",
    type=click.IntRange(min=1),
    default=7,
    metavar="N",
    show_default=True,
    help="Negatives of a pair, at most.",
)
@click.option(
    "--skip",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    show_default=True,
    help="Leave out the best N.",
)
@click.option(
    "--depth",
    type=click.IntRange(min=1),
    default=50,
    metavar="N",
    show_default=True,
    help="Look at the best N.",
)
@click.option(
    "--ratio",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.95,
    show_default=True,
    help="A document that scores more than this share of the answer's score may be an answer itself.",
)
def negatives(
    source: Path, target: Path, model: str | None, number: int, skip: int, depth: int, ratio: float
) -> None:
    """Find documents that look like a pair's and do not answer its query.

    SOURCE is a JSONL file of pairs; TARGET gets them with their negatives. They are looked for among the documents
    of the same task and language.
    """
    from codekin.data import mine_negatives
    from codekin.embed import Embedder

    searcher = Embedder(model) if model else "bm25"
    with Counting("mining") as progress:
        report = mine_negatives(
            source, target, searcher, count=number, skip=skip, depth=depth, ratio=ratio, progress=progress
        )
    print(f"{target}: {count(report.negatives, 'negative')} for {report.mined:,} of {report.pairs:,} pairs")
    print(f"false negatives passed over: {report.answers:,} known answers, {report.too_close:,} too close")
