#!/usr/bin/env python3
"""How fast codekin serves: its start, a search, many requests at once against one after the other, beside infinity.

    python benchmarks/serving.py start|search|embeddings [--model FOLDER] [--infinity PYTHON] [--rounds 5]
    python benchmarks/serving.py rerank [--reranker MODEL] [--budget MS] [--rounds 5]

`start` is the time from a new process to the first answer of /ready, with the bundled model. `search` is /v1/search
on 10,000 chunks of this Python's standard library and packages. `embeddings` are short queries to a transformer (by
default a small random Qwen2), one client's against 32 clients' at once, in turns; with `--infinity`, the Python of a
virtual environment in which infinity-emb[server,torch] is installed, infinity serves the same folder in the same
rounds. Medians of the rounds. Every text is a new one. `rerank` is /v1/search with a second stage, by one client and by
eight at once, and without one beside those eight: what it costs, and whom.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from codekin.rerank import DEFAULT_RERANKER
from search_speed import QUESTIONS, sources, tree

AT_ONCE = 32
_RERANKING = 8  # clients
_FILES = 780  # some 10,000 chunks
_SEARCHES = 500
_LONGEST_START = 300.0
_WORDS = (
    "open close read write send retry parse merge split join sort filter cache request response session token user "
    "file path folder config default error timeout queue worker thread socket buffer stream line column index"
).split()


def main() -> None:
    """Run one of the measurements."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["start", "search", "embeddings", "rerank"])
    parser.add_argument("--model", type=Path, help="a transformer's folder")
    parser.add_argument("--infinity", type=Path, metavar="PYTHON")
    parser.add_argument("--reranker", metavar="MODEL", default=DEFAULT_RERANKER)
    parser.add_argument("--budget", type=float, default=1000.0, metavar="MS")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        run = {"start": start, "search": search, "embeddings": embeddings, "rerank": rerank}[options.what]
        run(options, Path(folder))


def start(options: argparse.Namespace, folder: Path) -> None:
    """The start with the bundled model and one small repository, its index made before."""
    tree(sources([Path(sysconfig.get_path("stdlib"))]), 50, folder / "tree")
    figures = []
    for _ in range(options.rounds + 1):
        began = time.perf_counter()
        with running(codekin("--repo", str(folder / "tree")), "/ready"):
            figures.append(1000 * (time.perf_counter() - began))
    print(
        f"start to ready: {statistics.median(figures[1:]):.0f} ms ({min(figures):.0f} to {max(figures):.0f})"
    )


def search(options: argparse.Namespace, folder: Path) -> None:
    """One client, one question after the other; the first ones not counted."""
    tree(
        sources([Path(sysconfig.get_path(place)) for place in ("stdlib", "purelib")]), _FILES, folder / "tree"
    )
    with running(codekin("--repo", str(folder / "tree")), "/ready") as port:
        while (index := _status(port))["indexing"]:
            time.sleep(0.1)
        bodies = [
            {"query": f"{question} {number}"}
            for number, question in zip(range(_SEARCHES), itertools.cycle(QUESTIONS), strict=False)
        ]
        asyncio.run(ask(port, "/v1/search", bodies[:50], 1))
        for round_ in range(options.rounds):
            taken = sorted(asyncio.run(ask(port, "/v1/search", bodies, 1))[1])
            p50, p99 = (1000 * taken[int(share * len(taken))] for share in (0.5, 0.99))
            print(f"round {round_ + 1}: {index['chunks']} chunks, p50 {p50:.2f} ms, p99 {p99:.2f} ms")


def rerank(options: argparse.Namespace, folder: Path) -> None:
    """What a second stage takes, alone and among others, and what searches without one take beside it."""
    tree(sources([Path(sysconfig.get_path("stdlib"))]), _FILES, folder / "tree")
    asked = itertools.count()

    def bodies(count: int, **more: object) -> list[dict[str, object]]:
        return [
            {"query": f"{QUESTIONS[n % len(QUESTIONS)]} {n}", **more} for n in itertools.islice(asked, count)
        ]

    async def measure(port: int) -> dict[str, list[float]]:
        both = {"rerank": {"budget_ms": options.budget}}
        search = "/v1/search"
        _, alone = await ask(port, search, bodies(40), 1)
        _, one = await ask(port, search, bodies(10, **both), 1)
        (_, many), (_, beside) = await asyncio.gather(
            ask(port, search, bodies(40, **both), _RERANKING), ask(port, search, bodies(40), 1)
        )
        return {
            "search": alone,
            "with a second stage": one,
            f"{_RERANKING} at once with a second stage": many,
            "search beside those": beside,
        }

    with running(codekin("--repo", str(folder / "tree"), "--rerank", options.reranker), "/ready") as port:
        while _status(port)["indexing"]:
            time.sleep(0.1)
        asyncio.run(measure(port))  # for warming up
        before = _scored(port)
        rounds = [asyncio.run(measure(port)) for _ in range(options.rounds)]
        after = _scored(port)
    print("| | p50 | p99 |\n|---|---|---|")
    for name in rounds[0]:
        taken = sorted(one for round_ in rounds for one in round_[name])
        p50, p99 = (1000 * taken[int(share * len(taken))] for share in (0.5, 0.99))
        print(f"| {name} | {p50:.1f} ms | {p99:.1f} ms |")
    texts, searches = (new - old for new, old in zip(after, before, strict=True))
    print(f"scored within {options.budget:g} ms: {texts / searches:.1f} of 50 candidates")


def _scored(port: int) -> tuple[float, float]:
    """How many candidates have been scored, in how many searches."""
    text = urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return float(figures["codekin_rerank_texts_total"]), float(figures["codekin_rerank_seconds_count"])


