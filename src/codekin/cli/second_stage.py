"""The options of a second stage: its model, and the time that it may take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from codekin.cli import options
from codekin.errors import InputError

if TYPE_CHECKING:
    from codekin.search import SecondStage
    from codekin.serve import SharedStage

served_reranker = click.option(
    "--rerank",
    "reranker",
    is_flag=False,
    flag_value="",
    metavar="[MODEL]",
    help="Have a second stage, by a model that `codekin search --rerank` takes.  [default: all-MiniLM-L6-v2]",
)


def of_search(reranker: str | None, budget: str | None) -> SecondStage | None:
    """The second stage of one search: None where there is no `reranker`, by the default one where it is ""."""
    seconds = _seconds(reranker, budget)
    if reranker is None:
        return None
    from codekin.rerank import DEFAULT_RERANKER
    from codekin.search import SecondStage

    return SecondStage(reranker or DEFAULT_RERANKER, budget=seconds)


def of_server(reranker: str | None, budget: str | None, most_seconds: float) -> SharedStage | None:
    """The second stage that a server offers to requests of at most `most_seconds`; not yet loaded."""
    seconds = _seconds(reranker, budget)
    if reranker is None:
        return None
    from codekin.rerank import DEFAULT_RERANKER
    from codekin.serve import SharedStage

    return SharedStage(reranker or DEFAULT_RERANKER, budget=seconds, most_seconds=most_seconds)


def _seconds(reranker: str | None, budget: str | None) -> float | None:
    if budget is None:
        return None
    if reranker is None:
        raise InputError("--budget is for --rerank")
    return options.read_duration(budget)
