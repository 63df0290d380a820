"""Real servers in processes of their own, and what tests ask them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

_SERVE = "from codekin.cli import main; main()"
_START_SECONDS = 60


@dataclass
class Answer:
    """What a server answers."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """A running server: its address, its process, and the lines of its log so far."""

    url: str
    process: subprocess.Popen[str]
    log: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def get(self, path: str, **headers: str) -> Answer:
        return self._ask(Request(self.url + path, headers=headers))

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._ask(Request(self.url + path, data, {"Content-Type": "application/json", **headers}))

    def records(self) -> list[dict[str, Any]]:
        """The log's lines, each of which must be JSON."""
        return [json.loads(line) for line in self.log]

    def resident_bytes(self) -> int:
        """The memory that the process has of its own and in use."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * sum(int(size) for size in re.findall(r"^RssAnon:\s+(\d+) kB", status, re.MULTILINE))

    @staticmethod
    def _ask(request: Request) -> Answer:
        try:
            with urlopen(request, timeout=60) as answer:
                return Answer(answer.status, dict(answer.headers), answer.read())
        except HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read())


@contextmanager
def serving(cache: Path, *options: str | Path, env: dict[str, str] | None = None) -> Iterator[Server]:
    """`codekin serve` with its indexes in `cache`, once it is ready; ended by SIGTERM."""
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(cache),
        "OMP_WAIT_POLICY": "passive",
        **(env or {}),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, "serve", "--port", "0", *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout and process.stderr
    stderr = process.stderr
    log: list[str] = []
    reader = threading.Thread(target=lambda: log.extend(iter(stderr.readline, "")), daemon=True)
    reader.start()
    try:
        line = process.stdout.readline()
        found = re.search(r"at (http://\S+);", line)
        if not found:
            process.wait(10)
            reader.join()
            raise AssertionError(f"no server: {line}{''.join(log)}")
        server = Server(found[1], process, log)
        deadline = time.monotonic() + _START_SECONDS
        while server.get("/ready").status != 200:
            assert time.monotonic() < deadline, log
            time.sleep(0.02)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        finally:
            process.kill()
            process.stdout.close()
            reader.join(5)
            stderr.close()
    assert not any("Traceback" in line for line in log), "".join(log)
