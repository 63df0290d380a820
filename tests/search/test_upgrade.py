"""The background upgrade: a stronger model's vectors fill in, in an order, in pieces, and answers take them in."""

from __future__ import annotations

import logging
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from trees import write

from codekin import Embedder
from codekin.errors import InputError, ModelError, StoreError
from codekin.search import CodeIndex, UpgradeProgress, demand, mixed, upgrading
from codekin.search.extracting import embedded_text
from codekin.search.mixed import Mixed
from codekin.search.ranking import Weights
from codekin.search.store import FILE_NAME
from codekin.search.vectors import Vectors, is_many, largest

QUERY = "where are failed requests sent again"
STRONGER = "codekin-static"
VECTORS_ALONE = Weights(lexical=0, defines=0, stem=0, folder=0, symbol=0, support=0, unasked=False, repeat=1)
MakeModel = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def weak(turned_model: MakeModel) -> str:
    """The bundled model with noise in its table: what it finds is often something else."""
    folder = turned_model()
    (tensors,) = folder.glob("*.safetensors")
    table = load_file(tensors)
    name = max(table, key=lambda key: table[key].ndim)
    noise = np.random.default_rng(5).standard_normal(table[name].shape) * table[name].std() * 4
    table[name] = (table[name] + noise).astype(table[name].dtype)
    save_file(table, tensors)
    return str(folder)


@contextmanager
def opened(tree: Path, index: Path, model: str | None = None) -> Iterator[CodeIndex]:
    with CodeIndex(tree, index=index, model=model) as found:
        found.update()
        yield found


def in_index(folder: Path, statement: str) -> list:
    with closing(sqlite3.connect(folder / FILE_NAME)) as db:
        return db.execute(statement).fetchall()


def stronger_vectors(folder: Path) -> dict[tuple[bytes, int], bytes]:
    """Every stronger vector by its file and place."""
    return {
        (path, place): row
        for path, place, row in in_index(
            folder,
            "SELECT path, chunk - first, row FROM stronger JOIN chunks"
            " ON chunk >= first AND chunk < first + length(spans) / 12 JOIN files ON file = id",
        )
    }


def stop_after(index: CodeIndex, model: str, batches: int) -> None:
    """Runs an upgrade until so many transactions are done."""
    left = [batches]

    def progress(now: UpgradeProgress) -> None:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.upgrade(model, progress=progress)


def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrading, "_BATCH_LIMITS", (1, 40))


# ---- filling in


def test_every_chunk_has_the_stronger_models_own_vector(tree: Path, tmp_path: Path, weak: str):
    with opened(tree, tmp_path / "index", weak) as index:
        assert index.status().upgrade is None
        report = index.upgrade(STRONGER)
        chunks = index.status().chunks
        assert (report.chunks_embedded, report.chunks, report.chunks_total) == (chunks, chunks, chunks)
        [best, *_] = index.search("load_settings", mode="lexical")
    rows = stronger_vectors(tmp_path / "index")
    assert len(rows) == chunks
    wanted = Embedder().encode([embedded_text(best.path, best.symbol, best.text)])[0]
    own = [np.frombuffer(row, np.int8) for (path, _), row in rows.items() if path == best.path.encode()]
    assert max(float(row @ wanted / np.linalg.norm(row.astype(float))) for row in own) > 0.99


