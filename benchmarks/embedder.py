#!/usr/bin/env python3
"""Our decoder against sentence-transformers, transformers and llama.cpp: rate, memory, start, and equality of vectors.

    python benchmarks/embedder.py [--model FOLDER_OR_GGUF] [--llama GGUF] [--functions 500] [--queries 200]

Every engine is a process of its own that holds one model in float32 (llama.cpp: what its file holds). Texts are
functions of this Python's standard library and first lines of their documentation, each behind its instruction. They
are dealt out by length in blocks of 64, as sentence-transformers sorts them into its batches of 32, and every engine
does a block before any does the next: a ratio is a median over such pairs. Without --model a random model of
Qwen2.5-Coder-0.5B's shape is made. Needs codekin[dev]; llama.cpp is measured where llama-cpp-python is installed.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codekin.tasks import Role, Task, instruction

QUERY = instruction(Task.NL2CODE, Role.QUERY)
DOCUMENT = instruction(Task.NL2CODE, Role.DOCUMENT)
BLOCK = 64
Encode = Callable[[list[str], str], NDArray[np.float32]]


def ours(model: str, dtype: str = "float32") -> Encode:
    from codekin import Embedder

    embedder = Embedder(model, dtype=dtype, pooling="last")

    def encode(texts: list[str], prefix: str) -> NDArray[np.float32]:
        return embedder.encode(texts, "nl2code", "query" if prefix == QUERY else "document")

    return encode


def int8(model: str) -> Encode:
    return ours(model, "int8")


def sentence_transformers(model: str) -> Encode:
    from sentence_transformers import SentenceTransformer, models

    transformer = models.Transformer(model, model_kwargs={"dtype": "float32"})
    pooling = models.Pooling(transformer.get_word_embedding_dimension(), pooling_mode="lasttoken")
    embedder = SentenceTransformer(modules=[transformer, pooling, models.Normalize()], device="cpu")
    return lambda texts, prefix: embedder.encode(texts, prompt=prefix, show_progress_bar=False)


def transformers(model: str) -> Encode:
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    decoder = AutoModel.from_pretrained(model, dtype=torch.float32).eval()

    @torch.inference_mode()
    def encode(texts: list[str], prefix: str) -> NDArray[np.float32]:
        order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
        vectors = np.empty((len(texts), decoder.config.hidden_size), np.float32)
        for start in range(0, len(order), 32):
            rows = order[start : start + 32]
            batch = tokenizer([prefix + texts[row] for row in rows], padding=True, return_tensors="pt")
            hidden = decoder(**batch).last_hidden_state
            last = batch["attention_mask"].sum(1) - 1
            pooled = hidden[torch.arange(len(rows)), last]
            vectors[rows] = torch.nn.functional.normalize(pooled, dim=1).numpy()
        return vectors

    return encode


def llama_cpp(model: str) -> Encode:
    from llama_cpp import LLAMA_POOLING_TYPE_LAST, Llama

    embedder = Llama(
        model, embedding=True, pooling_type=LLAMA_POOLING_TYPE_LAST, n_ctx=8192, n_batch=2048, n_ubatch=2048,
        n_threads=len(os.sched_getaffinity(0)), verbose=False,
    )  # fmt: skip

    def encode(texts: list[str], prefix: str) -> NDArray[np.float32]:
        return np.array(embedder.embed([prefix + text for text in texts], normalize=True), np.float32)

    return encode


ENGINES: dict[str, Callable[[str], Encode]] = {
    "codekin": ours,
    "sentence-transformers": sentence_transformers,
    "transformers": transformers,
    "codekin int8": int8,
    "llama.cpp": llama_cpp,
}


def serve(engine: str, model: str, engines: dict[str, Callable[[str], Encode]] = ENGINES) -> None:
    """A worker: reads [prefix, texts] lines, answers with seconds, peak megabytes and the vectors."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    encode = engines[engine](model)
    for line in sys.stdin:
        prefix, texts = json.loads(line)
        started = time.perf_counter()
        vectors = encode(texts, prefix)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps([seconds, peak, vectors.tolist()]), file=answers, flush=True)


class Engine:
    def __init__(self, name: str, model: str, script: str = __file__) -> None:
        self.name = name
        self.peak = 0.0
        self._command = [sys.executable, "-W", "ignore", script, "--serve", name, model]
        self._worker = self._start()

    def encode(self, texts: Sequence[str], prefix: str) -> tuple[float, NDArray[np.float32]]:
        """Seconds and vectors."""
        seconds, self.peak, vectors = self._ask(self._worker, texts, prefix)
        return seconds, np.array(vectors, np.float32)

    def first_vector(self) -> float:
        """Seconds from the start of a process to its first vector."""
        started = time.perf_counter()
        worker = self._start()
        self._ask(worker, ["binary search in Rust"], QUERY)
        seconds = time.perf_counter() - started
        worker.communicate()
        return seconds

    def close(self) -> None:
        self._worker.communicate()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def _ask(
        self, worker: subprocess.Popen[str], texts: Sequence[str], prefix: str
    ) -> tuple[float, float, list[list[float]]]:
        assert worker.stdin and worker.stdout
        worker.stdin.write(json.dumps([prefix, list(texts)]) + "\n")
        worker.stdin.flush()
        answer = worker.stdout.readline()
        if not answer:
            sys.exit(f"{self.name} ended: run {' '.join(self._command)} to see why")
        seconds, peak, vectors = json.loads(answer)
        return seconds, peak, vectors


