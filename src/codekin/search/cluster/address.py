"""Where a shared store is: its address as a user writes it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from codekin.errors import InputError

EVERY = "*"
"""Stands for every repository of a store."""

_FORM = (
    "milvus://HOST:PORT[/DATABASE][?collection=NAME][#REPOSITORY], milvus+https://... or milvus-lite:FILE.db"
)
_PLAIN, _TLS, _LITE = "milvus", "milvus+https", "milvus-lite"
_PORT = 19530
_COLLECTION = "codekin"
_NAME = re.compile(r"[\w.@:+~/-]{1,500}", re.ASCII)
_UNFIT = re.compile(r"[^\w.@:+~/-]", re.ASCII)
_COLLECTION_NAME = re.compile(r"[A-Za-z_]\w{0,200}", re.ASCII)
_REMOTE = re.compile(r"(?:[a-z+]+://)?(?:[^@/]*@)?([^:/]+)(?::\d+)?[:/]+(.+?)(?:\.git)?/*$")


@dataclass(frozen=True, slots=True)
class Address:
    """A store's server, database and collections, and one repository in it (`EVERY`: all; None: the folder's own)."""

    uri: str
    """What pymilvus connects to."""
    database: str
    collection: str
    repository: str | None
    text: str
    """The store as it is told to people, without the repository."""

    @property
    def is_lite(self) -> bool:
        """Whether the engine runs in this process, over a file."""
        return self.uri.endswith(".db")


def parse_address(text: str) -> Address:
    """Reads an address; raises InputError for one that is none, or that holds a password."""
    parts = urlsplit(text)
    if "@" in parts.netloc:
        raise InputError(
            "the address of a store holds no user and password; put them into CODEKIN_STORE_TOKEN"
        )
    try:
        port = parts.port or _PORT
    except ValueError:
        raise InputError(f"{text} is no store: a port is a number below 65536") from None
    collection = parse_qs(parts.query).get("collection", [_COLLECTION])[-1]
    repository = unquote(parts.fragment) or None
    database = ""
    if parts.scheme == _LITE and parts.path.endswith(".db") and not parts.netloc:
        uri = str(Path(parts.path).absolute())
    elif parts.scheme in (_PLAIN, _TLS) and parts.hostname and parts.path.strip("/").count("/") == 0:
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        uri = f"{'https' if parts.scheme == _TLS else 'http'}://{host}:{port}"
        database = parts.path.strip("/")
    else:
        raise InputError(f"{text} is no store; write {_FORM}")
    if not _COLLECTION_NAME.fullmatch(collection):
        raise InputError(f"{collection!r} is no name of a collection: letters, digits and _")
    if repository not in (None, EVERY) and not _NAME.fullmatch(repository):
        raise InputError(f"{repository!r} is no name of a repository: letters, digits and . _ - + ~ @ : /")
    return Address(uri, database, collection, repository, parts._replace(fragment="").geturl())


def name_of(root: Path, otherwise: str) -> str:
    """The name by which a folder's repository is known to all who have it: `github.com/owner/name`.

    It is that of git's remote `origin`, with the path below the top of the work tree; where there is none, `otherwise`
    without what no name has.
    """
    otherwise = _UNFIT.sub("_", otherwise)
    remote = _git(root, "config", "--get", "remote.origin.url")
    found = _REMOTE.fullmatch(remote) if remote else None
    if not found or Path(remote).exists():
        return otherwise
    below = _git(root, "rev-parse", "--show-prefix").strip("/")
    name = "/".join(part for part in (found[1], found[2].strip("/"), below) if part)
    return name if _NAME.fullmatch(name) else otherwise


def _git(root: Path, *arguments: str) -> str:
    import subprocess

    try:
        ran = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    return ran.stdout.strip() if ran.returncode == 0 else ""
