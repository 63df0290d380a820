"""Embedding jobs: what is asked of a model, a worker that does it in this process, and many of them on a Ray cluster.

On Ray (https://docs.ray.io) each worker is an actor that holds the model. Parts of the texts go to whoever is free, a
bounded number of them at a time, and come back in their order. A worker that dies is replaced, and its parts are
done by others; a part that no worker survives ends the job.
"""

from __future__ import annotations

import os
import platform
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from codekin import __version__
from codekin.embed.cache import VectorCache
from codekin.embed.embedder import Embedder, Progress
from codekin.embed.registry import DEFAULT_MODEL
from codekin.embed.vectors import Precision, Quantised, quantise
from codekin.errors import CodekinError, InputError, MissingExtraError, ModelError
from codekin.tasks import Role, Task
from codekin.workers import cores

_TRIES = 3  # of a part, and of workers that die before they have loaded the model
_QUEUED = 2  # parts a worker: one at work, one at hand when that is done
_AHEAD = 4  # parts a worker that are read: the two, and as many that are done and wait for an earlier one
_CORES = 4  # of a worker on a CPU: more of them share less well, and each worker has a copy of the model
_TURN_SECONDS = 0.5
_CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be made of texts: the arguments of `Embedder` and of its `encode`, and how numbers are kept."""

    model: str = DEFAULT_MODEL
    device: str | None = None
    dtype: str | None = None
    max_length: int | None = None
    cached: bool = False
    task: Task | str = Task.NL2CODE
    role: Role | str = Role.DOCUMENT
    dimensions: int | None = None
    precision: Precision | str = Precision.FLOAT32


@dataclass(frozen=True, slots=True)
class Traits:
    """What vectors depend on, beside the job: equal of all workers whose vectors go into one file."""

    codekin: str
    fingerprint: str
    kind: str
    device: str
    dtype: str
    dimensions: int
    """Of the vectors asked for."""
    max_length: int | None


class Made(NamedTuple):
    """The vectors of some texts, and how many of these were cut."""

    vectors: Quantised
    truncated: int


class Worker:
    """Does a job in this process. Raises what `Embedder` and its `encode` raise."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._embedder = embedder = Embedder(
            job.model,
            device=job.device,
            dtype=job.dtype,
            max_length=job.max_length,
            cache=VectorCache() if job.cached else None,
        )
        self.traits = Traits(
            __version__,
            embedder.fingerprint,
            embedder.kind,
            embedder.device,
            embedder.dtype,
            embedder.encode([], job.task, job.role, job.dimensions).shape[1],
            embedder.max_length,
        )

    def load(self) -> None:
        """Brings the model into memory."""
        self._embedder.load()

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Made:
        """The vectors of n texts."""
        job = self._job
        made = self._embedder.encode(texts, job.task, job.role, job.dimensions, progress=progress)
        return Made(quantise(made, job.precision), self._embedder.truncated)


class Actor:
    """A worker in a process of the cluster.

    What keeps it from its work is an answer: not every error can be pickled.
    """

    def __init__(self, job: Job) -> None:
        self._job = job

    def open(self) -> Traits | str:
        """Loads the model; else says on which machine it can't, and why."""
        try:
            self._worker = Worker(self._job)
            self._worker.load()
        except CodekinError as error:
            return f"on {platform.node()}: {error}"
        return self._worker.traits

    def encode(self, texts: list[str]) -> Made:
        return self._worker.encode(texts)


@dataclass(eq=False, slots=True)
class _Part:
    first: int
    """The number of its first text, from 1."""
    texts: list[str]
    tries: int = 0
    made: Made | None = None


@dataclass(eq=False, slots=True)
class _Member:
    """An actor, what is expected of it, in the order in which it will come, and whether it has the model."""

    actor: Any
    opening: Any
    given: deque[tuple[Any, _Part]] = field(default_factory=deque)
    is_open: bool = False

    @property
    def next(self) -> Any:
        """The reference to what it does now; None where it has nothing to do."""
        if not self.is_open:
            return self.opening
        return self.given[0][0] if self.given else None


