"""What happens to an index and its makers: killed processes, full disks, files that are not what they seem."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from trees import CONFIG, FILES, RETRY, write

import robustness
from codekin.errors import InputError, StoreError
from codekin.search import CodeIndex, UpdateProgress, UpdateReport, indexing

BATCH = 20_000  # bytes a transaction: some twenty to build the large tree


def answers(tree: Path, index: Path, *, update: bool = True) -> list:
    return robustness.answers(tree, index, update=update)


def reasons(report: UpdateReport) -> dict[str, str]:
    for skipped in report.skipped:
        assert "\n" not in skipped.reason
    return {skipped.path: skipped.reason for skipped in report.skipped}


# ---- processes


def test_a_killed_process_leaves_a_whole_index(large_tree: Path):
    rounds = list(robustness.killed_rounds(large_tree, 6, seed=11, batch_bytes=BATCH))
    assert [done.failure for done in rounds] == [""] * 6
    assert any(done.killed for done in rounds)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_fifty_killed_processes_leave_a_whole_index(large_tree: Path):
    rounds = list(robustness.killed_rounds(large_tree, 50, seed=12, batch_bytes=BATCH))
    assert {done.failure for done in rounds} == {""}
    assert sum(done.killed for done in rounds) > 25
    assert len({done.files for done in rounds if done.killed}) > 5


def test_two_processes_at_once_end_well(large_tree: Path):
    assert list(robustness.together(large_tree, seed=3, batch_bytes=BATCH)) == ["", ""]


def test_many_processes_may_make_the_same_new_index(tree: Path, tmp_path: Path):
    """The moment when the database is made is the one that all of them meet in."""
    command = [sys.executable, "-c", robustness._CHILD, str(tree), str(tmp_path / "index"), "0"]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(6)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 6, errors
    assert answers(tree, tmp_path / "index", update=False) == robustness.clean_answers(tree)


def children(process: int) -> set[int]:
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(status.read_text().rsplit(")", 1)[1].split()[1]) == process:
                found.add(int(status.parent.name))
    return found


def alive(process: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


@pytest.fixture
def helped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes every update small transactions, with a worker beside this process."""
    monkeypatch.setattr(indexing, "_BATCH_BYTES", BATCH)
    monkeypatch.setattr(indexing, "worker_count", lambda size: 2)


@pytest.mark.usefixtures("helped")
def test_workers_give_the_same_index(large_tree: Path, tmp_path: Path):
    assert answers(large_tree, tmp_path / "index") == robustness.clean_answers(large_tree)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.usefixtures("helped")
def test_a_worker_that_dies_costs_nothing(large_tree: Path, tmp_path: Path):
    killed: set[int] = set()

    def kill_workers(_: UpdateProgress) -> None:
        for worker in children(os.getpid()) - killed:
            os.kill(worker, signal.SIGKILL)
            killed.add(worker)

    with CodeIndex(large_tree, index=tmp_path / "index") as index:
        report = index.update(progress=kill_workers)
    assert killed
    assert (report.added, report.skipped) == (300, ())
    assert answers(large_tree, tmp_path / "index", update=False) == robustness.clean_answers(large_tree)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_workers_end_with_the_process_they_help(large_tree: Path, tmp_path: Path):
    process = robustness.start_update(large_tree, tmp_path / "index", BATCH)
    deadline = time.monotonic() + 20
    while not (helpers := children(process.pid)) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    process.communicate()
    if not helpers:
        pytest.skip("a single core: nobody helps")
    while any(map(alive, helpers)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(alive, helpers))


