"""Retrieval quality and encode rate of a static model.

    python benchmarks/static_model.py SETS [--model MODEL] [--code FOLDER]

SETS is a folder of data sets in BEIR layout (corpus.jsonl, queries.jsonl, qrels.tsv each). Prints nDCG@10 at each
Matryoshka size with BM25 (k1 1.2, b 0.75, identifiers split) beside it. With --code, the rate of encoding that
folder's Python files in pieces of 1,500 characters, and, where model2vec is installed, that of model2vec on the
same model and texts in the same run, as ratio.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from codekin import Embedder
from codekin.embed import DEFAULT_MODEL
from codekin.evaluate import Form, evaluate, find_benchmarks, open_model


def megabytes_a_second(encode: Callable[[list[str]], object], texts: list[str]) -> float:
    """The best of three runs, the first of which fills what is remembered between calls."""
    size = sum(len(text.encode("utf-8", "replace")) for text in texts) / 1e6
    rates = []
    for _ in range(3):
        start = time.perf_counter()
        encode(texts)
        rates.append(size / (time.perf_counter() - start))
    return max(rates)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", type=Path)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--code", type=Path)
    arguments = parser.parse_args()
    embedder = Embedder(arguments.model)
    models = [open_model(embedder), open_model("bm25")]
    sizes = "".join(f"{f'd={size}':>9}" for size in embedder.sizes)
    print(f"{'nDCG@10':32}{sizes}{'BM25':>9}")
    for folder in sorted(arguments.sets.iterdir()):
        found = {result.form: result for result in evaluate(models, find_benchmarks([str(folder)]))}
        figures = [found[form].figures["ndcg_at_10"] for form in (*map(Form, embedder.sizes), Form())]
        print(f"{folder.name:32}" + "".join(f"{figure:9.4f}" for figure in figures), flush=True)
    if arguments.code:
        measure_rate(embedder, arguments.model, arguments.code)


def measure_rate(embedder: Embedder, model: str, code: Path) -> None:
    texts = []
    for file in sorted(code.rglob("*.py")):
        text = file.read_text(encoding="utf-8", errors="replace")
        texts += [text[start : start + 1500] for start in range(0, len(text), 1500)]
    texts = texts[:8000]
    ours = megabytes_a_second(embedder.encode, texts)
    print(f"\nencode, {len(texts)} texts: codekin {ours:.1f} MB/s")
    try:
        from model2vec import StaticModel
    except ImportError:
        print("model2vec is not installed: no ratio")
        return
    folder = Path(model)
    if not folder.is_dir():
        import codekin.embed

        folder = Path(codekin.embed.__file__).parent / "models" / model
    theirs = megabytes_a_second(StaticModel.from_pretrained(folder).encode, texts)
    print(f"encode, {len(texts)} texts: model2vec {theirs:.1f} MB/s; ratio {ours / theirs:.1f}")


if __name__ == "__main__":
    main()
