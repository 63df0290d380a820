"""`codekin models`: what can embed."""

from __future__ import annotations

import click

from codekin.cli import options
from codekin.cli.terminal import size


@click.command()
@options.as_json
def models(as_json: bool) -> None:
    """List the models that can embed."""
    from codekin.cli.results import print_json
    from codekin.embed import available_models

    known = available_models()
    if as_json:
        print_json(
            {
                "models": [
                    {
                        "name": model.name,
                        "kind": model.kind,
                        "dimensions": model.dimensions,
                        "licence": model.licence,
                        "installed": model.installed,
                        "default": model.default,
                        "bytes": model.bytes,
                    }
                    for model in known
                ]
            }
        )
        return
    rows = [("", "name", "kind", "dimensions", "size", "licence", "installed")]
    rows += [
        (
            "*" if model.default else "",
            model.name,
            model.kind,
            str(model.dimensions),
            size(model.bytes),
            model.licence,
            "yes" if model.installed else "no",
        )
        for model in known
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print("\n* the default")
