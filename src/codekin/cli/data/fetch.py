"""`codekin data fetch`: a set's files, and pairs made of them."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click

from codekin.cli.data.counting import Counting
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
        with _Downloading() as progress:
            local = entry.fetch(folder, progress)
        total = sum(path.stat().st_size for path in local.rglob("*") if path.is_file())
        print(f"{entry.name}: {size(total)} in {local}", flush=True)
    if target is not None:
        written = write_pairs(target, entry.pairs(local), split=entry.split)
        print(f"{target}: {count(written, 'pair')}")


class _Downloading:
    """Called with (bytes there, bytes in all or 0, path): a bar for each file."""

    def __init__(self) -> None:
        self._path = ""
        self._bars = ExitStack()
        self._bar: Counting | None = None

    def __enter__(self) -> _Downloading:
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.close()

    def __call__(self, done: int, total: int, path: str) -> None:
        if self._bar is None or path != self._path:
            self._bars.close()
            self._path, self._bar = path, self._bars.enter_context(Counting(path, lambda n: size(int(n))))
        self._bar(done, total)
