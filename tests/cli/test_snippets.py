"""Which lines of a chunk are shown, and which words are marked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codekin.search.snippets import query_words, snippet, stem, words

BODY = "\n".join(
    [
        "@decorated",
        "# send: see below",
        "def send(self, request):",
        *[f"    step_{i} = prepare_{i}(request)" for i in range(20)],
        "    if response.status == 503:",
        "        self.retry_after_failure(response)",
        "    return response",
    ]
)


@pytest.mark.parametrize(
    "forms",
    [
        ["decode", "decodes", "decoded", "decoding", "Decoder", "decoders"],
        ["retry", "retries", "retried", "retrying", "RETRY"],
        ["create", "created", "creation", "creator", "creating"],
        ["map", "maps", "mapped", "mapping", "mapper"],
        ["configure", "configuration", "configured"],
        ["validate", "validation", "validator"],
        ["index", "indexes", "indexing", "indexer"],
        ["url", "URLs"],
    ],
)
def test_forms_of_a_word_share_a_stem(forms: list[str]) -> None:
    assert len({stem(form) for form in forms}) == 1, {form: stem(form) for form in forms}


@pytest.mark.parametrize(("one", "other"), [("format", "form"), ("class", "clas"), ("test", "text")])
def test_different_words_do_not(one: str, other: str) -> None:
    assert stem(one) != stem(other)


@pytest.mark.parametrize(
    ("identifier", "parts"),
    [
        ("retryFailedRequest", ["retry", "Failed", "Request"]),
        ("HTTPServer", ["HTTP", "Server"]),
        ("parse_url2", ["parse", "url", "2"]),
        ("allURLs", ["all", "URLs"]),
        ("größeÄndern", ["größeÄndern"]),
        ("__init__", ["init"]),
    ],
)
def test_identifiers_come_apart(identifier: str, parts: list[str]) -> None:
    assert [identifier[start:end] for _, start, end in words(identifier)] == parts


def test_function_words_do_not_count() -> None:
    assert query_words("where is the request that we retry?") == {stem("request"), stem("retry")}
    assert query_words("what is it") == set()


def test_the_window_holds_what_answers() -> None:
    found = snippet(BODY, "what happens after a failed response", 6, symbol="Client.send")
    lines = BODY.split("\n")
    assert found.last - found.first + 1 == 6
    assert any("retry_after_failure" in line for line in lines[found.first : found.last + 1])
    assert found.definition == 2


def test_the_definition_starts_the_window_when_nothing_matches() -> None:
    found = snippet(BODY, "zebra", 4, symbol="Client.send")
    assert (found.first, found.last, found.definition, found.marks) == (2, 5, 2, {})
    assert snippet(BODY, "zebra", 4).definition is None
    assert snippet(BODY, "zebra", 4).first == 0


def test_the_definition_starts_the_window_when_both_fit() -> None:
    found = snippet("# note\n# note\ndef f():\n    a\n    retry()\n    b\n    c", "retry", 4, symbol="f")
    assert (found.first, found.last) == (2, 5)


def test_marks_are_the_words_of_the_query() -> None:
    line = "    return retryFailedRequests(request)"
    found = snippet(line, "retries of failed requests", 5)
    assert [line[start:end] for start, end in found.marks[0]] == ["retry", "Failed", "Requests", "request"]


def test_rare_words_weigh_more_than_frequent_ones() -> None:
    text = "\n".join(["request"] * 10 + ["zebra"] + ["other"] * 10)
    found = snippet(text, "zebra request", 2)
    assert found.first <= 10 <= found.last


def test_blank_lines_at_the_edges_are_not_shown() -> None:
    found = snippet("\n\n\nretry\n\n\n\n", "retry", 5)
    assert (found.first, found.last) == (3, 3)


@given(
    st.lists(st.text(alphabet="ab_ Z9é\t", max_size=12), min_size=1, max_size=30).map("\n".join),
    st.text(max_size=20),
    st.integers(1, 12),
)
def test_windows_lie_within_the_chunk(text: str, query: str, max_lines: int) -> None:
    found = snippet(text, query, max_lines)
    lines = text.split("\n")
    assert 0 <= found.first <= found.last < len(lines)
    assert found.last - found.first < max_lines
    for number, spans in found.marks.items():
        assert all(0 <= start < end <= len(lines[number]) for start, end in spans)
    if found.marks:
        assert any(found.first <= number <= found.last for number in found.marks)
