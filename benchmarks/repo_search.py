#!/usr/bin/env python3
"""Quality and speed of codekin on the repositories of the semble benchmark, beside semble itself.

    python benchmarks/repo_search.py BENCH --mirror SNAPSHOTS --cache TREES [--semble] [--ablation]
        [--repos flask,gin] [--model NAME]

BENCH is a folder with the benchmark's `evaluate.py` and labels. Prints nDCG@10, index time and warm query latency of
hybrid, semantic and lexical search beside the published figures; with `--semble` (pip install semble) also those of
semble, in the same run and with the bundled model; with `--ablation` what each signal of the ranking is worth.
`--model` takes any model that `codekin index --model` does; with a transformer choose few repositories by `--repos`.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from codekin import CodeIndex, embed
from codekin.search.ranking import WEIGHTS, Weights

Hits = list[tuple[str, int, int]]
BUNDLED = Path(embed.__file__).parent / "models" / "codekin-static"
# evaluate.py loads this file as a module of its own: what was asked for goes there by the environment.
MODEL = "REPO_SEARCH_MODEL"


class Codekin:
    """An index built anew for every repository, in a temporary folder."""

    def __init__(self, root: str, mode: str = "hybrid", weights: Weights = WEIGHTS) -> None:
        self._folder = tempfile.mkdtemp()
        self._index = CodeIndex(root, index=self._folder, model=os.environ.get(MODEL))
        self._index.weights = weights
        self._mode = mode
        self._index.update()

    def search(self, query: str, top: int) -> Hits:
        found = self._index.search(query, top, mode=self._mode)
        return [(hit.path, hit.start_line, hit.end_line) for hit in found]

    def close(self) -> None:
        self._index.close()
        shutil.rmtree(self._folder)


class Semble:
    """The peer, with codekin's static model, which is in the format that it reads."""

    def __init__(self, root: str) -> None:
        from semble import SembleIndex

        self._root = root
        self._index = SembleIndex.from_path(root, model_path=str(BUNDLED))

    def search(self, query: str, top: int) -> Hits:
        chunks = [hit.chunk for hit in self._index.search(query, top_k=top)]
        return [
            (str(Path(self._root, chunk.file_path).relative_to(self._root)), chunk.start_line, chunk.end_line)
            for chunk in chunks
        ]


def hybrid(root: str) -> Codekin:
    return Codekin(root)


def semantic(root: str) -> Codekin:
    return Codekin(root, "semantic")


def lexical(root: str) -> Codekin:
    return Codekin(root, "lexical")


def semble(root: str) -> Semble:
    return Semble(root)


def evaluation(bench: Path) -> ModuleType:
    """The benchmark's own evaluate.py as a module."""
    spec = importlib.util.spec_from_file_location("evaluate", bench / "evaluate.py")
    if spec is None or spec.loader is None or not (bench / "evaluate.py").is_file():
        sys.exit(f"{bench} has no evaluate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ablation(evaluate: Any, names: list[str], roots: dict[str, str]) -> None:
    """nDCG@10 of hybrid search with each signal off, one index a repository for all of them."""
    off: dict[str, object] = {"semantic": 0.0, "lexical": 0.0, "unasked": False, "repeat": 1.0}
    variants = {"all signals": WEIGHTS} | {
        f"without {field.name}": replace(WEIGHTS, **{field.name: off.get(field.name, 0.0)})
        for field in fields(Weights)
    }
    variants["fusion alone"] = Weights(
        WEIGHTS.semantic, WEIGHTS.lexical, *[off.get(f.name, 0.0) for f in fields(Weights)[2:]]
    )
    totals = dict.fromkeys(variants, 0.0)
    for name in names:
        with (
            tempfile.TemporaryDirectory() as folder,
            CodeIndex(roots[name], index=folder, model=os.environ.get(MODEL)) as index,
        ):
            sub = evaluate.load_specs()[name]["benchmark_root"] or ""
            tasks = evaluate.load_tasks(name, "published")
            for label, weights in variants.items():
                index.weights = weights
                totals[label] += sum(one(evaluate, index, task, sub) for task in tasks) / len(tasks)
    whole = totals["all signals"] / len(names)
    for label, total in totals.items():
        print(f"{label:22}{total / len(names):10.4f}{total / len(names) - whole:+10.4f}")


def one(evaluate: Any, index: CodeIndex, task: tuple[str, str, list[Any]], sub: str) -> float:
    """nDCG@10 of one question."""
    query, _, targets = task
    hits = [(hit.path, hit.start_line, hit.end_line) for hit in index.search(query, 10)]
    ranks = [evaluate.first_rank(hits, target, sub, "published") for target in targets]
    return float(evaluate.ndcg(ranks, len(targets), 10))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bench", type=Path)
    parser.add_argument("--mirror", required=True)
    parser.add_argument("--cache", required=True)
    parser.add_argument("--repos", help="names, with commas")
    parser.add_argument("--model", help="default: the bundled one")
    parser.add_argument("--semble", action="store_true")
    parser.add_argument("--ablation", action="store_true")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each query")
    args = parser.parse_args()
    if args.model:
        os.environ[MODEL] = args.model
    evaluate = evaluation(args.bench)
    if args.ablation:
        specs = {n: s for n, s in evaluate.load_specs().items() if s["status"] == "ok"}
        names = args.repos.split(",") if args.repos else list(specs)
        cache, mirror = Path(args.cache).resolve(), Path(args.mirror).resolve()
        ablation(evaluate, names, {n: str(evaluate.materialise(specs[n], cache, mirror)) for n in names})
        return
    systems: list[Callable[[str], Any]] = [hybrid, semantic, lexical]
    if args.semble:
        systems.insert(1, semble)
    sys.argv = ["evaluate.py", "--mirror", args.mirror, "--cache", args.cache, "--runs", str(args.runs)]
    for system in systems:
        sys.argv += ["--plugin", f"{system.__name__}={Path(__file__).resolve()}:{system.__name__}"]
    if args.repos:
        sys.argv += ["--repos", args.repos]
    evaluate.main()


if __name__ == "__main__":
    main()
