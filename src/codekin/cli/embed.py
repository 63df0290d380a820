"""`codekin embed`: texts to vectors, to stdout or into a file."""

from __future__ import annotations

import hashlib
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING

import click

from codekin.cli import options, texts
from codekin.cli.meter import Meter, rate
from codekin.cli.terminal import count, duration, visible
from codekin.cli.texts import Text, Texts
from codekin.errors import CodekinError, InputError
from codekin.tasks import Role, Task

if TYPE_CHECKING:
    from codekin.embed import Job, Made, RayWorkers, VectorWriter, Worker

_SECONDS_BETWEEN_COMMITS = 1.0


@click.command()
@texts.inputs
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write to this .jsonl, .npy or .parquet file. [default: JSON lines on stdout]",
)
@texts.field
@texts.id_field
@texts.files
@options.model
@options.task(Task.NL2CODE)
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.DOCUMENT.value,
    show_default=True,
    help="Whether the texts ask or answer.",
)
@click.option("--dimensions", type=click.IntRange(min=1), metavar="N", help="A smaller size of the model's.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "int8", "binary"]),
    default="float32",
    show_default=True,
    help="How numbers are kept: whole, as a byte with a scale a vector, or as their sign, 8 in a byte.",
)
@click.option("--max-length", type=click.IntRange(min=1), metavar="TOKENS", help="Cut longer texts.")
@options.device
@options.dtype
@options.no_cache
@click.option(
    "--ray",
    "address",
    metavar="ADDRESS",
    help="Share the work on a Ray cluster: auto, host:6379, ray://host:10001, or local to start one here.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Workers on the cluster.  [default: one a GPU, or else one for four cores]",
)
def embed(
    inputs: tuple[Path, ...],
    output: Path | None,
    field: str | None,
    id_field: str | None,
    files: bool,
    model: str | None,
    task: str,
    role: str,
    dimensions: int | None,
    precision: str,
    max_length: int | None,
    device: str | None,
    dtype: str | None,
    no_cache: bool,
    address: str | None,
    workers: int | None,
) -> None:
    """Turn texts into vectors.

    Texts are the lines of the INPUT files (default: stdin), their JSON lines or, with --files, whole files and the
    chunks of folders. Each has one vector, with its line number, id or place as "id".

    An interrupted run with --output is gone on with by the same command, with --ray or without.
    """
    from codekin.embed import DEFAULT_MODEL, Job, Precision, VectorWriter

    if workers and address is None:
        raise InputError("--workers is for --ray")
    source = Texts(inputs, field, id_field, files)
    job = Job(
        model or DEFAULT_MODEL,
        device=device,
        dtype=dtype,
        max_length=max_length,
        cached=not no_cache,
        task=task,
        role=role,
        dimensions=dimensions,
        precision=precision,
    )
    # Texts that were cut are counted, and told of once.
    warnings.filterwarnings("ignore", message=".* were cut")

    started = time.monotonic()
    with Meter("embedding") as meter:
        run = _Run(source, meter)
        # What is wrong with an option is said before any text is read.
        with _open(job, address, workers, run) as worker:
            traits = worker.traits
            run.begin(worker)
            if output is None:
                run.print_lines()
            else:
                settings: dict[str, str | int | None] = {
                    "model": traits.fingerprint,
                    "device": traits.device,
                    "dtype": traits.dtype,
                    "task": task,
                    "role": role,
                    "dimensions": traits.dimensions,
                    "precision": precision,
                    "kind of input": source.kind,
                }
                kind = Precision.parse(precision)
                with VectorWriter(
                    output, settings, traits.dimensions, kind, text_ids=source.has_text_ids
                ) as writer:
                    run.write(writer)
    _tell_left_out(source, run.truncated, traits.max_length)
    if output is not None and sys.stderr.isatty():
        print(f"{count(run.done, 'text')} in {duration(time.monotonic() - started)}", file=sys.stderr)


def _open(
    job: Job, address: str | None, workers: int | None, run: _Run
) -> AbstractContextManager[Worker | RayWorkers]:
    """Who does the job: this process, or a cluster."""
    from codekin.embed import RayWorkers, Worker

    if address is None:
        return nullcontext(Worker(job))
    return RayWorkers(address, job, workers, run.show_workers)


