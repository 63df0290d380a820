"""Records of the file formats that data sets come in, one in memory at a time, each with the place it stands at."""

from __future__ import annotations

import csv
import gzip
import json
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, TextIO

from codekin.errors import InputError, MissingExtraError

Record = dict[str, Any]
Located = tuple[str, Record]
"""`file:line` (or `file:record N` where there are no lines), and the record there."""

_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_BATCH = 1024  # rows of a Parquet file in memory at a time
_CHUNK = 1 << 18  # characters of a JSON file read at a time
_MAX_RECORD = 1 << 26


class Files:
    """The files below a folder, or a single file, those inside zip and tar archives included, by name.

    A member of an archive is named `archive/member`, so that a set reads the same as it was downloaded and
    unpacked. Names are relative to the folder, with `/`.
    """

    def __init__(self, where: str | Path) -> None:
        """Raises InputError where there is nothing, or an archive is damaged."""
        self.where = Path(where)
        self._openers: dict[str, Callable[[], Any]] = {}
        self._archives = ExitStack()
        if self.where.is_dir():
            paths = (path for path in sorted(self.where.rglob("*")) if path.is_file())
            for path in paths:
                self._add(path, path.relative_to(self.where).as_posix())
        elif self.where.is_file():
            self._add(self.where, self.where.name)
        else:
            raise InputError(f"no file or folder {self.where}")

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *_: object) -> None:
        self._archives.close()

    @property
    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._openers)

    def matching(self, pattern: str) -> list[re.Match[str]]:
        """The names in which `pattern`, a regular expression, is found to the end; sorted by name.

        Raises InputError if there is none: the set is incomplete or another.
        """
        found = [match for name in self.names if (match := re.search(rf"(?:^|/)(?:{pattern})$", name))]
        if not found:
            raise InputError(f"{self.where} holds no file of the form {pattern}")
        return found

    def __contains__(self, name: str) -> bool:
        return name in self._openers

    @contextmanager
    def open(self, name: str) -> Iterator[Any]:
        """The bytes of a file as a stream, those of `.gz` decompressed.

        Raises InputError for one that is damaged, cut off or unreadable.
        """
        where = self._place(name)
        try:
            with self._openers[name]() as stream:
                yield gzip.GzipFile(fileobj=stream) if name.endswith(".gz") else stream
        except EOFError:
            raise InputError(f"{where} ends early") from None
        except (zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, tarfile.TarError) as error:
            raise InputError(f"{where} is damaged: {error}") from None
        except OSError as error:
            raise InputError(f"cannot read {where}: {error.strerror or error}") from None

    def text(self, name: str) -> str:
        """A whole file as text, what is not UTF-8 replaced."""
        with self.open(name) as stream:
            text: str = stream.read().decode("utf-8", "replace")
            return text

    def lines(self, name: str, errors: str = "strict") -> Iterator[tuple[str, str]]:
        """(`file:line`, the line without its end); `errors` as in `bytes.decode`, InputError where it is strict."""
        where = self._place(name)
        number = 0
        with self.open(name) as stream:
            try:
                for number, line in enumerate(stream, 1):
                    yield f"{where}:{number}", line.decode("utf-8", errors).removesuffix("\n")
            except UnicodeDecodeError:
                raise InputError(f"{where}:{number}: not UTF-8") from None
            except EOFError:
                raise InputError(f"{where}:{number + 1}: the file ends early") from None

    def records(self, name: str, encoding: str = "utf-8") -> Iterator[Located]:
        """The records of a `.jsonl`, `.json`, `.csv`, `.tsv` or `.parquet` file, compressed or not.

        `encoding` is that of `.csv` and `.tsv`. Raises InputError naming the place of what is no record,
        MissingExtraError where Parquet needs pyarrow.
        """
        where = self._place(name)
        kind = Path(name.removesuffix(".gz")).suffix
        if kind == ".jsonl":
            for place, line in self.lines(name):
                yield place, parse_object(line, place)
            return
        with self.open(name) as stream:
            if kind == ".json":
                yield from _json(TextIOWrapper(stream, encoding="utf-8"), where)
            elif kind == ".parquet":
                yield from _parquet(stream, where)
            elif kind in (".csv", ".tsv"):
                text = TextIOWrapper(stream, encoding=encoding, newline="")
                yield from _csv(text, where, "," if kind == ".csv" else "\t")
            else:
                raise InputError(f"{where}: unknown format; known: .jsonl, .json, .csv, .tsv, .parquet")

    def _place(self, name: str) -> str:
        return str(self.where / name if self.where.is_dir() else self.where)

    def _add(self, path: Path, name: str) -> None:
        if not name.endswith(_ARCHIVES):
            self._openers[name] = partial(path.open, "rb")
            return
        members: dict[str, Callable[[], Any]]
        try:
            if name.endswith(".zip"):
                bundle = self._archives.enter_context(zipfile.ZipFile(path))
                members = {
                    info.filename: partial(bundle.open, info)
                    for info in bundle.infolist()
                    if not info.is_dir()
                }
            else:
                tar = self._archives.enter_context(tarfile.open(path))  # noqa: SIM115
                members = {member.name: partial(tar.extractfile, member) for member in tar if member.isreg()}
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError) as error:
            reason = str(error).partition("\n")[0].rstrip(":")
            raise InputError(f"cannot read the archive {path}: {reason}") from None
        self._openers |= {f"{name}/{member.removeprefix('./')}": opener for member, opener in members.items()}


