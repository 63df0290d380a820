"""The page as a file: its data are the results', and no text of theirs is more than text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from made import NDCG, made, run, texts

from codekin.evaluate.page import MOST_CHARACTERS, MOST_QUERIES, Texts, html_page
from codekin.evaluate.results import Form

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "a\udcff broken byte, a NUL \x00, a line \u2028 separator, an escape \x1b[2J",
    "x" * 200_000,
    "",
    "' \" & < > ` ${1} {{data}} \\u003c",
]


class Elements(HTMLParser):
    """Every element's attributes by tag, and the text of each script."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: dict[str, list[dict[str, str | None]]] = {}
        self.scripts: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.setdefault(tag, []).append(dict(attrs))
        self._inside = tag == "script"
        if self._inside:
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.scripts[-1] += data


def elements(whole: str) -> Elements:
    parsed = Elements()
    parsed.feed(whole)
    parsed.close()
    return parsed


def data_of(whole: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(elements(whole).scripts[0])
    return found


def test_it_needs_nothing_beside_itself() -> None:
    whole = html_page(run(), {})
    parsed = elements(whole)
    assert len(parsed.scripts) == 2 and "paretoChart" in parsed.scripts[1] and not re.search(r"\{\{\w", whole)
    assert not any("src" in attributes for found in parsed.tags.values() for attributes in found)
    assert all(link["href"] in ("data:,", "#results") for tag in ("link", "a") for link in parsed.tags[tag])
    assert "url(" not in whole and "@import" not in whole and "fetch(" not in whole
    policies = [meta["content"] for meta in parsed.tags["meta"] if "http-equiv" in meta]
    assert policies and policies[0] and policies[0].startswith("default-src 'none'")


def test_texts_are_no_markup() -> None:
    results = [
        made(name, "</title><b>", [1.0, 0.0, 0.5, 0.0, 0.0, 0.0]) for name in ("<img src=x>", "{{page.js}}")
    ]
    hostile = {f"q{place}": text for place, text in enumerate(HOSTILE)}
    documents = {f"d{place}": text for place, text in enumerate(HOSTILE)}
    whole = html_page(results, {"</title><b>": Texts(hostile, documents)})
    whole.encode("utf-8")
    parsed = elements(whole)
    assert len(parsed.scripts) == 2 and "img" not in parsed.tags and "b" not in parsed.tags
    data = json.loads(parsed.scripts[0])
    assert [model["name"] for model in data["models"]] == ["<img src=x>", "{{page.js}}"]
    shown = {row["id"]: row for row in data["queries"][0]["rows"]}
    for place, text in enumerate(HOSTILE):
        assert (
            shown[f"q{place}"]["text"]
            == text.replace("\udcff", "\N{REPLACEMENT CHARACTER}")[:MOST_CHARACTERS]
        )
    assert shown["q3"]["length"] == 200_000 and "length" not in shown["q0"]


def test_pairs_are_counted_over_all_queries() -> None:
    first, second = [1.0, 0.5, 0.0, 0.25, 1.0], [0.5, 0.5, 1.0, 0.0, 0.0]
    (pair,) = data_of(html_page([made("a", "m", first), made("b", "m", second)], {}))["pairs"]
    assert (pair["wins"], pair["losses"], pair["ties"]) == (3, 1, 1)
    bins = dict(enumerate(pair["bins"]))
    assert {place: number for place, number in bins.items() if number} == {0: 1, 12: 1, 15: 1, 19: 1}
    assert 0 < pair["p"] <= 1


def test_rows_name_the_first_document_of_each_and_an_answer() -> None:
    data = data_of(html_page([made("a", "m", [1.0, 0.5]), made("b", "m", [0.5, 0.5])], {"m": texts(2)}))
    queries = data["queries"][0]
    row, tied = queries["rows"]
    named = [document["id"] for document in queries["documents"]]
    assert (row["id"], row["figures"], row["text"]) == ("q0", [1.0, 0.5], "how to sort list number 0")
    assert [named[best["document"]] for best in row["best"]] == ["d0", "d0"]
    assert named[row["answer"]] == "d0" and row["best"][0]["right"] is True
    first = tied["best"][0]
    assert (named[first["document"]], first["right"], first["rank"], first["depth"]) == ("d0", False, 2, 2)
    assert queries["documents"][0]["text"].startswith("def sort_0")


def test_answers_that_are_not_known_are_not_judged() -> None:
    data = data_of(html_page([made("a", "m", [1.0])], {"m": Texts({"q0": "one"}, {"d0": "two"})}))
    row = data["queries"][0]["rows"][0]
    assert row["best"][0]["right"] is None and row["answer"] is None


def test_of_many_queries_a_page_carries_those_that_differ_most() -> None:
    number = 20_000
    strong = [1.0] * number
    weak = [0.0 if place % 100 == 7 else 1.0 for place in range(number)]
    found = texts(number)
    long = Texts(dict.fromkeys(found.queries, "q " * 5000), dict.fromkeys(found.documents, "d " * 5000))
    whole = html_page([made("a", "m", strong), made("b", "m", weak)], {"m": long})
    assert len(whole) < 8_000_000
    data = data_of(whole)
    rows = data["queries"][0]["rows"]
    assert (len(rows), data["queries"][0]["total"]) == (MOST_QUERIES, number)
    assert all(row["figures"] == [1.0, 0.0] for row in rows[:200]) and rows[200]["figures"] == [1.0, 1.0]
    assert (data["pairs"][0]["wins"], data["pairs"][0]["ties"]) == (200, number - 200)


def test_benchmarks_share_the_queries_of_a_page() -> None:
    half = [made(model, benchmark, [1.0, 0.5] * 600) for model in "ab" for benchmark in "mn"]
    assert [len(queries["rows"]) for queries in data_of(html_page(half, {}))["queries"]] == [1000, 1000]


def test_figures_are_the_results() -> None:
    results = run()
    data = data_of(html_page(results, {}))
    assert [benchmark["name"] for benchmark in data["benchmarks"]] == ["CoSQA", "MBPP", "mine"]
    assert data["benchmarks"][0]["published"] == pytest.approx(
        [0.3925, 0.351, 0.2999, 0.3775, 0.3411, 0.5194]
    )
    assert data["benchmarks"][2]["published"] == [None] * 6
    assert data["averages"][0]["label"] == "average of 2 of 25 sets" and data["averages"][0]["members"] == [
        0,
        1,
    ]
    for result in results:
        place = ["CoSQA", "MBPP", "mine"].index(result.benchmark)
        (form,) = (
            form
            for form in data["forms"]
            if data["models"][form["model"]]["name"] == result.model
            and Form(form["dimensions"], form["precision"], form["rescored"]) == result.form
        )
        assert form["figures"][place] == pytest.approx(result.figures[NDCG], abs=1e-6)


def test_a_model_that_lacks_a_set_leaves_a_hole() -> None:
    data = data_of(html_page([made("a", "m", [1.0]), made("a", "n", [0.5]), made("b", "n", [0.25])], {}))
    assert data["benchmarks"][0]["figures"] == [1.0, None]
    assert data["queries"][0]["rows"][0]["figures"] == [1.0, None]
    assert len(data["pairs"]) == 1
