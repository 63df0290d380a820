"""`codekin models`: the table, and speeds that are measured once and remembered."""

from __future__ import annotations

import json
from pathlib import Path

from commands import Run

JINA = "jinaai/jina-code-embeddings-0.5b"


def row_of(table: str, name: str) -> list[str]:
    return next(line.removeprefix("*").split() for line in table.splitlines() if name in line)


def test_the_table_says_what_there_is(run: Run) -> None:
    table = run("models").stdout
    assert row_of(table, "name")[-2:] == ["queries/s", "documents/s"]
    assert row_of(table, "codekin-static")[1:] == ["static", "256", "9.6", "MB", "Apache-2.0", "yes"]
    assert row_of(table, JINA)[1:] == ["transformer", "896", "988.1", "MB", "CC-BY-NC-4.0", "no"]
    assert "codekin models --measure" in table


def test_speeds_are_measured_and_remembered(run: Run, decoder: Path) -> None:
    measured = run("models", "--measure", "codekin-static", str(decoder))
    assert measured.returncode == 0
    static, own = measured.stdout.splitlines()
    assert static.startswith("codekin-static: ") and static.endswith(" a second (cpu, float32)")
    assert own.startswith(f"{decoder}: ")
    listed = {model["name"]: model for model in json.loads(run("models", "--json").stdout)["models"]}
    assert listed[JINA]["speed"] is None
    speed = listed["codekin-static"]["speed"]
    assert (speed["device"], speed["dtype"]) == ("cpu", "float32")
    # A table look-up: thousands a second on any machine.
    assert speed["queries"] > 1_000
    assert speed["documents"] > 1_000
    table = run("models").stdout
    assert float(row_of(table, "codekin-static")[-1].replace(",", "")) > 1_000
    assert row_of(table, JINA)[-1] == "no"
    assert "--measure" not in table


def test_a_damaged_memo_is_as_none(run: Run, environment: dict[str, str]) -> None:
    memo = Path(environment["XDG_CACHE_HOME"]) / "codekin" / "speeds.json"
    memo.parent.mkdir(parents=True)
    memo.write_text('{"codekin-static": {"queries": "fast"}}')
    assert row_of(run("models").stdout, "codekin-static")[-1] == "yes"


def test_mistakes_are_one_line(run: Run) -> None:
    for arguments, message in (
        (["codekin-static"], "names are for --measure"),
        (["--measure", "no-such-model"], "no model 'no-such-model'"),
    ):
        result = run("models", *arguments)
        assert result.returncode == 2
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
