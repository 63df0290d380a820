"""Figures of models against a plain computation and against mteb's own; what is refused, kept and gone on with."""

from __future__ import annotations

import math
import random
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sets import FUNCTIONS, write_set

from codekin.embed import Embedder, Precision, quantise
from codekin.errors import CodekinError, InputError, ModelError
from codekin.evaluate import runner
from codekin.evaluate.benchmarks import Benchmark, find_benchmarks
from codekin.evaluate.metrics import query_figures
from codekin.evaluate.models import open_model
from codekin.evaluate.mteb import mteb_model
from codekin.evaluate.nearest import Best, nearest
from codekin.evaluate.results import Form, Result, read_results, write_result
from codekin.evaluate.runner import evaluate
from codekin.tasks import Task

Vectors = NDArray[np.float32]
WORDS = "read write parse open close file line header date sort list add sum retry send request token path".split()


def unit(rows: Any) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


class Drawn:
    """A vector a text, drawn from the text and what else it is told."""

    def __init__(self, dimensions: int = 16) -> None:
        self.dimensions = dimensions
        self.asked: list[tuple[str, str, int]] = []

    def encode(self, texts: list[str], task: str, role: str) -> Vectors:
        self.asked.append((task, role, len(texts)))
        return unit([np.random.default_rng([*text.encode()]).normal(size=self.dimensions) for text in texts])


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """300 documents, every third text there twice, and 40 queries with graded answers."""
    source = random.Random(4)
    texts = [" ".join(source.choices(WORDS, k=6)) for _ in range(200)]
    corpus = {f"d{number}": texts[number % 200] for number in range(300)}
    queries = {f"q{number}": " ".join(source.choices(WORDS, k=4)) for number in range(40)}
    qrels = {query: {name: source.randint(0, 2) for name in source.sample([*corpus], 6)} for query in queries}
    return write_set(tmp_path / "large", corpus=corpus, queries=queries, qrels=qrels)


def one(path: Path) -> list[Benchmark]:
    return find_benchmarks([str(path)])


@pytest.mark.parametrize("block", [7, 64, 4096])
def test_every_form_ranks_as_a_plain_computation_does(block: int) -> None:
    source = np.random.default_rng(1)
    queries, documents = unit(source.normal(size=(23, 24))), unit(source.normal(size=(310, 24)))
    documents[200:] = documents[:110]
    ids = [f"d{number}" for number in source.permutation(310)]
    blocks = [documents[start : start + block] for start in range(0, 310, block)]
    kinds = list(Precision)
    found = dict(nearest(queries, blocks, ids, sizes=(8, 24), precisions=kinds, depth=20))
    assert len(found) == 10
    for form, rankings in found.items():
        assert form.dimensions
        short = unit(queries[:, : form.dimensions]), unit(documents[:, : form.dimensions])
        exact = (short[0].astype(np.float64) @ short[1].astype(np.float64).T).astype(np.float32)
        scores = exact
        if form.precision != "float32":
            scores = quantise(short[1], form.precision).similarity(quantise(short[0], form.precision))
        for row, ranking in enumerate(rankings):
            order = sorted(range(310), key=lambda at, row=row: (scores[row, at], ids[at]), reverse=True)[:20]
            shown = exact if form.rescored else scores
            assert dict(ranking) == pytest.approx({ids[at]: shown[row, at] for at in order}, abs=1e-6)


def test_scores_of_all_signs_keep_their_order_and_value() -> None:
    scores = np.array([[0.0, -0.0, -1.5, 1e-30, -1e-30, 3.25, -math.inf, 1.0]], np.float32)
    best = Best(1, list("abcdefgh"), 6)
    best.add(slice(0, 1), 0, scores)
    assert dict(*best.rankings()) == {
        "f": 3.25,
        "h": 1.0,
        "d": np.float32(1e-30),
        "b": 0.0,
        "a": 0.0,
        "e": np.float32(-1e-30),
    }


