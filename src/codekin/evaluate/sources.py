"""Where a benchmark's texts and judgements come from: a folder, a task of the mteb package, a set of the catalogue."""

from __future__ import annotations

import hashlib
import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies

from codekin.data import DataSet, Files, JudgedSet, choose_split, retrievals
from codekin.errors import InputError, MissingExtraError
from codekin.tasks import Task

_SECONDS = 5.0  # for a connection to the hub
_SPLITS = ("test", "dev")
_LIBRARIES = ("mteb", "datasets", "huggingface_hub", "httpx", "fsspec")


@dataclass(frozen=True)
class Loaded:
    """A benchmark that is open: its split, the data's revision ("" for local files), and one part or several."""

    split: str
    revision: str
    parts: Sequence[JudgedSet]

    @property
    def task(self) -> Task | None:
        """The one that the queries name."""
        return self.parts[0].task


class Source(Protocol):
    """What can be loaded."""

    def identity(self) -> str:
        """Another text whenever the data are others, without loading them."""
        ...

    def load(self) -> AbstractContextManager[Loaded]:
        """The data, whose texts stream while it is open; raises CodekinError in one line where they cannot be had."""
        ...


@dataclass(frozen=True)
class Folder:
    """A folder or archive in the layout of BEIR and CoIR: its test split, else dev, else the only one it has."""

    path: Path

    def identity(self) -> str:
        with Files(self.path) as files:
            names = files.names
        digest = hashlib.sha256()
        for name in names:
            file = self.path / name
            # What is inside an archive changes with it.
            status = (file if file.is_file() else self.path).stat()
            digest.update(
                f"{name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode("utf-8", "surrogatepass")
            )
        return f"files {digest.hexdigest()}"

    @contextmanager
    def load(self) -> Iterator[Loaded]:
        with Files(self.path) as files:
            split = choose_split(files, _SPLITS)
            yield Loaded(split, "", [part.read() for part in retrievals(files, split)])


@dataclass(frozen=True)
class MtebTask:
    """A retrieval task of the mteb package, from the hub: the same revision, split and texts that mteb reads."""

    name: str

    def identity(self) -> str:
        try:
            return f"mteb {metadata.version('mteb')} {self.name}"
        except metadata.PackageNotFoundError:
            return f"mteb {self.name}"

    @contextmanager
    def load(self) -> Iterator[Loaded]:
        try:
            import mteb
        except ImportError:
            raise MissingExtraError(f"mteb's task {self.name}", "evaluate") from None
        with _quiet(), _offline_unless_reachable():
            # The libraries' errors, the hub's, the network's, the parsers': none is of ours.
            try:
                task: Any = mteb.get_task(self.name)
                task.load_data()
                task.convert_v1_dataset_format_to_v2(None)
            except Exception as error:
                lines = str(error).strip().splitlines() or [type(error).__name__]
                raise InputError(f"mteb cannot load {self.name}: {lines[0]}") from None
        (split,) = task.eval_splits
        parts = [
            _of_mteb("" if subset == "default" else subset, splits[split], f"{self.name} {subset}")
            for subset, splits in task.dataset.items()
        ]
        yield Loaded(split, str(task.metadata.dataset["revision"]), parts)


def _of_mteb(subset: str, data: Any, where: str) -> JudgedSet:
    """One subset of a task; a document is its title and text, as mteb joins them."""
    qrels: dict[str, dict[str, float]] = data["relevant_docs"]
    queries = {
        str(key): text
        for key, text in zip(data["queries"]["id"], data["queries"]["text"], strict=True)
        if qrels.get(key)
    }
    if not queries or not all(isinstance(text, str) for text in queries.values()):
        raise InputError(f"{where}: no queries that are texts")
    corpus = data["corpus"]
    rows = {str(key): row for row, key in enumerate(corpus["id"])}

    def texts() -> Iterator[str]:
        for row in rows.values():
            document = corpus[row]
            yield f"{document.get('title') or ''} {document['text']}".strip()

    return JudgedSet(subset, None, queries, {query: qrels[query] for query in queries}, [*rows], texts)


@dataclass(frozen=True)
class CatalogSet:
    """A benchmark of the catalogue that mteb has not, from its original files: its pairs are the judgements."""

    entry: DataSet

    def identity(self) -> str:
        return f"catalogue {self.entry.name} {self.entry.source.folder} {self.entry.split} {self.entry.fold.value}"

    @contextmanager
    def load(self) -> Iterator[Loaded]:
        self.entry.fetch()
        queries: dict[str, str] = {}
        documents: dict[str, str] = {}
        qrels: dict[str, dict[str, float]] = {}
        for pair in self.entry.pairs():
            query = queries.setdefault(pair.query, f"q{len(queries)}")
            document = documents.setdefault(pair.document.strip(), f"d{len(documents)}")
            qrels.setdefault(query, {})[document] = 1.0
        if not queries:
            raise InputError(f"set {self.entry.name} has no pairs in {self.entry.folder}")
        texts: Callable[[], Iterator[str]] = partial(iter, list(documents))
        named = {key: text for text, key in queries.items()}
        judged = JudgedSet("", self.entry.task, named, qrels, list(documents.values()), texts)
        yield Loaded(self.entry.split, getattr(self.entry.source, "revision", ""), [judged])


@contextmanager
def _offline_unless_reachable() -> Iterator[None]:
    """Without a way to the hub, sets that lie in its cache load all the same, and the others fail at once.

    The libraries themselves ask again and again, for half a minute a set.
    """
    import datasets
    import huggingface_hub.constants as hub

    before = hub.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    if not before[0] and not getproxies():
        address = urlsplit(hub.ENDPOINT)
        try:
            socket.create_connection((address.hostname or "", address.port or 443), _SECONDS).close()
        except OSError:
            hub.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        hub.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


@contextmanager
def _quiet() -> Iterator[None]:
    """mteb and what it loads by write progress and warnings to stderr; what matters of them is in the error."""
    import datasets

    before = {name: logging.getLogger(name).level for name in _LIBRARIES}
    bars = datasets.are_progress_bars_disabled()
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
        if not bars:
            datasets.enable_progress_bars()
