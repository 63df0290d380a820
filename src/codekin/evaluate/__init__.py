"""A model, or any searcher, to numbers: benchmarks, figures, reports, and what a model's scores mean."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codekin.evaluate.ablation import checkpoints
    from codekin.evaluate.page import Texts, html_page
    from codekin.evaluate.paper import POOLINGS
    from codekin.evaluate.report import markdown, terminal_table, write_mteb
    from codekin.evaluate.results import Form, QueryResult, Result, read_results, write_result
    from codekin.evaluate.table import Cell, figures_table
    from codekin.evaluate.texts import page_texts

_HOMES = {
    "POOLINGS": "paper",
    "Cell": "table",
    "Form": "results",
    "QueryResult": "results",
    "Result": "results",
    "Texts": "page",
    "checkpoints": "ablation",
    "figures_table": "table",
    "html_page": "page",
    "markdown": "report",
    "page_texts": "texts",
    "read_results": "results",
    "terminal_table": "report",
    "write_mteb": "report",
    "write_result": "results",
}

__all__ = [
    "POOLINGS",
    "Cell",
    "Form",
    "QueryResult",
    "Result",
    "Texts",
    "checkpoints",
    "figures_table",
    "html_page",
    "markdown",
    "page_texts",
    "read_results",
    "terminal_table",
    "write_mteb",
    "write_result",
]


def __getattr__(name: str) -> Any:
    if home := _HOMES.get(name):
        return getattr(import_module(f"codekin.evaluate.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
