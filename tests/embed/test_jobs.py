"""Embedding jobs on a real Ray cluster of this machine, whose workers are killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from commands import COMMAND
from ray_cluster import Cluster, running

from codekin.embed import Job, Made, RayWorkers, Worker
from codekin.errors import CodekinError, ModelError

pytest.importorskip("ray", reason="jobs on a cluster need codekin[ray]")
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="finds processes as Linux lists them"),
    pytest.mark.filterwarnings("ignore:.* were cut"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="ray") as folder:
        patch.setenv("RAY_AUTH_MODE", "disabled")  # else Ray puts a token into the home folder
        patch.setenv("RAY_worker_niceness", "0")
        with running(Path(folder)) as cluster:
            yield cluster


def batches(count: int, size: int) -> list[list[str]]:
    texts = (
        f"def retry_{number}(request):\n    return send(request, {number})" for number in range(count * size)
    )
    return [[next(texts) for _ in range(size)] for _ in range(count)]


def equal(made: list[Made], expected: list[Made]) -> bool:
    return len(made) == len(expected) and all(
        np.array_equal(one.vectors.rows, other.vectors.rows) and one.truncated == other.truncated
        for one, other in zip(made, expected, strict=True)
    )


def test_a_killed_worker_loses_nothing(cluster: Cluster, decoder: Path) -> None:
    job = Job(str(decoder), dtype="float32", max_length=60, dimensions=32, precision="int8")
    texts = batches(40, 64)
    here = Worker(job)
    expected = [here.encode(batch) for batch in texts]
    assert sum(made.truncated for made in expected)
    read = 0

    def reading() -> Iterator[list[str]]:
        nonlocal read
        for batch in texts:
            read += 1
            yield batch

    turns: list[tuple[int, int]] = []
    made: list[Made] = []
    with RayWorkers(cluster.address, job, 2, lambda alive, count: turns.append((alive, count))) as workers:
        assert workers.traits == here.traits
        for one in workers.encode(reading()):
            made.append(one)
            assert read - len(made) < 8
            if len(made) == 5:
                cluster.kill_a_worker()
    assert equal(made, expected)
    assert (0, 2) in turns
    assert (1, 2) in turns


@pytest.mark.slow
def test_a_part_that_no_worker_survives_is_named(cluster: Cluster, decoder: Path) -> None:
    texts = [["def add(a, b): return a + b"] * 3, [f"{number} " * 200_000 for number in range(40)]]
    ended = threading.Event()

    def kill_all() -> None:
        while not ended.is_set():
            with suppress(TimeoutError):
                cluster.kill_a_worker(seconds=1, older=0.5)  # the short texts are done sooner

    killer = threading.Thread(target=kill_all)
    killer.start()
    try:
        with (
            RayWorkers(cluster.address, Job(str(decoder), dtype="float32"), 1) as workers,
            pytest.raises(
                CodekinError, match=r"^3 workers failed on texts 104 to 143; the last: ActorDied"
            ) as error,
        ):
            list(workers.encode(texts, first=101))
    finally:
        ended.set()
        killer.join()
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_what_a_worker_says_of_the_model_is_one_line(cluster: Cluster) -> None:
    for job, message in (
        (Job("/no/such/model"), "no model '/no/such/model'"),
        (Job(dimensions=65), "no vectors of 65 dimensions"),
    ):
        with (
            RayWorkers(cluster.address, job, 1) as workers,
            pytest.raises(ModelError, match=message) as error,
        ):
            _ = workers.traits
        assert str(error.value).startswith("on ")


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_a_driver_that_was_stopped_goes_on(
    cluster: Cluster, decoder: Path, tmp_path: Path, stop: signal.Signals
) -> None:
    (tmp_path / "in.txt").write_text("".join(f"def retry_{number}(): pass\n" for number in range(20_000)))
    command = [COMMAND, "embed", "in.txt", "--model", decoder, "--no-cache", "--dtype", "float32", "-o"]
    on_ray = ["v.npy", "--ray", cluster.address, "--workers", "2"]
    state = tmp_path / "v.npy.part.json"
    with subprocess.Popen([*command, *on_ray], cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not state.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(stop)
        _, told = process.communicate(timeout=60)
    kept = json.loads(state.read_text())["rows"]
    assert 0 < kept < 20_000
    assert not (tmp_path / "v.npy").exists()
    if stop == signal.SIGINT:
        assert process.returncode == 130
        assert told.rstrip().endswith(
            f"{kept:,} vectors are kept in v.npy.part; the same command goes on from there"
        )
    # As many threads as a worker of one core has: the last digit of a sum depends on how it is shared out.
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    told = ""
    for arguments in (["once.npy"], on_ray):
        done = subprocess.run(
            [*command, *arguments],
            cwd=tmp_path,
            env=one_thread,
            capture_output=True,
            text=True,
            check=True,
            timeout=200,
        )
        told = done.stderr
    assert f"going on after {kept:,} texts of v.npy.part" in told
    assert (tmp_path / "v.npy").read_bytes() == (tmp_path / "once.npy").read_bytes()


@pytest.mark.slow
def test_from_outside_a_cluster_and_to_stdout(cluster: Cluster, tmp_path: Path) -> None:
    command = [COMMAND, "embed", "--dimensions", "64"]
    texts = "retry the failed request\n" * 3_000
    results = [
        subprocess.run(
            [*command, *more],
            input=texts,
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
            timeout=120,
        )
        for more in ([], ["--ray", cluster.client_address])
    ]
    assert results[0].stdout == results[1].stdout


@pytest.mark.slow
def test_a_cluster_of_its_own_asks_nothing_of_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('another numpy')")
    result = subprocess.run(
        [COMMAND, "embed", "-o", "v.npy", "--ray", "local", "--workers", "1"],
        input="one\ntwo\n",
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"},
        timeout=200,
    )
    assert result.returncode == 0, result.stderr
    assert np.load(tmp_path / "v.npy").shape == (2, 256)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ray", "127.0.0.1:1"], "no Ray cluster at '127.0.0.1:1': Connection refused"),
        (["--ray", "ray://127.0.0.1:1"], "no Ray cluster at 'ray://127.0.0.1:1': Connection refused"),
        (["--ray", "nonsense"], "--ray nonsense: write auto, local, host:6379 or ray://host:10001"),
        (["--workers", "2"], "--workers is for --ray"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = subprocess.run(
        [COMMAND, "embed", *arguments], input="a\n", capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert (result.returncode, result.stderr) == (2, f"codekin: {message}\n")
