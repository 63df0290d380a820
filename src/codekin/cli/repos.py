"""`codekin repos`: the folders that are indexed."""

from __future__ import annotations

import time

import click

from codekin.cli import options
from codekin.cli.terminal import age, count, size, visible


@click.command()
@options.as_json
def repos(as_json: bool) -> None:
    """List the folders that are indexed here.

    Those that `codekin search --all` asks, and those that are gone.
    """
    from codekin.cli.results import print_json
    from codekin.search import known_indexes

    found = known_indexes()
    if as_json:
        print_json(
            {
                "repositories": [
                    {
                        "root": str(known.root),
                        "location": str(known.location),
                        "exists": known.exists,
                        "files": known.files,
                        "chunks": known.chunks,
                        "bytes": known.bytes,
                        "updated_at": known.updated_at,
                        "age_seconds": None
                        if known.updated_at is None
                        else round(max(0.0, time.time() - known.updated_at), 1),
                    }
                    for known in found
                ]
            }
        )
    else:
        width = max((len(visible(str(known.root))) for known in found), default=0)
        for known in found:
            state = age(known.updated_at) if known.exists and known.updated_at else "gone"
            held = f"{count(known.files, 'file')}, {count(known.chunks, 'chunk')}"
            print(f"{visible(str(known.root)):{width}}  {held:>28}  {size(known.bytes):>9}  {state}")
    raise SystemExit(0 if found else 1)