def real_texts(functions: int, queries: int) -> tuple[list[str], list[str]]:
    """Functions of the standard library spread over all lengths, and first lines of documentation of others."""
    sources: list[str] = []
    documented: list[str] = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        text = path.read_text(encoding="utf-8", errors="replace")
        lines = text.splitlines(keepends=True)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                source = "".join(lines[node.lineno - 1 : node.end_lineno])
                line = (ast.get_docstring(node) or "").split("\n")[0]
                if line:
                    documented.append(line)
                elif len(source) < 4000:
                    sources.append(source)
    return spread(sorted(set(sources), key=len), functions), spread(sorted(set(documented), key=len), queries)


def spread(texts: list[str], count: int) -> list[str]:
    return [texts[int(place)] for place in np.linspace(0, len(texts) - 1, count)]


def random_model(folder: Path) -> str:
    """A model of Qwen2.5-Coder-0.5B's shape, its tokenizer trained on the standard library."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2Model

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=30_000,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    stdlib = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    tokenizer.train_from_iterator((path.read_text(errors="replace") for path in stdlib), trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<|endoftext|>").save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=151_936,
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        rope_theta=1e6,
        tie_word_embeddings=True,
    )
    Qwen2Model(config).float().save_pretrained(folder)
    return str(folder)


def without_chat(model: Path, folder: Path) -> str:
    """A folder of links to a model's files but its chat template: sentence-transformers wraps texts in it."""
    for file in model.iterdir():
        if not file.name.startswith("chat_template"):
            (folder / file.name).symlink_to(file.resolve())
    return str(folder)


def unpacked(gguf: Path, folder: Path) -> str:
    """The folder of a GGUF file's decoder as transformers reads it, in float32."""
    from transformers import AutoModel, AutoTokenizer

    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(folder)
    AutoModel.from_pretrained(**where, dtype="float32").save_pretrained(folder)
    return str(folder)


def compare(engines: list[Engine], name: str, texts: list[str], prefix: str) -> None:
    """One line an engine: texts a second, ours over it, and the cosine of its vectors to ours."""
    ordered = sorted(texts, key=len, reverse=True)
    seconds: dict[str, list[float]] = {engine.name: [] for engine in engines}
    vectors: dict[str, list[NDArray[np.float32]]] = {engine.name: [] for engine in engines}
    for engine in engines:
        engine.encode(ordered[-8:], prefix)
    for number, start in enumerate(range(0, len(ordered), BLOCK)):
        turn = number % len(engines)  # no engine is always the first
        for engine in engines[turn:] + engines[:turn]:
            took, made = engine.encode(ordered[start : start + BLOCK], prefix)
            seconds[engine.name].append(took)
            vectors[engine.name].append(made)
    reference = np.concatenate(vectors["codekin"])
    print(f"\n{len(texts)} {name}")
    for engine in engines:
        pairs = zip(seconds[engine.name], seconds["codekin"], strict=True)
        ratio = statistics.median(theirs / own for theirs, own in pairs)
        cosines = np.einsum("nd,nd->n", np.concatenate(vectors[engine.name]), reference)
        median, low = np.median(cosines), np.quantile(cosines, 0.01)
        print(
            f"  {engine.name:24}{len(texts) / sum(seconds[engine.name]):8.2f} texts/s   codekin {ratio:5.2f}x"
            f"   cosine to codekin: median {median:.5f}, 1st percentile {low:.5f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path)
    parser.add_argument("--llama", type=Path, help="the GGUF file for llama.cpp, such as one of Q8_0")
    parser.add_argument("--functions", type=int, default=500)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES), metavar="NAME")
    args = parser.parse_args()
    functions, queries = real_texts(args.functions, args.queries)
    with tempfile.TemporaryDirectory() as scratch:
        if args.model is None:
            model = random_model(Path(scratch))
        else:
            model = (unpacked if args.model.is_file() else without_chat)(args.model, Path(scratch))
        chosen = [name for name in ENGINES if name in args.engines and name != "llama.cpp"]
        engines = [Engine(name, model) for name in chosen]
        if "llama.cpp" in args.engines and args.llama and importlib.util.find_spec("llama_cpp"):
            engines.append(Engine("llama.cpp", str(args.llama)))
        compare(engines, "functions", functions, DOCUMENT)
        compare(engines, "queries", queries, QUERY)
        print(
            "\npeak resident memory, and seconds from the start of a process to its first vector (median of 3)"
        )
        starts = [[engine.first_vector() for engine in engines] for _ in range(3)]
        for engine, runs in zip(engines, zip(*starts, strict=True), strict=True):
            ratio = statistics.median(own / row[0] for own, row in zip(runs, starts, strict=True))
            print(
                f"  {engine.name:24}{engine.peak:8,.0f} MB   {statistics.median(runs):6.2f} s   codekin {ratio:5.2f}x"
            )
        for engine in engines:
            engine.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(*sys.argv[2:])
    else:
        main()