def test_what_is_found_gets_better_as_it_goes(
    large_tree: Path, tmp_path: Path, weak: str, monkeypatch: pytest.MonkeyPatch
):
    small_batches(monkeypatch)
    questions = {
        path.relative_to(large_tree).as_posix(): path.read_text().split('"""')[1]
        for path in sorted(large_tree.rglob("*.py"))[::2]
    }

    def found(index: CodeIndex) -> float:
        """The mean reciprocal rank of the files asked for."""
        total = 0.0
        for path, text in questions.items():
            paths = [result.path for result in index.search(text, 20, mode="semantic")]
            total += 1 / (1 + paths.index(path)) if path in paths else 0.0
        return total / len(questions)

    with opened(large_tree, tmp_path / "index", weak) as index:
        index.weights = VECTORS_ALONE
        figures = [found(index)]
        stop_after(index, STRONGER, index.status().chunks // 80)
        figures.append(found(index))
        index.upgrade(STRONGER)
        figures.append(found(index))
    assert figures[0] < figures[1] < figures[2]


def test_an_interrupted_upgrade_goes_on(
    large_tree: Path, tmp_path: Path, weak: str, monkeypatch: pytest.MonkeyPatch
):
    small_batches(monkeypatch)
    with opened(large_tree, tmp_path / "index", weak) as index:
        stop_after(index, STRONGER, 3)
        held = index.status().upgrade
        assert held and (held.model, held.chunks, held.running) == (STRONGER, 120, False)
        assert held.per_second and held.seconds_left is None
        report = index.upgrade(STRONGER)
        assert report.chunks_embedded == index.status().chunks - 120
    with opened(large_tree, tmp_path / "whole", weak) as index:
        index.upgrade(STRONGER)
    assert stronger_vectors(tmp_path / "index") == stronger_vectors(tmp_path / "whole")


_CHILD = """
import sys
from codekin.search import CodeIndex, upgrading
upgrading._BATCH_LIMITS = (1, 20)
def progress(now):
    print(now.chunks, flush=True)
    sys.stdin.readline()
with CodeIndex(sys.argv[1], index=sys.argv[2], update=False) as index:
    index.upgrade(sys.argv[3], progress=progress)
"""


def test_a_killed_upgrade_loses_a_batch_at_most_and_its_lock(large_tree: Path, tmp_path: Path, weak: str):
    with opened(large_tree, tmp_path / "index", weak) as index:
        total = index.status().chunks
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(large_tree), str(tmp_path / "index"), STRONGER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdin and child.stdout
        assert child.stdout.readline() == "20\n"
        held = index.status().upgrade
        assert held and held.running and held.seconds_left
        with pytest.raises(StoreError, match="another process is upgrading the index"):
            index.upgrade(STRONGER)
        with pytest.raises(StoreError, match="pause that before a rebuild"):
            index.update(rebuild=True)
        assert index.search(QUERY)
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "40\n"
        child.send_signal(signal.SIGKILL)
        child.wait()
        held = index.status().upgrade
        assert held and (held.chunks, held.running) == (40, False)
        assert in_index(tmp_path / "index", "PRAGMA integrity_check") == [("ok",)]
        assert index.upgrade(STRONGER).chunks_embedded == total - 40
    child.stdin.close()
    child.stdout.close()


def test_updates_and_searches_go_on_meanwhile(
    large_tree: Path, tmp_path: Path, weak: str, monkeypatch: pytest.MonkeyPatch
):
    small_batches(monkeypatch)
    file = next(large_tree.rglob("*.py"))
    with opened(large_tree, tmp_path / "index", weak) as index:

        def progress(now: UpgradeProgress) -> None:
            if now.chunks > 60:
                return
            with opened(large_tree, tmp_path / "index") as other:
                assert other.search(QUERY)
            file.write_text(f"def added_{now.chunks}():\n    return {now.chunks}\n\n\n{file.read_text()}")
            write(large_tree, {"new/one.py": "def brand_new(value):\n    return value + 1\n"})
            with opened(large_tree, tmp_path / "index") as other:
                assert other.search("brand_new")[0].path == "new/one.py"

        report = index.upgrade(STRONGER, progress=progress)
        assert report.chunks == report.chunks_total == index.status().chunks
        held = index.search(QUERY)
    with opened(large_tree, tmp_path / "whole", weak) as index:
        index.upgrade(STRONGER)
        assert index.search(QUERY) == held
    assert stronger_vectors(tmp_path / "index") == stronger_vectors(tmp_path / "whole")


# ---- what changes


def test_a_changed_file_keeps_what_stays_and_a_removed_one_leaves_nothing(
    large_tree: Path, tmp_path: Path, weak: str
):
    first, second, *_ = sorted(
        (path for path in large_tree.rglob("*.py")), key=lambda path: -path.stat().st_size
    )
    with opened(large_tree, tmp_path / "index", weak) as index:
        index.upgrade(STRONGER)
        total = index.status().chunks
        first.write_text(first.read_text() + "\n\ndef one_more(thing):\n    return thing\n")
        index.update()
        held, chunks = index.status().upgrade, index.status().chunks
        assert held and held.chunks_total == chunks
        assert 0 < chunks - held.chunks <= 2 < total
        second.unlink()
        index.update()
        assert in_index(tmp_path / "index", "SELECT count(*) FROM stronger")[0][0] == len(
            stronger_vectors(tmp_path / "index")
        )
        assert index.upgrade(STRONGER).chunks_embedded <= 2
        assert index.search(QUERY)


def test_a_rebuild_begins_the_upgrade_again(tree: Path, tmp_path: Path, weak: str):
    with opened(tree, tmp_path / "index", weak) as index:
        index.upgrade(STRONGER)
        before = index.search(QUERY)
        index.update(rebuild=True)
        held = index.status().upgrade
        assert held and (held.model, held.chunks) == (STRONGER, 0)
        assert index.search(QUERY)
        index.upgrade(STRONGER)
        assert index.search(QUERY) == before
    with CodeIndex(tree, index=tmp_path / "index", model=STRONGER) as index:
        index.update(rebuild=True)  # of the model that it was upgraded to
        with pytest.raises(InputError, match="is made with codekin-static as it is"):
            index.upgrade(STRONGER)
        index.end_upgrade()
        assert index.status().upgrade is None


def test_another_model_begins_anew_and_an_upgrade_ends(
    tree: Path, tmp_path: Path, weak: str, turned_model: MakeModel
):
    other = turned_model(tmp_path / "other")
    with opened(tree, tmp_path / "index", weak) as index:
        plain = index.search(QUERY)
        index.upgrade(STRONGER)
        assert index.upgrade(str(other)).chunks_embedded == index.status().chunks
        held = index.status().upgrade
        assert held and held.model == str(other)
        moved = other.rename(tmp_path / "moved")
        assert index.upgrade(str(moved)).chunks_embedded == 0  # the same by its content
        index.end_upgrade()
        assert index.status().upgrade is None
        assert index.search(QUERY) == plain
    assert stronger_vectors(tmp_path / "index") == {}


def test_a_file_that_has_changed_since_is_left_for_the_next_update(tree: Path, tmp_path: Path, weak: str):
    with opened(tree, tmp_path / "index", weak) as index:
        (tree / "app/config.py").write_text("def other():\n    return 1\n")
        report = index.upgrade(STRONGER)
        assert 0 < report.chunks < report.chunks_total
        index.update()
        report = index.upgrade(STRONGER)
        assert report.chunks == report.chunks_total


# ---- errors


def test_errors_are_one_line_and_lose_nothing(tree: Path, tmp_path: Path, weak: str):
    with opened(tree, tmp_path / "index", weak) as index:
        with pytest.raises(ModelError, match="no model 'nothing'"):
            index.upgrade("nothing")
        with pytest.raises(InputError, match="no vectors of 7 dimensions"):
            index.upgrade(STRONGER, dimensions=7)
        assert index.status().upgrade is None
        index.upgrade(STRONGER)
        index._store.writable = False
        with pytest.raises(StoreError, match=r"cannot upgrade the index at .*: it cannot be written"):
            index.upgrade(STRONGER)
        assert index.search(QUERY)


def test_a_full_disk_loses_nothing(
    large_tree: Path, tmp_path: Path, weak: str, monkeypatch: pytest.MonkeyPatch
):
    small_batches(monkeypatch)
    with opened(large_tree, tmp_path / "index", weak) as index:
        stop_after(index, STRONGER, 2)
        [(pages,)] = in_index(tmp_path / "index", "PRAGMA page_count")
        index._store._db.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(StoreError, match=r"cannot write the index at .*: database or disk is full"):
            index.upgrade(STRONGER)
        assert index.search(QUERY)
        held = index.status().upgrade
        assert held and 80 <= held.chunks < held.chunks_total
        index._store._db.execute("PRAGMA max_page_count = 1000000")
        report = index.upgrade(STRONGER)
        assert report.chunks == report.chunks_total


def test_without_its_model_the_index_answers_as_before_and_says_so(
    tree: Path, tmp_path: Path, turned_model: MakeModel, caplog: pytest.LogCaptureFixture
):
    model = turned_model()
    with opened(tree, tmp_path / "index") as index:
        plain = index.search(QUERY)
        index.upgrade(str(model))
    shutil.rmtree(model)
    with caplog.at_level(logging.WARNING, "codekin"), opened(tree, tmp_path / "index") as index:
        assert index.search(QUERY) == plain
        assert index.search(QUERY) == plain
        assert index.did_without == str(model)
    [record] = caplog.records
    assert "this answers without the vectors of the upgrade" in record.message
    assert "\n" not in record.message


# ---- a transformer


def test_a_transformer_is_loaded_beside_the_second_search(tree: Path, tmp_path: Path, decoder: Path):
    with opened(tree, tmp_path / "index") as index:
        plain = index.search(QUERY)
        index.upgrade(str(decoder))
    with opened(tree, tmp_path / "index") as index:
        threads = set(threading.enumerate())
        assert index.search(QUERY) == plain
        assert index.did_without == str(decoder)
        assert set(threading.enumerate()) == threads
        index.search(QUERY)
        for thread in set(threading.enumerate()) - threads:
            thread.join()
        found = index.search(QUERY)
        assert index.did_without == ""
        assert [result.score for result in found] != [result.score for result in plain]
    with opened(tree, tmp_path / "index") as index:
        assert index.search(QUERY, wait=True) == found
        assert index.related("net/retry.py", 8, wait=True)


# ---- the order


def test_what_is_searched_for_comes_first_then_what_is_named_most(tmp_path: Path, weak: str):
    tree = write(
        tmp_path / "tree",
        {
            "a.py": "def lonely_thing():\n    return 1\n",
            "b.py": "def central_thing():\n    return 1\n",
            "c.py": "from b import central_thing\n\n\ndef caller_one():\n    return central_thing()\n",
            "d.py": "from b import central_thing\n\n\ndef caller_two():\n    return central_thing()\n",
            "tests/test_b.py": "def test_it():\n    return 1\n\n\ndef ___():\n    return 1\n",
            "ops.hs": "module Ops where\n\n(<+>) :: Int -> Int -> Int\na <+> b = a + b\n",
        },
    )
    with opened(tree, tmp_path / "index", weak) as index:

        def order() -> list[str]:
            return [file.path for file in upgrading.Order(index._store).sorted(index._store.waiting())]

        assert order()[0] == "b.py"
        for _ in range(3):
            index.search("lonely_thing", 1)
        index.search("caller_two", 1)
        assert order()[:3] == ["a.py", "d.py", "b.py"]
        shown = (tmp_path / "index" / f"{FILE_NAME}-shown").read_bytes()
        assert len(shown) == 4 * 8


def test_what_is_shown_is_counted_in_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    database = tmp_path / FILE_NAME
    assert demand.times_shown(database, ["a", "b"]).tolist() == [0, 0]
    demand.note_shown(database, ["a", "b"])
    demand.note_shown(database, ["a"])
    assert demand.times_shown(database, ["a", "b", "c"]).tolist() == [2, 1, 0]
    monkeypatch.setattr(demand, "_MOST_BYTES", 80)
    for _ in range(30):
        demand.note_shown(database, ["c"])
    (log,) = tmp_path.iterdir()
    assert log.stat().st_size <= 80
    assert demand.times_shown(database, ["a", "b", "c"]).tolist()[:2] == [0, 0]
    demand.note_shown(tmp_path / "missing" / FILE_NAME, ["a"])  # never fails


# ---- two models' cosines as one


@pytest.fixture
def both() -> tuple[Vectors, np.ndarray, Vectors, np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    rows = random.integers(-127, 128, (500, 32), dtype=np.int8)
    upgraded = np.sort(random.choice(500, 200, replace=False))
    stronger = random.integers(-127, 128, (200, 16), dtype=np.int8) // 2 + 30
    return (
        Vectors(rows),
        upgraded,
        Vectors(stronger.astype(np.int8)),
        random.integers(-127, 128, 32, dtype=np.int8),
        random.integers(-127, 128, 16, dtype=np.int8),
    )


def test_mixed_cosines_lie_as_the_first_models_do(both):
    vectors, upgraded, stronger, query, wanted = both
    made = Mixed(vectors, upgraded, stronger, wanted)
    plain, found = vectors.cosines(query), made.cosines(query)
    others = np.setdiff1d(np.arange(500), upgraded)
    assert np.array_equal(found[others], plain[others])
    first, second = plain[upgraded].astype(float), stronger.cosines(wanted).astype(float)
    blend = (first - first.mean()) / first.std() / 2 + (second - second.mean()) / second.std() / 2
    expected = blend / blend.std() * first.std() + first.mean()
    assert np.allclose(found[upgraded], expected, atol=1e-5)
    some = np.array([3, 77, 400, 401])
    assert np.allclose(made.cosines(query, some), found[some], atol=1e-6)


def test_a_single_stronger_vector_says_nothing(both):
    vectors, upgraded, stronger, query, wanted = both
    made = Mixed(vectors, upgraded[:1], Vectors(stronger.rows[:1]), wanted)
    assert np.allclose(made.cosines(query), vectors.cosines(query), atol=1e-4)


def test_many_mixed_vectors_are_searched_by_either_model(both, monkeypatch: pytest.MonkeyPatch):
    vectors, upgraded, stronger, query, wanted = both
    made = Mixed(vectors, upgraded, stronger, wanted)
    scores = made.cosines(query)
    kept = np.arange(500) % 3 > 0
    assert np.array_equal(made.nearest(query, 20), largest(scores, 20))
    monkeypatch.setattr(mixed, "is_many", lambda rows, dimensions: True)
    assert not is_many(500, 32)
    assert np.array_equal(made.nearest(query, 60)[:5], largest(scores, 5))
    assert np.array_equal(made.nearest(query, 60, kept)[:5], largest(scores * kept, 5))
