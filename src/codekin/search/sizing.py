"""What an index of so many chunks takes: disk, memory, machines and time, computed from measured figures."""

from __future__ import annotations

import math
import random
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np

from codekin.embed import DEFAULT_MODEL, Embedder, available_models
from codekin.errors import InputError
from codekin.search.index import CodeIndex
from codekin.search.indexing import Progress
from codekin.source import chunk, decode, walk
from codekin.tasks import Role, Task
from codekin.workers import cores

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MEASURED, EXTRAPOLATED, ESTIMATED = "measured", "extrapolated", "estimated"

_MEASURED_DIMENSIONS = 256
_FLOAT32_BYTES = 4
_SAMPLE = 512  # chunks, to measure a model's rate with
_SAMPLE_SECONDS = 10.0
_ENOUGH = 10_000  # chunks, to measure an index with


@dataclass(frozen=True, slots=True)
class Figure:
    """A number to compute with, and how it is known: "measured", "published" or "assumed"."""

    value: float
    unit: str
    how: str
    source: str


@dataclass(frozen=True, slots=True)
class Figures:
    """All that a sizing is computed from."""

    machine: str
    date: str
    search: tuple[tuple[float, float], ...]
    """Pairs of chunks and seconds of one core a search, ascending."""
    named: Mapping[str, Figure]
    gpus: Mapping[str, float]
    """GFLOP a second."""
    models: Mapping[str, float]
    """GFLOP a token."""

    def __getitem__(self, name: str) -> float:
        return self.named[name].value

    @property
    def largest(self) -> float:
        """The chunks of the largest index that was measured."""
        return self.search[-1][0]

    def search_seconds(self, chunks: float) -> float:
        """Of one core a search: along a power law between the measured sizes, in proportion beyond the largest."""
        counts, seconds = zip(*self.search, strict=True)
        if chunks > counts[-1]:
            return float(seconds[-1] * chunks / counts[-1])
        return float(np.exp(np.interp(np.log(chunks), np.log(counts), np.log(seconds))))


@dataclass(frozen=True, slots=True)
class Model:
    """What a plan has to know of a model: GFLOP a token is 0 for a static one."""

    name: str
    dimensions: int
    full: int
    """The dimensions that it has where none are asked for."""
    gflop: float


@dataclass(frozen=True, slots=True)
class Machine:
    cores: int = 16
    memory: float = 64e9
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that an index takes: so much, in "bytes", "lines", "seconds", "machines" or "copies" of the store.

    `figures` are the names of those that it was computed from. `certainty` is "measured" within what was measured,
    "extrapolated" in proportion to it, "estimated" where a figure is assumed.
    """

    what: str
    amount: float
    unit: str
    certainty: str
    figures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sizing:
    """The answer: how to run it, and what that takes."""

    chunks: int
    model: Model
    queries: float
    machine: Machine
    is_cluster: bool
    commands: tuple[str, ...]
    needs: tuple[Need, ...]


def read_figures() -> Figures:
    """The figures that come with codekin."""
    held = tomllib.loads((resources.files("codekin.search") / "figures.toml").read_text("utf-8"))
    return Figures(
        held["machine"],
        held["date"],
        tuple((row["chunks"], row["milliseconds"] / 1000) for row in held["search"]),
        {name: Figure(**figure) for name, figure in held["figures"].items()},
        held["gpus"],
        held["models"],
    )


def find_model(name: str, dimensions: int | None, figures: Figures) -> Model:
    """The model of that name, which is looked into only where codekin does not know it.

    Raises InputError for a size that the model does not have, and what `Embedder` raises.
    """
    known = next((model for model in available_models() if model.name == name), None)
    if known:
        sizes, gflop = known.sizes, figures.models.get(name, 0.0)
    else:
        embedder = Embedder(name)
        sizes = embedder.sizes
        gflop = 0.0 if embedder.kind == "static" else 2 * embedder.parameters / 1e9
    size = dimensions or sizes[-1]
    if size not in sizes:
        raise InputError(
            f"model {name} has no vectors of {size} dimensions; sizes: {', '.join(map(str, sizes))}"
        )
    return Model(name, size, sizes[-1], gflop)


def measure(
    root: Path, model: Model, figures: Figures, progress: Progress | None = None
) -> tuple[int, Figures]:
    """The chunks of a folder, and the figures with those in their place that it and this machine give.

    The folder is indexed, into a folder that is deleted afterwards, with the bundled model; a transformer embeds some
    of its chunks for some seconds. How fast it is indexed, and the bytes of that, count from ten thousand chunks on:
    in less, what every index takes is most of it. Raises InputError where there is nothing to index, and what
    `Embedder` raises.
    """
    with tempfile.TemporaryDirectory() as place, CodeIndex(root, index=Path(place), update=False) as index:
        started = time.perf_counter()
        index.update(progress=progress)
        seconds = time.perf_counter() - started
        status = index.status()
    count = status.chunks
    if not count:
        raise InputError(f"{root} holds no source to measure")
    size, lines, texts = _sample(root)
    found = {"chunk_bytes": size / count, "chunk_lines": lines / count}
    if count >= _ENOUGH:
        found["index_rate"] = count / seconds / cores()
        found["disk"] = (status.bytes or 0) / count - (status.dimensions or 0)
    if model.gflop:
        tokens, rate = _embedding(model.name, texts)
        found |= {"chunk_tokens": tokens, "cpu_gflops": rate * tokens * model.gflop / cores()}
    named = dict(figures.named)
    for name, value in found.items():
        named[name] = replace(named[name], value=value, how="measured", source=f"{root}, on this machine")
    return count, replace(figures, named=named)


def _sample(root: Path) -> tuple[int, int, list[str]]:
    """A folder's bytes and lines of source, and some of its chunks, each as likely as any other."""
    chosen = random.Random(0)
    texts: list[str] = []
    size = lines = seen = 0
    for file in walk(root):
        try:
            text = decode((root / file.path).read_bytes())
        except OSError:
            continue
        if text is None:
            continue
        size, lines = size + file.size, lines + text.count("\n")
        for part in chunk(text, file.language):
            seen += 1
            place = chosen.randrange(seen) if len(texts) == _SAMPLE else len(texts)
            texts[place : place + 1] = [part.text] if place < _SAMPLE else []
    chosen.shuffle(texts)
    return size, lines, texts


