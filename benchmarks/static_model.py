"""Encode rate of a static model, beside model2vec where that is installed, on the same model and texts in one run.

    python benchmarks/static_model.py CODE [--model MODEL]

The texts are the Python files of the folder CODE in pieces of 1,500 characters. How good the model is says
`codekin evaluate`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from codekin import Embedder, embed
from codekin.embed import DEFAULT_MODEL

LONGEST = 1_500
MOST = 8_000


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
    parser.add_argument("code", type=Path)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    arguments = parser.parse_args()
    texts: list[str] = []
    for file in sorted(arguments.code.rglob("*.py")):
        text = file.read_text(encoding="utf-8", errors="replace")
        texts += [text[start : start + LONGEST] for start in range(0, len(text), LONGEST)]
    texts = texts[:MOST]
    ours = megabytes_a_second(Embedder(arguments.model).encode, texts)
    print(f"{len(texts)} texts: codekin {ours:.1f} MB/s")
    try:
        from model2vec import StaticModel
    except ImportError:
        print("model2vec is not installed: no ratio")
        return
    bundled = Path(embed.__file__).parent / "models" / arguments.model
    folder = bundled if bundled.is_dir() else Path(arguments.model)
    theirs = megabytes_a_second(StaticModel.from_pretrained(folder).encode, texts)
    print(f"{len(texts)} texts: model2vec {theirs:.1f} MB/s; ratio {ours / theirs:.1f}")


if __name__ == "__main__":
    main()
