"""Small trees of real code, and the harness of `benchmarks/robustness.py`."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from trees import FILES, write

_WORDS = (
    "open close read write send retry parse merge split join sort filter cache request response session token user "
    "file path folder config default error timeout queue worker thread socket buffer stream line column index"
).split()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Five files in three languages."""
    return write(tmp_path / "tree", FILES)


@pytest.fixture
def large_tree(tmp_path: Path) -> Path:
    """300 generated Python files, each with a few functions."""
    choice = random.Random(7)
    files = {}
    for number in range(300):
        functions = []
        for _ in range(choice.randint(1, 6)):
            verb, noun, other = choice.choices(_WORDS, k=3)
            lines = "".join(
                f"    {a}_{b} = {c}({b})\n" for a, b, c in (choice.choices(_WORDS, k=3) for _ in range(12))
            )
            functions.append(
                f'def {verb}_{noun}({other}):\n    """{verb} the {noun} of a {other}."""\n{lines}\n\n'
            )
        files[f"{choice.choice(_WORDS)}/{choice.choice(_WORDS)}_{number}.py"] = "".join(functions)
    return write(tmp_path / "large", files)
