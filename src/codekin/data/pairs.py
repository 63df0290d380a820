"""A training pair and its file: one JSON object a line, plain or gzip by the name's `.gz`."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, cast

from codekin.errors import InputError
from codekin.tasks import Task

_TEXT_FIELDS = ("query", "document", "language", "source", "licence", "path", "kind")


@dataclass(frozen=True, slots=True)
class Pair:
    """A query and the document that answers it.

    `language` is the document's, `source` names the package it was mined from (`ecosystem:name@version`),
    `licence` is that package's SPDX expression, `path` the file inside it. `kind` says how the pair was found,
    so that a recipe can weigh the kinds (`codekin.data.mining` lists its own). `negatives` are documents that
    look alike and do not answer the query, hardest first.
    """

    query: str
    document: str
    task: Task
    language: str
    source: str
    licence: str
    path: str
    kind: str
    negatives: tuple[str, ...] = ()


def write_pairs(path: str | Path, pairs: Iterable[Pair]) -> int:
    """Write `pairs` to `path` and return how many; a reader never sees a half-written file."""
    path = Path(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    count = 0
    try:
        with _open(path, partial, "wt") as stream:
            for pair in pairs:
                stream.write(json.dumps(_record(pair), ensure_ascii=False, separators=(",", ":")))
                stream.write("\n")
                count += 1
        partial.replace(path)
    except OSError as error:
        raise InputError(f"cannot write pairs to {path}: {error.strerror or error}") from None
    except UnicodeEncodeError as error:
        raise InputError(f"cannot write pairs to {path}: pair {count + 1} is not Unicode: {error}") from None
    finally:
        partial.unlink(missing_ok=True)
    return count


def read_pairs(path: str | Path) -> Iterator[Pair]:
    """The pairs of a file in order, one in memory at a time.

    Raises InputError naming the file, and the line where one is not a pair.
    """
    path = Path(path)
    number = 0
    try:
        with _open(path, path, "rt") as stream:
            for number, line in enumerate(stream, 1):
                yield _pair(line, f"{path}:{number}")
    except UnicodeDecodeError:
        raise InputError(f"{path}:{number + 1}: not UTF-8") from None
    except EOFError:
        raise InputError(f"{path}:{number + 1}: the gzip stream ends early") from None
    except OSError as error:
        raise InputError(f"cannot read pairs from {path}: {error.strerror or error}") from None


def _open(named: Path, actual: Path, mode: str) -> TextIO:
    # newline="\n": a pair's text may hold \r or U+2028, which must not split a line.
    if named.suffix == ".gz":
        return cast(TextIO, gzip.open(actual, mode, compresslevel=6, encoding="utf-8", newline="\n"))
    return cast(TextIO, open(actual, mode, encoding="utf-8", newline="\n"))


def _record(pair: Pair) -> dict[str, object]:
    record: dict[str, object] = {field: getattr(pair, field) for field in _TEXT_FIELDS}
    record["task"] = pair.task.value
    if pair.negatives:
        record["negatives"] = pair.negatives
    return record


def _pair(line: str, where: str) -> Pair:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise InputError(f"{where}: not JSON: {error}") from None
    if not isinstance(record, dict):
        raise InputError(f"{where}: expected an object, found {type(record).__name__}")
    if missing := [field for field in (*_TEXT_FIELDS, "task") if field not in record]:
        raise InputError(f"{where}: missing {', '.join(missing)}")
    if unknown := sorted(record.keys() - {*_TEXT_FIELDS, "task", "negatives"}):
        raise InputError(f"{where}: unknown field {', '.join(unknown)}")
    negatives = record.get("negatives", [])
    if not isinstance(negatives, list) or not all(isinstance(text, str) for text in negatives):
        raise InputError(f"{where}: negatives must be a list of strings")
    for field in _TEXT_FIELDS:
        if not isinstance(record[field], str):
            raise InputError(f"{where}: {field} must be a string")
    for field in ("query", "document"):
        if not record[field].strip():
            raise InputError(f"{where}: {field} is empty")
    if not isinstance(record["task"], str) or record["task"] not in {task.value for task in Task}:
        raise InputError(f"{where}: unknown task {record['task']!r}")
    texts = {field: record[field] for field in _TEXT_FIELDS}
    return Pair(**texts, task=Task(record["task"]), negatives=tuple(negatives))
