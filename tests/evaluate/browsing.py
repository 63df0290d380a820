"""A browser, and what tests see of a page in it."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


@contextmanager
def chromium() -> Iterator[Browser]:
    """The Chromium that is installed, without a window; skips where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if _CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=_CHROMIUM, headless=True, args=_ARGUMENTS)
        yield started
        started.close()


def colourful(page: Page, picture: bytes) -> int:
    """How many of the picture's pixels are of a colour, neither grey nor the paper's."""
    count = """async png => {
      const bytes = Uint8Array.from(atob(png), letter => letter.charCodeAt(0));
      const image = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
      const surface = new OffscreenCanvas(image.width, image.height).getContext("2d");
      surface.drawImage(image, 0, 0);
      const { data } = surface.getImageData(0, 0, image.width, image.height);
      let found = 0;
      for (let place = 0; place < data.length; place += 4) {
        const [red, green, blue] = data.subarray(place, place + 3);
        if (Math.max(red, green, blue) - Math.min(red, green, blue) > 60) found++;
      }
      return found;
    }"""
    return int(page.evaluate(count, base64.b64encode(picture).decode()))
