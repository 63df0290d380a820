"""Results as tables, for a terminal or as Markdown, and as files that mteb reads."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codekin.errors import InputError
from codekin.evaluate.benchmarks import MTEB_TASKS
from codekin.evaluate.metrics import paired_p_value
from codekin.evaluate.paper import MODELS, Column
from codekin.evaluate.results import MAIN_METRIC, Form, Result
from codekin.evaluate.table import Cell, Row, Table, figures_table

if TYPE_CHECKING:
    from rich.console import RenderableType

SIGNIFICANT = 0.05
"""The p-value below which two models are said to differ."""

_PRECISIONS = ("float32", "int8", "binary")
_NO_REVISION = "no_revision_available"


def terminal_table(results: Sequence[Result], *, beside: Sequence[Column] = MODELS) -> RenderableType:
    """What rich prints: nDCG@10 by benchmark `beside` the paper's columns, then the averages of the smaller forms."""
    from rich.console import Group

    first, *others = _tables(results, beside)
    return Group(first, *(part for table in others for part in ("", table)))


def markdown(results: Sequence[Result], *, beside: Sequence[Column] = MODELS) -> str:
    """The same tables in Markdown; with `beside` the poolings of the paper they are its Table 5."""
    return "\n\n".join(table.markdown() for table in _tables(results, beside)) + "\n"


def full_results(results: Sequence[Result]) -> dict[str, dict[str, Result]]:
    """By model and benchmark the result of its vectors at their largest, in float32 if it was measured."""
    found: dict[str, dict[str, Result]] = {}
    for result in results:
        own = found.setdefault(result.model, {})
        best = own.get(result.benchmark)
        if best is None or _preference(result.form) < _preference(best.form):
            own[result.benchmark] = result
    return found


def form_averages(results: Sequence[Result]) -> dict[str, dict[Form, float | None]]:
    """By model and form, largest first, the mean over the benchmarks that every model has; None where it lacks one."""
    full = full_results(results)
    common = set.intersection(*(set(own) for own in full.values())) if full else set()
    figures: dict[str, dict[Form, dict[str, float]]] = {}
    for result in results:
        if result.benchmark in common:
            own = figures.setdefault(result.model, {}).setdefault(result.form, {})
            own[result.benchmark] = result.figures[MAIN_METRIC]
    return {
        model: {
            form: sum(own[form].values()) / len(common) if len(own[form]) == len(common) else None
            for form in sorted(own, key=_order)
        }
        for model, own in figures.items()
    }


def vector_bytes(form: Form) -> int | None:
    """The bytes of one vector as it is searched; None where there is none or its size is not known."""
    if form.dimensions is None:
        return None
    return {"float32": 4 * form.dimensions, "int8": form.dimensions}.get(
        form.precision, -(-form.dimensions // 8)
    )


def differing(first: Result, second: Result) -> float:
    """The p-value of the paired test over the queries of both; 1 where there are none.

    Where figures are means of subsets' means, a query counts by the share of it that it is.
    """
    shared = sorted(first.queries.keys() & second.queries.keys())
    if not shared:
        return 1.0
    parts = [query.partition("/")[0] if first.subsets else "" for query in shared]
    sizes = Counter(parts)
    one, other = (
        [
            result.queries[query].figures[MAIN_METRIC] / sizes[part]
            for query, part in zip(shared, parts, strict=True)
        ]
        for result in (first, second)
    )
    return paired_p_value(one, other)


def write_mteb(results: Sequence[Result], folder: Path) -> list[Path]:
    """Write `results` as mteb 2.26 keeps them, so that `mteb.ResultCache(folder).load_results()` has them.

    FOLDER/results/MODEL/REVISION/TASK.json and model_meta.json beside it; other forms than the full one are
    experiments below that. Raises InputError where they cannot be written.
    """
    full = full_results(results)
    written = []
    for result in results:
        largest = full.get(result.model, {}).get(result.benchmark, result).form
        experiment = _experiment(result.form, largest)
        meta = _model_meta(result, experiment)
        place = folder / "results" / meta["name"].replace("/", "__") / _NO_REVISION
        if experiment:
            place /= Path("experiments", "__".join(f"{key}_{value}" for key, value in experiment.items()))
        path = place / f"{_mteb_task(result.benchmark)}.json"
        try:
            place.mkdir(parents=True, exist_ok=True)
            for target, content in ((path, _task_result(result)), (place / "model_meta.json", meta)):
                target.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}") from None
        written.append(path)
    return written


def _tables(results: Sequence[Result], beside: Sequence[Column]) -> Iterator[Table]:
    full = full_results(results)
    first = next(iter(full), "")
    figures = {
        model: {name: _cell(result, full[first].get(name)) for name, result in own.items()}
        for model, own in full.items()
    }
    tasks = {name: result.task.value for own in full.values() for name, result in own.items()}
    named = (
        column.short if column.short == column.name else f"{column.short} {column.name}" for column in beside
    )
    source = f"Published in arXiv 2508.21290: {', '.join(named)}."
    yield figures_table(figures, tasks=tasks, beside=beside, notes=list(_notes(full, figures)), source=source)
    forms = {model: own for model, own in form_averages(results).items() if len(own) > 1}
    if forms:
        yield _forms_table(forms, full)


