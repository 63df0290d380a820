"""Decoders trained whole: they learn, go on after an end by force to the very same model, and fail in one line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import pre_tokenizers, trainers
from tokenizers.models import BPE

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from synonyms import synonym_pairs  # noqa: E402

from codekin import Embedder  # noqa: E402
from codekin.data import write_pairs  # noqa: E402
from codekin.embed.tokens import qwen2_tokenizer  # noqa: E402
from codekin.errors import InputError  # noqa: E402
from codekin.tasks import Role, Task, instruction  # noqa: E402
from codekin.train import DecoderRecipe, TrainReport, load_recipe, train_decoder  # noqa: E402
from codekin.train.dev import ndcg_at_10  # noqa: E402
from codekin.train.frozen import FrozenStates  # noqa: E402

RECIPE = """
kind = "decoder"
name = "tiny"
licence = "Apache-2.0"
seed = 3
[data]
train = ["{root}/pairs.jsonl"]
dev = ["{root}/dev"]
[model]
base = "{base}"
pooling = "last"
sizes = [16, 32]
[training]
steps = 40
batch = 16
max_length = 64
learning_rate = 1e-2
warm_up = 4
pack_tokens = 400
evaluate_every = 10
"""


def backbone(folder: Path, texts: list[str]) -> Path:
    """A Qwen2 decoder of two layers with random weights, and a tokenizer that knows the words of the texts."""
    tokenizer = qwen2_tokenizer(BPE(), {})
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(7)
    config = transformers.Qwen2Config(
        vocab_size=420,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
    )
    transformers.Qwen2Model(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    pairs = synonym_pairs(440)
    texts = [text for pair in pairs for text in (pair.query, pair.document)]
    decoder = backbone(folder / "backbone", texts + [instruction(Task.NL2CODE, role) for role in Role])
    write_pairs(folder / "pairs.jsonl", pairs[:400])
    write_pairs(folder / "dev", pairs[400:], split="dev")
    (folder / "recipe.toml").write_text(RECIPE.format(root=folder, base=decoder))
    return folder


def recipe(root: Path, *overrides: str) -> DecoderRecipe:
    loaded = load_recipe(root / "recipe.toml", overrides)
    assert isinstance(loaded, DecoderRecipe)
    return loaded


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in log(folder) if "loss" in line]


@pytest.fixture(scope="module")
def whole(root: Path) -> tuple[Path, TrainReport]:
    return root / "whole", train_decoder(recipe(root), output=root / "whole", dtype="float32")


def test_the_loss_falls_and_the_best_model_is_kept(root: Path, whole: tuple[Path, TrainReport]) -> None:
    folder, report = whole
    chance = np.log(16)  # where all vectors are alike
    assert np.mean(losses(folder)[-4:]) < chance - 0.3
    means = {line["step"]: line["mean"] for line in log(folder) if "mean" in line}
    assert sorted(means) == [0, 10, 20, 30, 40]
    assert max(means.values()) > means[0] + 0.1
    assert report.best_step == max(means, key=lambda step: means[step]) > 0
    # What was written is what was measured.
    pairs = synonym_pairs(440)[400:]
    model = Embedder(folder / "model", dtype="float32", max_length=64)
    assert model.sizes == (16, 32)
    queries = model.encode([pair.query for pair in pairs], role=Role.QUERY)
    documents = model.encode([pair.document for pair in pairs])
    figure = ndcg_at_10(queries, documents, [{number: 1.0} for number in range(len(pairs))])
    assert figure == pytest.approx(report.figures["dev"], abs=1e-3)


_SCRIPT = """
import resource, sys
from pathlib import Path
from codekin.train import load_recipe, train_decoder
root, output, limit, *overrides = sys.argv[1:]
if int(limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
resume = "--resume" in overrides
loaded = load_recipe(Path(root) / "recipe.toml", [each for each in overrides if each != "--resume"])
train_decoder(loaded, output=Path(output), resume=resume, device="cpu", dtype="float32")
"""


def start(
    root: Path, output: Path, *overrides: str, limit: int = 0, launcher: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    script = root / "run.py"
    script.write_text(_SCRIPT)
    command = [sys.executable, *launcher, str(script), str(root), str(output), str(limit), *overrides]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("frozen", [0, 1])
def test_killed_and_resumed_is_the_same_run(
    root: Path, whole: tuple[Path, TrainReport], frozen: int, tmp_path: Path
) -> None:
    folder, report = whole
    change = f"model.frozen={frozen}"
    if frozen:
        folder = tmp_path / "whole"
        report = train_decoder(recipe(root, change), output=folder, dtype="float32")
    output = tmp_path / "killed"
    process = start(root, output, change)
    try:
        # Killed between two checkpoints, wherever it happens to be.
        while process.poll() is None and not (
            (output / "checkpoint.pt").is_file() and len(losses_so_far(output)) >= 12
        ):
            time.sleep(0.01)
        assert process.poll() is None, process.communicate()[1]
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert len(losses_so_far(output)) < 40
    again = train_decoder(recipe(root, change), output=output, resume=True, dtype="float32")
    assert losses(output) == losses(folder)
    assert (again.best_step, again.figures) == (report.best_step, report.figures)
    for file in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (output / "model" / file).read_bytes() == (folder / "model" / file).read_bytes()


def losses_so_far(folder: Path) -> list[str]:
    path = folder / "log.jsonl"
    return [line for line in path.read_text().splitlines() if '"loss"' in line] if path.is_file() else []


def test_under_torchrun_the_losses_are_those_of_one_process(
    root: Path, whole: tuple[Path, TrainReport]
) -> None:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    _, stderr = (process := start(root, root / "two", launcher=launcher)).communicate(timeout=240)
    assert process.returncode == 0, stderr
    assert losses(root / "two") == pytest.approx(losses(whole[0]), rel=1e-3)


@pytest.mark.parametrize(
    "overrides",
    [
        ("training.pack_tokens=100000",),
        ("training.pack_tokens=200", "training.checkpointing=true"),
    ],
)
def test_what_saves_memory_changes_no_loss(
    root: Path, whole: tuple[Path, TrainReport], overrides: tuple[str, ...], tmp_path: Path
) -> None:
    short = recipe(root, "training.evaluate_every=8", "data.dev=[]", "training.steps=8", *overrides)
    train_decoder(short, output=tmp_path / "run", dtype="float32")
    assert losses(tmp_path / "run")[:4] == pytest.approx(losses(whole[0])[:4], rel=1e-3)


def test_lora_is_merged_into_what_is_saved(root: Path, tmp_path: Path) -> None:
    lora = recipe(
        root,
        "lora.rank=4",
        "lora.alpha=16",
        "lora.dropout=0.1",
        "model.frozen=1",
        "data.negatives=1",
        "model.pooling=mean",
        "training.steps=8",
        "training.evaluate_every=4",
    )
    report = train_decoder(lora, output=tmp_path, dtype="float32")
    assert losses(tmp_path)[-1] < losses(tmp_path)[0]
    pairs = synonym_pairs(440)[400:]
    model = Embedder(tmp_path / "model", dtype="float32", max_length=64)
    assert model.pooling == "mean"
    queries = model.encode([pair.query for pair in pairs], role=Role.QUERY)
    documents = model.encode([pair.document for pair in pairs])
    figure = ndcg_at_10(queries, documents, [{number: 1.0} for number in range(len(pairs))])
    assert figure == pytest.approx(report.figures["dev"], abs=1e-3)
    before, after = (tensors(folder) for folder in (Path(lora.model.base), tmp_path / "model"))
    changed = {name for name in after if not np.array_equal(before[name], after[name])}
    assert changed and all(name.startswith("layers.1.") and "proj.weight" in name for name in changed)


def tensors(folder: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize(
    "change", ["model.pooling=mean", "lora={rank=4, alpha=16.0, dropout=0.1}", "model.frozen=2"]
)
def test_states_kept_of_frozen_layers_change_no_loss(root: Path, change: str, tmp_path: Path) -> None:
    found = []
    for gigabytes in (0, 2e-5, 1):  # nothing, some and all of it is kept
        short = recipe(
            root,
            "model.frozen=1",
            "data.dev=[]",
            "training.steps=30",
            "training.evaluate_every=30",
            f"model.frozen_gb={gigabytes}",
            change,
        )
        train_decoder(short, output=tmp_path / str(gigabytes), dtype="float32")
        found.append(losses(tmp_path / str(gigabytes)))
        kept = tmp_path / str(gigabytes) / "frozen-0.bin"
        assert (kept.stat().st_size if kept.exists() else 0) <= gigabytes * 1e9 + 24
    assert found[1] == pytest.approx(found[0], rel=1e-3)
    assert found[2] == pytest.approx(found[0], rel=1e-3)


def test_states_of_frozen_layers_are_computed_once_and_as_far_as_a_checkpoint(tmp_path: Path) -> None:
    asked: list[list[tuple[int, ...]]] = []

    def compute(texts: list[tuple[int, ...]]) -> torch.Tensor:
        asked.append(texts)
        return torch.tensor([[float(token), -token] for text in texts for token in text])

    def kept(step: int, limit: int = 1000) -> FrozenStates:
        asked.clear()
        return FrozenStates(tmp_path / "states.bin", 2, limit, step)

    states = kept(0)
    expected = torch.tensor([[5.0, -5], [6, -6], [7, -7]])
    for _ in range(2):
        assert torch.equal(states.states([(5, 6), (7,)], compute), expected)
    states.mark(4)
    states.states([(7,), (8,)], compute)
    assert asked == [[(5, 6), (7,)], [(8,)]]

    resumed = kept(4)
    assert torch.equal(resumed.states([(5, 6), (7,)], compute), expected) and not asked
    resumed.states([(8,), (9,)], compute)
    assert asked == [[(8,), (9,)]]

    nothing = kept(3)  # no checkpoint of that step has been written
    nothing.states([(7,)], compute)
    assert asked == [[(7,)]]

    full = kept(0, limit=50)
    for _ in range(2):
        full.states([(5, 6), (7,)], compute)
    assert asked == [[(5, 6), (7,)], [(7,)]]


@pytest.mark.parametrize("dtype", [pytest.param("bfloat16", marks=pytest.mark.slow), "float16"])
def test_sixteen_bits_learn(root: Path, dtype: str, tmp_path: Path) -> None:
    short = recipe(root, "data.dev=[]", "training.steps=12", "training.evaluate_every=12")
    train_decoder(short, output=tmp_path, device="cpu", dtype=dtype)
    assert losses(tmp_path)[-1] < losses(tmp_path)[0] / 2
    # float16's first steps overflow and are left out, until the scale of the loss fits.
    norms = [line["norm"] for line in log(tmp_path)]
    assert (norms[0] is None) == (dtype == "float16") and norms[-1] > 0
    assert tensors(tmp_path / "model")["norm.weight"].dtype == np.float32


def test_latent_attention_is_trained_and_saved(root: Path, tmp_path: Path) -> None:
    latent = recipe(root, "model.pooling=latent", "training.steps=2", "training.evaluate_every=2")
    train_decoder(latent, output=tmp_path, dtype="float32")
    assert Embedder(tmp_path / "model", dtype="float32").pooling == "latent"


def test_a_loss_that_is_no_number_ends_the_run(root: Path, tmp_path: Path) -> None:
    wild = recipe(root, "training.learning_rate=1e30", "training.warm_up=0", "training.clip=1e30")
    with pytest.raises(InputError, match=r"step \d+: the (loss|gradient) is (nan|inf): lower training\.l"):
        train_decoder(wild, output=tmp_path, dtype="float32")


@pytest.mark.parametrize("file", ["checkpoint.pt", "model/model.safetensors"])
def test_a_full_disk_leaves_nothing_broken(
    root: Path, whole: tuple[Path, TrainReport], file: str, tmp_path: Path
) -> None:
    """A limit on the size of files stands for the full disk: the log still fits, the file does not."""
    size = (whole[0] / file).stat().st_size
    failing = start(root, tmp_path, "data.dev=[]", "training.evaluate_every=2", limit=size // 2)
    _, stderr = failing.communicate()
    last = stderr.splitlines()[-1]
    assert failing.returncode and "cannot be written" in last and "step 2" in last
    assert "there is no checkpoint yet" in last
    assert not list(tmp_path.glob("checkpoint*")) and not list(tmp_path.glob(".model*"))


def test_resuming_wants_the_same_recipe_and_a_checkpoint(
    root: Path, whole: tuple[Path, TrainReport], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"training\.batch \(16, now 8\)"):
        train_decoder(recipe(root, "training.batch=8"), output=whole[0], resume=True, dtype="float32")
    with pytest.raises(InputError, match="holds a run: --resume"):
        train_decoder(recipe(root), output=whole[0], dtype="float32")
    with pytest.raises(InputError, match="no checkpoint"):
        train_decoder(recipe(root), output=tmp_path, resume=True, dtype="float32")
    (tmp_path / "checkpoint.pt").write_bytes(b"PK not one")
    with pytest.raises(InputError, match="not a checkpoint"):
        train_decoder(recipe(root), output=tmp_path, resume=True, dtype="float32")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.base=codekin-static", "is no decoder"),
        ("model.sizes=[64]", "has vectors of 32 numbers"),
        ("model.weights=[1.0]", "1 numbers for 2 sizes"),
        ("model.frozen=3", "has 2 layers"),
        ("training.max_length=4096", "reads 1 to 2048 tokens"),
        ("model.pooling=first", "unknown pooling"),
        ('data.train=["CoSQQA"]', "see CoSQA"),
        ('data.train=["missing.jsonl"]', r"missing\.jsonl"),
    ],
)
def test_mistakes_of_a_recipe_are_named(root: Path, override: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        train_decoder(recipe(root, override), output=tmp_path, dtype="float32")


def test_ndcg_by_hand() -> None:
    queries = np.eye(2, dtype=np.float32)
    documents = np.array([[0.9, 0.1], [0.5, 0.5], [0.1, 0.8]], dtype=np.float32)
    # The first query finds its gain of 2 second and its gain of 1 third; the second its only one first.
    gains = [{1: 2.0, 2: 1.0}, {2: 1.0}]
    first = (2 / np.log2(3) + 1 / np.log2(4)) / (2 + 1 / np.log2(3))
    assert ndcg_at_10(queries, documents, gains) == pytest.approx((first + 1) / 2, abs=1e-6)
