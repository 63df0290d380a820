"""`codekin data fetch`: a set's files, and pairs made of them."""

from __future__ import annotations

from pathlib import Path

import click

from codekin.cli.meter import Counting
from codekin.cli.terminal import count, size


@click.command()
@click.argument("name")
@click.option("--benchmark", is_flag=True, help="The benchmark of that name, not the training set.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep the files here, not in the user's cache.",
)
@click.option(
    "--from",
    "local",
    type=click.Path(exists=True, path_type=Path),
    metavar="PATH",
    help="Take the original files from here; nothing is downloaded.",
)
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the set's pairs: .jsonl, .jsonl.gz, .parquet, or a folder in BEIR's layout.",
)
def fetch(name: str, benchmark: bool, folder: Path | None, local: Path | None, target: Path | None) -> None:
    """Fetch the files of a set, and make pairs of them.

    An interrupted download goes on where it stopped; what arrives is checked for its size, and its digest where
    that is known. HF_TOKEN opens gated sets, HF_ENDPOINT names another hub.
    """
    from codekin.data import Use, find_set, write_pairs

    if local is not None and target is None:
        raise click.UsageError("--from needs --to: nothing is downloaded, so say where the pairs go")
    entry = find_set(name, Use.BENCHMARK if benchmark else None)
    if local is None:
        with Counting(entry.name, lambda number: size(int(number))) as bar:
            local = entry.fetch(folder, lambda done, total, path: bar(done, total, title=path))
        total = sum(path.stat().st_size for path in local.rglob("*") if path.is_file())
        print(f"{entry.name}: {size(total)} in {local}", flush=True)
    if target is not None:
        written = write_pairs(target, entry.pairs(local), split=entry.split)
        print(f"{target}: {count(written, 'pair')}")
