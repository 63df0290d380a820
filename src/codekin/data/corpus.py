"""The pinned packages that pairs are mined from, and fetching them with the ordinary package clients.

`corpus.toml` is the list: ecosystem, name, exact version, licence, SHA-256 of the archive. What a package's
client downloads is checked against the list before anything is unpacked.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib import import_module, resources
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

from codekin.data.filters import is_held_out, is_source_path
from codekin.data.trees import SourceTree
from codekin.data.unpack import unpack
from codekin.errors import InputError, MissingExtraError

PERMISSIVE_LICENCES = frozenset(
    "0BSD AFL-2.1 Apache-2.0 Artistic-1.0-Perl Artistic-2.0 BSD-2-Clause BSD-3-Clause BSL-1.0 CC0-1.0 HPND "
    "ICU ISC MIT MIT-0 PHP-3.01 PostgreSQL PSF-2.0 Ruby TCL Unicode-DFS-2016 Unlicense Vim WTFPL X11 Zlib "
    "blessing bzip2-1.0.6 curl libpng-2.0 NCSA Python-2.0".split()
)
"""The SPDX identifiers a package of the corpus may be under (https://spdx.org/licenses/)."""

ECOSYSTEMS = ("pypi", "npm", "debian", "debian-source")
_CLIENT_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Package:
    """One pinned package. `languages` are those its source is mainly written in, most code first."""

    ecosystem: str
    name: str
    version: str
    licence: str
    sha256: str
    languages: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.ecosystem}:{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Corpus:
    """A list of packages, the Debian release that its Debian packages come from, and what is held out.

    `held_out` are repositories (`owner/name`) that search quality is measured on: no file of theirs may be
    trained on, from whichever package.
    """

    packages: tuple[Package, ...]
    debian_suite: str
    held_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FetchReport:
    """`trees` are there, in the corpus's order; `skipped` are (package, one-line reason)."""

    trees: tuple[SourceTree, ...]
    skipped: tuple[tuple[Package, str], ...]


def load_corpus(path: str | Path | None = None) -> Corpus:
    """The corpus at `path`, or the one that comes with codekin. Raises InputError naming what is wrong."""
    toml = _toml()
    where = str(path) if path is not None else "corpus.toml"
    source = Path(path) if path is not None else resources.files("codekin.data") / "corpus.toml"
    try:
        table = toml.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {where}: {error.strerror or error}") from None
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError
        raise InputError(f"{where}: {error}") from None
    try:
        packages = tuple(
            Package(**{**entry, "languages": tuple(entry["languages"])}) for entry in table["packages"]
        )
        corpus = Corpus(packages, table["debian_suite"], tuple(table["held_out"]))
    except (KeyError, TypeError) as error:
        raise InputError(f"{where}: an entry is incomplete or has an unknown field: {error}") from None
    for package in packages:
        if problem := _problem(package, corpus):
            raise InputError(f"{where}: {package}: {problem}")
    return corpus


def _toml() -> Any:
    # tomllib is part of Python from 3.11 on; before that its origin is an extra.
    for name in ("tomllib", "tomli"):
        if find_spec(name):
            return import_module(name)
    raise MissingExtraError("reading the corpus list", "train")


def _problem(package: Package, corpus: Corpus) -> str:
    if package.ecosystem not in ECOSYSTEMS:
        return f"unknown ecosystem; known: {', '.join(ECOSYSTEMS)}"
    # A leading dash would be read as an option by the client; a path or URL would bypass its registry.
    if not re.fullmatch(r"(?:@[\w.-]+/)?\w[\w.+-]*", package.name):
        return "not a package name"
    if not re.fullmatch(r"\d[\w.+:~-]*", package.version):
        return "not an exact version"
    if not re.fullmatch(r"[0-9a-f]{64}", package.sha256):
        return "sha256 must be 64 lower-case hexadecimal digits"
    if package.licence not in PERMISSIVE_LICENCES:
        return f"licence {package.licence} is not on the list of permissive licences"
    if is_held_out(package.name, corpus.held_out):
        return "held out for evaluation"
    return ""


def fetch(
    destination: str | Path,
    corpus: Corpus | None = None,
    *,
    progress: Callable[[int, int, str], None] | None = None,
) -> FetchReport:
    """Download, check and unpack the source of every package of `corpus` below `destination`.

    A package whose folder is there already is not downloaded again, so an interrupted run goes on where it
    stopped. One that cannot be had (no client, no network, other bytes than pinned) is reported and skipped.
    `progress` is called with (packages done, packages in all, package).
    """
    corpus = corpus or load_corpus()
    root = Path(destination)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot create {root}: {error.strerror}") from None
    missing = [package for package in corpus.packages if not _folder(root, package).is_dir()]
    failures: dict[Package, str] = {}
    total, done = len(corpus.packages), len(corpus.packages) - len(missing)
    with tempfile.TemporaryDirectory(prefix=".apt-", dir=root) as state:
        clients = _Clients(Path(state), corpus.debian_suite)
        # The work is the registries' and the network's: four at a time is polite and hides the latency.
        with ThreadPoolExecutor(4) as pool:
            jobs = {pool.submit(_fetch_one, root, package, clients, corpus): package for package in missing}
            try:
                for job in as_completed(jobs):
                    done += 1
                    if reason := job.result():
                        failures[jobs[job]] = reason
                    if progress:
                        progress(done, total, str(jobs[job]))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    trees = [SourceTree(_folder(root, p), str(p), p.licence) for p in corpus.packages if p not in failures]
    return FetchReport(tuple(trees), tuple((p, failures[p]) for p in corpus.packages if p in failures))


def _folder(root: Path, package: Package) -> Path:
    return root / package.ecosystem / f"{package.name.replace('/', '+')}@{package.version.replace(':', '+')}"


def _fetch_one(root: Path, package: Package, clients: _Clients, corpus: Corpus) -> str:
    """Bring one package; the reason why not, or "" if it is there."""
    with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as scratch:
        try:
            clients.download(package, Path(scratch))
            found = sorted(path for path in Path(scratch).iterdir() if path.is_file())
            archive = next((path for path in found if _sha256(path) == package.sha256), None)
            if archive is None:
                return "the registry's archive differs from the pinned one" if found else "nothing downloaded"
            unpack(archive, _folder(root, package), lambda path: is_source_path(path, corpus.held_out))
        except InputError as error:
            return str(error)
    return ""


def _sha256(path: Path) -> str:
    with open(path, "rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class _Clients:
    """The package managers of this machine, asked for one exact package each, running nothing of theirs."""

    def __init__(self, state: Path, debian_suite: str) -> None:
        self._state = state
        self._suite = debian_suite
        self._lock = Lock()
        self._apt_options: list[str] = []

    def download(self, package: Package, folder: Path) -> None:
        """Put the archive of `package` into `folder`; raises InputError with the client's own reason."""
        name, version = package.name, package.version
        if package.ecosystem == "pypi":
            # One platform for every machine, so that everybody gets the archive that is pinned.
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"]
            command += ["--only-binary=:all:", "--python-version=3.11", "--implementation=cp"]
            command += [f"--platform=manylinux{tag}_x86_64" for tag in ("2014", "_2_28", "_2_17", "1")]
            _run([*command, f"{name}=={version}"], folder)
        elif package.ecosystem == "npm":
            _run(["npm", "pack", "--silent", "--ignore-scripts", f"{name}@{version}"], folder)
        else:
            verb = (
                ["download"] if package.ecosystem == "debian" else ["source", "--download-only", "--tar-only"]
            )
            _run(["apt-get", "-qq", *self._apt(), *verb, f"{name}={version}"], folder)

    def _apt(self) -> list[str]:
        with self._lock:  # one refresh of the lists for all packages
            if not self._apt_options:
                self._apt_options = self._prepare_apt()
            return self._apt_options

    def _prepare_apt(self) -> list[str]:
        """Options that make apt use lists of its own for `debian_suite`, leaving the machine's untouched.

        The mirrors and keys are those the machine itself is configured with.
        """
        stanzas = _debian_sources(self._suite)
        if not stanzas:
            raise InputError("no Debian mirror is configured on this machine")
        for folder in ("sources", "lists/partial", "cache/archives/partial"):
            (self._state / folder).mkdir(parents=True, exist_ok=True)
        (self._state / "sources" / "corpus.sources").write_text("\n\n".join(stanzas) + "\n")
        options = {
            "APT::Architecture": "amd64",
            "APT::Sandbox::User": "root",
            "Acquire::Retries": "2",
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": str(self._state / "sources"),
            "Dir::State::lists": str(self._state / "lists"),
            "Dir::Cache": str(self._state / "cache"),
        }
        flags = [f"-o{key}={value}" for key, value in options.items()]
        _run(["apt-get", "-qq", *flags, "update"], self._state)
        return flags


def _debian_sources(suite: str, folder: Path = Path("/etc/apt/sources.list.d")) -> list[str]:
    """deb822 stanzas (sources.list(5)) of the machine's Debian mirrors, for `suite`, source and binary."""
    stanzas: list[str] = []
    for path in sorted(folder.glob("*.sources")):
        for block in re.split(r"\n\s*\n", path.read_text(encoding="utf-8", errors="replace")):
            fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", block, re.MULTILINE))
            suites = fields.get("Suites", "").split()
            if not any(re.fullmatch(r"[a-z]+", name) for name in suites):
                continue  # security and the like: the release itself is what is pinned
            wanted = {"Types": "deb deb-src", "URIs": fields.get("URIs", ""), "Suites": suite}
            wanted["Components"] = "main"
            if "Signed-By" in fields:
                wanted["Signed-By"] = fields["Signed-By"]
            stanzas.append("\n".join(f"{key}: {value}" for key, value in wanted.items()))
    return stanzas


def _run(command: Sequence[str], folder: Path) -> None:
    environment = {**os.environ, "LC_ALL": "C", "PIP_CONSTRAINT": "", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    if shutil.which(command[0]) is None:
        raise InputError(f"{command[0]} is not installed")
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_CLIENT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"{command[0]} gave no answer in {_CLIENT_SECONDS} s") from None
    if done.returncode:
        raise InputError(_reason(done.stderr) or f"{command[0]} failed with status {done.returncode}")


def _reason(stderr: str) -> str:
    """The line of a client's error output that says why."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    telling = (line for line in lines if re.match(r"(?:ERROR|E|npm error|npm ERR!)\b", line))
    return next(telling, lines[-1] if lines else "")[:300]
