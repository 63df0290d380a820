"""Results within a budget of tokens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from codekin.search import Result
from codekin.serve.excerpts import fitted, tokens

LINES = st.text(st.sampled_from("ab é漢\t_(){}"), max_size=400)
RESULTS = st.lists(
    st.tuples(st.sampled_from(["a.py", "src/deep/b.go", "漢.md"]), st.lists(LINES, min_size=1, max_size=200)),
    min_size=1,
    max_size=12,
)


def made(files: list[tuple[str, list[str]]]) -> list[tuple[str, Result]]:
    return [
        (path, Result(path, 7, 6 + len(lines), f"name{number}", "function", "python", 1.0, "\n".join(lines)))
        for number, (path, lines) in enumerate(files)
    ]


@given(RESULTS, st.integers(100, 5_000))
def test_what_is_said_fits_the_budget_and_keeps_its_order(
    files: list[tuple[str, list[str]]], budget: int
) -> None:
    results = made(files)
    text = fitted(results, "a b", budget, head="In /tree:")
    assert tokens(text) <= budget + 20  # the note of what is left out
    shown = [f"{path}:7-{result.end_line} {result.symbol}" for path, result in results]
    places = [text.find(place) for place in shown]
    kept = [place for place in places if place >= 0]
    assert kept == sorted(kept) == places[: len(kept)]
    assert (len(kept) < len(results)) == (f"({len(results) - len(kept)} more did not fit" in text)


def test_a_large_budget_shows_all_and_a_small_one_the_best_lines() -> None:
    lines = ["def f():", *(f"    step({n})" for n in range(60)), "    return retry(request)", "", ""]
    [(path, result)] = made([("a.py", lines)])
    whole = fitted([(path, result)], "retry a request", 5_000, head="In /tree:")
    assert whole == "In /tree:\n\na.py:7-70 name0\n" + "\n".join(lines[:-2])
    part = fitted([(path, result)], "retry a request", 60, head="In /tree:")
    assert part.startswith("In /tree:\n\na.py:7-70 name0, lines 65-68\n    step(57)")
    assert part.endswith("    return retry(request)")


def test_a_long_line_is_cut_and_a_better_result_has_more_lines() -> None:
    long = fitted(made([("a.js", ["x" * 10_000])]), "x", 1_000, head="In /tree:")
    assert long.split("\n")[-1] == "x" * 240 + "…"
    lines = [f"value_{n} = {n}" for n in range(100)]
    text = fitted(made([("a.py", lines), ("b.py", lines)]), "value", 300, head="In /tree:")
    first, second = (part.count("value_") for part in text.split("b.py:"))
    assert first > second >= 4
