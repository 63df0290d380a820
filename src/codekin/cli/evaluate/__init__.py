"""`codekin evaluate`: models on benchmarks, and below it the search as a whole."""

from __future__ import annotations

import click

from codekin.cli.evaluate.models import models
from codekin.cli.evaluate.search import search


class _ModelsByDefault(click.Group):
    """What names no other command is about models."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        others = [name for name in self.commands if name != models.name]
        return super().parse_args(ctx, args if args and args[0] in others else [str(models.name), *args])


evaluate = _ModelsByDefault(
    "evaluate",
    commands=[models, search],
    short_help="Measure models on benchmarks, or code search as a whole.",
)
