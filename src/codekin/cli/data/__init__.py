"""`codekin data`: what models are trained and measured on. One module a command here as well."""

from __future__ import annotations

import click

from codekin.cli.data.clean import clean
from codekin.cli.data.fetch import fetch
from codekin.cli.data.list import list_
from codekin.cli.data.mine import mine
from codekin.cli.data.negatives import negatives
from codekin.cli.data.show import show
from codekin.cli.data.synthesize import synthesize


@click.group(commands=[list_, show, fetch, mine, synthesize, clean, negatives])
def data() -> None:
    """Training sets and benchmarks: find them, fetch them, make and clean pairs."""
