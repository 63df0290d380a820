"""A model, or any searcher, to numbers: benchmarks, figures, reports, and what a model's scores mean."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codekin.evaluate.ablation import checkpoints
    from codekin.evaluate.benchmarks import Benchmark, find_benchmarks
    from codekin.evaluate.calibration import calibrate, read_labelled
    from codekin.evaluate.metrics import bootstrap_interval, paired_p_value, query_figures
    from codekin.evaluate.models import open_model
    from codekin.evaluate.mteb import mteb_model
    from codekin.evaluate.page import Texts, html_page
    from codekin.evaluate.paper import POOLINGS
    from codekin.evaluate.report import markdown, terminal_table, write_mteb
    from codekin.evaluate.results import Form, QueryResult, Result, read_results, write_result
    from codekin.evaluate.runner import evaluate
    from codekin.evaluate.table import Cell, figures_table
    from codekin.evaluate.texts import page_texts

_HOMES = {
    "POOLINGS": "paper",
    "Benchmark": "benchmarks",
    "Cell": "table",
    "Form": "results",
    "QueryResult": "results",
    "Result": "results",
    "Texts": "page",
    "bootstrap_interval": "metrics",
    "calibrate": "calibration",
    "checkpoints": "ablation",
    "evaluate": "runner",
    "figures_table": "table",
    "find_benchmarks": "benchmarks",
    "html_page": "page",
    "markdown": "report",
    "mteb_model": "mteb",
    "open_model": "models",
    "page_texts": "texts",
    "paired_p_value": "metrics",
    "query_figures": "metrics",
    "read_labelled": "calibration",
    "read_results": "results",
    "terminal_table": "report",
    "write_mteb": "report",
    "write_result": "results",
}

__all__ = [
    "POOLINGS",
    "Benchmark",
    "Cell",
    "Form",
    "QueryResult",
    "Result",
    "Texts",
    "bootstrap_interval",
    "calibrate",
    "checkpoints",
    "evaluate",
    "figures_table",
    "find_benchmarks",
    "html_page",
    "markdown",
    "mteb_model",
    "open_model",
    "page_texts",
    "paired_p_value",
    "query_figures",
    "read_labelled",
    "read_results",
    "terminal_table",
    "write_mteb",
    "write_result",
]


def __getattr__(name: str) -> Any:
    if home := _HOMES.get(name):
        return getattr(import_module(f"codekin.evaluate.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
