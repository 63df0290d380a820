"""Figures against trec_eval's own code, mteb's and ranx's; intervals and tests against what is known of them."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codekin.errors import InputError
from codekin.evaluate.metrics import (
    METRICS,
    average_precision,
    bootstrap_interval,
    in_order,
    ndcg,
    paired_p_value,
    query_figures,
    recall,
    reciprocal_rank,
)

Qrels = dict[str, dict[str, int]]
Rankings = dict[str, list[tuple[str, float]]]


def drawn(seed: int, queries: int = 60, documents: int = 150) -> tuple[Qrels, Rankings]:
    """Grades from -1 to 3; scores of few values, so that many tie; a tenth of the judged queries has no ranking."""
    source = random.Random(seed)
    names = [f"d{number}" for number in range(documents)] + ["é", "ß1", "Z", "a b", "日本"]
    qrels = {
        f"q{number}": {
            name: source.choice((-1, 0, 1, 1, 2, 3))
            for name in source.sample(names, source.choice((1, 2, 5, 40)))
        }
        for number in range(queries)
    }
    rankings = {
        query: [
            (name, source.randrange(12) / 4) for name in source.sample(names, source.choice((0, 3, 30, 120)))
        ]
        for query in qrels
        if source.random() < 0.9
    }
    return qrels, rankings


@pytest.mark.parametrize("seed", range(5))
def test_figures_are_those_of_trec_eval(seed: int) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    qrels, rankings = drawn(seed)
    runs = {query: dict(ranking) for query, ranking in rankings.items()}
    cuts = "1,3,10,100"
    measures = {f"ndcg_cut.{cuts}", f"recall.{cuts}", f"map_cut.{cuts}", "recip_rank"}
    expected = pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(runs)
    assert len(expected) < len(qrels)
    ours = {
        f"{name}_{k}": function(qrels, rankings, k)
        for name, function in (("ndcg_cut", ndcg), ("recall", recall), ("map_cut", average_precision))
        for k in (1, 3, 10, 100)
    }
    ours["recip_rank"] = reciprocal_rank(qrels, rankings, 200)
    for name, figures in ours.items():
        assert list(figures) == list(qrels)
        for query in qrels:
            wanted = expected[query][name] if query in expected else 0.0
            assert figures[query] == pytest.approx(wanted, abs=1e-9), (name, query)


@pytest.mark.slow  # mteb takes seconds to load
def test_figures_are_those_of_mteb() -> None:
    metrics = pytest.importorskip("mteb._evaluators.retrieval_metrics")
    qrels, rankings = drawn(7)
    runs = {query: dict(rankings.get(query, ())) for query in qrels}
    theirs = metrics.calculate_retrieval_scores(runs, qrels, [1, 10, 100])
    figures = query_figures(qrels, rankings)
    means = {name: np.mean([of[name] for of in figures.values()]) for name in METRICS}
    wanted = {
        "ndcg_at_10": theirs.ndcg["NDCG@10"],
        "recall_at_1": theirs.recall["Recall@1"],
        "recall_at_10": theirs.recall["Recall@10"],
        "recall_at_100": theirs.recall["Recall@100"],
        "mrr_at_10": theirs.mrr["MRR@10"],
        "map_at_100": theirs.map["MAP@100"],
    }
    assert means == pytest.approx(wanted, abs=6e-6)  # mteb rounds to five places


@pytest.mark.slow  # numba compiles ranx for a minute
def test_figures_without_ties_are_those_of_ranx() -> None:
    ranx = pytest.importorskip("ranx")
    source = random.Random(0)
    names = [f"d{number}" for number in range(80)]
    qrels = {f"q{n}": {name: source.randint(1, 3) for name in source.sample(names, 6)} for n in range(40)}
    rankings = {query: [(name, source.random()) for name in source.sample(names, 50)] for query in qrels}
    runs = {query: dict(ranking) for query, ranking in rankings.items()}
    theirs = ranx.evaluate(
        ranx.Qrels(qrels), ranx.Run(runs), ["ndcg@10", "recall@10", "mrr@10", "map@10"], return_mean=False
    )
    functions = (ndcg, recall, reciprocal_rank, average_precision)
    for function, expected in zip(functions, theirs.values(), strict=True):
        # ranx has the queries in the order of their names.
        figures = function(qrels, rankings, 10)
        assert [figures[query] for query in sorted(qrels)] == pytest.approx(list(expected), abs=1e-9)


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from([0.0, 0.5, 1.0])), max_size=12),
    st.dictionaries(st.sampled_from("abcdefg"), st.integers(0, 3), min_size=1),
)
@settings(max_examples=200, deadline=None)
def test_a_document_that_comes_twice_counts_once(
    ranking: list[tuple[str, float]], judged: dict[str, int]
) -> None:
    best: dict[str, float] = {}
    for name, score in ranking:
        best[name] = max(score, best.get(name, 0.0))
    once = query_figures({"q": judged}, {"q": list(best.items())})
    assert query_figures({"q": judged}, {"q": ranking}) == once
    assert all(0 <= figure <= 1 for figure in once["q"].values())


def test_equal_scores_rank_by_id_the_greatest_first() -> None:
    assert in_order([("a", 1.0), ("c", 1.0), ("b", 2.0), ("a", 3.0)]) == [("a", 3.0), ("b", 2.0), ("c", 1.0)]


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(InputError, match="NaN"):
        in_order([("a", math.nan)])


def test_an_interval_covers_the_mean_as_often_as_it_says() -> None:
    source = np.random.default_rng(3)
    covered = 0
    for _ in range(300):
        low, high = bootstrap_interval(source.beta(2, 3, size=60))
        covered += low <= 0.4 <= high
    assert 0.9 < covered / 300 < 0.99


def test_an_interval_is_the_same_from_the_same_seed() -> None:
    values = np.random.default_rng(0).random(5000)
    assert bootstrap_interval(values) == bootstrap_interval(list(values))
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values)
    low, high = bootstrap_interval(values)
    error = values.std() / math.sqrt(len(values))
    assert (low, high) == pytest.approx(
        (values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=error / 5
    )
    assert all(map(math.isnan, bootstrap_interval([])))


def test_a_p_value_is_that_of_all_exchanges() -> None:
    source = np.random.default_rng(5)
    first, second = source.random(9), source.random(9) - 0.15
    differences = first - second
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product((1, -1), repeat=9)]
    exact = np.mean([total >= abs(differences.sum()) - 1e-12 for total in sums])
    assert paired_p_value(first, second) == pytest.approx(exact, abs=0.02)
    assert paired_p_value(first, second) == paired_p_value(second, first)


def test_p_values_of_equals_are_uniform_and_of_unequals_small() -> None:
    source = np.random.default_rng(11)
    values = [paired_p_value(*source.random((2, 30))) for _ in range(200)]
    assert 0.02 < np.mean(np.array(values) < 0.1) < 0.19
    scores = source.random(200)
    assert paired_p_value(scores, scores) == 1.0
    assert paired_p_value(scores + 0.1, scores) < 0.001
    with pytest.raises(InputError, match="3 and 2"):
        paired_p_value([1, 2, 3], [1, 2])
