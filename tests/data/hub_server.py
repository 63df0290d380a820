"""A web server for tests: files with ranges and validators, a data set hub's listing of them, and faults to order."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit

from listening import listening

SHA = "0" * 39 + "1"


def git_id(content: bytes) -> str:
    """What git calls a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Site:
    """What a server has. `repositories` are data sets of the hub; `files` are at addresses of their own.

    `cuts` and `statuses` are faults, each for one request: bytes after which the connection closes, statuses given
    instead of an answer. `pause` is in seconds, in the middle of every answer. `requests` are (method, path, Range
    header).
    """

    files: dict[str, bytes] = field(default_factory=dict)
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    large: frozenset[str] = frozenset()
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    pause: float = 0.0
    resumes: bool = True
    etag: str | None = None
    token: str = ""
    page: int = 1000
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def serve(site: Site) -> Iterator[Site]:
    """`site` on a free port of this machine; its `url` is set."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            paths = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body)["paths"]
            _, repository, _ = self._repository(urlsplit(self.path).path)
            files = site.repositories[repository]
            self._json([_entry(site, path, files[path]) for path in paths if path in files])

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            site.requests.append((self.command, path, self.headers.get("Range", "")))
            site.authorizations.append(self.headers.get("Authorization", ""))
            if site.statuses:
                self._answer(site.statuses.pop(0), b"")
            elif path in site.files:
                self._file(site.files[path])
            elif site.token and self.headers.get("Authorization") != f"Bearer {site.token}":
                self._answer(401, b"")
            else:
                what, repository, rest = self._repository(urlsplit(self.path).path)
                files = site.repositories.get(repository)
                if files is None:
                    self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})
                elif what == "resolve" and rest in files:
                    self._file(files[rest], {"X-Repo-Commit": SHA})
                elif what == "tree":
                    self._tree(files, rest)
                elif what == "revision":
                    self._json(
                        {"id": repository, "sha": SHA, "siblings": [{"rfilename": name} for name in files]}
                    )
                else:
                    self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})

        def _repository(self, path: str) -> tuple[str, str, str]:
            match = re.match(
                r"(?:/api)?/datasets/([^/]+/[^/]+)(?:/(\w[\w-]*))?(?:/([^/]+))?(?:/(.*))?$", path
            )
            if not match:
                return "", "", ""
            return match[2] or "revision", match[1], unquote(match[4] or "")

        def _tree(self, files: dict[str, bytes], folder: str) -> None:
            wanted = parse_qs(urlsplit(self.path).query)
            below = f"{folder}/" if folder else ""
            names = sorted(name for name in files if name.startswith(below))
            entries = [_entry(site, name, files[name]) for name in names]
            if wanted.get("recursive", ["false"])[0].lower() != "true":
                children = {below + name[len(below) :].partition("/")[0] for name in names}
                entries = [entry for entry in entries if entry["path"] in children]
                entries += [
                    {"type": "directory", "path": c, "oid": SHA, "size": 0} for c in children - files.keys()
                ]
            start = int(wanted.get("cursor", ["0"])[0])
            headers = {}
            if start + site.page < len(entries):
                base = urlsplit(self.path).path
                headers["Link"] = f'<{site.url}{base}?recursive=true&cursor={start + site.page}>; rel="next"'
            self._json(entries[start : start + site.page], headers)

        def _json(self, value: object, headers: dict[str, str] | None = None) -> None:
            self._answer(
                200, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})}
            )

        def _file(self, content: bytes, headers: dict[str, str] | None = None) -> None:
            etag = site.etag if site.etag is not None else f'"{hashlib.md5(content).hexdigest()}"'
            headers = {**(headers or {}), **({"ETag": etag} if etag else {}), "Accept-Ranges": "bytes"}
            wanted = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if not wanted or not site.resumes or self.headers.get("If-Range", etag) != etag:
                self._answer(200, content, headers)
                return
            start, end = int(wanted[1]), int(wanted[2] or len(content) - 1)
            if start >= len(content):
                self._answer(416, b"", {**headers, "Content-Range": f"bytes */{len(content)}"})
                return
            span = f"bytes {start}-{min(end, len(content) - 1)}/{len(content)}"
            self._answer(206, content[start : end + 1], {**headers, "Content-Range": span})

        def _answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            if site.cuts and content and status < 300:
                content = content[: site.cuts.pop(0)]
                self.close_connection = True
            half = len(content) // 2
            self.wfile.write(content[:half])
            time.sleep(site.pause)
            self.wfile.write(content[half:])

    with listening(Handler) as site.url:
        yield site


def _entry(site: Site, name: str, content: bytes) -> dict[str, object]:
    entry: dict[str, object] = {"type": "file", "path": name, "size": len(content), "oid": git_id(content)}
    if name in site.large:
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return entry