def _embedding(name: str, texts: list[str]) -> tuple[float, float]:
    """Tokens a text, and texts a second on this machine's CPU."""
    embedder = Embedder(name, device="cpu")
    embedder.load()
    done, started = 0, time.perf_counter()
    while done < len(texts) and time.perf_counter() - started < _SAMPLE_SECONDS:
        done += len(embedder.encode(texts[done : done + 8], Task.NL2CODE, Role.DOCUMENT))
    rate = done / (time.perf_counter() - started)
    return sum(embedder.count_tokens(texts[:done])) / done, rate


def plan(
    chunks: int, model: Model, figures: Figures, *, queries: float = 1.0, machine: Machine | None = None
) -> Sizing:
    """What it takes to index `chunks` and answer so many `queries` a second on machines like `machine`."""
    machine = machine or Machine()
    memory = _local_memory(chunks, model, figures)
    is_cluster = (
        chunks > figures["most_times"] * figures.largest or memory > machine.memory * figures["usable"]
    )
    needs = [
        Need("source", chunks * figures["chunk_bytes"], "bytes", MEASURED, ("chunk_bytes",)),
        Need("lines of source", chunks * figures["chunk_lines"], "lines", MEASURED, ("chunk_lines",)),
        *(_of_cluster if is_cluster else _of_one_machine)(chunks, model, figures, queries, machine),
        *_of_indexing(chunks, model, figures, machine, is_cluster),
    ]
    return Sizing(chunks, model, queries, machine, is_cluster, _commands(model, is_cluster), tuple(needs))


def _of_one_machine(
    chunks: int, model: Model, figures: Figures, queries: float, machine: Machine
) -> list[Need]:
    is_measured = chunks <= figures.largest and model.dimensions == _MEASURED_DIMENSIONS and not model.gflop
    known = MEASURED if is_measured else EXTRAPOLATED
    wide = max(1.0, model.dimensions / _MEASURED_DIMENSIONS)
    seconds = figures.search_seconds(chunks) * wide + _query_seconds(model, figures)
    disk = chunks * (figures["disk"] + model.dimensions)
    copies = _machines(queries * seconds, machine, figures)
    return [
        Need("index on disk", disk, "bytes", known, ("disk",)),
        Need(
            "memory of a process that searches",
            _local_memory(chunks, model, figures),
            "bytes",
            known,
            ("memory", "memory_base"),
        ),
        Need("a search, on one core", seconds, "seconds", known, ("search", *_of_query(model))),
        Need("machines that search, each all of it", copies, "machines", ESTIMATED, ("busy",)),
    ]


