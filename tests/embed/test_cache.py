"""The cache of vectors: what it keeps, for how long, for whom, and what it does when its file is at fault."""

from __future__ import annotations

import hashlib
import logging
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from codekin.embed import VectorCache

DIMENSIONS = 64
FLOATS = st.floats(width=32, allow_nan=False)
ENTRIES = st.dictionaries(st.binary(min_size=1, max_size=16), st.lists(FLOATS, min_size=3, max_size=3))


def key_of(number: int) -> bytes:
    return hashlib.blake2b(str(number).encode(), digest_size=16).digest()


def rows_of(numbers: range, dimensions: int = DIMENSIONS) -> tuple[list[bytes], NDArray[np.float32]]:
    """Keys, and the one row that belongs to each."""
    made = [np.random.default_rng(number).standard_normal(dimensions, np.float32) for number in numbers]
    return [key_of(number) for number in numbers], np.array(made, np.float32).reshape(-1, dimensions)


def size_on_disk(cache: VectorCache) -> int:
    return sum(file.stat().st_size for file in cache.path.parent.iterdir())


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[VectorCache]:
    opened = VectorCache(tmp_path / "cache")
    yield opened
    opened.close()


def test_what_was_put_is_there_in_the_next_process_too(cache: VectorCache):
    keys, rows = rows_of(range(2_000))
    cache.put(keys, rows)
    cache.close()
    found = VectorCache(cache.path.parent).get([*keys, key_of(-1)])
    assert list(found) == list(dict.fromkeys(found)) and set(found) == set(keys)
    assert all(found[key].dtype == np.float32 for key in keys)
    assert np.array_equal(np.array([found[key] for key in keys]), rows)


def test_rows_of_several_models_lie_side_by_side(cache: VectorCache):
    small, large = rows_of(range(10), 8), rows_of(range(10, 20), 1_536)
    cache.put(*small)
    cache.put(*large)
    found = cache.get([*small[0], *large[0]])
    for keys, rows in (small, large):
        assert all(np.array_equal(found[key], row) for key, row in zip(keys, rows, strict=True))


@settings(max_examples=30, deadline=None)
@given(st.lists(ENTRIES, max_size=5))
def test_it_holds_what_a_dictionary_would(tmp_path_factory: pytest.TempPathFactory, puts: list):
    cache = VectorCache(tmp_path_factory.mktemp("cache"))
    expected: dict[bytes, NDArray[np.float32]] = {}
    for put in puts:
        rows = np.array(list(put.values()), np.float32).reshape(-1, 3)
        cache.put(list(put), rows)
        expected |= dict(zip(put, rows, strict=True))
        found = cache.get([*expected, b"no such key at all"])
        assert found.keys() == expected.keys()
        assert all(np.array_equal(found[key], expected[key]) for key in expected)
    cache.close()


def test_the_least_recently_used_go_and_the_file_keeps_its_size(tmp_path: Path):
    limit = 2_000_000
    cache = VectorCache(tmp_path, limit)
    fresh, _ = rows_of(range(300))
    cache.put(*rows_of(range(300)))
    sizes = []
    for start in range(300, 30_000, 300):
        assert len(cache.get(fresh)) == len(fresh)
        cache.put(*rows_of(range(start, start + 300)))
        sizes.append(cache.path.stat().st_size)
    assert len(cache.get(fresh)) == len(fresh)
    assert len(cache.get(rows_of(range(29_700, 30_000))[0])) == 300
    assert not cache.get(rows_of(range(300, 20_000))[0])
    assert max(sizes) <= limit
    # What is thrown out at once, and what pages and index take: most of the room holds rows all the same.
    held = len(cache.get(rows_of(range(30_000))[0]))
    assert held * DIMENSIONS * 4 > limit / 2
    cache.close()


