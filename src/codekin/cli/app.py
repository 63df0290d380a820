"""The commands, put together."""

from __future__ import annotations

import click

from codekin import __version__
from codekin.cli.calibrate import calibrate
from codekin.cli.data import data
from codekin.cli.embed import embed
from codekin.cli.evaluate import evaluate
from codekin.cli.index import index
from codekin.cli.label import label
from codekin.cli.models import models
from codekin.cli.rank import rank
from codekin.cli.related import related
from codekin.cli.search import search
from codekin.cli.status import status
from codekin.cli.train import train


class _InOrder(click.Group):
    """A group that lists its commands as they were added, the most used first."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=_InOrder,
    commands=[search, related, index, status, rank, embed, label, models, data, train, evaluate, calibrate],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 found or done, 1 nothing found, 2 error.",
)
@click.version_option(__version__, message="codekin %(version)s")
def app() -> None:
    """Find code by meaning: ask a codebase a question, offline and at once."""
