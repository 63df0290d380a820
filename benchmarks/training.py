"""Training a decoder by large batches: codekin against sentence-transformers, memory and rate.

    python benchmarks/training.py [--batch 256] [--micro 16] [--length 128] [--steps 3]

The same small random Qwen2, the same pairs of random letters, InfoNCE over the whole batch by GradCache in both:
`codekin.train.gradcache` and CachedMultipleNegativesRankingLoss. Each measures in a process of its own, one after the
other in turns, the first step not counted; the memory is the process's largest less what it was before the first step.
Needs transformers and sentence-transformers.
"""

from __future__ import annotations

import argparse
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from string import ascii_lowercase

import torch

_ROUNDS = 3


def main() -> None:
    """Run both in turns and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--micro", type=int, default=16, help="texts at once")
    parser.add_argument("--length", type=int, default=128, help="the longest text, in tokens")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--side", choices=list(_SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        _measure(_SIDES[options.side](options), options)
        return
    found: dict[str, list[tuple[float, float, float]]] = {side: [] for side in _SIDES}
    with tempfile.TemporaryDirectory() as folder:
        _write_model(Path(folder))
        for _ in range(_ROUNDS):
            for side in _SIDES:
                command = [sys.executable, __file__, *sys.argv[1:], "--side", side, "--model", folder]
                output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                seconds, megabytes, loss = map(float, output.split()[-3:])
                found[side].append((seconds, megabytes, loss))
    print(f"batch {options.batch}, {options.length} tokens at most, {torch.get_num_threads()} threads")
    print("| | pairs a second | memory, MB | loss of the first step |\n|---|---|---|---|")
    best = {}
    for side, runs in found.items():
        seconds, megabytes = (statistics.median(column) for column in list(zip(*runs, strict=True))[:2])
        best[side] = options.batch / seconds, megabytes
        print(f"| {side} | {options.batch / seconds:.2f} | {megabytes:.0f} | {runs[0][2]:.4f} |")
    (rate, memory), (peer_rate, peer_memory) = best.values()
    print(f"codekin: {rate / peer_rate:.2f} of the peer's rate, {memory / peer_memory:.2f} of its memory")


def _measure(step: Callable[[], float], options: argparse.Namespace) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    first = step()
    seconds = []
    for _ in range(options.steps):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(statistics.median(seconds), grown / 1024, first)


def _pairs(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Queries and documents of random letters, some short, some long, as code and questions are."""
    rng = random.Random(1)

    def text(longest: int) -> str:
        return "".join(rng.choices(ascii_lowercase, k=rng.randint(longest // 8, longest)))

    return (
        [text(options.length // 4) for _ in range(options.batch)],
        [text(options.length) for _ in range(options.batch)],
    )


def _write_model(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2Model

    vocabulary = {token: number for number, token in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="Ġ").save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(vocabulary),
        hidden_size=256,
        intermediate_size=1024,
        num_hidden_layers=6,
        num_attention_heads=8,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    Qwen2Model(config).save_pretrained(folder)


def _codekin(options: argparse.Namespace) -> Callable[[], float]:
    from codekin.embed.checkpoints import Checkpoint
    from codekin.embed.devices import NumberType
    from codekin.embed.registry import find_model
    from codekin.embed.transformer import split_packs
    from codekin.train.encoder import Encoder
    from codekin.train.gradcache import backward
    from codekin.train.losses import info_nce, matryoshka
    from codekin.train.recipe import Backbone, DecoderRecipe, Sets, Training

    training = Training(
        steps=1,
        batch=options.batch,
        max_length=options.length,
        learning_rate=1e-4,
        warm_up=0,
        pack_tokens=options.micro * options.length,
        evaluate_every=1,
    )
    backbone = Backbone(base=str(options.model), pooling="mean", sizes=(256,))
    encoder = Encoder(
        DecoderRecipe("", "", 0, Sets(()), backbone, training), torch.device("cpu"), NumberType.FLOAT32
    )
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=1e-4)
    queries, documents = _pairs(options)
    checkpoint = find_model(str(options.model))
    assert isinstance(checkpoint, Checkpoint)

    def loss(rows: torch.Tensor) -> torch.Tensor:
        return matryoshka(lambda q, d: info_nce(q, d, 0.05), [256], *rows.split(options.batch))

    def step() -> float:
        optimiser.zero_grad()
        texts = [tuple(ids) for ids in checkpoint.tokenizer.encode(queries + documents)]
        ordered = sorted(set(texts), key=lambda text: (-len(text), text))
        places = {text: number for number, text in enumerate(ordered)}
        index = torch.tensor([places[text] for text in texts])
        chunks = list(split_packs(ordered, training.pack_tokens))
        value = backward(encoder, chunks, lambda rows: loss(rows[index]))
        optimiser.step()
        return value.item()

    return step


def _sentence_transformers(options: argparse.Namespace) -> Callable[[], float]:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.losses import CachedMultipleNegativesRankingLoss
    from sentence_transformers.models import Pooling, Transformer

    transformer = Transformer(str(options.model), max_seq_length=options.length)
    model = SentenceTransformer(modules=[transformer, Pooling(256, pooling_mode="mean")], device="cpu")
    model.train()
    cached = CachedMultipleNegativesRankingLoss(model, scale=20.0, mini_batch_size=options.micro)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)
    queries, documents = _pairs(options)
    tokenise = getattr(model, "preprocess", model.tokenize)

    def step() -> float:
        optimiser.zero_grad()
        value = cached([tokenise(queries), tokenise(documents)], None)
        value.backward()
        optimiser.step()
        return float(value.detach())

    return step


_SIDES: dict[str, Callable[[argparse.Namespace], Callable[[], float]]] = {
    "codekin": _codekin,
    "sentence-transformers": _sentence_transformers,
}

if __name__ == "__main__":
    main()
