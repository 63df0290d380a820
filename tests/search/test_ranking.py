"""What each signal does to a handful of chunks, and what is read out of a query."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codekin.search import ranking
from codekin.search.ranking import (
    NO_QUERY,
    WEIGHTS,
    Query,
    Ranking,
    Signals,
    Weights,
    parse,
    spread,
    support,
    unasked,
)

PLAIN = NO_QUERY
NO_SIGNAL = Weights(
    semantic=1, lexical=1, defines=0, stem=0, folder=0, symbol=0, support=0, unasked=False, repeat=1
)


def signals(count: int, **columns: list[float]) -> Signals:
    """The signals of `count` chunks; those not given are 0."""
    names = tuple(Signals.__dataclass_fields__)
    assert set(columns) <= set(names)
    return Signals(*(np.array(columns.get(name, [0.0] * count), np.float32) for name in names))


def ranked(
    found: Signals,
    weights: Weights = NO_SIGNAL,
    *,
    paths: list[str] | None = None,
    files: list[int] | None = None,
    query: Query = PLAIN,
    top: int = 10,
) -> list[int]:
    """Rows in their order; each chunk is a file of its own unless `files` says otherwise."""
    count = len(found.semantic)
    files = files if files is not None else list(range(count))
    paths = paths or [f"src/f{number}.py" for number in range(max(files, default=-1) + 1)]
    return Ranking(found, np.array(files, np.int32), paths, query, top, weights).best(top)[0].tolist()


# ---- queries


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("send_with_retries", "send_with_retries"),
        ("sendRequest", "sendRequest"),
        ("HTTPConnection", "HTTPConnection"),
        ("Session", "Session"),
        ("Session.send", "send"),
        ("std::vector", "vector"),
        ("Foo\\Bar", "Bar"),
        ("list->next", "next"),
        ("Array#each", "each"),
        ("send_request()", "send_request"),
        ("  _private  ", "_private"),
        ("__init__", "__init__"),
    ],
)
def test_an_identifier_is_looked_up(text: str, symbol: str):
    assert parse(text).names == (symbol.lower(),)


@pytest.mark.parametrize(
    "text",
    [
        "retry",
        "where are failed requests retried",
        "sort numbers",
        "Session send",
        "what is HTTP",
        "f(x)",
        "a + b",
        "?",
    ],
)
def test_anything_else_is_a_question(text: str):
    assert parse(text).names == ()


def test_a_question_loses_its_stop_words():
    assert parse("where are the failed requests retried").terms == ("fail", "request", "retri")


def test_a_question_of_stop_words_keeps_them():
    assert parse("what is this").terms == ("what", "is", "this")


def test_terms_are_distinct_and_in_order():
    assert parse("retry the request, retrying requests").terms == ("retri", "request")


def test_names_spelled_in_a_question_are_known():
    query = parse("who calls send_request and openFile")
    assert query.names == ("send_request", "openfile")


@given(st.text(max_size=60))
def test_any_text_parses(text: str):
    query = parse(text)
    assert all(query.terms)
    assert len(set(query.terms)) == len(query.terms)
    assert len(set(query.names)) == len(query.names)


# ---- fusing


def test_both_lists_count_whatever_their_units():
    found = signals(3, semantic=[0.9, 0.5, 0.1], lexical=[0, 900, 1000])
    assert ranked(found) == [1, 0, 2] or ranked(found) == [1, 2, 0]
    rescaled = signals(3, semantic=[0.9, 0.5, 0.1], lexical=[0, 0.9, 1.0])
    assert ranked(rescaled) == ranked(found)


def test_a_weight_of_zero_leaves_a_list_out():
    found = signals(3, semantic=[0.9, 0.5, 0.1], lexical=[1, 2, 3])
    assert ranked(found, replace(NO_SIGNAL, lexical=0)) == [0, 1, 2]
    assert ranked(found, replace(NO_SIGNAL, semantic=0)) == [2, 1, 0]


def test_a_chunk_that_nothing_speaks_for_is_no_result():
    assert ranked(signals(3, semantic=[0.9, 0.0, -0.5])) == [0]
    assert ranked(signals(3)) == []
    assert ranked(signals(0)) == []


def test_the_only_match_is_a_result_with_a_score():
    for column in ("semantic", "lexical"):
        found = signals(3, **{column: [0, 0.2, 0]})
        rows, scores = Ranking(found, np.arange(3, dtype=np.int32), list("abc"), PLAIN, 10, NO_SIGNAL).best(
            10
        )
        assert rows.tolist() == [1]
        assert scores[0] > 0


def test_every_match_is_a_result_the_weakest_too():
    assert ranked(signals(3, semantic=[0.3, 0.2, 0.1])) == [0, 1, 2]


def test_equal_matches_come_in_the_order_of_rows():
    assert ranked(signals(4, lexical=[2, 2, 2, 2])) == [0, 1, 2, 3]


def test_top_cuts():
    assert ranked(signals(4, lexical=[1, 4, 2, 3]), top=2) == [1, 3]


@given(
    st.lists(
        st.tuples(*[st.sampled_from([0.0, 0.1, 0.5, 1.0])] * 6, st.integers(0, 3)), min_size=1, max_size=20
    ),
    st.integers(1, 25),
)
def test_rank_is_sorted_without_repeats_and_a_shorter_list_is_its_head(chunks, top: int):
    names = ("semantic", "lexical", "defines", "stem", "folder", "symbol")
    columns = (list(column) for column in zip(*chunks, strict=True))
    found = signals(len(chunks), **dict(zip(names, columns, strict=False)))
    files = np.array([chunk[6] for chunk in chunks], np.int32)
    paths = ["a.py", "tests/test_b.py", "docs/c.md", "d.py"]
    ordered = Ranking(found, files, paths, PLAIN, top)
    rows, scores = ordered.best(top)
    assert len(rows) == len(scores) <= top
    assert len(set(rows.tolist())) == len(rows)
    assert np.all(scores[1:] <= scores[:-1])
    assert np.all(np.isfinite(scores))
    candidates = {
        r for r in range(len(chunks)) if found.semantic[r] > 0 or found.lexical[r] > 0 or found.symbol[r] > 0
    }
    assert set(rows.tolist()) <= candidates
    if top >= len(chunks):
        assert set(rows.tolist()) == candidates
    assert ordered.best(1)[0].tolist() == rows.tolist()[:1]


def test_a_further_list_counts_as_the_first_stages_own():
    found = signals(3, semantic=[0.9, 0.6, 0.3])
    paths = ["tests/test_a.py", "b.py", "c.py"]
    ordered = Ranking(found, np.arange(3, dtype=np.int32), paths, PLAIN, 10, replace(NO_SIGNAL, unasked=True))
    assert ordered.best(3)[0].tolist() == [1, 0, 2]
    # A test counts 0.3 of what both lists say of it, not of the first one alone.
    rows, scores = ordered.best(3, np.array([1.0, 0.0, 0.5], np.float32))
    assert rows.tolist() == [0, 1, 2]
    assert np.allclose(scores, [0.3 * 2, 0.5, 0.5])
    assert ordered.best(3, np.array([0.0, 0.0, 0.9], np.float32))[0].tolist() == [2, 1, 0]


# ---- what an engineer knows about code


@pytest.mark.parametrize("signal", ["defines", "stem", "folder", "symbol"])
def test_a_signal_lifts_its_chunk_and_its_weight_decides(signal: str):
    found = signals(3, lexical=[1.0, 0.9, 0.1], **{signal: [0, 1, 0]})
    assert ranked(found) == [0, 1, 2]
    assert ranked(found, replace(NO_SIGNAL, **{signal: 1.0})) == [1, 0, 2]


def test_a_definition_is_a_result_even_where_no_list_has_it():
    """A name that is long, or in a chunk of many words, may be far down both lists."""
    many = ranking.POOL + 50
    found = signals(
        many + 1, semantic=[0.5] * many + [0.0], lexical=[5.0] * many + [0.0], symbol=[0.0] * many + [1.0]
    )
    assert ranked(found, replace(WEIGHTS, symbol=5.0))[0] == many


@pytest.mark.parametrize(
    ("path", "asking"),
    [
        ("tests/test_session.py", "test"),
        ("src/session_test.go", "tests"),
        ("web/session.spec.ts", "spec"),
        ("SessionTest.java", "test"),
        ("src/conftest.py", "test"),
        ("benchmarks/speed.py", "benchmark"),
        ("examples/simple.py", "example"),
        ("docs/guide.md", "documentation"),
        ("README.rst", "readme"),
        ("package.json", "package"),
        ("deploy/values.yaml", "yaml"),
        ("vendor/lib.js", "vendor"),
        ("pkg/__init__.py", "module"),
        ("types/index.d.ts", "types"),
    ],
)
def test_what_was_not_asked_for_counts_less(path: str, asking: str):
    assert 0 < unasked(path, frozenset()) < 1
    assert unasked(path, frozenset(parse(f"{asking} of a session").terms)) > unasked(path, frozenset())
    weights = replace(NO_SIGNAL, unasked=True)
    assert ranked(signals(3, lexical=[1.0, 0.95, 0.1]), weights, paths=[path, "a/b.py", "a/c.py"])[0] == 1
    assert ranked(signals(3, lexical=[1.0, 0.95, 0.1]), paths=[path, "a/b.py", "a/c.py"])[0] == 0


@pytest.mark.parametrize(
    "path",
    [
        "src/session.py",
        "lib/contest.py",
        "attestation.go",
        "src/latest/x.rs",
        "inspect.py",
        "perfect.c",
        "docs.py",
        "a.tsx",
    ],
)
def test_what_only_sounds_alike_counts_in_full(path: str):
    assert unasked(path, frozenset()) == 1.0


def test_two_reasons_count_less_than_one():
    assert unasked("tests/README.md", frozenset()) < unasked("tests/x.py", frozenset())


def test_chunks_of_one_file_support_its_best():
    scores = np.array([0.8, 0.7, 0.7, 0.9], np.float32)
    files = np.array([0, 0, 0, 1], np.int32)
    found = support(scores, files, 0.5)
    assert found[0] > found[3] > 0.9
    assert found[1:3].tolist() == scores[1:3].tolist()
    assert support(scores, files, 0.0).tolist() == scores.tolist()
    assert not support(np.zeros(4, np.float32), files, 0.5).any()


def test_one_file_does_not_fill_the_list():
    rows = np.arange(4, dtype=np.int64)
    scores = np.array([1.0, 0.9, 0.8, 0.7], np.float32)
    files = np.array([0, 0, 0, 1], np.int32)
    order, found = spread(rows, scores, files, 4, 0.5)
    assert order.tolist() == [0, 3, 1, 2]
    assert found == pytest.approx([1.0, 0.7, 0.45, 0.2])
    assert spread(rows, scores, files, 4, 1.0)[0].tolist() == [0, 1, 2, 3]
