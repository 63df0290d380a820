"""`--model` of search, related, index and rank: any model that `Embedder` loads."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import COMMAND, Run

QUESTION = "how long to wait before the next attempt"
MakeModel = Callable[..., Path]


def model_of(run: Run) -> str:
    return json.loads(run("status", "--json").stdout)["model"]


def found(output: str) -> list[tuple[str, float]]:
    return [(result["path"], result["score"]) for result in json.loads(output)["results"]]


def test_an_index_keeps_the_model_it_is_made_with(run: Run, turned_model: MakeModel) -> None:
    model = str(turned_model())
    bundled = found(run("search", QUESTION, "--mode", "semantic", "--json").stdout)
    made = run("index", "--model", model, "--dimensions", "64", "--rebuild")
    assert made.returncode == 0, made.stderr
    assert re.search(r"4 files \(4 added\), \d+ chunks embedded", made.stdout)
    assert f"{model}, 64 dimensions" in run("status").stdout
    searched = run("search", QUESTION, "--mode", "semantic", "--json")
    assert searched.stderr == ""
    assert found(searched.stdout) != bundled
    assert run("related", "net/retry.py:18").returncode == 0
    assert "nothing changed" in run("index").stdout
    assert run("index", "--rebuild").returncode == 0
    assert model_of(run) == model


def test_a_search_of_a_new_folder_indexes_it_with_the_model(run: Run, decoder: Path) -> None:
    assert run("search", QUESTION, "--model", str(decoder)).returncode == 0
    assert model_of(run) == str(decoder)


def test_another_model_is_one_line_and_the_command_in_it_works(
    run: Run, tree: Path, tmp_path: Path, turned_model: MakeModel
) -> None:
    model = str(turned_model(tmp_path / "a model"))
    run("index", ".")
    for arguments in (
        ["index", "."],
        ["search", QUESTION, "."],
        ["search", QUESTION, ".", "--no-update"],
        ["related", "net/retry.py:18", "."],
    ):
        refused = run(*arguments, "--model", model)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert re.fullmatch(
            rf"codekin: the index at \S+ is made with codekin-static, not {re.escape(model)}; "
            rf"codekin index \. --model '{re.escape(model)}' --rebuild makes it anew\n",
            refused.stderr,
        )
    command = shlex.split(refused.stderr.split("; ")[1].removesuffix(" makes it anew\n"))
    assert run(*command[1:]).returncode == 0
    assert model_of(run) == model
    assert run("search", QUESTION, "--model", model).returncode == 0


def test_other_dimensions_are_refused(run: Run) -> None:
    run("index")
    refused = run("index", "--dimensions", "64")
    assert refused.returncode == 2
    assert (
        "made with 256 dimensions, not 64; codekin index . --dimensions 64 --rebuild makes it anew"
        in refused.stderr
    )
    assert run("index", "--dimensions", "64", "--rebuild").returncode == 0
    wrong = run("index", "--dimensions", "65", "--rebuild")
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "codekin: model codekin-static has no vectors of 65 dimensions; sizes: 64, 128, 256\n",
    )
    assert "64 dimensions" in run("status").stdout


def test_a_model_that_is_gone(run: Run, tree: Path, turned_model: MakeModel) -> None:
    model = turned_model()
    run("index", "--model", str(model))
    shutil.rmtree(model)
    (tree / "net/new.py").write_text("def new_thing():\n    return 1\n")
    for arguments in (["index"], ["search", QUESTION], ["search", QUESTION, "--no-update"]):
        failed = run(*arguments)
        assert (failed.returncode, failed.stdout, failed.stderr.count("\n")) == (2, "", 1)
        assert str(model) in failed.stderr
        assert "--mode lexical" in failed.stderr
    lexical = run("search", "exponential backoff", "--mode", "lexical", "--json")
    assert found(lexical.stdout)[0][0] == "net/retry.py"
    assert lexical.stderr.count("\n") == 1
    assert "this answers from the index as it is" in lexical.stderr
    assert run("search", "backoff", "--mode", "lexical", "--no-update").stderr == ""
    assert run("status").returncode == 0


@pytest.mark.parametrize("name", ["no-such-model", "./no/folder", "net/retry.py", "net", ""])
def test_a_model_that_is_none_makes_no_index(run: Run, name: str) -> None:
    for arguments in (["index"], ["search", QUESTION], ["rank", QUESTION]):
        failed = run(*arguments, "--model", name, stdin="a line\n")
        assert (failed.returncode, failed.stdout, failed.stderr.count("\n")) == (2, "", 1)
    assert run("status").returncode == 1


def test_rank_takes_any_model(run: Run, turned_model: MakeModel, decoder: Path) -> None:
    lines = "retry the request\nsort the numbers\n"

    def scores(*options: str) -> list[float]:
        ranked = run("rank", "again after a failure", "--json", *options, stdin=lines)
        assert ranked.returncode == 0, ranked.stderr
        return [json.loads(line)["score"] for line in ranked.stdout.splitlines()]

    assert scores("--model", str(turned_model())) == scores()
    assert scores("--model", str(decoder)) != scores()


def test_what_needs_no_vector_imports_no_torch(
    run: Run, tree: Path, environment: dict[str, str], decoder: Path
) -> None:
    subprocess.run(
        [COMMAND, "index", "--model", decoder], cwd=tree, env=environment, check=True, capture_output=True
    )
    for arguments in (["status"], ["index"], ["search", "backoff", "--mode", "lexical"]):
        code = (
            "import sys\n"
            f"sys.argv = ['codekin', *{arguments!r}]\n"
            "from codekin.cli import main\n"
            "try:\n    main()\nfinally:\n"
            "    print('torch' in sys.modules, file=sys.stderr)\n"
        )
        result = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert result.stderr == "False\n"
