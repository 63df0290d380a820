"""`codekin plan`, as a user sees it."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import click
import pytest
from commands import Run

from codekin.cli.app import app

DOCS = Path(__file__).parents[2] / "docs"


def test_what_is_printed_adds_up(run: Run) -> None:
    arguments = ("plan", "--chunks", "2e9", "--model", "jinaai/jina-code-embeddings-0.5b", "--qps", "50")
    shown = run(*arguments)
    assert (shown.returncode, shown.stderr) == (0, "")
    first, *rest = shown.stdout.splitlines()
    assert (
        first == "2,000,000,000 chunks, jinaai/jina-code-embeddings-0.5b, 896 dimensions, 50 queries a second"
    )
    notes = [line for line in rest if line.startswith("[")]
    assert [int(line[1 : line.index("]")]) for line in notes] == list(range(1, len(notes) + 1))
    assert {
        int(number) for line in rest if not line.startswith("[") for number in re.findall(r"\[(\d+)\]", line)
    } == {*range(1, len(notes) + 1)}
    found = json.loads(run(*arguments, "--json").stdout)
    assert found["is_cluster"]
    assert found["chunks"] == 2_000_000_000
    for need in found["needs"]:
        line = next(line for line in rest if line.startswith(need["what"] + "  "))
        assert need["certainty"] in line
    memory = next(need["amount"] for need in found["needs"] if need["what"] == "memory of the store")
    assert memory == 2e9 * (found["figures"]["cluster_memory"]["value"] + 4 * 896)


@pytest.mark.parametrize(
    ("number", "chunks"), [("20000", 20_000), ("1.5M", 1_500_000), ("10k", 10_000), ("3,000", 3_000)]
)
def test_numbers_as_people_write_them(run: Run, number: str, chunks: int) -> None:
    assert json.loads(run("plan", "--chunks", number, "--json").stdout)["chunks"] == chunks


def test_a_folder_is_measured(run: Run) -> None:
    found = json.loads(run("plan", ".", "--json").stdout)
    assert run("index").returncode == 0
    assert found["chunks"] == json.loads(run("status", "--json").stdout)["chunks"]
    assert found["figures"]["chunk_bytes"]["source"].endswith("on this machine")
    assert json.loads(run("plan", ".", "--chunks", "1M", "--json").stdout)["chunks"] == 1_000_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say how many with --chunks N, or name a folder to measure"),
        (["--chunks", "many"], "--chunks many is no number of chunks; write like 20000, 1.5M, 2e9"),
        (["--chunks", "0"], "--chunks 0 is no number of chunks"),
        (["--chunks", "1e3", "--memory", "lots"], "--memory 'lots' is no size"),
        (["--chunks", "1e3", "--dimensions", "65"], "has no vectors of 65 dimensions"),
    ],
)
def test_mistakes_are_one_line(run: Run, arguments: list[str], message: str) -> None:
    result = run("plan", *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_table_of_the_docs_is_what_is_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    import scale_table

    found = scale_table.TABLE.search(scale_table.PAGE.read_text(encoding="utf-8"))
    assert found
    assert found[0] == scale_table.table(), "python docs/scale_table.py writes it anew"
    sys.modules.pop("scale_table")


def test_commands_of_the_docs_are_commands() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", (DOCS / "scale.md").read_text(encoding="utf-8"), re.DOTALL)
    lines = [
        line for block in blocks for line in block.splitlines() if "codekin " in line and "pip" not in line
    ]
    assert len(lines) >= 10
    for line in lines:
        words = shlex.split(line, comments=True)
        name, *arguments = words[words.index("codekin") + 1 :]
        command = app.get_command(click.Context(app), name)
        assert command, line
        command.make_parser(click.Context(command)).parse_args(
            arguments
        )  # raises for an option that there is not
