"""`codekin status`: what an index holds."""

from __future__ import annotations

import shlex
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from codekin.cli import options
from codekin.cli.meter import rate
from codekin.cli.terminal import age, count, duration, size, visible

if TYPE_CHECKING:
    from codekin.search import UpgradeStatus


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
    repositories = {name: one.chunks for name, one in held.repositories.items()}
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
                "upgrade": _as_member(held.upgrade) if held.upgrade else None,
                **({"repositories": repositories} if repositories else {}),
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
        if held.upgrade:
            print(f"upgrade    {_told(held.upgrade, path)}")
        print(f"content    {count(held.files, 'file')}, {count(held.chunks, 'chunk')}")
        by_size = sorted(held.languages.items(), key=lambda item: (-item[1], item[0]))
        for number, (language, chunks) in enumerate(by_size):
            print(f"{'' if number else 'languages':<11}{language:<14}{chunks:>8,}")
        for name, chunks in repositories.items():
            print(f"{visible(name)}  {count(chunks, 'chunk')}")
    raise SystemExit(1 if held.updated_at is None else 0)


def _told(upgrade: UpgradeStatus, path: Path) -> str:
    done = f"{upgrade.chunks:,} of {count(upgrade.chunks_total, 'chunk')} ({upgrade.share:.0%})"
    told = f"{done} to {upgrade.model}, {upgrade.dimensions} dimensions"
    if upgrade.chunks == upgrade.chunks_total:
        return told
    if not upgrade.running:
        command = shlex.join(["codekin", "index", str(path), "--upgrade", upgrade.model])
        return f"{told}; paused: {command} goes on"
    left = upgrade.seconds_left
    if left is None:
        return f"{told}; running"
    return f"{told}; running, {rate(upgrade.per_second or 0.0, 'chunks')}, {duration(left)} left"


def _as_member(upgrade: UpgradeStatus) -> dict[str, object]:
    return {
        **asdict(upgrade),
        "seconds_left": upgrade.seconds_left,
    }
