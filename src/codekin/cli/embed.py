"""`codekin embed`: texts to vectors, to stdout or into a file."""

from __future__ import annotations

import hashlib
import sys
import time
import warnings
from collections.abc import Callable
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
    from codekin.embed import Embedder, Quantised, VectorWriter

    Encode = Callable[[list[Text], Callable[[int, int], None]], Quantised]

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
) -> None:
    """Turn texts into vectors.

    Texts are the lines of the INPUT files (default: stdin), their JSON lines or, with --files, whole files and the
    chunks of folders. Each has one vector, with its line number, id or place as "id".

    An interrupted run with --output is gone on with by the same command.
    """
    from codekin.embed import DEFAULT_MODEL, Embedder, Precision, VectorCache, VectorWriter, quantise

    source = Texts(inputs, field, id_field, files)
    embedder = Embedder(
        model or DEFAULT_MODEL,
        device=device,
        dtype=dtype,
        max_length=max_length,
        cache=None if no_cache else VectorCache(),
    )
    # What is wrong with an option is said before any text is read.
    size = embedder.encode([], task, role, dimensions).shape[1]
    # Texts that were cut are counted, and told of once.
    warnings.filterwarnings("ignore", message=".* were cut")

    def encode(batch: list[Text], progress: Callable[[int, int], None]) -> Quantised:
        made = embedder.encode([text.text for text in batch], task, role, dimensions, progress=progress)
        return quantise(made, precision)

    started = time.monotonic()
    with Meter("embedding") as meter:
        run = _Run(source, embedder, encode, meter)
        if output is None:
            run.print_lines()
        else:
            settings = {
                "model": embedder.fingerprint,
                "device": embedder.device,
                "dtype": embedder.dtype,
                "task": task,
                "role": role,
                "dimensions": size,
                "precision": precision,
                "kind of input": source.kind,
            }
            kind = Precision.parse(precision)
            with VectorWriter(output, settings, size, kind, text_ids=source.has_text_ids) as writer:
                run.write(writer)
    _tell_left_out(source, run.truncated, embedder.max_length)
    if output is not None and sys.stderr.isatty():
        print(f"{count(run.done, 'text')} in {duration(time.monotonic() - started)}", file=sys.stderr)


class _Run:
    """The way of the texts through the model."""

    def __init__(self, source: Texts, embedder: Embedder, encode: Encode, meter: Meter) -> None:
        self._source, self._embedder, self._encode, self._meter = source, embedder, encode, meter
        self._batches = texts.batches(source, embedder)
        self._digest = hashlib.blake2b(digest_size=16)
        self.done = self.truncated = 0
        self._characters = 0
        self._skipped = 0

    def print_lines(self) -> None:
        """JSON lines on stdout; what still arrives is not held back."""
        from codekin.embed import json_lines

        for batch in self._source if self._source.is_stream else self._batches:
            vectors = self._vectors(batch)
            sys.stdout.write(json_lines([text.id for text in batch], vectors))
            sys.stdout.flush()

    def write(self, writer: VectorWriter) -> None:
        """All into a file, or what is left to do of it."""
        self._skip(writer)
        committed = time.monotonic()
        try:
            for batch in self._batches:
                vectors = self._vectors(batch)
                ids = [text.id for text in batch]
                writer.write(ids, vectors, self._digest.hexdigest(), self._embedder.truncated)
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

    def _vectors(self, batch: list[Text]) -> Quantised:
        read = sum(len(text.text) for text in batch)

        def progress(done: int, total: int) -> None:
            part = done / total if total else 0.0
            number = self.done + int(len(batch) * part)
            speed = rate(self._meter.per_second(number - self._skipped), "texts")
            self._meter.show(self._share(int(read * part)), f"{number:,} texts", speed)

        vectors = self._encode(batch, progress)
        self.truncated += self._embedder.truncated
        self._pass(batch)
        progress(0, 1)
        return vectors

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