class _Run:
    """The way of the texts through the model."""

    def __init__(self, source: Texts, meter: Meter) -> None:
        self._source, self._meter = source, meter
        self._digest = hashlib.blake2b(digest_size=16)
        self.done = self.truncated = 0
        self._characters = 0
        self._skipped = 0

    def begin(self, worker: Worker | RayWorkers) -> None:
        """Sets the texts on their way to whoever turns them into vectors."""
        self._worker = worker
        self._batches = texts.batches(self._source, worker.traits)
        self._meter.begin()

    def print_lines(self) -> None:
        """JSON lines on stdout; what still arrives is not held back."""
        from codekin.embed import json_lines

        for batch, made in self._made(self._source if self._source.is_stream else self._batches):
            sys.stdout.write(json_lines([text.id for text in batch], made.vectors))
            sys.stdout.flush()

    def write(self, writer: VectorWriter) -> None:
        """All into a file, or what is left to do of it."""
        self._skip(writer)
        committed = time.monotonic()
        try:
            for batch, made in self._made(self._batches):
                ids = [text.id for text in batch]
                writer.write(ids, made.vectors, self._digest.hexdigest(), made.truncated)
                if time.monotonic() - committed > _SECONDS_BETWEEN_COMMITS:
                    writer.commit()
                    committed = time.monotonic()
            writer.finish()
        except (KeyboardInterrupt, CodekinError):
            writer.commit()
            if writer.written.rows:
                kept = f"{writer.written.rows:,} vectors are kept in {writer.part}"
                print(f"codekin: {kept}; the same command goes on from there", file=sys.stderr)
            raise
        self.truncated = writer.written.truncated

    def show_workers(self, alive: int, wanted: int) -> None:
        """How far the run is, and how many workers of the cluster are at it."""
        self._show(self.done, 0, f"{alive} of {count(wanted, 'worker')}")

    def _skip(self, writer: VectorWriter) -> None:
        """Passes the texts whose vectors lie in the file; raises InputError where they are not the same."""
        begun = writer.written
        if not begun.rows:
            return
        while self.done < begun.rows and (batch := next(self._batches, None)):
            self._pass(batch)
        if self.done != begun.rows or self._digest.hexdigest() != begun.digest:
            raise InputError(
                f"{writer.part} was begun with other texts: give those again, or delete it to start anew"
            )
        self._skipped = self.done
        self._meter.begin(share=self._share() or 0.0)
        print(f"codekin: going on after {self.done:,} texts of {writer.part}", file=sys.stderr)

    def _made(self, batches: Iterable[list[Text]]) -> Iterator[tuple[list[Text], Made]]:
        """Each batch with its vectors."""
        from codekin.embed import Worker

        if isinstance(self._worker, Worker):
            for batch in batches:
                made = self._worker.encode([text.text for text in batch], self._progress(batch))
                self.truncated += made.truncated
                self._pass(batch)
                self._show(self.done, 0)
                yield batch, made
            return
        given, kept = tee(batches)
        work = self._worker.encode(([text.text for text in batch] for batch in given), self.done + 1)
        for made, batch in zip(work, kept, strict=False):  # `kept` has to be asked last, at the end too
            self.truncated += made.truncated
            self._pass(batch)
            yield batch, made

    def _progress(self, batch: list[Text]) -> Callable[[int, int], None]:
        """Shows how far the batch at work is."""
        characters = sum(len(text.text) for text in batch)

        def progress(done: int, total: int) -> None:
            part = done / total if total else 0.0
            self._show(self.done + int(len(batch) * part), int(characters * part))

        return progress

    def _show(self, number: int, ahead: int, *also: str) -> None:
        speed = rate(self._meter.per_second(number - self._skipped), "texts")
        self._meter.show(self._share(ahead), f"{number:,} texts", speed, *also)

    def _pass(self, batch: list[Text]) -> None:
        self.done += len(batch)
        for text in batch:
            self._characters += len(text.text)
            content = text.text.encode("utf-8", "surrogatepass")
            self._digest.update(f"{text.id}\0{len(content)}\0".encode("utf-8", "surrogatepass") + content)

    def _share(self, ahead: int = 0) -> float | None:
        """How much of the work is done, `ahead` characters beyond what was passed."""
        if not self._source.size or not self._source.characters:
            return None
        embedded = (self._characters + ahead) / self._source.characters
        return embedded * self._source.read / self._source.size


def _tell_left_out(source: Texts, truncated: int, longest: int | None) -> None:
    for path, reason in source.skipped:
        print(f"skipped {visible(path)}: {reason}", file=sys.stderr)
    if truncated:
        were = "was" if truncated == 1 else "were"
        told = f"{count(truncated, 'text')} longer than {longest:,} tokens {were} cut at the end"
        print(f"codekin: {told}", file=sys.stderr)