class RayWorkers:
    """A job's workers on the Ray cluster at `address`, as a context manager that ends them.

    `address` is "local" or "" (a cluster in this machine, for as long as this lives), "auto" (the one that this
    machine belongs to), "host:6379" (the same by its address) or "ray://host:10001" (one elsewhere). There are
    `count` workers, by default one for each GPU of the cluster or, where it has none or the job's device is "cpu", for
    each four cores. `on_turn` is called some times a second while this waits, with the number of workers that have the
    model and that of all.

    Every machine needs codekin and the model: a name of the hub is fetched by each, a path has to be there. Vectors
    are those of a `Worker` in one process; a transformer's to the last digit where that computes by as many threads,
    since a worker has as many as cores. Raises InputError where there is no such cluster or it has no such device,
    ModelError for what a worker says of the model, MissingExtraError without Ray.
    """

    def __init__(
        self,
        address: str,
        job: Job,
        count: int | None = None,
        on_turn: Callable[[int, int], None] | None = None,
    ) -> None:
        path = Path(job.model).expanduser()
        self._job = replace(job, model=str(path.absolute())) if path.exists() else job
        self._count = count
        self._on_turn = on_turn
        self._traits: Traits | None = None
        self._failed_starts = 0
        self._members: list[_Member] = []
        self._ray = _connect(address)

    def __enter__(self) -> RayWorkers:
        try:
            self._remote, self.count = self._plan()
            for _ in range(self.count):
                self._start()
        except BaseException:
            self._ray.shutdown()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    @property
    def alive(self) -> int:
        """How many workers have the model."""
        return sum(member.is_open for member in self._members)

    @property
    def traits(self) -> Traits:
        """Of all workers; waits for the first."""
        while self._traits is None:
            self._settle(_TURN_SECONDS)
        return self._traits

    def encode(self, batches: Iterable[Sequence[str]], first: int = 1) -> Iterator[Made]:
        """The vectors of each batch, in their order; batches are read as there is room for them.

        `first` is the number of the first text, for messages. Raises CodekinError that names the texts that three
        workers died or failed of.
        """
        source: Iterator[Sequence[str]] | None = iter(batches)
        parts: deque[_Part] = deque()
        waiting: deque[_Part] = deque()
        while source is not None or parts:
            has_room = source is not None and len(parts) < _AHEAD * max(1, self.alive)
            if source is not None and has_room:
                if (texts := next(source, None)) is None:
                    source = None
                    continue
                parts.append(_Part(first, list(texts)))
                waiting.append(parts[-1])
                first += len(texts)
            self._give(waiting)
            waiting.extendleft(reversed(self._settle(0 if has_room else _TURN_SECONDS)))
            while parts and (made := parts[0].made) is not None:
                parts.popleft()
                yield made

    def _plan(self) -> tuple[Any, int]:
        """The class of actors with what each of them takes, and how many there shall be."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        gpus, cpus = (int(sum(node.get(kind, 0) for node in nodes)) for kind in ("GPU", "CPU"))
        device = self._job.device or ("cuda" if gpus and self._job.model != DEFAULT_MODEL else "cpu")
        if device.startswith("cuda"):
            if not gpus:
                raise InputError(f"no machine of the cluster has a GPU for --device {device}")
            takes, count = {"num_gpus": 1.0, "num_cpus": 1.0}, self._count or gpus
        else:
            largest = max(1, min(_CORES, int(max((node.get("CPU", 0) for node in nodes), default=1))))
            count = self._count or max(1, cpus // largest)
            share = max(cpus, 1) / count
            takes = {"num_cpus": min(int(share) if share >= 1 else share, largest)}
        return self._ray.remote(Actor).options(max_restarts=0, max_task_retries=0, **takes), count

    def _start(self) -> None:
        actor = self._remote.remote(self._job)
        self._members.append(_Member(actor, actor.open.remote()))

    def _give(self, waiting: deque[_Part]) -> None:
        """Parts to the members that have the least to do."""
        ready = [member for member in self._members if member.is_open]
        while waiting and ready:
            member = min(ready, key=lambda member: len(member.given))
            if len(member.given) >= _QUEUED:
                return
            part = waiting.popleft()
            member.given.append((member.actor.encode.remote(part.texts), part))

    def _settle(self, seconds: float) -> list[_Part]:
        """Waits so long for something to come; returns the parts that a member lost."""
        expected = {member.next: member for member in self._members if member.next is not None}
        done, _ = self._ray.wait(list(expected), num_returns=1, timeout=seconds)
        if self._on_turn:
            self._on_turn(self.alive, self.count)
        lost: list[_Part] = []
        for reference in done:
            member = expected[reference]
            try:
                answer = self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                lost += self._replace(member, _reason(error))
                continue
            if member.is_open:
                member.given.popleft()[1].made = answer
            else:
                self._admit(member, answer)
        return lost

    def _admit(self, member: _Member, answer: Traits | str) -> None:
        """A member that has the model; raises ModelError where it hasn't, or another one."""
        if isinstance(answer, str):
            raise ModelError(answer)
        self._traits = self._traits or answer
        for trait in fields(Traits):
            ours, others = getattr(self._traits, trait.name), getattr(answer, trait.name)
            if ours != others:
                raise ModelError(f"workers differ in their {trait.name}: {ours} and {others}")
        member.is_open = True
        self._failed_starts = 0

    def _replace(self, member: _Member, reason: str) -> list[_Part]:
        """Another in the place of a member that died or failed; returns the parts that it had."""
        with suppress(Exception):  # it is dead already, most often
            self._ray.kill(member.actor)
        self._members.remove(member)
        lost = [part for _, part in member.given]
        if lost:
            lost[0].tries += 1  # the others it had not begun
            if lost[0].tries == _TRIES:
                last = lost[0].first + len(lost[0].texts) - 1
                which = f"texts {lost[0].first:,} to {last:,}"
                raise CodekinError(f"{_TRIES} workers failed on {which}; the last: {reason}")
        else:
            self._failed_starts += 1
            if self._failed_starts == _TRIES:
                raise CodekinError(f"{_TRIES} workers failed as they started; the last: {reason}")
        self._start()
        return lost


