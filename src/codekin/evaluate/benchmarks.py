"""The benchmarks of jina-code-embeddings (arXiv 2508.21290, Table 2) by name, their groups, and any other by folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from codekin.data import Use, find_set
from codekin.errors import InputError
from codekin.evaluate.paper import COIR, MTEB_CODE, OVERALL
from codekin.evaluate.sources import CatalogSet, Folder, Loaded, MtebTask, Source
from codekin.tasks import Task

GROUPS = {"paper": OVERALL.benchmarks, "mteb-code": MTEB_CODE.benchmarks, "coir": COIR.benchmarks}

_CORPUS = re.compile(r"(?:.+-)?corpus(?:\..+)?")

# The benchmarks that are tasks of mteb 2.26, by its names; the others are made of the catalogue's sets.
MTEB_TASKS = {
    "CoSQA": "CosQA",
    "MBPP": "MBPPRetrieval",
    "COIR-CodeSearchNet": "COIRCodeSearchNetRetrieval",
    "CodeSearchNet": "CodeSearchNetRetrieval",
    "CodeEditSearch": "CodeEditSearchRetrieval",
    "AppsRetrieval": "AppsRetrieval",
    "SyntheticText2SQL": "SyntheticText2SQL",
    "WikiSQL": "WikiSQLRetrieval",
    "CodeFeedbackMT": "CodeFeedbackMT",
    "CodeFeedbackST": "CodeFeedbackST",
    "StackOverflowQA": "StackOverflowQA",
    "DS-1000": "DS1000Retrieval",
    "CodeTransOceanContest": "CodeTransOceanContest",
    "CodeTransOceanDL": "CodeTransOceanDL",
    "CodeSearchNetCC": "CodeSearchNetCCRetrieval",
    "HumanEval": "HumanEvalRetrieval",
}


@dataclass(frozen=True)
class Benchmark:
    """A retrieval benchmark: its name, and where its data are.

    `task` is what it asks for; None where that is for its queries to say, or else for whoever evaluates.
    """

    name: str
    task: Task | None
    source: Source

    def load(self) -> AbstractContextManager[Loaded]:
        """The data while they are open; raises CodekinError in one line where they cannot be had."""
        return self.source.load()


def paper_task(name: str) -> Task:
    """What the paper's benchmark of that name asks for."""
    return find_set(name, Use.BENCHMARK).task


def find_benchmarks(names: Sequence[str], *, data: Path | None = None) -> list[Benchmark]:
    """The benchmarks that `names` say, each once: a benchmark of the paper, a group, or a folder in BEIR's
    layout, or of such folders.

    `data` is a folder in which those of the paper are looked for first, by name. A folder that is called like one of
    them has its task. Raises InputError for a name that is none of these, naming the nearest, and where two folders
    have one name.
    """
    if data is not None and not data.is_dir():
        raise InputError(f"no folder {data}")
    found: dict[str, Benchmark] = {}
    for name in names:
        for benchmark in _named(name, data):
            known = found.setdefault(benchmark.name, benchmark)
            if known != benchmark and isinstance(benchmark.source, Folder):
                raise InputError(f"two benchmarks are called {benchmark.name}; the second is {name}")
    return list(found.values())


def _named(name: str, data: Path | None) -> list[Benchmark]:
    if members := GROUPS.get(name.lower()):
        return [_of_paper(member, data) for member in members]
    known = {member.lower(): member for member in OVERALL.benchmarks}
    path = Path(name).expanduser()
    if name.lower() in known and "/" not in name:
        return [_of_paper(known[name.lower()], data)]
    if path.exists():
        return [_of_folder(folder) for folder in _sets(path)]
    if "/" in name:
        raise InputError(f"no file or folder {name}")
    near = get_close_matches(name.lower(), [*known, *GROUPS], n=3) or list(GROUPS)
    names = ", ".join(known.get(key, key) for key in near)
    raise InputError(f"no benchmark, group or folder is called {name!r}; see {names}")


def _sets(path: Path) -> list[Path]:
    """The folder itself, or the sets that are folders in it: read as one, they would be mixed."""
    if path.is_dir() and not _is_set(path):
        return [child for child in sorted(path.iterdir()) if child.is_dir() and _is_set(child)] or [path]
    return [path]


def _is_set(folder: Path) -> bool:
    return any(_CORPUS.match(entry.name) for entry in folder.iterdir())


def _of_folder(path: Path) -> Benchmark:
    own = path.resolve().name
    return Benchmark(own, paper_task(own) if own in OVERALL.benchmarks else None, Folder(path))


def _of_paper(name: str, data: Path | None) -> Benchmark:
    entry = find_set(name, Use.BENCHMARK)
    if data is not None and (data / name).exists():
        return Benchmark(name, entry.task, Folder(data / name))
    return Benchmark(
        name, entry.task, MtebTask(MTEB_TASKS[name]) if name in MTEB_TASKS else CatalogSet(entry)
    )