def _cell(result: Result, first: Result | None) -> Cell:
    low, high = result.intervals.get(MAIN_METRIC, (0.0, 0.0))
    differs = first is not None and first is not result and differing(first, result) < SIGNIFICANT
    return Cell(result.figures[MAIN_METRIC], (high - low) / 2 if high > low else None, differs)


def _notes(full: dict[str, dict[str, Result]], figures: dict[str, dict[str, Cell]]) -> Iterator[str]:
    cells = [cell for own in figures.values() for cell in own.values()]
    margin = ", ± half the 95% bootstrap interval" if any(cell.margin is not None for cell in cells) else ""
    yield f"nDCG@10 in percent{margin}."
    if any(cell.differs for cell in cells):
        yield f"†: differs from {next(iter(figures))}, p < {SIGNIFICANT} (paired test over the queries)."
    forms = {model: next(iter(own.values())).form for model, own in full.items()}
    if small := [f"{model} {form}" for model, form in forms.items() if form.precision != _PRECISIONS[0]]:
        yield f"Not in float32: {', '.join(small)}."
    if len({frozenset(own) for own in figures.values()}) > 1:
        yield "Averages are over the sets that every model has."


def _forms_table(forms: dict[str, dict[Form, float | None]], full: dict[str, dict[str, Result]]) -> Table:
    rows = []
    for form in sorted({form for own in forms.values() for form in own}, key=_order):
        values = [own.get(form) for own in forms.values()]
        size = vector_bytes(form)
        labels = (
            "full" if form.dimensions is None else str(form.dimensions),
            form.precision + (", rescored" if form.rescored else ""),
            "" if size is None else str(size),
        )
        rows.append(Row(labels, tuple(None if value is None else Cell(value) for value in values)))
    sets = len(set.intersection(*(set(own) for own in full.values())))
    note = f"By size and precision of the vectors: nDCG@10 in percent, mean of {sets} set{'' if sets == 1 else 's'}."
    return Table(("dimensions", "precision", "bytes"), tuple(forms), len(forms), tuple(rows), (note,))


def _order(form: Form) -> tuple[float, int, bool]:
    """Largest first, where a size without a name is the full one; then by precision, rescored before not."""
    size = math.inf if form.dimensions is None else form.dimensions
    return -size, _PRECISIONS.index(form.precision), not form.rescored


def _preference(form: Form) -> tuple[int, float, bool]:
    size, precision, plain = _order(form)
    return precision, size, plain


def _experiment(form: Form, full: Form) -> dict[str, Any]:
    """What sets a form apart, in the words of mteb's experiments, by key."""
    experiment: dict[str, Any] = {}
    if form.dimensions != full.dimensions:
        experiment["embed_dim"] = form.dimensions
    if form.precision != full.precision:
        experiment["output_dtypes"] = form.precision
    if form.rescored:
        experiment["rescored"] = True
    return experiment


def _task_result(result: Result) -> dict[str, Any]:
    """As `mteb.results.TaskResult.to_disk` writes it. No mteb version: the figures are not of its making."""
    scores = []
    for subset, figures in (result.subsets or {"default": result.figures}).items():
        languages = ["eng-Latn"] if subset == "default" else ["eng-Latn", f"{subset}-Code"]
        rounded = {metric: round(figure, 6) for metric, figure in figures.items()}
        main = {"main_score": rounded[MAIN_METRIC], "hf_subset": subset, "languages": languages}
        scores.append(rounded | main)
    return {
        "dataset_revision": result.revision,
        "task_name": _mteb_task(result.benchmark),
        "mteb_version": None,
        "scores": {result.split: scores},
        "evaluation_time": result.seconds,
        "kg_co2_emissions": None,
        "date": None,
        "evaluation_phases": None,
    }


def _model_meta(result: Result, experiment: dict[str, Any]) -> dict[str, Any]:
    """What `mteb.models.ModelMeta` requires; null is what is not known."""
    name = result.model
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name):
        name = f"local/{re.sub(r'[^A-Za-z0-9_.-]+', '-', name).strip('-.') or 'model'}"
    unknown = (
        "loader release_date languages memory_usage_mb max_tokens license open_weights public_training_code "
        "public_training_data use_instructions training_datasets"
    )
    return {
        **dict.fromkeys(unknown.split()),
        "name": name,
        "revision": _NO_REVISION,
        "n_parameters": result.parameters,
        "embed_dim": result.form.dimensions,
        "framework": [],
        "similarity_fn_name": None if result.form.dimensions is None else "cosine",
        "experiment_kwargs": experiment or None,
    }


def _mteb_task(benchmark: str) -> str:
    return MTEB_TASKS.get(benchmark, re.sub(r"[^\w.+-]+", "-", benchmark))
