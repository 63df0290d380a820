#!/usr/bin/env python3
"""How long an agent waits for `codekin mcp`: for the handshake, for its first answer, for every other.

    python benchmarks/mcp_start.py FOLDER [--rounds N]

The handshake is timed in turns with that of a server of one empty tool made with the MCP SDK alone: the least that it
can take. Prints one line a figure: the median of the rounds, with the least and the most.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

QUESTIONS = ("where are failed requests retried", "parse a date from text", "open a temporary file", "main")
_BARE = """
from mcp.server.mcpserver import MCPServer
server = MCPServer("bare", log_level="WARNING")
server.add_tool(lambda: "", name="empty", structured_output=False)
server.run()
"""


class Agent:
    """A client on the pipes of a server that starts with it: the clock of an SDK's client is not ours."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self._started = time.perf_counter()
        pipe = subprocess.PIPE
        self._server = subprocess.Popen(command, cwd=folder, env=environment, stdin=pipe, stdout=pipe)
        self._asked = 0
        client = {"name": "benchmark", "version": "1"}
        self.ask("initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=client)
        self._send({"method": "notifications/initialized"})
        self.ask("tools/list")
        self.handshake = self._milliseconds()

    def _milliseconds(self) -> float:
        return 1000 * (time.perf_counter() - self._started)

    def _send(self, message: dict[str, Any]) -> None:
        assert self._server.stdin
        self._server.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self._server.stdin.flush()

    def ask(self, method: str, **params: Any) -> Any:
        assert self._server.stdout
        self._asked += 1
        self._send({"id": self._asked, "method": method, "params": params})
        return json.loads(self._server.stdout.readline())["result"]

    def search(self, query: str) -> float:
        """Milliseconds to an answer."""
        started = time.perf_counter()
        answer = self.ask("tools/call", name="search_code", arguments={"query": query})
        assert not answer.get("isError"), answer
        return 1000 * (time.perf_counter() - started)

    def end(self) -> None:
        assert self._server.stdin
        self._server.stdin.close()
        self._server.wait(60)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    command = [str(Path(sys.executable).with_name("codekin")), "mcp", "--repo", "."]
    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "XDG_CACHE_HOME": cache}
        new = Agent(command, asked.folder, environment)
        figures["first answer, a folder that is not indexed"] = [new.handshake + new.search(QUESTIONS[0])]
        new.end()
        for _ in range(asked.rounds):
            bare = Agent([sys.executable, "-c", _BARE], asked.folder, environment)
            bare.end()
            ours = Agent(command, asked.folder, environment)
            for name, figure in (
                ("handshake, the SDK alone", bare.handshake),
                ("handshake", ours.handshake),
                ("first answer, an indexed folder", ours.handshake + ours.search(QUESTIONS[0])),
                *(("search_code, warm", ours.search(query)) for query in QUESTIONS * 5),
            ):
                figures.setdefault(name, []).append(figure)
            ours.end()
    for name, times in figures.items():
        print(f"{name:48}{statistics.median(times):9.1f} ms  ({min(times):.1f}..{max(times):.1f})")


if __name__ == "__main__":
    main()