def embeddings(options: argparse.Namespace, folder: Path) -> None:
    """Requests a second, one at a time and 32 at once."""
    model = options.model or _write_model(folder / "model")
    sides = {"codekin": (codekin("--model", str(model)), "/v1/embeddings", "/ready")}
    if options.infinity:
        code = "from infinity_emb.cli import cli; cli()"
        command = [str(options.infinity), "-c", code, "v2", "--model-id", str(model), "--engine", "torch"]
        command += [
            "--device",
            "cpu",
            "--dtype",
            "float32",
            "--no-bettertransformer",
            "--no-model-warmup",
            "--port",
            "PORT",
        ]
        sides["infinity"] = (command, "/embeddings", "/health")
    rng = random.Random(1)
    rates: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
    with ExitStack() as stack:
        ports = {
            side: stack.enter_context(running(command, ready)) for side, (command, _, ready) in sides.items()
        }
        names = {side: _model_name(port, sides[side][1]) for side, port in ports.items()}
        for round_ in range(options.rounds + 1):
            for side, port in ports.items():
                found = []
                for at_once in (1, AT_ONCE):
                    bodies = [
                        {"model": names[side], "input": " ".join(rng.choices(_WORDS, k=rng.randint(4, 12)))}
                        for _ in range(8 * max(8, at_once))
                    ]
                    seconds, _ = asyncio.run(ask(port, sides[side][1], bodies, at_once))
                    found.append(len(bodies) / seconds)
                if round_:  # the first is for warming up
                    rates[side].append((found[0], found[1]))
    print("| | one at a time, requests a second | 32 at once | ratio |\n|---|---|---|---|")
    for side, pairs in rates.items():
        one, many = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(many / one for one, many in pairs)
        print(f"| {side} | {one:.1f} | {many:.1f} | {ratio:.2f} |")
    if "infinity" in rates:
        for name, column in (("one at a time", 0), ("32 at once", 1)):
            pairs = zip(rates["codekin"], rates["infinity"], strict=True)
            print(
                f"codekin / infinity, {name}: {statistics.median(a[column] / b[column] for a, b in pairs):.2f}"
            )


async def ask(
    port: int, path: str, bodies: list[dict[str, object]], at_once: int
) -> tuple[float, list[float]]:
    """Posts all bodies over `at_once` connections; the seconds of all together, and of each."""
    waiting = iter(bodies)
    taken = []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for body in waiting:
            data = json.dumps(body).encode()
            head = (
                f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(data)}\r\n\r\n"
            )
            began = time.perf_counter()
            writer.write(head.encode() + data)
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(answer.split(b"content-length:")[1].split(b"\r\n")[0])
            content = await reader.readexactly(length)
            taken.append(time.perf_counter() - began)
            if b" 200 " not in answer.split(b"\r\n")[0]:
                raise RuntimeError(content.decode())
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(at_once)))
    return time.perf_counter() - began, taken


def codekin(*arguments: str) -> list[str]:
    """The command of a server; PORT stands for its port."""
    return [
        sys.executable,
        "-c",
        "from codekin.cli import main; main()",
        "serve",
        "--port",
        "PORT",
        *arguments,
    ]


@contextmanager
def running(command: list[str], ready: str) -> Iterator[int]:
    """A server's port, once it answers at `ready`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    filled = [str(port) if word == "PORT" else word for word in command]
    with tempfile.TemporaryFile() as log, subprocess.Popen(filled, stdout=log, stderr=log) as server:
        try:
            deadline = time.monotonic() + _LONGEST_START
            while True:
                with suppress(URLError, OSError):
                    urlopen(f"http://127.0.0.1:{port}{ready}", timeout=5).close()
                    break
                if server.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    sys.exit(log.read().decode()[-2000:])
                time.sleep(0.005)
            yield port
        finally:
            server.send_signal(signal.SIGTERM)


def _status(port: int) -> dict[str, Any]:
    status = json.loads(urlopen(f"http://127.0.0.1:{port}/v1/status").read())
    return dict(status["repositories"][0])


def _model_name(port: int, path: str) -> str:
    models = json.loads(urlopen(f"http://127.0.0.1:{port}{path.rpartition('/')[0]}/models").read())
    return str(models["data"][0]["id"])


def _write_model(folder: Path) -> Path:
    """A random Qwen2 of 8 layers, 9 million parameters, as sentence-transformers loads it."""
    import torch
    from tokenizers import pre_tokenizers, trainers
    from tokenizers.models import BPE
    from transformers import Qwen2Config, Qwen2Model, Qwen2Tokenizer

    from codekin import Embedder
    from codekin.embed.tokens import qwen2_tokenizer

    tokenizer = qwen2_tokenizer(BPE(), {})
    files = [str(path) for path in sources([Path(sysconfig.get_path("stdlib"))])[:100]]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train(
        files, trainers.BpeTrainer(vocab_size=8_000, initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer.add_special_tokens(["<|endoftext|>"])
    plain = folder / "plain"
    plain.mkdir(parents=True)
    tokenizer.save(str(plain / "tokenizer.json"))
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=256,
        intermediate_size=1_024,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=2,
        max_position_embeddings=1_024,
        tie_word_embeddings=True,
    )
    Qwen2Model(config).save_pretrained(plain)
    end = "<|endoftext|>"
    Qwen2Tokenizer.from_pretrained(str(plain), eos_token=end, pad_token=end).save_pretrained(plain)
    Embedder(plain).save(folder / "served")
    return folder / "served"


if __name__ == "__main__":
    main()
