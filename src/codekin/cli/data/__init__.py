"""`codekin data`: what models are trained and measured on. One module a command here as well."""

from __future__ import annotations

import click

from codekin.cli.data.fetch import fetch
from codekin.cli.data.list import list_
from codekin.cli.data.show import show


@click.group(commands=[list_, show, fetch])
def data() -> None:
    """Training sets and benchmarks: find them, fetch them, make pairs of them."""
