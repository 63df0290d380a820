"""`codekin status`: what an index holds."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import click

from codekin.cli import options
from codekin.cli.terminal import age, count, size


@click.command()
@options.root
@options.as_json
@options.index_folder
@options.store
def status(path: Path, as_json: bool, folder: Path | None, store: str | None) -> None:
    """Say what the index of a folder holds.

    And where it is and how old; PATH is the folder (default: here).
    """
    from codekin.cli.results import print_json

    with options.open_index(path, folder, store=store) as code_index:
        held = code_index.status()
    if as_json:
        updated = held.updated_at
        print_json(
            {
                "root": str(held.root),
                "location": str(held.location),
                "files": held.files,
                "chunks": held.chunks,
                "languages": held.languages,
                "model": held.model,
                "dimensions": held.dimensions,
                "bytes": held.bytes,
                "updated_at": updated,
                "age_seconds": None if updated is None else round(max(0.0, time.time() - updated), 1),
            }
        )
    elif held.updated_at is None:
        where = f" --store {shlex.quote(store)}" if store else ""
        print(f"{held.root} is not indexed; codekin index {path}{where} does it")
    else:
        print(f"folder     {held.root}")
        print(f"index      {held.location}" + ("" if held.bytes is None else f" ({size(held.bytes)})"))
        print(f"updated    {age(held.updated_at)}")
        print(f"model      {held.model}, {held.dimensions} dimensions")
        print(f"content    {count(held.files, 'file')}, {count(held.chunks, 'chunk')}")
        by_size = sorted(held.languages.items(), key=lambda item: (-item[1], item[0]))
        for number, (language, chunks) in enumerate(by_size):
            print(f"{'' if number else 'languages':<11}{language:<14}{chunks:>8,}")
    raise SystemExit(1 if held.updated_at is None else 0)
