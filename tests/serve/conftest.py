"""Servers that the tests of a module share: one of the bundled model and a small tree, one of a random decoder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Server, serving

SORTING = '''"""Sorting."""


def quick_sort(numbers):
    """Sort numbers by splitting them around a pivot."""
    if len(numbers) < 2:
        return numbers
    pivot, *rest = numbers
    smaller = [n for n in rest if n < pivot]
    larger = [n for n in rest if n >= pivot]
    return [*quick_sort(smaller), pivot, *quick_sort(larger)]
'''
RETRY = '''"""Requests that fail are tried again."""

import time


def send_with_retries(send, request, attempts):
    """Send a request, again after each failure, until it gives up."""
    for attempt in range(attempts):
        try:
            return send(request)
        except ConnectionError:
            time.sleep(2**attempt)
    raise TimeoutError("gave up")
'''
CART = """// Keeps a shopping cart in the browser.
export function addToCart(cart, item) {
  const next = [...cart, item];
  localStorage.setItem("cart", JSON.stringify(next));
  return next;
}
"""


QUICK_SORT = """// Sorts numbers by splitting them around a pivot.
export function quickSort(numbers) {
  if (numbers.length < 2) return numbers;
  const [pivot, ...rest] = numbers;
  const smaller = rest.filter((n) => n < pivot);
  const larger = rest.filter((n) => n >= pivot);
  return [...quickSort(smaller), pivot, ...quickSort(larger)];
}
"""
FILES = {"net/retry.py": RETRY, "algo/sorting.py": SORTING, "web/cart.js": CART, "web/sort.js": QUICK_SORT}


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four files in two languages; not to be changed."""
    return write_tree(tmp_path_factory.mktemp("served") / "shop")


def write_tree(root: Path) -> Path:
    for path, text in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.fixture(scope="session")
def server(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The bundled model, and search in `tree`."""
    with serving(tmp_path_factory.mktemp("cache"), "--repo", tree) as running:
        yield running


DECODER = "jina-code-embeddings-tiny"


@pytest.fixture(scope="session")
def decoder_server(decoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A decoder of random weights, which reads 2,048 tokens: bytes, and those of its instructions."""
    folder = tmp_path_factory.mktemp("served")
    (folder / DECODER).symlink_to(decoder)
    with serving(folder / "cache", "--model", folder / DECODER) as running:
        yield running


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexes of this process lie in the test's own folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
