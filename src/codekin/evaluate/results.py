"""What an evaluation finds: one result a model, benchmark and form of the vectors, and its file."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from codekin.errors import InputError
from codekin.replacing import replacing
from codekin.tasks import Task

MAIN_METRIC = "ndcg_at_10"
_FORMAT = 1
_SUFFIX = ".result.json"


@dataclass(frozen=True, slots=True)
class Form:
    """How vectors are kept and compared: their size (None: a searcher without vectors, or the full size unnamed)."""

    dimensions: int | None = None
    precision: str = "float32"
    """"float32", "int8" or "binary"."""
    rescored: bool = False
    """Whether the candidates of the small vectors are put in order by float32."""

    def __str__(self) -> str:
        size = "full" if self.dimensions is None else str(self.dimensions)
        return f"{size}-{self.precision}{'-rescored' if self.rescored else ''}"


@dataclass(frozen=True, slots=True)
class QueryResult:
    """One query: its figures by metric, and the best documents with their scores, best first."""

    figures: dict[str, float]
    ranking: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Result:
    """One model on one benchmark in one form; figures from 0 to 1 are means over the queries."""

    model: str
    benchmark: str
    task: Task
    split: str
    form: Form
    figures: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    """Bootstrap confidence intervals of 95% by metric."""
    documents: int
    seconds: float
    queries: dict[str, QueryResult] = field(repr=False)
    """By the query's id; in a benchmark with subsets, "subset/id", and its documents likewise."""
    revision: str = ""
    """Of the data; "" for local files."""
    subsets: dict[str, dict[str, float]] = field(default_factory=dict)
    """Figures by subset (a programming language) where a benchmark has several; `figures` are then their means."""
    parameters: int | None = None
    """Of the model; None where it has none, as BM25, or they are not known."""
    made_of: str = ""
    """What the figures depend on, in some digits: the model's files, the data, the task."""


def write_result(folder: Path, result: Result) -> Path:
    """Write a result to a file of its own in `folder` and return it; a reader never sees half of one.

    A result of the same model, benchmark and form is replaced. Raises InputError where it cannot be written.
    """
    path = folder / f"{_slug(result.model)}.{_slug(result.benchmark)}.{result.form}{_SUFFIX}"
    record = {"format": _FORMAT, **asdict(result), "task": result.task.value}
    try:
        with replacing(path) as partial:
            # A lone surrogate is an escape in JSON's own alphabet, and no character of UTF-8.
            partial.write_text(json.dumps(record, separators=(",", ":")), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None
    return path


def read_results(folder: Path) -> list[Result]:
    """The results in `folder`, in the order of their files' names; none where there is no such folder.

    Raises InputError naming a file that is none.
    """
    return [_read(path) for path in sorted(folder.glob(f"*{_SUFFIX}"))]


def _read(path: Path) -> Result:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record.pop("format") != _FORMAT:
            raise InputError(f"{path} is of another version of codekin; delete it, or take another folder")
        return _result(record)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, LookupError, TypeError, AttributeError):
        raise InputError(f"{path} is damaged: no result; delete it to have it made anew") from None


def _result(record: dict[str, Any]) -> Result:
    record["task"] = Task(record["task"])
    record["form"] = Form(**record["form"])
    record["intervals"] = {metric: (low, high) for metric, (low, high) in record["intervals"].items()}
    record["queries"] = {
        query: QueryResult(found["figures"], tuple((name, score) for name, score in found["ranking"]))
        for query, found in record["queries"].items()
    }
    return Result(**record)


def _slug(name: str) -> str:
    """A file name for it, another one for every other name."""
    plain = re.sub(r"[^A-Za-z0-9+_-]+", "-", name).strip("-")[-80:]
    return (
        plain
        if plain == name
        else f"{plain}-{blake2b(name.encode('utf-8', 'replace'), digest_size=4).hexdigest()}"
    )
