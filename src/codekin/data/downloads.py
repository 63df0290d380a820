"""Downloads that go on where they stopped, checked for size and digest; and what files a hub repository holds."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

from codekin.errors import InputError

Progress = Callable[[int, int, str], None]
"""Called with bytes there, bytes in all (0 if unknown), and the file's path."""

_TIMEOUT = 60.0
_ATTEMPTS = 5  # in a row that bring nothing
_PAUSE = 0.5  # seconds after the first failure, twice as many after each further one
_BLOCK = 1 << 18
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file to download: where from, its path below the folder it goes to, and what is known of its content.

    `digest` is `sha256:HEX`, or `git:HEX` for the id git gives the content (SHA-1 of `blob SIZE`, NUL, content),
    which is all that GitHub and the hub tell of small files.
    """

    url: str
    path: str
    size: int | None = None
    digest: str = ""


def hub_files(repository: str, revision: str, patterns: Sequence[str]) -> list[RemoteFile]:
    """The files of a Hugging Face data set repository that match one of `patterns` (fnmatch), sorted by path.

    HF_ENDPOINT names another hub, HF_TOKEN opens gated repositories, as for Hugging Face's own tools.
    Raises InputError in one line where the repository cannot be listed or holds no such file.
    """
    base = _hub()
    at = quote(revision, safe="")
    url: str | None = f"{base}/api/datasets/{repository}/tree/{at}?recursive=true&expand=false"
    found = []
    while url:
        listing, url = _page(url)
        for entry in listing:
            path = entry["path"]
            if entry["type"] == "file" and any(fnmatchcase(path, pattern) for pattern in patterns):
                large = entry.get("lfs")
                digest = f"sha256:{large['oid']}" if large else f"git:{entry['oid']}"
                address = f"{base}/datasets/{repository}/resolve/{at}/{quote(path)}"
                found.append(RemoteFile(address, path, entry["size"], digest))
    if not found:
        raise InputError(f"{base}/datasets/{repository} at {revision} has no {' or '.join(patterns)}")
    return sorted(found, key=lambda file: file.path)


def _page(url: str, failures: int = 0) -> tuple[list[dict[str, Any]], str | None]:
    """One page of a listing and the address of the next."""
    try:
        with _open(url, {}) as response:
            following = re.search(r'<([^>]+)>;\s*rel="next"', response.headers.get("Link", ""))
            return json.loads(response.read()), following[1] if following else None
    except (_PassingError, http.client.HTTPException) as error:
        if failures + 1 == _ATTEMPTS:
            raise InputError(f"{url}: {error}, {_ATTEMPTS} times in a row") from None
    _wait(failures)
    return _page(url, failures + 1)


def download(file: RemoteFile, folder: Path, progress: Progress | None = None) -> Path:
    """Bring `file` below `folder` and return its path; at once if it is there with the size expected.

    What has arrived waits as `NAME.part`, so that an interrupted download goes on where it stopped, as long as
    the server says it is the same content. Raises InputError in one line where the file cannot be had, or what
    came is not what was expected; that is deleted.
    """
    target = folder / file.path
    if target.is_file() and file.size in (None, target.stat().st_size):
        return target
    partial, label = target.with_name(f"{target.name}.part"), target.with_name(f"{target.name}.etag")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        size = _bring(file, partial, label, progress)
        if file.size not in (None, size):
            raise _wrong(partial, f"{file.url}: {size} bytes arrived instead of {file.size}")
        if file.digest and _digest(partial, file.digest.partition(":")[0]) != file.digest:
            raise _wrong(partial, f"{file.url}: its content differs from the one expected ({file.digest})")
        partial.replace(target)
        label.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}") from None
    return target


def _wrong(partial: Path, reason: str) -> InputError:
    partial.unlink(missing_ok=True)
    return InputError(f"{reason}; it was deleted")


def _bring(file: RemoteFile, partial: Path, label: Path, progress: Progress | None) -> int:
    """Append to `partial` until the server has no more; how many bytes that are."""
    failures = 0
    while True:
        start = partial.stat().st_size if partial.exists() else 0
        if start == file.size:
            return start
        before = start
        try:
            with _open(file.url, _resuming(file, start, label)) as response:
                if response.status != 206:
                    start = 0
                length = response.headers.get("Content-Length")
                total = start + int(length) if length else 0
                label.write_text(_version(response.headers))
                with open(partial, "ab" if start else "wb") as stream:
                    for block in _blocks(response):
                        stream.write(block)
                        start += len(block)
                        if progress:
                            progress(start, file.size or total, file.path)
            if start >= total:
                return start
            reason = "the connection was cut"
        except _NothingLeftError as error:
            if error.size == start:
                return start
            partial.unlink()  # more than the server has: of another version
            continue
        except _PassingError as error:
            reason = str(error)
        failures = 0 if start > before else failures + 1
        if failures >= _ATTEMPTS:
            raise InputError(f"{file.url}: {reason}, {failures} times in a row; run it again to go on")
        _wait(failures)


def _resuming(file: RemoteFile, start: int, label: Path) -> dict[str, str]:
    """The headers that ask for what is behind `start`: only if nothing has changed, or a digest will tell."""
    version = label.read_text() if label.exists() else ""
    if not start or not (version or file.digest):
        return {}
    return {"Range": f"bytes={start}-"} | ({"If-Range": version} if version else {})


def _wait(failures: int) -> None:
    time.sleep(_PAUSE * 2**failures)


def _blocks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            block = response.read(_BLOCK)
        except http.client.IncompleteRead as error:
            yield error.partial
            raise _PassingError("the connection was cut") from None
        except (OSError, http.client.HTTPException) as error:
            raise _PassingError(f"the connection was cut: {error}") from None
        if not block:
            return
        yield block


def _version(headers: Any) -> str:
    """What names this very content in If-Range (RFC 9110, 13.1.5): a strong validator, or ""."""
    tag: str = headers.get("ETag") or ""
    return tag if tag.startswith('"') else ""


class _PassingError(Exception):
    """A failure that may pass."""


class _NothingLeftError(Exception):
    """A range that starts at the end of the content, or behind it; `size` is that of the whole."""

    def __init__(self, size: int) -> None:
        self.size = size


def _open(url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    request = Request(url, headers={"User-Agent": "codekin", **headers})
    token = os.environ.get("HF_TOKEN")
    if token and url.startswith(_hub()):
        # Unredirected: the store that the hub refers to must not see it.
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        response: http.client.HTTPResponse = urlopen(request, timeout=_TIMEOUT)
        return response
    except HTTPError as error:
        told = f"the server answers {error.code} {error.reason}"
        if error.code == 416:
            raise _NothingLeftError(
                int(error.headers.get("Content-Range", "/0").rpartition("/")[2])
            ) from None
        if error.code in _RETRIED:
            raise _PassingError(told) from None
        if error.code in (401, 403):
            told += "; a gated set needs its terms accepted on the hub, and a token in HF_TOKEN"
        raise InputError(f"{url}: {told}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, (ConnectionResetError, TimeoutError, http.client.HTTPException)):
            raise _PassingError(f"no answer: {reason}") from None
        told = getattr(reason, "strerror", None) or str(reason)
        raise InputError(f"cannot reach {urlsplit(url).netloc}: {told}") from None


def _hub() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _digest(path: Path, kind: str) -> str:
    digest = hashlib.sha256() if kind == "sha256" else hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return f"{kind}:{digest.hexdigest()}"