def test_no_code_of_the_indexed_tree_is_run(large_tree: Path, tmp_path: Path):
    """Started inside a tree whose modules are named like Python's own and our own."""
    trap = f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
    for name in ("pickle", "signal", "queue", "numpy", "codekin/__init__", "sitecustomize", "tokenizers"):
        write(large_tree, {f"{name}.py": trap})
    child = (
        "import sys\n"
        "sys.path.remove('')\n"
        "from codekin.search import CodeIndex, indexing\n"
        f"indexing._BATCH_BYTES = {BATCH}\n"
        "indexing.worker_count = lambda size: 2\n"
        "print(CodeIndex('.', index=sys.argv[1]).update().added)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", child, str(tmp_path / "index")],
        cwd=large_tree,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout.strip(), done.stderr) == ("307", "")
    assert not (tmp_path / "ran").exists()


def update_and_die(tree: Path, index: Path) -> None:
    """An update in a process that is killed as it ends, before it has closed the index."""
    child = (
        "import os, signal, sys\n"
        "from codekin.search import CodeIndex\n"
        "index = CodeIndex(sys.argv[1], index=sys.argv[2])\n"
        "index.update()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", child, str(tree), str(index)], check=False)
    assert done.returncode == -signal.SIGKILL


def test_what_a_killed_process_committed_is_kept(tree: Path, tmp_path: Path):
    """Its changes are still in the write-ahead log: nobody was left to move them into the database."""
    update_and_die(tree, tmp_path / "index")
    assert (tmp_path / "index/index.sqlite-wal").stat().st_size > 0
    assert answers(tree, tmp_path / "index", update=False) == robustness.clean_answers(tree)
    assert robustness.integrity(tmp_path / "index") == ""


def test_a_search_does_not_wait_for_a_writer(tree: Path, tmp_path: Path):
    expected = answers(tree, tmp_path / "index")
    writer = sqlite3.connect(tmp_path / "index/index.sqlite", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM files")
    started = time.perf_counter()
    assert answers(tree, tmp_path / "index", update=False) == expected
    assert time.perf_counter() - started < 10
    writer.execute("ROLLBACK")
    writer.close()


def test_rebuilding_under_a_reader_disturbs_neither(tree: Path, tmp_path: Path):
    with CodeIndex(tree, index=tmp_path / "index") as reader:
        expected = reader.search("retry a request")
        with CodeIndex(tree, index=tmp_path / "index") as writer:
            writer.update(rebuild=True)
            assert writer.search("retry a request") == expected
        assert reader.search("retry a request") == expected


# ---- the place of the index


def mount(*arguments: str) -> None:
    """Mounts, or skips the test where that is not permitted."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting needs root")
    if (
        done := subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    ).returncode:
        pytest.skip(f"mount is not permitted: {done.stderr.strip()}")


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder that cannot be written, by root neither."""
    mount("--bind", str(folder), str(folder))
    try:
        mount("-o", "remount,bind,ro", str(folder))
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder))
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_the_index_stays_whole(
    large_tree: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(indexing, "_BATCH_BYTES", BATCH)
    location = small_disk / "index"
    with CodeIndex(large_tree, index=location) as index:
        with pytest.raises(StoreError, match=r"cannot write the index at .*: .*(full|disk)") as caught:
            index.update()
        assert "\n" not in str(caught.value)
        assert "rebuild" not in str(caught.value)
    assert robustness.integrity(location) == ""
    left = answers(large_tree, location, update=False)
    assert 0 < left[-3] < 300
    subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True)
    assert answers(large_tree, location) == robustness.clean_answers(large_tree)


