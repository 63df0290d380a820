"""A model, or any searcher, to numbers: benchmarks, figures, reports, and what a model's scores mean."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codekin.evaluate.paper import POOLINGS
    from codekin.evaluate.results import Form, QueryResult, Result, read_results, write_result
    from codekin.evaluate.table import Cell, figures_table

_HOMES = {
    "POOLINGS": "paper",
    "Cell": "table",
    "Form": "results",
    "QueryResult": "results",
    "Result": "results",
    "figures_table": "table",
    "read_results": "results",
    "write_result": "results",
}

__all__ = [  # noqa: RUF022  as _HOMES
    "POOLINGS",
    "Cell",
    "Form",
    "QueryResult",
    "Result",
    "figures_table",
    "read_results",
    "write_result",
]


def __getattr__(name: str) -> Any:
    if home := _HOMES.get(name):
        return getattr(import_module(f"codekin.evaluate.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
