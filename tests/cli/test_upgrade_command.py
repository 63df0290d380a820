"""`codekin index --upgrade`, and what status and search say of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Run

QUERY = "where are failed requests retried"


def test_an_upgrade_is_made_told_of_and_removed(run: Run, turned_model: Callable[..., Path]):
    model = str(turned_model())
    done = run("index", ".", "--upgrade", model)
    chunks = json.loads(run("status", "--json").stdout)["chunks"]
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith(
        f"{chunks} of {chunks} chunks upgraded to {model}, {chunks} in"
    )
    assert (
        f"upgrade    {chunks} of {chunks} chunks (100%) to {model}, 256 dimensions\n" in run("status").stdout
    )
    told = json.loads(run("status", "--json").stdout)["upgrade"]
    assert told["per_second"] > 0
    assert told == {
        "model": model,
        "dimensions": 256,
        "chunks": chunks,
        "chunks_total": chunks,
        "running": False,
        "per_second": told["per_second"],
        "seconds_left": None,
    }
    assert run("search", QUERY).returncode == 0
    assert run("index", "--upgrade", "none").returncode == 0
    assert json.loads(run("status", "--json").stdout)["upgrade"] is None


def test_ctrl_c_pauses_it(run: Run, tree: Path, environment: dict[str, str], decoder: Path):
    run("index")
    slow = "import sys, time; from codekin.search.model import IndexModel as M; d = M.documents\n"
    slow += "M.documents = lambda *a: (time.sleep(0.5), d(*a))[1]\n"
    slow += "from codekin.search import upgrading as u; u._BATCH = 1; u._BATCH_LIMITS = 1, 1\n"
    slow += "from codekin.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", slow, "index", "--upgrade", str(decoder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tree,
        env=environment,
    ) as child:
        for _ in range(300):
            held = json.loads(run("status", "--json").stdout)["upgrade"]
            if held and held["chunks"]:
                break
        assert held["running"]
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "the same command goes on" in err
    assert "Traceback" not in err
    assert f"; paused: codekin index . --upgrade {decoder} goes on" in run("status").stdout
    assert run("search", QUERY).returncode == 0
    assert run("search", QUERY, "--wait").returncode == 0
    assert run("index", "--upgrade", str(decoder)).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--upgrade", "nothing"], "codekin: no model 'nothing'"),
        (["--upgrade", "codekin-static"], "codekin: the index is made with codekin-static as it is"),
        (["--upgrade", "codekin-static", "--watch"], "codekin: --upgrade and --watch are two commands"),
        (
            ["--upgrade", "codekin-static", "--dimensions", "7"],
            "codekin: model codekin-static has no vectors of 7",
        ),
    ],
)
def test_errors_are_one_line(run: Run, arguments: list[str], told: str):
    done = run("index", *arguments)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith(told)
