"""The texts that `embed` and `label` read: lines, JSON lines, or files and the chunks of folders."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from codekin.cli.streams import read_blocks
from codekin.errors import InputError

if TYPE_CHECKING:
    from codekin.embed import Embedder, Traits

# What is embedded at once: enough to keep a GPU busy; on a CPU half a minute of a large model, which is what an
# interruption costs.
_BATCH_TEXTS = 1_024
_BATCH_CHARACTERS = 1 << 18
_SLOW_BATCH_CHARACTERS = 1 << 14

_JSON_SUFFIXES = (".jsonl", ".ndjson")
_DEFAULT_FIELD = "text"
_DEFAULT_ID = "id"

inputs = click.argument("inputs", nargs=-1, metavar="[INPUT]...", type=click.Path(path_type=Path))
field = click.option(
    "--field",
    metavar="NAME",
    help='The input is JSON lines, with the text in this field. [default for .jsonl files: "text"]',
)
id_field = click.option(
    "--id",
    "id_field",
    metavar="NAME",
    help='The field of JSON lines that becomes the "id". [default: "id", or the line\'s number]',
)
files = click.option(
    "--files", is_flag=True, help="Each INPUT is a text by itself; of a folder, each chunk of its source."
)


@dataclass(frozen=True, slots=True)
class Text:
    """One text to embed."""

    id: int | str
    """The number of its line from 1, the id its JSON object gives, or its place, like src/app.py:10-42."""
    text: str


class Texts:
    """The texts of the inputs, in their order, read as they are asked for.

    Bytes that are no UTF-8 stand in a text as surrogate escapes. A blank line is a text; among JSON lines it is not.
    """

    def __init__(self, paths: Sequence[Path], field: str | None, id_field: str | None, files: bool) -> None:
        if files and (field or id_field):
            raise InputError("--files takes whole files: --field and --id are for JSON lines")
        if files and not paths:
            raise InputError("--files: name the files and folders to read")
        if not paths and sys.stdin.isatty():
            raise InputError("pipe texts into this command, one a line, or name the files that hold them")
        self._paths = paths or [Path("-")]
        for path in self._paths:
            if str(path) != "-" and not path.exists():
                raise InputError(f"no file {path}")
            if path.is_dir() and not files:
                raise InputError(f"{path} is a folder; --files reads its source")
        self._field, self._id, self._files = field, id_field, files
        self.skipped: list[tuple[str, str]] = []
        """Files that could not be read, and why."""
        self.size = sum(map(_size, self._paths)) if not files and all(map(_size, self._paths)) else None
        """All the inputs together, in bytes; None where it is not known, of folders until they are read."""
        self.characters = 0
        """Of the texts handed out so far."""
        self._passed = self._lines = 0
        self._stream: BinaryIO | None = None

    @property
    def is_stream(self) -> bool:
        """Whether the input is still being written, so that what has come should not wait for what has not."""
        return not self._files and self.size is None

    @property
    def kind(self) -> str:
        """How texts and ids are made of the inputs, in a few words."""
        if self._files:
            return "files"
        if self.has_text_ids:
            return f"JSON lines ({self._field or _DEFAULT_FIELD}, {self._id or _DEFAULT_ID})"
        return "lines"

    @property
    def has_text_ids(self) -> bool:
        return self._files or any(map(self._is_json, self._paths))

    @property
    def read(self) -> int:
        """The bytes read so far of `size`."""
        return self._passed + (os.lseek(self._stream.fileno(), 0, os.SEEK_CUR) if self._stream else 0)

    def __iter__(self) -> Iterator[list[Text]]:
        """The texts in blocks of what has arrived. Raises InputError that names the line that is no JSON object."""
        for block in self._of_files() if self._files else self._of_streams():
            self.characters += sum(len(text.text) for text in block)
            yield block

    def _of_streams(self) -> Iterator[list[Text]]:
        for path in self._paths:
            with sys.stdin.buffer if str(path) == "-" else path.open("rb") as stream:
                self._stream = stream if _size(path) else None
                yield from self._of_lines(path, stream)
                self._passed, self._stream = self.read, None

    def _of_lines(self, path: Path, stream: BinaryIO) -> Iterator[list[Text]]:
        before, number = self._lines, 0
        for lines in read_blocks(stream):
            if number == 0:
                lines[0] = lines[0].removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
            numbered = enumerate(lines, number + 1)
            number += len(lines)
            self._lines = before + number
            if self._is_json(path):
                yield [self._object(path, at, before + at, line) for at, line in numbered if line.strip()]
            else:
                yield [Text(before + at, line.removesuffix("\r")) for at, line in numbered]

    def _is_json(self, path: Path) -> bool:
        return bool(self._field or self._id) or path.suffix in _JSON_SUFFIXES

    def _object(self, path: Path, at: int, number: int, line: str) -> Text:
        where = f"{'stdin' if str(path) == '-' else path}:{at}"
        field = self._field or _DEFAULT_FIELD
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            raise InputError(f"{where}: not JSON") from None
        if not isinstance(found, dict) or not isinstance(found.get(field), str):
            raise InputError(f'{where}: no text in a field "{field}"; --field names the one that holds it')
        id_ = found.get(self._id or _DEFAULT_ID)
        if not isinstance(id_, int | str):
            if self._id:
                raise InputError(f'{where}: no text or whole number in the field "{self._id}"')
            id_ = number
        return Text(id_, found[field])

    def _of_files(self) -> Iterator[list[Text]]:
        from codekin.source import chunk, decode, walk

        def skip(path: Path, reason: str) -> None:
            self.skipped.append((str(path), reason))

        found: list[tuple[Path, int, str | None]] = []
        for path in self._paths:
            if path.is_dir():
                skip_below = partial(lambda folder, name, reason: skip(folder / name, reason), path)
                found += [
                    (path / file.path, file.size, file.language) for file in walk(path, on_skip=skip_below)
                ]
            else:
                found.append((path, path.stat().st_size, None))
        self.size = sum(size for _, size, _ in found)
        for path, size, language in found:
            try:
                text = decode(path.read_bytes())
            except OSError as error:
                skip(path, f"cannot be read: {error.strerror}")
                continue
            self._passed += size
            if text is None:
                skip(path, "binary")
            elif language is None:
                yield [Text(str(path), text)]
            else:
                parts = chunk(text, language)
                yield [Text(f"{path}:{part.start_line}-{part.end_line}", part.text) for part in parts]


def batches(blocks: Iterable[list[Text]], model: Embedder | Traits) -> Iterator[list[Text]]:
    """The same texts in batches for the model, which are the same however the texts arrive."""
    is_slow = model.kind == "transformer" and model.device == "cpu"
    characters = _SLOW_BATCH_CHARACTERS if is_slow else _BATCH_CHARACTERS
    batch: list[Text] = []
    held = 0
    for block in blocks:
        for text in block:
            batch.append(text)
            held += len(text.text)
            if len(batch) == _BATCH_TEXTS or held >= characters:
                yield batch
                batch, held = [], 0
    if batch:
        yield batch


def _size(path: Path) -> int:
    """A file's bytes; 0 of what is no regular file, such as a pipe."""
    status = os.fstat(sys.stdin.fileno()) if str(path) == "-" else path.stat()
    return status.st_size if stat.S_ISREG(status.st_mode) else 0