def _of_cluster(chunks: int, model: Model, figures: Figures, queries: float, machine: Machine) -> list[Need]:
    vector = _FLOAT32_BYTES * model.dimensions
    disk = chunks * (figures["cluster_disk"] + 2 * vector)
    memory = chunks * (figures["cluster_memory"] + vector)
    shards = math.ceil(memory / (machine.memory * figures["usable"]))
    wide = max(1.0, model.dimensions / _MEASURED_DIMENSIONS)
    copies = _machines(queries * wide * figures["cluster_search"] / 1000, machine, figures)
    front = _machines(queries * _query_seconds(model, figures), machine, figures)
    held = ("cluster_memory", "usable")
    return [
        Need("store on disk", disk, "bytes", ESTIMATED, ("cluster_disk",)),
        Need("memory of the store", memory, "bytes", ESTIMATED, ("cluster_memory",)),
        Need("machines for that", shards, "machines", ESTIMATED, held),
        Need("copies, for the queries", copies, "copies", ESTIMATED, ("cluster_search", "busy")),
        Need(
            "machines of the store", shards * copies, "machines", ESTIMATED, (*held, "cluster_search", "busy")
        ),
        Need("machines that take the queries", front, "machines", ESTIMATED, (*_of_query(model), "busy")),
    ]


def _of_indexing(
    chunks: int, model: Model, figures: Figures, machine: Machine, is_cluster: bool
) -> list[Need]:
    """How long it takes to make the index, on one machine, and to embed it on one GPU of each kind."""
    cutting = 1 / figures["index_rate"]
    # An index of one machine has one writer; a store is written by as many as there are repositories at work.
    slowest = 0.0 if is_cluster else chunks / figures["write_rate"]
    written: tuple[str, ...] = () if is_cluster else ("write_rate",)

    def on_cpu(what: str, seconds: float, *by: str) -> Need:
        took = max(chunks * seconds / machine.cores, slowest)
        return Need(what, took, "seconds", EXTRAPOLATED, ("index_rate", *by, *written))

    if not model.gflop:
        return [on_cpu("to index it, on one machine", cutting)]
    work = figures["chunk_tokens"] * model.gflop
    product = work / figures["cpu_gflops"]
    by = ("chunk_tokens", "cpu_gflops")
    return [
        on_cpu("to index it, on one machine", cutting + product, *by),
        on_cpu("with --dtype int8", cutting + product / figures["int8_gain"], *by, "int8_gain"),
        *(
            Need(
                f"to embed it, on one {name}",
                chunks * work / (peak * figures["gpu_share"]),
                "seconds",
                ESTIMATED,
                ("chunk_tokens", "gpu_share"),
            )
            for name, peak in figures.gpus.items()
        ),
    ]


def _local_memory(chunks: int, model: Model, figures: Figures) -> float:
    """Bytes: a number of a vector is a byte, and its sign one more bit."""
    return figures["memory_base"] * 1e6 + chunks * (figures["memory"] + model.dimensions * 9 / 8)


def _machines(busy_cores: float, machine: Machine, figures: Figures) -> int:
    """How many it takes to keep so many cores at work, at least one."""
    return max(1, math.ceil(round(busy_cores / (machine.cores * figures["busy"]), 6)))


def _query_seconds(model: Model, figures: Figures) -> float:
    """Of one core, to embed a query."""
    return figures["query_tokens"] * model.gflop / figures["cpu_gflops"]


def _of_query(model: Model) -> tuple[str, ...]:
    return ("query_tokens", "cpu_gflops") if model.gflop else ()


def _commands(model: Model, is_cluster: bool) -> tuple[str, ...]:
    options = "" if model.name == DEFAULT_MODEL else f" --model {model.name}"
    options += f" --dimensions {model.dimensions}" if model.dimensions != model.full else ""
    if is_cluster:
        return (
            f"codekin index REPOSITORY --store milvus://HOST:19530{options}",
            "codekin search QUERY --store 'milvus://HOST:19530#*'",
        )
    return (f"codekin index{options}", "codekin serve --repo .")