def test_a_lower_limit_gives_room_back(tmp_path: Path):
    cache = VectorCache(tmp_path)
    cache.put(*rows_of(range(10_000)))
    cache.close()
    before = size_on_disk(cache)
    smaller = VectorCache(tmp_path, before // 4)
    smaller.put(*rows_of(range(10_000, 10_001)))
    assert len(smaller.get(rows_of(range(10_001))[0])) > 1_000
    smaller.close()
    assert size_on_disk(smaller) <= before // 4


def test_more_than_fits_leaves_a_sound_cache(tmp_path: Path):
    cache = VectorCache(tmp_path, 100_000)
    keys, rows = rows_of(range(3_000))
    cache.put(keys, rows)
    found = cache.get(keys)
    assert all(np.array_equal(found[key], rows[keys.index(key)]) for key in found)
    cache.close()
    assert size_on_disk(cache) <= 100_000


def test_reading_writes_nothing(cache: VectorCache):
    keys, rows = rows_of(range(1_000))
    cache.put(keys, rows)
    before = {file.name: file.read_bytes() for file in cache.path.parent.iterdir() if "shm" not in file.name}
    for _ in range(20):
        assert len(cache.get(keys)) == 1_000
    assert before == {
        file.name: file.read_bytes() for file in cache.path.parent.iterdir() if "shm" not in file.name
    }


def test_threads_share_one_cache(cache: VectorCache):
    failures: list[object] = []

    def work(first: int) -> None:
        for start in range(first, first + 500, 100):
            keys, rows = rows_of(range(start, start + 100))
            cache.put(keys, rows)
            found = cache.get(keys)
            if not all(np.array_equal(found[key], row) for key, row in zip(keys, rows, strict=True)):
                failures.append(start)

    # Their ranges overlap: equal keys are put at the same time.
    threads = [threading.Thread(target=work, args=(first,)) for first in range(0, 1_000, 250)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(cache.get([key_of(number) for number in range(1_250)])) == 1_250


_WORKER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_cache import rows_of
from codekin.embed import VectorCache
import numpy as np
cache = VectorCache(Path(sys.argv[1]), int(sys.argv[2]))
first, last, step = map(int, sys.argv[3:])
wrong = 0
print("ready", flush=True)
for start in range(first, last, step):
    keys, rows = rows_of(range(start, start + step))
    cache.put(keys, rows)
    found = cache.get(keys)
    wrong += sum(not np.array_equal(found[key], row) for key, row in zip(keys, rows) if key in found)
    print(start, len(found), wrong, flush=True)
"""


def worker(folder: Path, limit: int, first: int, last: int, step: int) -> subprocess.Popen[str]:
    code = _WORKER.format(tests=str(Path(__file__).parent))
    arguments = [str(folder), *map(str, (limit, first, last, step))]
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_several_processes_create_fill_and_trim_one_cache(tmp_path: Path):
    limit = 1_500_000
    processes = [
        worker(tmp_path / "new", limit, first, first + 4_000, 100) for first in (0, 2_000, 4_000, 6_000)
    ]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
        found, wrong = zip(*(map(int, line.split()[1:]) for line in out.splitlines()[1:]), strict=True)
        assert not any(wrong)
        # Between a put and its get the others may throw a part out, not all of it.
        assert sum(found) > 0.9 * 100 * len(found)
    cache = VectorCache(tmp_path / "new", limit)
    assert len(cache.get([key_of(number) for number in range(10_000)])) > 1_000
    cache.close()
    assert size_on_disk(cache) <= limit


def test_a_killed_process_leaves_the_cache_whole(tmp_path: Path):
    chance = random.Random(0)
    committed = 0
    for attempt in range(4):
        first = attempt * 100_000
        process = worker(tmp_path, 1 << 30, first, first + 100_000, 50)
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.stdout.readline()
        time.sleep(chance.uniform(0.01, 0.2))
        process.send_signal(signal.SIGKILL)
        out, err = process.communicate(timeout=60)
        assert err == ""
        last = int(out.splitlines()[-2].split()[0]) if out.count("\n") > 1 else first
        cache = VectorCache(tmp_path)
        keys, rows = rows_of(range(first, last + 50))
        found = cache.get(keys)
        assert all(np.array_equal(found[key], row) for key, row in zip(keys, rows, strict=True))
        committed += len(found)
        cache.close()
        db = sqlite3.connect(tmp_path / cache.path.name)
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        db.close()
    assert committed >= 200


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_opens_the_cache_for_itself(cache: VectorCache):
    keys, rows = rows_of(range(100))
    cache.put(keys, rows)
    child = os.fork()
    if not child:
        try:
            same = all(np.array_equal(found, rows[keys.index(key)]) for key, found in cache.get(keys).items())
            cache.put(*rows_of(range(100, 200)))
            os._exit(0 if same else 1)
        finally:
            os._exit(2)
    cache.put(*rows_of(range(200, 300)))
    assert os.waitpid(child, 0)[1] == 0
    assert len(cache.get([key_of(number) for number in range(300)])) == 300


def test_a_damaged_file_is_done_without(cache: VectorCache, caplog: pytest.LogCaptureFixture):
    cache.path.parent.mkdir()
    cache.path.write_bytes(b"no database " * 1_000)
    keys, rows = rows_of(range(3))
    with caplog.at_level(logging.WARNING):
        cache.put(keys, rows)
        cache.put(keys, rows)
        assert cache.get(keys) == {}
    assert [str(cache.path) in record.getMessage() for record in caplog.records] == [True]


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "file").touch()
    cache = VectorCache(tmp_path / "file" / "folder")
    cache.put(*rows_of(range(3)))
    assert cache.get([key_of(0)]) == {}
    assert len(caplog.records) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="limits file sizes as POSIX does")
def test_a_full_disk_is_done_without(tmp_path: Path):
    code = (
        "import resource, signal, sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from test_cache import rows_of; from codekin.embed import VectorCache\n"
        "cache = VectorCache(Path(sys.argv[1]))\n"
        "keys, rows = rows_of(range(200)); cache.put(keys, rows)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "for start in range(200, 20_000, 200): cache.put(*rows_of(range(start, start + 200)))\n"
        "print(len(cache.get(keys)))\n"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)]
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout == "0\n"
    assert result.stderr.startswith("codekin: the cache of vectors")
    assert result.stderr.count("\n") == 1
    # With room again, what was committed is there.
    assert len(VectorCache(tmp_path).get([key_of(number) for number in range(200)])) == 200


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=400),
    st.booleans(),
)
def test_changed_bytes_never_make_a_wrong_row(tmp_path: Path, changes: list[tuple[float, int]], cut: bool):
    cache = VectorCache(tmp_path / "damaged")
    cache.path.unlink(missing_ok=True)
    keys, rows = rows_of(range(60))
    cache.put(keys, rows)
    cache.close()
    data = bytearray(cache.path.read_bytes())
    for place, byte in changes:
        data[int(place * len(data))] = byte
    cache.path.write_bytes(data[: len(data) * 3 // 4] if cut else data)
    damaged = VectorCache(tmp_path / "damaged")
    for found in (damaged.get(keys), damaged.put(keys[:20], rows[:20]) or damaged.get(keys)):
        assert all(np.array_equal(row, rows[keys.index(key)]) for key, row in found.items())
    damaged.close()


def test_a_changed_byte_is_a_miss_until_the_row_is_put_again(cache: VectorCache):
    keys, rows = rows_of(range(5))
    cache.put(keys, rows)
    cache.close()
    data = bytearray(cache.path.read_bytes())
    data[data.index(rows[2].tobytes()) + 17] ^= 1
    cache.path.write_bytes(data)
    assert set(cache.get(keys)) == {*keys} - {keys[2]}
    cache.put(keys[2:3], rows[2:3])
    assert np.array_equal(cache.get(keys)[keys[2]], rows[2])
