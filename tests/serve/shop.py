"""The small tree that is served, and the name under which the random decoder is."""

from __future__ import annotations

from pathlib import Path

DECODER = "jina-code-embeddings-tiny"
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


def write_tree(root: Path) -> Path:
    for path, text in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root
