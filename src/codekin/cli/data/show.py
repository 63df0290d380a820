"""`codekin data show`: all that the catalogue says of a set."""

from __future__ import annotations

import click

from codekin.cli import options


@click.command()
@click.argument("name")
@options.as_json
def show(name: str, as_json: bool) -> None:
    """Show a set: where it is from, its licence, and what to know of it.

    NAME is that of a training set, a benchmark, or both.
    """
    from codekin.cli.data.list import described
    from codekin.cli.results import print_json
    from codekin.data import find_set, select_sets

    known = find_set(name)
    found = [entry for entry in select_sets() if entry.name == known.name]
    if as_json:
        print_json({"sets": [described(entry) for entry in found]})
        return
    for number, entry in enumerate(found):
        commercial = {True: "", False: " (not for commercial use)", None: " (commercial use unclear)"}
        split = entry.split if entry.fold.value == "all" else f"{entry.split} ({entry.fold.value} part of it)"
        lines = [
            ("name", entry.name),
            ("use", entry.use.value + (", in MTEB(Code)'s average" if entry.average else "")),
            ("task", entry.task.value),
            ("kind", entry.kind.value),
            ("licence", entry.licence + commercial[entry.commercial]),
            ("split", split),
            ("page", entry.source.page),
            ("obtained", entry.source.how),
            ("files in", f"{entry.folder}{'' if entry.folder.is_dir() else ' (not fetched)'}"),
            ("note", entry.note),
        ]
        print("\n" * bool(number) + "\n".join(f"{key:<9} {value}" for key, value in lines if value))