def _connect(address: str) -> Any:
    """Ray, connected. Its own lines of progress stay out of the way."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise MissingExtraError("--ray", "ray") from None
    options: dict[str, Any] = {
        "address": address or "local",
        "log_to_driver": False,
        "logging_level": "CRITICAL",
    }
    if options["address"] == "local":
        options |= {"num_cpus": cores(), "include_dashboard": False}
    try:
        if options["address"] not in ("local", "auto"):
            host, _, port = address.removeprefix("ray://").rpartition(":")
            if not host or not port.isdecimal():
                raise InputError(f"--ray {address}: write auto, local, host:6379 or ray://host:10001")
            # Ray itself would go on trying for minutes.
            socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
        with _at_root():
            ray.init(**options)
    except (OSError, RuntimeError, ImportError, AssertionError, ray.exceptions.RayError) as error:
        told = getattr(error, "strerror", None) or str(error).strip().split("\n")[0]
        raise InputError(f"no Ray cluster at {address!r}: {told or type(error).__name__}") from None
    # It prints what it knows of workers that died, to stdout, where vectors go.
    ray._private.worker._worker_logs_enabled = False
    return ray


@contextmanager
def _at_root() -> Iterator[None]:
    """With the root of the file system as the current folder.

    Ray puts the current folder before all others where its workers look for modules, and those may be anybody's.
    """
    here = Path.cwd()
    os.chdir(here.anchor)
    try:
        yield
    finally:
        os.chdir(here)


def _reason(error: Exception) -> str:
    """An error of Ray's in a line: that of the code it ran, else the last that it says."""
    cause = getattr(error, "cause", None)
    lines = str(cause or error).strip().splitlines() or [""]
    return f"{type(cause or error).__name__}: {lines[0 if cause else -1].strip()}"