def pyarrow() -> Any:
    """pyarrow with its Parquet module; raises MissingExtraError where it is not installed."""
    try:
        import pyarrow as package
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("Parquet files", "data") from None
    return package


def parse_object(text: str | bytes, where: str) -> Record:
    """The object that a line of JSONL holds; raises InputError naming `where` if it holds none."""
    try:
        record = json.loads(text)
    except ValueError as error:
        raise InputError(f"{where}: not JSON: {error}") from None
    if not isinstance(record, dict):
        raise InputError(f"{where}: expected an object, found {type(record).__name__}")
    return record


def _json(stream: TextIO, where: str) -> Iterator[Located]:
    """The objects of one array, or of one value after another: sets on the hub name both `.json`."""
    decode = json.JSONDecoder().raw_decode
    text, number, size = "", 0, _CHUNK
    while True:
        try:
            block = stream.read(size)
        except UnicodeDecodeError:
            raise InputError(f"{where}: record {number + 1}: not UTF-8") from None
        text += block
        start = 0
        while True:
            start = _SEPARATORS.match(text, start).end()  # type: ignore[union-attr]
            if start == len(text):
                break
            try:
                record, end = decode(text, start)
            except ValueError as error:
                if block and len(text) - start < _MAX_RECORD:
                    break  # the rest of the value is still to be read
                raise InputError(f"{where}: record {number + 1}: not JSON: {error}") from None
            number += 1
            if not isinstance(record, dict):
                kind = type(record).__name__
                raise InputError(f"{where}: record {number}: expected an object, found {kind}")
            yield f"{where}: record {number}", record
            start = end
        # A record longer than what was read is tried again with twice as much: linear in all.
        size = max(_CHUNK, len(text) - start)
        text = text[start:]
        if not block:
            return


_SEPARATORS = re.compile(r"[\s,\[\]\ufeff]*")


def _csv(stream: TextIO, where: str, delimiter: str) -> Iterator[Located]:
    csv.field_size_limit(1 << 30)  # a cell may be a whole web page
    reader = csv.DictReader(stream, delimiter=delimiter)
    try:
        for record in reader:
            yield f"{where}:{reader.line_num}", record
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{where}:{reader.line_num + 1}: {error}") from None


def _parquet(stream: IO[bytes], where: str) -> Iterator[Located]:
    package = pyarrow()
    try:
        file = package.parquet.ParquetFile(stream)
        number = 0
        for batch in file.iter_batches(batch_size=_BATCH):
            for record in batch.to_pylist():
                number += 1
                yield f"{where}: record {number}", record
    except package.ArrowException as error:
        raise InputError(f"{where}: not Parquet: {str(error).splitlines()[0]}") from None
