"""codekin train: a recipe in, a model that the other commands take out."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import Run

from codekin.data import Pair, write_pairs
from codekin.tasks import Task

pytest.importorskip("torch")

RECIPE = """
kind = "decoder"
name = "mine"
licence = "MIT"
seed = 1
[data]
train = ["pairs.jsonl"]
dev = ["dev"]
[model]
base = "{base}"
pooling = "last"
sizes = [16, 32]
[training]
steps = 2
batch = 4
max_length = 128
learning_rate = 1e-3
warm_up = 1
pack_tokens = 500
evaluate_every = 2
"""


@pytest.fixture
def recipe(tree: Path, decoder: Path) -> str:
    pairs = [Pair(f"{word} of a list", f"def {word}(xs): ...", Task.NL2CODE) for word in "abcdefghijkl"]
    write_pairs(tree / "pairs.jsonl", pairs)
    write_pairs(tree / "dev", pairs, split="dev")
    (tree / "mine.toml").write_text(RECIPE.format(base=decoder))
    return "mine.toml"


def test_train_then_resume_then_embed(run: Run, tree: Path, recipe: str) -> None:
    done = run("train", recipe, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "mine/model: the model of step" in done.stdout and "dev nDCG@10 0." in done.stdout
    assert len((tree / "mine" / "log.jsonl").read_text().splitlines()) == 4
    again = run("train", recipe)
    assert again.returncode == 2
    assert again.stderr.splitlines()[-1].startswith("codekin: mine holds a run: --resume")
    assert run("train", recipe, "--resume").returncode == 0
    embedded = run("embed", "--model", "mine/model", "--dimensions", "16", stdin='{"text": "sort a list"}\n')
    assert embedded.returncode == 0, embedded.stderr


def test_ablate_prints_the_papers_table(run: Run, recipe: str) -> None:
    done = run("train", recipe, "--ablate", "--set", "training.steps=1", "--output", "ablation")
    assert done.returncode == 0, done.stderr
    header, _, row = done.stdout.splitlines()
    assert header == "| benchmark | last | mean | latent |"
    assert row.startswith("| dev | ") and "**" in row


def test_mistakes_are_one_line(run: Run, recipe: str) -> None:
    wrong = run("train", recipe, "--set", "training.learning_rat=1")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == (
        "codekin: recipe mine.toml: unknown key training.learning_rat; did you mean training.learning_rate?\n"
    )
    nameless = run("train", "no-such")
    assert nameless.returncode == 2 and "bundled recipes: lora-cpu, paper-0.5b" in nameless.stderr