def test_figures_are_those_of_the_rankings(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_BLOCK", 50)
    monkeypatch.setattr(runner, "_SLICE", 11)
    model = Drawn()
    (result,) = evaluate([open_model(model)], one(large), task=Task.CODE2CODE)
    assert (result.benchmark, result.task, result.split, result.form) == (
        "large",
        Task.CODE2CODE,
        "test",
        Form(16),
    )
    assert (result.documents, len(result.queries)) == (300, 40)
    asked = [(task, role) for task, role, texts in model.asked if texts > 1]
    assert set(asked) == {("code2code", "query"), ("code2code", "document")}
    with one(large)[0].load() as loaded:
        part = loaded.parts[0]
        queries = Drawn().encode(list(part.queries.values()), "", "")
        documents = Drawn().encode(list(part.texts()), "", "")
        scores = (queries.astype(np.float64) @ documents.astype(np.float64).T).astype(np.float32)
        rankings = {
            query: list(zip(part.documents, row.tolist(), strict=True))
            for query, row in zip(part.queries, scores, strict=True)
        }
        figures = query_figures(part.qrels, rankings)
    assert {query: found.figures for query, found in result.queries.items()} == figures
    for metric, mean in result.figures.items():
        assert mean == pytest.approx(np.mean([own[metric] for own in figures.values()]))
    low, high = result.intervals["ndcg_at_10"]
    assert low < result.figures["ndcg_at_10"] < high
    assert all(len(found.ranking) == 10 for found in result.queries.values())


def test_the_bundled_model_and_bm25_find_what_answers(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    found = list(evaluate([open_model("codekin-static"), open_model("bm25")], one(folder)))
    assert [(result.model, result.form.dimensions) for result in found] == [
        ("codekin-static", 64),
        ("codekin-static", 128),
        ("codekin-static", 256),
        ("bm25", None),
    ]
    assert found[2].figures["ndcg_at_10"] > 0.8
    assert found[2].parameters == Embedder().parameters > 1_000_000
    # Of the two equal texts BM25, too, has the one with the greater id first.
    assert [name for name, _ in found[3].queries["q4"].ranking][:2] == ["sort2", "sort"]
    assert 0 < found[3].figures["ndcg_at_10"] < 1
    assert {name for name, _ in found[3].queries["q5"].ranking} < FUNCTIONS.keys()


def test_parts_weigh_the_same_and_keep_their_ids_apart(tmp_path: Path) -> None:
    write_set(tmp_path / "set", prefix="go-")
    write_set(tmp_path / "set", prefix="ruby-", qrels={"q1": {"add": 1}})
    (result,) = evaluate([open_model("bm25")], one(tmp_path / "set"))
    assert set(result.subsets) == {"go", "ruby"}
    assert set(result.queries) == {"go/q1", "go/q2", "go/q3", "go/q4", "go/q5", "ruby/q1"}
    assert result.queries["go/q1"].ranking[0][0] == "go/add"
    means = [own["ndcg_at_10"] for own in result.subsets.values()]
    assert result.figures["ndcg_at_10"] == pytest.approx(np.mean(means))
    assert result.documents == 2 * len(FUNCTIONS)


def test_mteb_itself_comes_to_the_same_figures(large: Path) -> None:
    mteb = pytest.importorskip("mteb")
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    with one(large)[0].load() as loaded:
        part = loaded.parts[0]
        corpus = dict(zip(part.documents, part.texts(), strict=True))

    class Local(AbsTaskRetrieval):  # type: ignore[misc]
        metadata = TaskMetadata(
            name="LocalRetrieval",
            description="A set on disk.",
            reference=None,
            dataset={"path": "local", "revision": "1"},
            type="Retrieval",
            category="t2t",
            modalities=["text"],
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
            date=("2026-01-01", "2026-01-02"),
            domains=["Programming"],
            task_subtypes=["Code retrieval"],
            license="mit",
            annotations_creators="derived",
            dialect=[],
            sample_creation="found",
            bibtex_citation="",
        )

        def load_data(self, **_: Any) -> None:
            self.queries = {"test": part.queries}
            self.corpus = {"test": {key: {"title": "", "text": text} for key, text in corpus.items()}}
            self.relevant_docs = {
                "test": {
                    query: {key: int(grade) for key, grade in judged.items()}
                    for query, judged in part.qrels.items()
                }
            }
            self.data_loaded = True

        def task_specific_scores(self, scores: Any, *_: Any, **__: Any) -> dict[str, float]:
            """Before mteb rounds them: the means of trec_eval's figures."""
            names = {"ndcg_cut_10": "ndcg_at_10", "map_cut_100": "map_at_100"}
            names |= {f"recall_{k}": f"recall_at_{k}" for k in (1, 10, 100)}
            return {
                ours: float(np.mean([own[name] for own in scores.values()])) for name, ours in names.items()
            }

    ours = {result.form.dimensions: result for result in evaluate([open_model("codekin-static")], one(large))}
    for size in (256, 64):
        task = Local()
        task.load_data()
        model = mteb_model("codekin-static", dimensions=size)
        found = mteb.evaluate(model, task, cache=None, show_progress_bar=False, co2_tracker=False)
        (scores,) = found.task_results[0].scores["test"]
        for metric, figure in ours[size].figures.items():
            assert scores[metric] == pytest.approx(figure, abs=1e-6), metric


def failing(make: Callable[[int], Any]) -> Any:
    class Model:
        def encode(self, texts: Sequence[str]) -> Any:
            return make(len(texts))

    return Model()


BAD = [
    (lambda count: np.full((count, 3), np.nan), "gives NaN or infinite numbers, in 1 of 1 vectors"),
    (lambda count: np.ones((count + 1, 3)), r"shape \(2, 3\) for 1 texts"),
    (lambda count: np.ones(count), r"shape \(1,\) for 1 texts"),
    (lambda count: np.ones((count, 3)), "not of unit length: 1 of 1, one of 1.732"),
    (lambda count: np.zeros((count, 3)), "not of unit length"),
    (lambda count: ["text"] * count, "no matrix of numbers but list"),
    (lambda count: np.ones((count, 1), complex), "no matrix of numbers but complex128"),
    (lambda count: np.full((count, 1), 1e300), "gives NaN or infinite numbers"),
    (lambda count: 1 / 0, "ZeroDivisionError"),
    (lambda count: sys.exit(0), "SystemExit"),
]


@pytest.mark.parametrize(("make", "said"), BAD)
def test_a_model_of_unsound_vectors_is_named_and_refused(tmp_path: Path, make: Any, said: str) -> None:
    with pytest.raises(ModelError, match=f"Model.*{said}"):
        list(evaluate([open_model(failing(make))], one(write_set(tmp_path / "set"))))


@pytest.mark.parametrize("longer", ["query", "document"])
def test_a_model_whose_vectors_change_their_size_is_refused(tmp_path: Path, longer: str) -> None:
    class Uneven:
        def encode(self, texts: list[str], role: str) -> Vectors:
            return unit(np.ones((len(texts), 4 if role == longer else 3)))

    with pytest.raises(ModelError, match=r"Uneven gives vectors of [34] numbers, and of [34] before"):
        list(evaluate([open_model(Uneven())], one(write_set(tmp_path / "set"))))


def test_an_object_that_has_changed_is_evaluated_anew(tmp_path: Path) -> None:
    class Model:
        def __init__(self, instruction: str) -> None:
            self.instruction = instruction

        def encode(self, texts: list[str], role: str) -> Vectors:
            before = self.instruction if role == "query" else ""
            return Drawn().encode([before + text for text in texts], "", role)

    benchmarks, kept = one(write_set(tmp_path / "set")), tmp_path / "kept"
    first, again, other = (
        next(evaluate([open_model(Model(said))], benchmarks, output=kept)) for said in ("a", "a", "b")
    )
    assert (first.made_of, first.seconds) == (again.made_of, again.seconds)
    assert first.made_of != other.made_of and first.queries != other.queries


def test_what_fails_late_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    sets = [write_set(tmp_path / name) for name in ("one", "two")]
    (sets[0] / "corpus.jsonl").write_text("{")
    late = failing(lambda count: unit(np.ones((count, 3))) if count == 1 else np.full((count, 3), np.nan))
    told: list[tuple[str, str, str]] = []

    def skip(model: str, benchmark: Benchmark, error: CodekinError) -> None:
        told.append((model.rpartition(".")[2], benchmark.name, str(error)))

    benchmarks = find_benchmarks([str(folder) for folder in sets])
    found = list(evaluate([open_model(late), open_model("bm25")], benchmarks, on_skip=skip))
    assert [(result.model, result.benchmark) for result in found] == [("bm25", "two")]
    assert [who[:2] for who in told] == [("", "one"), ("Model", "two")]
    assert "corpus.jsonl:1: not JSON" in told[0][2]
    assert "NaN" in told[1][2]


def test_a_run_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    benchmarks = find_benchmarks([str(write_set(tmp_path / name)) for name in ("one", "two")])
    model = Drawn()
    output = tmp_path / "kept"
    first = next(evaluate([open_model(model)], benchmarks, output=output))
    before = len(model.asked)
    found = list(evaluate([open_model(model)], benchmarks, output=output))
    assert found[0] == first
    assert [result.benchmark for result in found] == ["one", "two"]
    # Texts to learn the size by and to know the model again, the queries and the documents of the second.
    asked = [(role, texts) for _, role, texts in model.asked[before:]]
    assert asked[-2:] == [("query", 5), ("document", 6)]
    assert all(texts == 1 for _, texts in asked[:-2])
    again = list(evaluate([open_model(model)], benchmarks, output=output))
    assert again == found
    (tmp_path / "one" / "queries.jsonl").touch()
    more = list(evaluate([open_model(model)], benchmarks, output=output, precisions=["binary"]))
    assert [result.form for result in more] == [Form(16, "binary"), Form(16, "binary", True)] * 2
    assert len(read_results(output)) == 6


def test_what_cannot_be_kept_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    benchmarks = find_benchmarks([str(write_set(tmp_path / name)) for name in ("one", "two")])
    results = evaluate(
        [open_model("bm25")],
        benchmarks,
        output=tmp_path / "kept",
        on_skip=lambda model, benchmark, error: told.append((model, str(error))),
    )
    assert next(results).benchmark == "one"
    shutil.rmtree(tmp_path / "kept")
    (tmp_path / "kept").touch()
    assert list(results) == []
    assert [model for model, _ in told] == ["bm25"] and "cannot write" in told[0][1]


def test_another_model_of_the_same_name_is_evaluated_anew(
    tmp_path: Path, turned_model: Callable[..., Path]
) -> None:
    folder = turned_model(tmp_path / "model")
    benchmarks = one(write_set(tmp_path / "set"))
    (before, *_) = evaluate([open_model(folder)], benchmarks, output=tmp_path / "kept")
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    (after, *_) = evaluate([open_model(folder)], benchmarks, output=tmp_path / "kept")
    assert before.made_of != after.made_of
    assert replace(before, made_of="", seconds=0) == replace(after, made_of="", seconds=0)


def test_sizes_and_names_that_cannot_be_are_refused_before_anything(tmp_path: Path) -> None:
    benchmarks = one(write_set(tmp_path / "set"))
    for model, size in (("codekin-static", 100), (Drawn(), 17)):
        with pytest.raises(InputError, match=f"no vectors of {size} numbers; sizes: "):
            list(evaluate([open_model(model)], benchmarks, sizes=[size]))
    assert [
        result.form.dimensions for result in evaluate([open_model(Drawn())], benchmarks, sizes=[3, 16])
    ] == [3, 16]
    with pytest.raises(InputError, match="two models are called"):
        list(evaluate([open_model(Drawn()), open_model(Drawn())], benchmarks))
    with pytest.raises(InputError, match="has no method encode"):
        open_model(3)


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    (result,) = evaluate([open_model("bm25")], one(write_set(tmp_path / "set")))
    odd = replace(result, model="a/b c\udcff", queries={"q\n": result.queries["q1"]})
    kept = [result, odd, replace(odd, model="a-b c\udcff")]
    for each in kept:
        write_result(tmp_path / "kept", each)
    assert sorted(read_results(tmp_path / "kept"), key=lambda each: each.model) == sorted(
        kept, key=lambda each: each.model
    )
    assert read_results(tmp_path / "nowhere") == []
    path = write_result(tmp_path / "kept", result)
    path.write_text(path.read_text()[:100])
    with pytest.raises(InputError, match=f"{path.name} is damaged"):
        read_results(tmp_path / "kept")


def test_memory_does_not_grow_with_the_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    class Counting(Drawn):
        def encode(self, texts: list[str], task: str, role: str) -> Vectors:
            seen.append(len(texts))
            return super().encode(texts, task, role)

    monkeypatch.setattr(runner, "_BLOCK", 100)
    corpus = {f"d{number}": f"text {number}" for number in range(1000)}
    folder = write_set(tmp_path / "set", corpus=corpus, qrels={"q1": {"d999": 1}})
    result: Result
    (result,) = evaluate([open_model(Counting())], one(folder))
    assert max(seen) == 100
    assert result.documents == 1000
