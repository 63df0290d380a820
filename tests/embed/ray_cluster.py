"""A Ray cluster of this machine alone, as `ray start` makes one, and the processes of its workers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SECONDS = 120.0


class Cluster:
    """The cluster whose head is the process of that id."""

    def __init__(self, process: int, port: int, client_port: int) -> None:
        self._process = process
        self.address = f"127.0.0.1:{port}"
        self.client_address = f"ray://127.0.0.1:{client_port}"

    def kill_a_worker(self, seconds: float = SECONDS, older: float = 0) -> None:
        """Kills one that has embedded for `older` seconds; raises TimeoutError if there is none in so many seconds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := self._workers():
                time.sleep(older)
                if found[0] in self._workers():
                    os.kill(found[0], signal.SIGKILL)
                    return
            time.sleep(0.01)
        raise TimeoutError("no worker is at work")

    def _workers(self) -> list[int]:
        """Ray titles a process with what it is doing."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (folder / "cmdline").read_bytes().startswith(b"ray::Actor.encode") and self._is_ours(
                    folder
                ):
                    found.append(int(folder.name))
        return found

    def _is_ours(self, folder: Path) -> bool:
        """Whether a process descends from the head."""
        while folder.name not in ("0", "1"):
            if int(folder.name) == self._process:
                return True
            status = (folder / "stat").read_text()
            folder = folder.with_name(status.rpartition(")")[2].split()[1])
        return False


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """A cluster of two cores that keeps its files in `folder`, whose name has to be short: sockets lie in it."""
    port, client_port = _free_ports()
    command = [f"{sysconfig.get_path('scripts')}/ray", "start", "--head", "--block", "--num-cpus=2"]
    command += [f"--port={port}", f"--ray-client-server-port={client_port}", f"--temp-dir={folder}"]
    command += ["--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"]
    command += ["--include-dashboard=false", "--disable-usage-stats"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout
            told = []
            for line in process.stdout:
                told.append(line)
                if "Ray runtime started" in line:
                    break
            else:
                raise RuntimeError("".join(told))
            yield Cluster(process.pid, port, client_port)
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=SECONDS)


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("", 0))
        other.bind(("", 0))
        return one.getsockname()[1], other.getsockname()[1]
