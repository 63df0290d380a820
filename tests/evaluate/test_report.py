"""Tables that say what they average, and files that mteb's own classes read."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from made import NDCG, drawn, made, run
from rich.console import Console

from codekin.data.catalog import CATALOG
from codekin.data.sets import Use
from codekin.errors import InputError
from codekin.evaluate import paper
from codekin.evaluate.benchmarks import MTEB_TASKS
from codekin.evaluate.report import (
    differing,
    full_results,
    markdown,
    terminal_table,
    vector_bytes,
    write_mteb,
)
from codekin.evaluate.results import Form, Result
from codekin.evaluate.table import Cell, averages, column_mean, figures_table


def test_the_papers_columns_average_to_what_it_prints() -> None:
    published = {
        "Overall": (78.41, 79.04, 74.11, 73.49, 79.23, 77.38, 78.41, 77.20, 78.27),
        "MTEB Code": (78.72, 78.94, 74.87, 74.69, 79.84, 76.48, 78.72, 77.18, 78.41),
    }
    for group in (paper.OVERALL, paper.MTEB_CODE):
        means = [column_mean(column, group.benchmarks) for column in (*paper.MODELS, *paper.POOLINGS)]
        shown = [100 * mean for mean in means if mean is not None]
        assert shown == pytest.approx(published[group.name], abs=0.01)


def test_groups_are_the_catalogues() -> None:
    benchmarks = [entry for entry in CATALOG if entry.use is Use.BENCHMARK]
    assert [entry.name for entry in benchmarks] == list(paper.OVERALL.benchmarks)
    assert [entry.name for entry in benchmarks if entry.average] == list(paper.MTEB_CODE.benchmarks)
    assert (len(paper.OVERALL.benchmarks), len(paper.MTEB_CODE.benchmarks), len(paper.COIR.benchmarks)) == (
        25,
        12,
        10,
    )


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (paper.OVERALL.benchmarks, ["Overall average", "MTEB Code average", "CoIR average"]),
        (paper.MTEB_CODE.benchmarks, ["MTEB Code average", "CoIR average"]),
        (paper.COIR.benchmarks, ["CoIR average"]),
        (("CoSQA", "MBPP", "Spider"), ["average of 3 of 25 sets"]),
        (("CoSQA", "AppsRetrieval"), ["average of 2 of 25 sets"]),
        (
            ("CoSQA", "AppsRetrieval", "MBPP"),
            ["average of 3 of 25 sets", "MTEB Code: average of 2 of 12 sets"],
        ),
        (("CoSQA", "a", "b"), ["average of 2 other sets"]),
        (("a", "b", "c"), ["average of 3 sets"]),
        (("a",), []),
    ],
)
def test_an_average_over_fewer_sets_says_so(names: tuple[str, ...], labels: list[str]) -> None:
    assert [average.label for average in averages({"m": dict.fromkeys(names, 0.5)})] == labels


def test_averages_are_over_what_every_model_has() -> None:
    figures = {
        "one": {"CoSQA": Cell(0.4), "MBPP": Cell(0.6), "Spider": Cell(0.9)},
        "two": {"CoSQA": Cell(0.5), "MBPP": Cell(0.9)},
    }
    table = figures_table(figures, beside=paper.MODELS[:1])
    assert [row.labels[0] for row in table.rows] == ["CoSQA", "MBPP", "Spider", "average of 2 of 25 sets"]
    assert [cell and round(cell.value, 4) for cell in table.rows[-1].cells] == [
        0.5,
        0.7,
        (0.3925 + 0.8901) / 2,
    ]
    assert table.rows[2].cells[1] is None


def test_markdown_has_the_papers_form() -> None:
    results = [
        made("last", "CoSQA", [1.0, 0.5]),
        made("mean", "CoSQA", [0.5, 0.5]),
        made("last", "a|b\n", [0.25]),
        made("mean", "a|b\n", [0.25]),
    ]
    lines = markdown(results, beside=paper.POOLINGS).splitlines()
    assert lines[:4] == [
        "| benchmark | task | last | mean | JCE last | JCE mean | JCE latent |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
        "| CoSQA | nl2code | **75.00 ±2.0** | 50.00 ±2.0 | 39.25 | 37.13 | 38.58 |",
        "| a\\|b\N{REPLACEMENT CHARACTER} | nl2code | **25.00 ±2.0** | **25.00 ±2.0** | – | – | – |",
    ]
    assert "Published in arXiv 2508.21290: JCE last, JCE mean, JCE latent." in lines


def test_no_published_column_where_no_set_is_the_papers() -> None:
    assert markdown([made("m", "mine", [1.0])]).splitlines()[0] == "| benchmark | task | m |"


def test_significance_is_marked() -> None:
    results = [
        made("good", "mine", drawn(1, 200, 0.9)),
        made("bad", "mine", drawn(2, 200, 0.2)),
        made("near", "mine", drawn(3, 200, 0.9)),
    ]
    good, bad, near = markdown(results).splitlines()[2].split(" | ")[2:5]
    assert ("†" in good, "†" in bad, "†" in near) == (False, True, False)


def test_a_query_of_a_small_subset_weighs_more() -> None:
    def by_language(model: str, large: float, small: float) -> Result:
        plain = made(model, "CodeSearchNet", [large] * 40 + [small])
        names = [*(f"go/q{place}" for place in range(40)), "php/q40"]
        queries = dict(zip(names, plain.queries.values(), strict=True))
        return replace(plain, queries=queries, subsets={"go": {NDCG: large}, "php": {NDCG: small}})

    first, second = by_language("a", 0.6, 0.0), by_language("b", 0.5, 1.0)
    assert differing(first, second) == 1
    assert differing(replace(first, subsets={}), second) < 0.01


def test_forms_have_a_table_of_their_own() -> None:
    whole = markdown(run())
    table = whole[whole.index("| dimensions |") :].splitlines()
    assert table[0] == "| dimensions | precision | bytes | codekin-static |"
    labels = [tuple(line.split(" | ")[:3]) for line in table[2:17]]
    assert labels[:5] == [
        ("| 256", "float32", "1024"),
        ("| 256", "int8, rescored", "256"),
        ("| 256", "int8", "256"),
        ("| 256", "binary, rescored", "32"),
        ("| 256", "binary", "32"),
    ]
    assert len(labels) == 15 and "mean of 3 sets" in whole


def test_bytes_of_a_vector() -> None:
    forms = [Form(100), Form(100, "int8"), Form(100, "binary"), Form()]
    assert [vector_bytes(form) for form in forms] == [400, 100, 13, None]


def test_the_full_result_is_the_largest_in_float32() -> None:
    full = full_results(run())
    assert {name: own["CoSQA"].form for name, own in full.items()} == {
        "codekin-static": Form(256),
        "bm25": Form(),
    }


def test_a_narrow_terminal_leaves_the_published_columns_out() -> None:
    console = Console(file=StringIO(), width=70, color_system=None)
    console.print(terminal_table(run()))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "JCE-0.5B" not in shown and "a wider terminal shows them" in shown and "…" not in shown


def test_without_float32_the_tables_say_so() -> None:
    forms = [Form(256, "binary"), Form(256, "binary", True), Form(128, "binary", True)]
    results = [made("m", "mine", [place / 4], form=form) for place, form in enumerate(forms)]
    assert full_results(results)["m"]["mine"].form == forms[1]
    shown = markdown(results)
    assert "| 25.00 ±2.0 |" in shown and "Not in float32: m 256-binary-rescored." in shown


def test_terminal_shows_the_figures_and_obeys_no_control() -> None:
    results = [*run(), made("bm25", "evil\x1b[2J", [1.0], form=Form())]
    console = Console(file=StringIO(), width=150, force_terminal=True, color_system=None)
    console.print(terminal_table(results))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[2J" not in shown and "evil\N{REPLACEMENT CHARACTER}[2J" in shown
    assert "average of 2 of 25 sets" in shown and "JCE-0.5B" in shown
    mean = sum(drawn(0, 60, 0.7)) / 60
    assert f"{100 * mean:.2f} ±2.0" in shown


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mteb")
    by_language = made("bm25", "CodeSearchNet", [1.0, 0.5], form=Form(), subsets={"python": 1.0, "go": 0.5})
    write_mteb(
        [*run(), by_language, made("org/name", "CoSQA", [0.5]), made("/runs/a b", "CoSQA", [0.5])], folder
    )
    return folder


def test_mteb_reads_what_is_written(cache: Path) -> None:
    mteb = pytest.importorskip("mteb")
    loaded = mteb.ResultCache(cache).load_results(validate_and_filter=False, include_remote=False)
    found = {result.model_name: {task.task_name: task for task in result.task_results} for result in loaded}
    assert set(found) == {"local/codekin-static", "local/bm25", "org/name", "local/runs-a-b"}
    assert set(found["local/codekin-static"]) == {"CosQA", "MBPPRetrieval", "mine"}
    task = found["local/codekin-static"]["CosQA"]
    assert task.get_score() == pytest.approx(sum(drawn(0, 60, 0.7)) / 60, abs=1e-6)
    assert (task.dataset_revision, task.eval_splits, task.evaluation_time) == ("abc", ["test"], 1.5)
    by_language = found["local/bm25"]["CodeSearchNetRetrieval"]
    assert by_language.get_score() == 0.75
    assert {scores["hf_subset"]: scores["main_score"] for scores in by_language.scores["test"]} == {
        "python": 1.0,
        "go": 0.5,
    }


def test_mteb_accepts_each_file(cache: Path, tmp_path: Path) -> None:
    pytest.importorskip("mteb")
    from mteb.models import ModelMeta
    from mteb.results import TaskResult

    paths = sorted(cache.rglob("*.json"))
    assert len(paths) > 45
    for path in paths:
        if path.name == "model_meta.json":
            meta = ModelMeta.model_validate_json_resolved(path.read_text())
            assert (meta.experiment_name or meta.revision) == path.parent.name
            assert meta.name is not None and meta.model_name_as_path() in path.parts
            continue
        task = TaskResult.from_disk(path)
        task.to_disk(tmp_path / "again.json")
        assert json.loads((tmp_path / "again.json").read_text()) == json.loads(path.read_text())


def test_other_forms_are_experiments(cache: Path) -> None:
    below = cache / "results" / "local__codekin-static" / "no_revision_available" / "experiments"
    names = {path.name for path in below.iterdir()}
    assert len(names) == 14
    assert {
        "embed_dim_64",
        "output_dtypes_int8",
        "embed_dim_128__output_dtypes_binary__rescored_True",
    } <= names


def test_the_names_of_tasks_are_mtebs() -> None:
    mteb = pytest.importorskip("mteb")
    for group, benchmark in ((paper.MTEB_CODE, "MTEB(Code, v1)"), (paper.COIR, "CoIR")):
        theirs = {task.metadata.name for task in mteb.get_benchmark(benchmark).tasks}
        assert {MTEB_TASKS[name] for name in group.benchmarks} == theirs


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    result: Result = made("m", "mine", [1.0])
    with pytest.raises(InputError, match=r"^cannot write .*mine\.json: [^\n]*$"):
        write_mteb([result], tmp_path)
    assert result.figures[NDCG] == 1.0
