"""`codekin evaluate MODEL...`: embedding models, services and BM25 on retrieval benchmarks."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codekin.cli import options
from codekin.cli.meter import Meter, rate
from codekin.cli.terminal import count, visible
from codekin.errors import CodekinError, InputError
from codekin.tasks import Task

if TYPE_CHECKING:
    from codekin.evaluate import Benchmark, Result
    from codekin.evaluate.models import Model

_FILE = click.Path(path_type=Path, dir_okay=False)


class _Context(click.Context):
    """Of the command that has no name of its own."""

    @property
    def command_path(self) -> str:
        return self.parent.command_path if self.parent else ""


class _Command(click.Command):
    context_class = _Context


@click.command(
    cls=_Command,
    epilog="codekin evaluate search measures code search as a whole, on repositories with questions or on your code.",
)
@click.argument("names", nargs=-1, metavar="MODEL...")
@click.option(
    "-b",
    "--benchmark",
    "benchmarks",
    multiple=True,
    metavar="NAME",
    help="A benchmark of the paper, a group of them (paper, mteb-code, coir), or a folder in the layout of BEIR or "
    "CoIR, or of such folders. Repeatable.  [default: paper]",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Look for the paper's benchmarks here first: a folder of its name each.",
)
@click.option(
    "--task",
    type=click.Choice([task.value for task in Task]),
    help="The task of folders whose queries do not say theirs.  [default: nl2code]",
)
@click.option(
    "--size",
    "sizes",
    type=click.IntRange(min=1),
    multiple=True,
    metavar="N",
    help="Cut vectors to N numbers. Repeatable.  [default: every size that a model has]",
)
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(["float32", "int8", "binary"]),
    multiple=True,
    help="How numbers are kept; the smaller ones with and without float32 for the order of the best. Repeatable.  "
    "[default: float32]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Keep results here, each as it comes, and go on from those that are there; in results/ as mteb keeps them.",
)
@click.option("--markdown", type=_FILE, metavar="FILE", help="Write the tables as Markdown.")
@click.option(
    "--html", type=_FILE, metavar="FILE", help="Write one page: tables, charts, each query's wins and losses."
)
@click.option(
    "--ablation",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Evaluate the models in DIR, a folder each, beside the paper's poolings (Table 5).",
)
@options.device
@options.dtype
@click.option(
    "--key-variable",
    metavar="NAME",
    help="The environment variable with the key of an API.  [default: JINA_API_KEY or OPENAI_API_KEY]",
)
@options.no_cache
@options.as_json
def models(
    names: tuple[str, ...],
    benchmarks: tuple[str, ...],
    data: Path | None,
    task: str | None,
    sizes: tuple[int, ...],
    precisions: tuple[str, ...],
    output: Path | None,
    markdown: Path | None,
    html: Path | None,
    ablation: Path | None,
    device: str | None,
    dtype: str | None,
    key_variable: str | None,
    no_cache: bool,
    as_json: bool,
) -> None:
    """Measure models on retrieval benchmarks and print the paper's table.

    \b
    MODEL is one of
      a bundled model, a folder, a .gguf file, a name on the Hugging Face hub
      bm25
      https://api.openai.com/v1#text-embedding-3-small   an API of OpenAI's form
      https://api.jina.ai/v1#jina-code-embeddings-0.5b   of Jina's; jina+https://... where it is another's
      module:object   a Python object with encode(texts)

    What cannot be had is said and left out, and an average over fewer sets is called so. An interrupted run with
    --output is gone on with by the same command.
    """
    from codekin.cli.results import print_json
    from codekin.evaluate import find_benchmarks

    if not names and ablation is None:
        raise InputError("name a model: codekin evaluate codekin-static bm25 --benchmark FOLDER")
    for file in (markdown, html):
        if file is not None and not file.parent.is_dir():
            raise InputError(f"cannot write {file}: no folder {file.parent}")
    chosen = find_benchmarks(benchmarks or ("paper",), data=data)
    opened = _open(
        names, ablation, device=device, dtype=dtype, key_variable=key_variable, cached=not no_cache
    )
    run = _Run()
    results = run.results(opened, chosen, Task(task) if task else None, sizes, precisions, output)
    if not results:
        raise InputError("nothing was evaluated")
    if as_json:
        print_json(_described(results, run.skipped))
    else:
        _print(results, pooled=ablation is not None)
    sys.stdout.flush()  # whatever becomes of the files
    _write(results, chosen, output, markdown, html, pooled=ablation is not None)
    for model in opened:
        if cut := getattr(model, "truncated", 0):
            print(f"codekin: {count(cut, 'text')} longer than {model.name} reads were cut", file=sys.stderr)
    if run.failed:
        raise SystemExit(2)


def _open(
    names: Sequence[str],
    ablation: Path | None,
    *,
    device: str | None,
    dtype: str | None,
    key_variable: str | None,
    cached: bool,
) -> list[Model]:
    from codekin.embed import VectorCache
    from codekin.evaluate import checkpoints, open_model

    cache = VectorCache() if cached else None
    options: dict[str, Any] = {"device": device, "dtype": dtype, "key_variable": key_variable, "cache": cache}
    opened = [open_model(name, **options) for name in dict.fromkeys(names)]
    if ablation is not None:
        opened += [open_model(path, name=name, **options) for name, path in checkpoints(ablation).items()]
    return opened


class _Run:
    """The evaluation as it is seen: a bar for each model on a benchmark, and a line for what is left out."""

    def __init__(self) -> None:
        self.skipped: list[tuple[str, str, str]] = []
        """Model ("" for all), benchmark and reason."""
        self.failed = False
        """Whether what was left out is more than a benchmark that is not to be had."""
        self._meter = Meter("evaluating")

    def results(
        self,
        models: Sequence[Model],
        benchmarks: Sequence[Benchmark],
        task: Task | None,
        sizes: Sequence[int],
        precisions: Sequence[str],
        output: Path | None,
    ) -> list[Result]:
        from codekin.evaluate import evaluate

        warnings.filterwarnings("ignore", message=".* were cut")  # they are counted, and told of once
        try:
            return list(
                evaluate(
                    models,
                    benchmarks,
                    task=task,
                    sizes=sizes,
                    precisions=precisions or ("float32",),
                    output=output,
                    progress=self._progress,
                    on_skip=self._skip,
                )
            )
        except KeyboardInterrupt:
            if output is not None:
                print(
                    f"codekin: what was done is kept in {output}; the same command goes on", file=sys.stderr
                )
            raise
        finally:
            self._meter.close()

    def _progress(self, model: str, benchmark: str, done: int, total: int) -> None:
        title = visible(f"{model} on {benchmark}")
        if title != self._meter.title:
            self._meter.begin(title)
        texts = f"{done:,} of {total:,} texts"
        self._meter.show(done / total, texts, rate(self._meter.per_second(done), "texts"))

    def _skip(self, model: str, benchmark: Benchmark, error: CodekinError) -> None:
        from codekin.evaluate.sources import Folder

        self._meter.close()
        reason = " ".join(str(error).split())
        self.skipped.append((model, benchmark.name, reason))
        self.failed |= bool(model) or isinstance(benchmark.source, Folder)
        what = f"{model} on {benchmark.name}" if model else benchmark.name
        print(f"left out {visible(what)}: {visible(reason)}", file=sys.stderr)


def _write(
    results: Sequence[Result],
    benchmarks: Sequence[Benchmark],
    output: Path | None,
    markdown: Path | None,
    html: Path | None,
    *,
    pooled: bool,
) -> None:
    from codekin.evaluate import html_page, page_texts, write_mteb
    from codekin.evaluate import markdown as as_markdown

    if output is not None:
        write_mteb(results, output)
    if markdown is not None:
        markdown.write_text(as_markdown(results, **_beside(pooled)), encoding="utf-8", errors="replace")
    if html is not None:
        html.write_text(
            html_page(results, page_texts(results, benchmarks), **_beside(pooled)), encoding="utf-8"
        )


def _print(results: Sequence[Result], *, pooled: bool) -> None:
    from rich.console import Console

    from codekin.cli.terminal import columns
    from codekin.evaluate import terminal_table

    # A file or a pipe has no width for the table to be cut to.
    Console(width=columns() or 250, highlight=False).print(terminal_table(results, **_beside(pooled)))


def _beside(pooled: bool) -> dict[str, Any]:
    from codekin.evaluate import POOLINGS

    return {"beside": POOLINGS} if pooled else {}


def _described(results: Sequence[Result], skipped: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    from codekin.evaluate.report import full_results
    from codekin.evaluate.results import MAIN_METRIC
    from codekin.evaluate.table import averages

    full = full_results(results)
    return {
        "results": [
            {
                "model": result.model,
                "benchmark": result.benchmark,
                "task": result.task.value,
                "split": result.split,
                "dimensions": result.form.dimensions,
                "precision": result.form.precision,
                "rescored": result.form.rescored,
                "figures": result.figures,
                "interval": result.intervals[MAIN_METRIC],
                "subsets": result.subsets,
                "queries": len(result.queries),
                "documents": result.documents,
                "seconds": round(result.seconds, 3),
                "revision": result.revision,
                "parameters": result.parameters,
            }
            for result in results
        ],
        "averages": [
            {
                "label": average.label,
                "benchmarks": average.benchmarks,
                MAIN_METRIC: {
                    model: sum(own[name].figures[MAIN_METRIC] for name in average.benchmarks)
                    / len(average.benchmarks)
                    for model, own in full.items()
                },
            }
            for average in averages(full)
        ],
        "skipped": [
            {"model": model or None, "benchmark": benchmark, "reason": reason}
            for model, benchmark, reason in skipped
        ],
    }
