"""Files that are written whole, whatever happens meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from codekin.replacing import replacing


def test_what_fails_leaves_what_was_there(tmp_path: Path) -> None:
    place = tmp_path / "folder" / "file"
    with replacing(place) as partial:
        partial.write_text("one")
        assert not place.exists()
    assert place.read_text() == "one"
    with pytest.raises(ZeroDivisionError), replacing(place) as partial:
        partial.write_text("half of tw")
        raise ZeroDivisionError
    assert place.read_text() == "one"
    assert list(place.parent.iterdir()) == [place]


def test_writers_at_once_do_not_mix(tmp_path: Path) -> None:
    place = tmp_path / "file"

    def write(letter: str) -> None:
        for _ in range(50):
            with replacing(place) as partial:
                partial.write_text(letter * 10_000)
            assert len(set(place.read_text())) == 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, "abcd"))
    assert list(tmp_path.iterdir()) == [place]
