"""Small trees of code to search in."""

from __future__ import annotations

from pathlib import Path

RETRY = '''"""Sending requests."""

import time


def send_with_retries(request, attempts=3):
    """Send a request again when it fails, waiting longer each time."""
    for attempt in range(attempts):
        response = request.send()
        if response.ok:
            return response
        time.sleep(2**attempt)
    raise ConnectionError("gave up")


class Session:
    """Keeps cookies and connections between requests."""

    def __init__(self):
        self.cookies = {}

    def close(self):
        """Close every connection of the pool."""
        self.cookies.clear()
'''
CONFIG = '''"""Settings from a file."""

import json


def load_settings(path):
    """Read the configuration file and merge it with the defaults."""
    with open(path) as file:
        return {"timeout": 10, **json.load(file)}


def parse_size(text):
    """Turn 10K or 3M into a number of bytes."""
    units = {"K": 1000, "M": 1000000}
    return int(text[:-1]) * units[text[-1]]
'''
SORTING = """// Sorting.

/** Sorts numbers by splitting them around a pivot. */
function quickSort(numbers) {
  if (numbers.length < 2) return numbers;
  const [pivot, ...rest] = numbers;
  const smaller = rest.filter((n) => n < pivot);
  const larger = rest.filter((n) => n >= pivot);
  return [...quickSort(smaller), pivot, ...quickSort(larger)];
}

module.exports = { quickSort };
"""
TEST = """from net.retry import send_with_retries


def test_send_with_retries_sends_a_failed_request_again():
    assert send_with_retries(Flaky(fails=2)).ok
"""
GUIDE = """# Guide

## Retries

A failed request is sent again, three times at most.

## Settings

The configuration file is merged with the defaults.
"""
FILES = {
    "net/retry.py": RETRY,
    "app/config.py": CONFIG,
    "web/sorting.js": SORTING,
    "tests/test_retry.py": TEST,
    "docs/guide.md": GUIDE,
}


def write(root: Path, files: dict[str, str]) -> Path:
    """Writes files below a folder."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text.encode())
    return root
