"""The installed command and a small tree of code to run it on."""

from __future__ import annotations

import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path

COMMAND = str(Path(sysconfig.get_path("scripts")) / "codekin")

FILES = {
    "net/retry.py": '''"""Requests that fail are tried again."""

import time


class RetryPolicy:
    """How often a failed request is retried, and how long to wait in between."""

    def __init__(self, attempts=3):
        self.attempts = attempts

    def backoff(self, attempt):
        """Seconds to wait before the next attempt: exponential, at most a minute."""
        return min(60, 2**attempt)


def send_with_retries(send, request, policy):
    """Send a request, again after each failure, until the policy gives up."""
    for attempt in range(policy.attempts):
        try:
            return send(request)
        except ConnectionError:
            time.sleep(policy.backoff(attempt))
    raise TimeoutError("gave up")
''',
    "net/headers.py": '''def parse_headers(data):
    """Split raw bytes into a dictionary of HTTP header names and values."""
    headers = {}
    for line in data.split(b"\\r\\n"):
        name, _, value = line.partition(b":")
        headers[name.strip().lower()] = value.strip()
    return headers
''',
    "web/store.js": """// Keeps a shopping cart in the browser.
export function addToCart(cart, item) {
  const next = [...cart, item];
  localStorage.setItem("cart", JSON.stringify(next));
  return next;
}

export function retryRequest(url, times) {
  return fetch(url).catch((error) => {
    if (times === 0) throw error;
    return retryRequest(url, times - 1);
  });
}
""",
    "docs/guide.md": "# Guide\n\n## Installing\n\nRun the installer and follow the steps.\n",
}

Run = Callable[..., "subprocess.CompletedProcess[str]"]
