"""What is laid out for a terminal."""

from __future__ import annotations

from codekin.cli.terminal import aligned


def test_names_begin_together_and_figures_end_together() -> None:
    rows = [["", "task", "number"], ["a", "qa", "1,200"], ["long", "nl2code", ""]]
    assert list(aligned(rows)) == ["         task  number", "a          qa   1,200", "long  nl2code"]
    assert list(aligned(rows, left=3))[1] == "a     qa       1,200"
    assert list(aligned([])) == []
