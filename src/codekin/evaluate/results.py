"""What an evaluation finds: one result a model, benchmark and form of the vectors, and its file."""

from __future__ import annotations

from dataclasses import dataclass, field

from codekin.tasks import Task

MAIN_METRIC = "ndcg_at_10"


@dataclass(frozen=True, slots=True)
class Form:
    """How vectors are kept and compared: their size (None: a searcher without vectors, or the full size unnamed)."""

    dimensions: int | None = None
    precision: str = "float32"
    """"float32", "int8" or "binary"."""
    rescored: bool = False
    """Whether the candidates of the small vectors are put in order by float32."""


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
    """By the query's id."""
    revision: str = ""
    """Of the data; "" for local files."""
    subsets: dict[str, dict[str, float]] = field(default_factory=dict)
    """Figures by subset (a programming language) where a benchmark has several; `figures` are then their means."""
    parameters: int | None = None
    """Of the model; None where it has none, as BM25, or they are not known."""
