"""A server that speaks the chat-completions API on localhost, with faults on demand."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from listening import listening

FAULTS = {
    "busy": (429, {"Retry-After": "1"}, b'{"error": {"message": "slow down"}}'),
    "broken": (500, {}, b"<html>oops</html>"),
    "refused": (400, {}, b'{"error": {"message": "content policy"}}'),
    "key": (401, {}, b'{"error": {"message": "Incorrect API key provided: sk-secret"}}'),
}
PROGRAMS = {
    "python": "def solve(a, b):\n    total_{n} = a + b\n    return total_{n} * {n}\n",
    "java": "class Main {{\n    static int solve(int a, int b) {{\n        return (a + b) * {n};\n    }}\n}}\n",
    "cpp": "#include <vector>\nint solve(int a, int b) {{\n    return (a + b) * {n};\n}}\n",
    "csharp": "class Program {{\n    static int Solve(int a, int b) {{\n        return (a + b) * {n};\n    }}\n}}\n",
    "go": "package main\n\nfunc solve(a int, b int) int {{\n\treturn (a + b) * {n}\n}}\n",
    "javascript": "function solve(a, b) {{\n    const sum = a + b;\n    return sum * {n};\n}}\n",
    "php": "<?php\nfunction solve($a, $b) {{\n    return ($a + $b) * {n};\n}}\n",
    "ruby": "def solve(a, b)\n  both = a + b\n  both * {n}\nend\n",
    "rust": "fn solve(a: i64, b: i64) -> i64 {{\n    (a + b) * {n}\n}}\n",
}


def translate(prompt: str) -> str:
    """A program in the language that the prompt asks for."""
    language = re.search(r"Rewrite the solution in (\w+)", prompt)
    number = re.search(r"Problem (\d+)", prompt)
    assert language and number, prompt
    return f"Here it is:\n```{language[1]}\n{PROGRAMS[language[1]].format(n=number[1])}```\n"


@dataclass
class ChatServer:
    """What was asked: `prompts` in order with their times; `answered` is how many got an answer whole."""

    url: str = ""
    prompts: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    answered: int = 0


@contextmanager
def serving(
    answer: Callable[[str], str] = translate,
    faults: Callable[[int, str], str] = lambda number, prompt: "",
    *,
    usage: bool = True,
    seconds: float = 0.0,
) -> Iterator[ChatServer]:
    """Serve `answer(prompt)`, or the fault that `faults(number of the request, prompt)` names."""
    server = ChatServer()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # one packet a response, not one a header

        def log_message(self, *_: object) -> None: ...

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            prompt = body["messages"][0]["content"]
            with lock:
                number = len(server.prompts)
                server.prompts.append(prompt)
                server.times.append(time.monotonic())
                server.headers.append(dict(self.headers))
                server.bodies.append({**body, "path": self.path})
                fault = faults(number, prompt)
            time.sleep(3.0 if fault == "slow" else seconds)
            status, headers, data = FAULTS.get(fault, (200, {}, b""))
            if fault == "garbled":
                data = b'{"choices": [{"mess'
            elif fault == "empty":
                data = b'{"choices": []}'
            elif not data:
                text = answer(prompt)
                choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
                if fault == "long":
                    choice["finish_reason"] = "length"
                counts = {"prompt_tokens": len(prompt) // 4, "completion_tokens": len(text) // 4}
                data = json.dumps({"choices": [choice], **({"usage": counts} if usage else {})}).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if fault == "cut":
                self.wfile.write(data[: len(data) // 2])
                self.close_connection = True
                return
            self.wfile.write(data)
            if status == 200 and fault in ("", "long"):
                with lock:
                    server.answered += 1

        def handle(self) -> None:
            with suppress(ConnectionError):  # whoever asked is gone
                super().handle()

    with listening(Handler) as address:
        server.url = f"{address}/v1"
        yield server