def test_a_disk_with_no_room_at_all(tree: Path, small_disk: Path):
    with pytest.raises(OSError, match="No space"), open(small_disk / "filler", "wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
    with CodeIndex(tree, index=small_disk / "index") as index, pytest.raises(StoreError) as caught:
        index.search("retry")
    assert "\n" not in str(caught.value)
    (small_disk / "filler").unlink()
    assert answers(tree, small_disk / "index") == robustness.clean_answers(tree)


def test_a_database_at_its_limit_stays_whole(
    large_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As a full disk, where none can be mounted: SQLite refuses pages beyond a number."""
    monkeypatch.setattr(indexing, "_BATCH_BYTES", BATCH)
    with CodeIndex(large_tree, index=tmp_path / "index") as index:
        index._store._db.execute("PRAGMA max_page_count = 30")
        with pytest.raises(StoreError, match=r"cannot write the index at .*: database or disk is full"):
            index.update()
        index._store._db.execute("PRAGMA max_page_count = 1000000")
        assert 0 < index.status().files < 300
        index.update()
    assert robustness.integrity(tmp_path / "index") == ""
    assert answers(large_tree, tmp_path / "index") == robustness.clean_answers(large_tree)


def test_an_index_that_cannot_be_written_is_searched(tree: Path, tmp_path: Path):
    expected = answers(tree, tmp_path / "index")
    with read_only(tmp_path / "index"):
        assert answers(tree, tmp_path / "index") == expected
        write(tree, {"lib/extra.py": "def extra_thing():\n    return 1\n"})
        assert answers(tree, tmp_path / "index")[:-3] == expected[:-3]
        with (
            CodeIndex(tree, index=tmp_path / "index") as index,
            pytest.raises(StoreError, match=r"cannot update the index at .*--no-update") as caught,
        ):
            index.update()
        assert "\n" not in str(caught.value)
        with (
            CodeIndex(tree, index=tmp_path / "index") as index,
            pytest.raises(StoreError, match=r"cannot delete the index in .*: Read-only"),
        ):
            index.update(rebuild=True)
    assert answers(tree, tmp_path / "index") == robustness.clean_answers(tree)


def test_a_log_is_read_where_nothing_can_be_written(tree: Path, tmp_path: Path):
    update_and_die(tree, tmp_path / "index")
    with read_only(tmp_path / "index"):
        assert answers(tree, tmp_path / "index") == robustness.clean_answers(tree)


@pytest.mark.parametrize("folder", ["index", ".", "deep/er/index"])
def test_no_index_and_no_place_for_one(tree: Path, tmp_path: Path, folder: str):
    place = tmp_path / "place"
    (place / "index").mkdir(parents=True)
    with read_only(place), CodeIndex(tree, index=place / folder) as index:
        with pytest.raises(
            StoreError, match=r"cannot create an index in .*; choose a folder with --index"
        ) as caught:
            index.search("retry")
        assert "\n" not in str(caught.value)


def test_a_file_in_the_place_of_the_folder(tree: Path, tmp_path: Path):
    (tmp_path / "index").write_text("a file")
    with (
        CodeIndex(tree, index=tmp_path / "index") as index,
        pytest.raises(StoreError, match=r"cannot create an index in .*index: .*--index"),
    ):
        index.search("retry")


def test_an_index_folder_that_is_closed(tree: Path):
    with tempfile.TemporaryDirectory() as folder:
        tree = shutil.copytree(tree, Path(folder) / "tree")
        Path(folder).chmod(0o755)
        (Path(folder) / "index").mkdir(mode=0)
        with (
            without_root(),
            CodeIndex(tree, index=Path(folder) / "index") as index,
            pytest.raises(StoreError, match=r"cannot create an index in .*; choose a folder with --index"),
        ):
            index.search("retry")


@pytest.mark.usefixtures("helped")
def test_a_root_of_any_name(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its name is part of the index's own place."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    expected = robustness.clean_answers(tree)
    for name in ("a b", "100%", "#1?mode=ro&x", "new\nline", "'quo\"te", os.fsdecode(b"caf\xe9")):
        try:
            tree = tree.rename(tmp_path / name)
        except OSError:
            continue
        with CodeIndex(tree) as index:
            assert index.update().added == len(FILES)
            location = index.status().location
        assert location.is_file()
        assert answers(tree, location.parent, update=False) == expected


# ---- files that are not what they seem


def test_odd_files_are_told_or_left_out_and_the_rest_is_indexed(tree: Path, tmp_path: Path):
    write(tree, {"limit.py": "x = 1\n" * 200_000, "nul.py": "x = 1\0\n", "empty.py": "", "blank.py": "\n \n"})
    with open(tree / "line.js", "wb") as file:
        file.truncate(100_000_000)
    with open(tree / "zeros.c", "wb") as file:
        file.truncate(50_000_000)
    os.mkfifo(tree / "pipe.py")
    (tree / "folder.py").mkdir()
    (tree / "loop").symlink_to(tree)
    (tree / "self.py").symlink_to("self.py")
    (tree / "gone.py").symlink_to("no-such-file")
    (tree / "twice.py").symlink_to("net/retry.py")
    started = time.perf_counter()
    with CodeIndex(tree, index=tmp_path / "index") as index:
        report = index.update()
        assert time.perf_counter() - started < 10
        found = reasons(report)
        assert found == {
            "gone.py": "link to nothing",
            "limit.py": "larger than 1000000 bytes (1200000)",
            "line.js": "larger than 1000000 bytes (100000000)",
            "self.py": found.get("self.py"),
            "zeros.c": "larger than 1000000 bytes (50000000)",
        }
        assert found["self.py"]
        assert index.status().files == len(FILES) + 3
        assert index.search("send_with_retries")[0].path == "net/retry.py"
        assert {r.path for r in index.search("x", 50)} <= set(FILES)


def test_one_long_line_below_the_limit_is_indexed_quickly(tree: Path, tmp_path: Path):
    write(
        tree,
        {
            "words.js": "retry(request);" * 60_000,
            "blob.py": f"DATA = '{'QUJD' * 200_000}'\n",
            "nested.json": "[" * 400_000 + "]" * 400_000,
        },
    )
    started = time.perf_counter()
    with CodeIndex(tree, index=tmp_path / "index") as index:
        assert reasons(index.update()) == {}
        assert index.search("send_with_retries")[0].path == "net/retry.py"
    assert time.perf_counter() - started < 20


def test_a_larger_limit_lets_larger_files_in(tree: Path, tmp_path: Path):
    write(tree, {"large.py": "# filler\n" * 150_000 + "def found_at_the_end():\n    return 1\n"})
    with CodeIndex(tree, index=tmp_path / "index", max_bytes=2_000_000) as index:
        assert index.search("found_at_the_end")[0].path == "large.py"
    with CodeIndex(tree, index=tmp_path / "index", max_bytes=1_000_000) as index:
        assert reasons(index.update()) == {"large.py": "larger than 1000000 bytes (1350037)"}
        assert "large.py" not in {result.path for result in index.search("found_at_the_end", 50)}


def test_names_that_are_not_utf8(tree: Path, tmp_path: Path):
    name = os.fsdecode(b"caf\xe9 \xff.py")
    try:
        (tree / name).write_text("def strange_name():\n    return 1\n")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    write(
        tree,
        {"new\nline.py": "def newline_name():\n    return 1\n", "[a]*?.py": "def globs():\n    return 1\n"},
    )
    with CodeIndex(tree, index=tmp_path / "index") as index:
        assert index.search("strange_name")[0].path == name
        assert index.search("newline_name")[0].path == "new\nline.py"
        assert index.related(name, 1)
        (tree / name).unlink()
        assert index.update().removed == 1
    assert answers(tree, tmp_path / "index") == robustness.clean_answers(tree)


@contextmanager
def without_root() -> Iterator[None]:
    """Root reads everything: inside, its process has the rights of nobody."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_must_not_be_read_is_told_and_forgotten(tmp_path: Path):
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to nobody
        Path(folder).chmod(0o755)
        tree = write(Path(folder) / "tree", FILES)
        with CodeIndex(tree, index=tmp_path / "index") as index:
            index.update()
            write(tree, {"app/config.py": CONFIG + "# edited"})
            (tree / "net").chmod(0)
            (tree / "app/config.py").chmod(0)
            with without_root():
                report = index.update()
                assert reasons(report) == {
                    "net": "folder cannot be read: Permission denied",
                    "app/config.py": "cannot be read: Permission denied",
                }
                assert report.removed == 2
                assert {r.path for r in index.search("retry settings sort", 50)} == set(FILES) - {
                    "net/retry.py",
                    "app/config.py",
                }
            (tree / "net").chmod(0o755)
            (tree / "app/config.py").chmod(0o644)
            assert index.update().added == 2


def test_a_root_behind_a_closed_folder(tmp_path: Path):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "closed/tree").mkdir(parents=True)
        (Path(folder) / "closed").chmod(0)
        with without_root(), pytest.raises(InputError, match="tree cannot be read: Permission denied"):
            CodeIndex(Path(folder) / "closed/tree", index=tmp_path / "index")
        (Path(folder) / "closed").chmod(0o755)


@pytest.mark.parametrize("fate", ["vanishes", "fifo", "folder", "grows", "grows beyond the limit", "binary"])
def test_a_file_that_changes_between_the_walk_and_its_reading(
    tree: Path, tmp_path: Path, fate: str, monkeypatch: pytest.MonkeyPatch
):
    """`progress` is called after each transaction: what is read later can still change."""
    monkeypatch.setattr(indexing, "_BATCH_BYTES", 1)
    last = tree / "web/sorting.js"

    def change(now: UpdateProgress) -> None:
        if now.files != 1:
            return
        if fate in ("vanishes", "fifo", "folder"):
            last.unlink()
        if fate == "fifo":
            os.mkfifo(last)
        elif fate == "folder":
            last.mkdir()
        elif fate == "grows":
            last.write_text(last.read_text() + "function grown() { return 1; }\n" * 3)
        elif fate == "grows beyond the limit":
            last.write_text("function grown() { return 1; }\n" * 100_000)
        elif fate == "binary":
            last.write_bytes(b"\0\1\2" * 1000)

    with CodeIndex(tree, index=tmp_path / "index") as index:
        index.update()
        write(tree, {path: text + "\n# edited\n" for path, text in FILES.items()})
        report = index.update(progress=change)
        told = {
            "vanishes": "cannot be read: No such file or directory",
            "fifo": "cannot be read: not a regular file",
            "folder": "cannot be read: Is a directory",
            "grows beyond the limit": "larger than 1000000 bytes",
        }
        assert reasons(report) == ({"web/sorting.js": told[fate]} if fate in told else {})
        found = {result.path for result in index.search("quickSort grown", 50)}
        assert ("web/sorting.js" in found) == (fate == "grows")
        assert {"net/retry.py", "app/config.py"} <= {r.path for r in index.search("retry settings", 50)}
        if fate == "grows":
            assert index.search("grown")[0].path == "web/sorting.js"
    assert answers(tree, tmp_path / "index") == robustness.clean_answers(tree)


def test_a_tree_that_changes_all_the_time(tree: Path, tmp_path: Path):
    """Files come, go and change under a running update: none of it is an error, and the next update is right."""
    stop = threading.Event()

    def churn() -> None:
        choice = random.Random(5)
        while not stop.is_set():
            path = tree / f"churn/{choice.randrange(20)}.py"
            if choice.random() < 0.4:
                path.unlink(missing_ok=True)
            elif choice.random() < 0.1:
                shutil.rmtree(tree / "churn", ignore_errors=True)
            else:
                write(
                    tree,
                    {str(path.relative_to(tree)): choice.choice([RETRY, CONFIG]) * choice.randrange(1, 20)},
                )

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        with CodeIndex(tree, index=tmp_path / "index") as index:
            for _ in range(8):
                reasons(index.update())
                index.search("retry a request")
    finally:
        stop.set()
        thread.join()
    assert answers(tree, tmp_path / "index") == robustness.clean_answers(tree)
