"""Query-document pairs from source trees and git histories, for all five tasks.

What there is of each task, told apart by `Pair.kind`:

- nl2code: `documentation`, the summary of a definition's documentation -> the definition without it; `documented`,
  the words of a function's name, much as one types them into a search box -> the function with its documentation and
  that name masked, for one in two of those that have both; `name`, the same for one in four of the functions without
  documentation; `example`, what a document says right before a code block, or its heading -> the
  code; `commit`, what a commit says it does -> the function that it changes most, or its only hunk;
- code2nl: `documentation` the other way round;
- code2completion: `completion`, the start of a function -> its rest;
- code2code: `version`, a function before a commit -> after it; `renamed`, a function -> its copy with other names;
  `implementation`, a method of one class -> that of another which extends or implements the same; `translation`, one
  example in two languages, where folders are named for them;
- qa: `section`, a heading of a document -> the text under it; `question`, the same where it is a question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import NamedTuple

from codekin.data import git
from codekin.data.equivalents import Candidate, Equivalents
from codekin.data.extraction import DOCUMENTS, Extract, Found, extract
from codekin.data.filters import fingerprint
from codekin.data.git import Blobs, Change, Repository
from codekin.data.history import MAX_COMMITS, extract_change, is_minable, is_minable_commit, query_of
from codekin.data.pairs import Pair
from codekin.data.trees import MAX_BYTES, SourceTree
from codekin.errors import InputError
from codekin.source import SourceFile, decode
from codekin.source.grammars import GRAMMARS
from codekin.tasks import Task
from codekin.workers import cores, in_order

PER_SOURCE = 15_000
"""Pairs of one task and package at most, so that none speaks for the whole."""

_FILES, _COMMITS = 24, 16  # a job


class _Mined(NamedTuple):
    """What becomes a pair, and the fingerprints of its query and document. Tuples pass between processes fast."""

    found: Found
    path: str
    revision: str
    query: int
    document: int

    @classmethod
    def of(cls, found: Found, path: str, revision: str) -> _Mined:
        return cls(found, path, revision, fingerprint(found.query), fingerprint(found.document))


@dataclass(slots=True)
class MiningProgress:
    """How far it is: trees done, of how many, which is at hand; files, commits and functions looked at so far."""

    trees: int = 0
    trees_total: int = 0
    source: str = ""
    files: int = 0
    commits: int = 0
    functions: int = 0


@dataclass(frozen=True, slots=True)
class _Job:
    """Some files of a tree, each with its blob where there is no work tree, or some commits of it.

    A commit is its revision, what it says it does, and the files that it changes.
    """

    number: int
    tree: SourceTree
    files: Sequence[tuple[SourceFile, str]] = ()
    commits: Sequence[tuple[str, str, Sequence[Change]]] = ()


@dataclass(slots=True)
class _Done:
    """What a job gave. `unreadable` are (path, reason)."""

    job: _Job
    mined: list[_Mined] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    functions: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    def add(self, extract: Extract, path: str, revision: str) -> None:
        self.functions += extract.functions
        self.candidates += extract.candidates
        self.mined += [_Mined.of(found, path, revision) for found in extract.pairs]


def _pair(mined: _Mined, tree: SourceTree) -> Pair:
    kind, task, query, document, language = mined.found
    path = mined.path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return Pair(query, document, task, language, tree.source, tree.licence, path, kind, mined.revision)


def mine(
    trees: Sequence[SourceTree],
    *,
    held_out: Sequence[str] = (),
    per_source: int | None = PER_SOURCE,
    workers: int | None = None,
    progress: Callable[[MiningProgress], None] | None = None,
    on_skip: Callable[[str, str], None] | None = None,
) -> Iterator[Pair]:
    """The pairs of all trees, tree by tree; of one task no query and no document twice (up to case and white space).

    `held_out` are repositories (`owner/name`) of which nothing may appear. At most `per_source` pairs of a task come
    from one tree: those with the smallest fingerprints, which is as good as drawn by lot and the same in every run;
    with None there is no limit, and the pairs stream. `workers` processes share the work, 0 leaves it to this one;
    None takes one a processor. `progress` is called now and then; `on_skip` with (place, one-line reason) of a tree
    or file that cannot be read.
    """
    state = MiningProgress(trees_total=len(trees))
    seen: dict[Task, tuple[set[int], set[int]]] = {task: (set(), set()) for task in Task}
    skip = on_skip or (lambda place, reason: None)
    jobs = _jobs(trees, tuple(held_out), skip)
    results = in_order(_run, jobs, cores() if workers is None else workers)
    for number, parts in groupby(results, key=lambda done: done.job.number):
        tree = trees[number]
        state.trees, state.source = number, tree.source
        watched = _watched(parts, state, skip, progress)
        fresh = (mined for mined in _of_tree(watched) if _is_new(mined, seen))
        yield from (_pair(m, tree) for m in (fresh if per_source is None else _capped(fresh, per_source)))
    state.trees = len(trees)
    if progress:
        progress(state)


def _watched(
    parts: Iterable[_Done],
    state: MiningProgress,
    skip: Callable[[str, str], None],
    progress: Callable[[MiningProgress], None] | None,
) -> Iterator[_Done]:
    for done in parts:
        state.files += len(done.job.files)
        state.commits += len(done.job.commits)
        state.functions += done.functions
        for path, reason in done.unreadable:
            skip(str(done.job.tree.path / path), reason)
        if progress:
            progress(state)
        yield done


def _of_tree(parts: Iterable[_Done]) -> Iterator[_Mined]:
    with Equivalents() as equivalents:
        for done in parts:
            yield from done.mined
            for candidate in done.candidates:
                for kind, other in equivalents.meet(candidate):
                    found = Found(kind, Task.CODE2CODE, other.text, candidate.text, candidate.language)
                    yield _Mined.of(found, candidate.path, done.job.tree.revision)


def _is_new(mined: _Mined, seen: dict[Task, tuple[set[int], set[int]]]) -> bool:
    query, document = mined.query, mined.document
    queries, documents = seen[mined.found.task]
    if query == document or query in queries or document in documents:
        return False
    queries.add(query)
    documents.add(document)
    return True


def _capped(mined: Iterable[_Mined], limit: int) -> list[_Mined]:
    every = list(mined)
    beyond: dict[Task, int] = {}
    for task in Task:
        documents = sorted(entry.document for entry in every if entry.found.task is task)
        if len(documents) > limit:
            beyond[task] = documents[limit]
    return [entry for entry in every if entry.document < beyond.get(entry.found.task, 1 << 64)]


def _jobs(
    trees: Sequence[SourceTree], held_out: tuple[str, ...], skip: Callable[[str, str], None]
) -> Iterator[_Job]:
    for number, tree in enumerate(trees):
        if tree.is_held_out(held_out):
            skip(str(tree.path), "held out: search quality is measured on it")
            continue
        try:
            yield from _jobs_of(number, tree, held_out, skip)
        except InputError as error:
            skip(str(tree.path), str(error))


def _jobs_of(
    number: int, tree: SourceTree, held_out: tuple[str, ...], skip: Callable[[str, str], None]
) -> Iterator[_Job]:
    files = (
        entry
        for entry in tree.files(held_out, lambda path, reason: skip(str(tree.path / path), reason))
        if entry[0].language in GRAMMARS or entry[0].language in DOCUMENTS
    )
    while batch := list(islice(files, _FILES)):
        yield _Job(number, tree, files=batch)
    if tree.repository is not None:
        commits = _changes(tree.repository, held_out)
        while some := list(islice(commits, _COMMITS)):
            yield _Job(number, tree, commits=some)


def _changes(
    repository: Repository, held_out: tuple[str, ...]
) -> Iterator[tuple[str, str, Sequence[Change]]]:
    for commit in git.commits(repository, MAX_COMMITS):
        if is_minable_commit(commit):
            changes = [change for change in commit.changes if is_minable(change.path, held_out)]
            if changes:
                yield commit.revision, query_of(commit, held_out), changes


def _run(job: _Job) -> _Done:
    done = _Done(job)
    tree = job.tree
    with ExitStack() as stack:
        blobs = (
            stack.enter_context(Blobs(tree.path, MAX_BYTES))
            if job.commits or any(blob for _, blob in job.files)
            else None
        )
        for file, blob in job.files:
            try:
                data = blobs.read(blob) if blobs and blob else (tree.path / file.path).read_bytes()
            except OSError as error:  # gone or unreadable since it was listed
                done.unreadable.append((file.path, f"cannot be read: {error.strerror}"))
                continue
            text = None if data is None else decode(data)
            if text is not None:
                done.add(extract(text, file.path, file.language), file.path, tree.revision)
        for revision, query, changes in job.commits:
            assert blobs
            for change, found in extract_change(query, changes, blobs):
                done.add(found, change.path, revision)
    return done
