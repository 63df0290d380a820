"""Query-document pairs, and reading and writing them: JSONL, Parquet, BEIR and CoIR folders, Hugging Face data sets."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO, cast

from codekin.data.beir import Retrieval, is_retrieval, retrievals, text_of, write_retrieval
from codekin.data.hub import PREFIX, HubSet
from codekin.data.records import Files, Located, Record, parse_object, pyarrow
from codekin.errors import InputError
from codekin.tasks import Task

_REQUIRED = ("query", "document", "task")
_OPTIONAL = ("language", "source", "licence", "path", "kind", "revision")
_FIELDS = (*_REQUIRED, *_OPTIONAL, "negatives")
_ROW_GROUP = 8192
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Pair:
    """A query and the document that answers it.

    `language` is the document's ("" where nothing says), `source` names the package it was mined from
    (`ecosystem:name@version`) or the data set, `licence` is that one's SPDX expression or "unknown", `path` the
    file inside it. `kind` says how the pair was found, so that a recipe can weigh the kinds
    (`codekin.data.mining` lists its own). `revision` is the git commit in which the document stands at that path.
    `negatives` are documents that look alike and do not answer the query, hardest first.
    """

    query: str
    document: str
    task: Task
    language: str = ""
    source: str = ""
    licence: str = UNKNOWN
    path: str = ""
    kind: str = ""
    revision: str = ""
    negatives: tuple[str, ...] = ()


def read_pairs(
    where: str | Path,
    *,
    split: str = "train",
    columns: Mapping[str, str] | None = None,
    task: Task | None = None,
    language: str = "",
    source: str = "",
    licence: str = UNKNOWN,
) -> Iterator[Pair]:
    """The pairs of a file, folder or Hugging Face data set in order, one in memory at a time.

    `where` is a file (`.jsonl`, `.jsonl.gz`, `.parquet`), a folder in the layout of BEIR and CoIR, a folder of such
    files, or `hf:owner/name[:configuration][@revision]`. Of a set in splits, `split` is read. `columns` maps the
    fields of `Pair` to a set's own names for them, of which others are then ignored. `task`, `language`, `source`
    and `licence` hold for pairs that do not say their own.

    Raises InputError naming the file, and the line or number of a record that is not a pair.
    """
    defaults: Record = {"language": language, "source": source, "licence": licence}
    if task is not None:
        defaults["task"] = task.value
    if isinstance(where, str) and where.startswith(PREFIX):
        hub_set = HubSet.parse(where)
        if not hub_set.configuration and (parts := hub_set.retrievals(split)):
            yield from _judged(parts, defaults)
            return
        for place, record in hub_set.records(split):
            yield _pair(record, place, defaults, columns)
        return
    with Files(where) as files:
        if is_retrieval(files) and files.where.is_dir():
            yield from _judged(retrievals(files, split), defaults)
            return
        for place, record in _shards(files, split):
            yield _pair(record, place, defaults, columns)


def parse_pair(line: str | bytes, where: str) -> Pair:
    """The pair that a line of JSONL holds; raises InputError naming `where` if it holds none."""
    return _pair(parse_object(line, where), where, {}, None)


def format_pair(pair: Pair) -> str:
    """The line of JSONL that `parse_pair` reads, with its newline."""
    record = _record(pair)
    for field in ("revision", "negatives"):
        if not record[field]:
            del record[field]
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n"


def write_pairs(path: str | Path, pairs: Iterable[Pair], *, split: str = "train") -> int:
    """Write `pairs` to `path` and return how many; a reader never sees a half-written file.

    The suffix chooses the format: `.jsonl`, `.jsonl.gz`, `.parquet` (which `datasets.load_dataset` reads as well);
    without one it is a folder in BEIR's layout, which has no place for negatives and must not exist yet.
    Raises InputError for another suffix or what cannot be written.
    """
    path = Path(path)
    write = _writer(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        if write is None:
            if path.exists():
                raise InputError(f"{path} exists; a folder of pairs is written anew")
            count = write_retrieval(partial, pairs, split)
        else:
            count = write(partial, pairs)
        partial.replace(path)
    except OSError as error:
        raise InputError(f"cannot write pairs to {path}: {error.strerror or error}") from None
    except UnicodeEncodeError as error:
        raise InputError(f"cannot write pairs to {path}: a pair is not Unicode: {error}") from None
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        partial.unlink(missing_ok=True)
    return count


_Writer = Callable[[Path, Iterable[Pair]], int]


def _writer(path: Path) -> _Writer | None:
    """What writes the format that the name asks for; None for a folder."""
    if path.suffix == "":
        return None
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        return _write_jsonl if path.suffix == ".jsonl" else _write_gzip
    if path.suffix == ".parquet":
        return _write_parquet
    raise InputError(
        f"cannot write pairs to {path}: name it .jsonl, .jsonl.gz, .parquet, or without a suffix"
    )


def _write_jsonl(path: Path, pairs: Iterable[Pair]) -> int:
    # newline="\n": a pair's text may hold \r or U+2028, which must not split a line.
    with open(path, "w", encoding="utf-8", newline="\n") as stream:
        return _write_lines(stream, pairs)


def _write_gzip(path: Path, pairs: Iterable[Pair]) -> int:
    with gzip.open(path, "wt", compresslevel=6, encoding="utf-8", newline="\n") as stream:
        return _write_lines(cast(TextIO, stream), pairs)


def _write_lines(stream: TextIO, pairs: Iterable[Pair]) -> int:
    count = 0
    for pair in pairs:
        stream.write(format_pair(pair))
        count += 1
    return count


def _write_parquet(path: Path, pairs: Iterable[Pair]) -> int:
    package = pyarrow()
    types = {field: package.string() for field in _FIELDS} | {"negatives": package.list_(package.string())}
    schema = package.schema(types)
    rows, count = iter(pairs), 0
    with package.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := [_record(pair) for pair in islice(rows, _ROW_GROUP)]:
            writer.write_table(package.Table.from_pylist(group, schema))
            count += len(group)
    return count


def _record(pair: Pair) -> Record:
    record: Record = {field: getattr(pair, field) for field in _FIELDS}
    return record | {"task": pair.task.value, "negatives": list(pair.negatives)}


def _shards(files: Files, split: str) -> Iterator[Located]:
    """The records of all files of pairs, or of those that are named after `split` where any is."""
    names = [
        name for name in files.names if name.removesuffix(".gz").endswith((".jsonl", ".json", ".parquet"))
    ]
    if not names and files.where.is_dir():
        raise InputError(f"{files.where} holds no .jsonl, .jsonl.gz or .parquet file")
    of_split = [name for name in names if split in name.split("/")[:-1] or Path(name).name.startswith(split)]
    for name in of_split or names or files.names:
        yield from files.records(name)


def _judged(parts: Iterable[Retrieval], defaults: Record) -> Iterator[Pair]:
    for part in parts:
        for where, query, document in part.judged():
            described = {**query, **document}
            record = {field: described[field] for field in _OPTIONAL if isinstance(described.get(field), str)}
            record |= {"query": text_of(query, where), "document": text_of(document, where)}
            yield _pair({**record, "task": query.get("task")}, where, defaults, None)


def _pair(record: Record, where: str, defaults: Record, columns: Mapping[str, str] | None) -> Pair:
    if columns is not None:
        if absent := [name for name in columns.values() if name not in record]:
            raise InputError(f"{where}: there is no column {', '.join(absent)}")
        record = {field: record.get(columns.get(field, field)) for field in _FIELDS}
    elif unknown := sorted(record.keys() - _FIELD_SET):
        raise InputError(f"{where}: unknown field {', '.join(unknown)}")
    values = defaults | {field: value for field, value in record.items() if value is not None}
    if missing := [field for field in _REQUIRED if field not in values]:
        raise InputError(f"{where}: missing {', '.join(missing)}")
    negatives = values.pop("negatives", [])
    if not isinstance(negatives, list) or not all(isinstance(text, str) for text in negatives):
        raise InputError(f"{where}: negatives must be a list of strings")
    for field, text in values.items():
        if not isinstance(text, str):
            raise InputError(f"{where}: {field} must be a string")
    for field in ("query", "document"):
        if not values[field].strip():
            raise InputError(f"{where}: {field} is empty")
    task = _TASKS.get(values.pop("task"))
    if task is None:
        raise InputError(f"{where}: unknown task {record['task']!r}")
    return Pair(**values, task=task, negatives=tuple(negatives))


_FIELD_SET = frozenset(_FIELDS)
_TASKS = {task.value: task for task in Task}
