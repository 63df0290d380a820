"""The options of a second stage: its model, and the time that it may take."""

from __future__ import annotations

from collections.abc import Callable
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


class ByEquals(click.Command):
    """A command whose `--rerank` takes a value by "=" alone, as GNU's optional arguments do."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        named = [f"{word}=" if word == "--rerank" else word for word in args[:end]]
        return super().parse_args(ctx, named + args[end:])


def of_search(reranker: str | None, budget: str | None) -> SecondStage | None:
    """The second stage of one search: None where there is no `reranker`, by the default one where it is ""."""
    seconds = _seconds(reranker, budget)
    if reranker is None:
        return None
    from codekin.rerank import DEFAULT_RERANKER
    from codekin.search import SecondStage

    return SecondStage(reranker or DEFAULT_RERANKER, budget=seconds)


def of_server(
    reranker: str | None, budget: str | None, *, most_seconds: float = 120.0
) -> Callable[[], SharedStage] | None:
    """What makes the second stage of a server whose requests take at most so long; None where there is no `reranker`.

    It is imported only then: an agent waits for what comes before.
    """
    seconds = _seconds(reranker, budget)
    if reranker is None:
        return None

    def make() -> SharedStage:
        from codekin.rerank import DEFAULT_RERANKER
        from codekin.serve import SharedStage

        return SharedStage(reranker or DEFAULT_RERANKER, budget=seconds, most_seconds=most_seconds)

    return make


def _seconds(reranker: str | None, budget: str | None) -> float | None:
    if budget is None:
        return None
    if reranker is None:
        raise InputError("--budget is for --rerank")
    return options.read_duration(budget)
