"""The whole of training at small scale: a decoder from nothing, through each pooling, against BM25.

    python benchmarks/proof.py PAIRS [--steps 400] [--output proof]

PAIRS is a `.jsonl` that `codekin data mine` has written. Of its documented definitions, those of every tenth source
(a package, a repository) are held out: 300 questions among 300 definitions. From the others' texts a byte-pair
vocabulary is made, for a Qwen2 decoder of random weights; then `codekin train --ablate` trains it once with each
pooling, and the table has nDCG@10 before and after beside BM25's. One step is InfoNCE over 64 pairs by GradCache.
Needs transformers and bm25s; one thread takes about 15 minutes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import transformers
from tokenizers import pre_tokenizers, trainers
from tokenizers.models import BPE

from codekin.data import Pair, read_pairs, write_pairs
from codekin.data.bm25 import BM25
from codekin.embed.config import Pooling
from codekin.embed.tokens import qwen2_tokenizer
from codekin.tasks import Role, Task, instruction
from codekin.train.dev import DevSet, ndcg_at_10

_HELD_OUT = 300
_TRAINED = 60_000
_VOCABULARY = 8192
_RECIPE = """
kind = "decoder"
name = "proof"
licence = "Apache-2.0"
seed = 7
[data]
train = ["{folder}/train.jsonl"]
dev = ["{folder}/held-out"]
[model]
base = "{folder}/backbone"
pooling = "last"
sizes = [64, 192]
[training]
steps = {steps}
batch = 64
max_length = 48
learning_rate = 1e-3
warm_up = 40
pack_tokens = 2048
evaluate_every = {every}
"""


def main() -> None:
    """Make the data and the decoder, train, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--output", type=Path, default=Path("proof"))
    options = parser.parse_args()
    folder = options.output.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    _write_data(options.pairs, folder)
    recipe = folder / "recipe.toml"
    recipe.write_text(_RECIPE.format(folder=folder, steps=options.steps, every=max(1, options.steps // 5)))
    command = [
        Path(sys.executable).with_name("codekin"),
        "train",
        str(recipe),
        "--ablate",
        "--output",
        str(folder / "runs"),
    ]
    subprocess.run(command, check=True)
    held_out = DevSet.read(folder / "held-out")
    print(f"\nBM25: nDCG@10 {_bm25(held_out):.4f}\n")
    print("| pooling | loss, first steps | last steps | nDCG@10 before | after |\n|---|---|---|---|---|")
    for pooling in Pooling:
        lines = [
            json.loads(line)
            for line in (folder / "runs" / pooling.value / "log.jsonl").read_text().splitlines()
        ]
        losses = [line["loss"] for line in lines if "loss" in line]
        means = [line["mean"] for line in lines if "mean" in line]
        print(
            f"| {pooling.value} | {np.mean(losses[:5]):.3f} | {np.mean(losses[-5:]):.3f} "
            f"| {means[0]:.4f} | {max(means):.4f} |"
        )


def _write_data(path: Path, folder: Path) -> None:
    """`train.jsonl`, `held-out/` and `backbone/`; the same from the same pairs."""
    trained: list[Pair] = []
    held_out: list[Pair] = []
    for pair in read_pairs(path):
        if pair.task is Task.NL2CODE and pair.kind == "documented":
            (held_out if _is_held_out(pair.source) else trained).append(pair)
    rng = random.Random(7)
    rng.shuffle(trained)
    rng.shuffle(held_out)
    once = {pair.document: pair for pair in {pair.query: pair for pair in held_out}.values()}
    write_pairs(folder / "held-out", list(once.values())[:_HELD_OUT], split="dev")
    write_pairs(folder / "train.jsonl", trained[:_TRAINED])
    prompts = [instruction(Task.NL2CODE, role) for role in Role]
    texts = [text for pair in trained[:_TRAINED] for text in (pair.query, pair.document)]
    _write_backbone(prompts + texts, folder / "backbone")


def _is_held_out(source: str) -> bool:
    package = source.partition("@")[0]
    return hashlib.blake2b(package.encode(), digest_size=4).digest()[0] % 10 == 0


def _write_backbone(texts: Iterable[str], folder: Path) -> None:
    """A Qwen2 decoder of 2.8 million parameters, all random, and a vocabulary of the texts."""
    tokenizer = qwen2_tokenizer(BPE(), {})
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=_VOCABULARY, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(7)
    config = transformers.Qwen2Config(
        vocab_size=_VOCABULARY,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=192**-0.5,  # products keep the scale of what they read
    )
    transformers.Qwen2Model(config).save_pretrained(folder)


def _bm25(held_out: DevSet) -> float:
    scores = BM25(held_out.documents).scores(held_out.queries)
    return ndcg_at_10(scores, np.eye(len(held_out.documents), dtype=np.float32), held_out.gains)


if __name__ == "__main__":
    main()
