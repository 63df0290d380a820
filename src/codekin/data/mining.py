"""Query-document pairs from source trees.

Four kinds, told apart by `Pair.kind`:

- `documentation`: the summary of a definition's documentation -> the definition without it (nl2code);
- `name`: the words of a definition's name -> the definition with that name masked (nl2code), for one in
  four of the definitions that say nothing else about themselves;
- `example`: what a document says right before a code block, or its heading -> the code (nl2code);
- `section`: a heading of a document -> the text under it (qa).

code2nl is `documentation` the other way round, so it is not written twice.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from pathlib import Path

from codekin.data.corpus import SourceTree
from codekin.data.filters import (
    clean_prose,
    fingerprint,
    has_secret,
    is_query,
    is_source_path,
    is_trainable,
    summary,
)
from codekin.data.pairs import Pair
from codekin.data.prose import sections
from codekin.source import Definition, SourceFile, decode, definitions, walk
from codekin.tasks import Task

DOCUMENTATION, NAME, EXAMPLE, SECTION = "documentation", "name", "example", "section"

PER_SOURCE = 15_000
"""Pairs of one package at most, so that none speaks for the whole."""

_MAX_BYTES = 400_000  # a larger file is mostly tables
_MAX_DOCUMENT = 3000  # characters: what an embedding of one chunk is made of, and some more
_MIN_DOCUMENT = 40
_MIN_BODY_LINES = 3
_NAMES_ONE_IN = 4
_BATCH = 24  # files a task
_PENDING = 64  # tasks in flight: a slow reader of the pairs must not fill the memory

_Mined = tuple[Pair, int, int]
"""A pair with the fingerprints of its query and document."""


def mine(
    trees: Sequence[SourceTree],
    *,
    held_out: Sequence[str] = (),
    per_source: int = PER_SOURCE,
    workers: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Iterator[Pair]:
    """The pairs of all trees, tree by tree, no query and no document twice (up to case and white space).

    `held_out` are repositories (`owner/name`) of which nothing may appear. At most `per_source` pairs come
    from one tree: those with the smallest fingerprints, which is as good as drawn by lot and the same in
    every run. `workers` processes share the files; None takes one a processor. `progress` is called with
    (trees done, trees in all, package).
    """
    seen_queries: set[int] = set()
    seen_documents: set[int] = set()
    found: list[_Mined] = []

    def chosen(done: int) -> Iterator[Pair]:
        fresh: list[_Mined] = []
        for mined in found:
            _, query, document = mined
            if query not in seen_queries and document not in seen_documents:
                seen_queries.add(query)
                seen_documents.add(document)
                fresh.append(mined)
        found.clear()
        if len(fresh) > per_source:
            limit = sorted(document for _, _, document in fresh)[per_source]
            fresh = [mined for mined in fresh if mined[2] < limit]
        if progress:
            progress(done, len(trees), str(trees[done - 1].package))
        return (pair for pair, _, _ in fresh)

    done = 0
    for number, batch in _in_order(_tasks(trees, tuple(held_out)), workers or os.cpu_count() or 1):
        while done < number:
            done += 1
            yield from chosen(done)
        found += batch
    while done < len(trees):
        done += 1
        yield from chosen(done)


_Task = tuple[int, SourceTree, list[SourceFile]]


def _tasks(trees: Sequence[SourceTree], held_out: tuple[str, ...]) -> Iterator[_Task]:
    for number, tree in enumerate(trees):
        files = (
            file for file in walk(tree.path, max_bytes=_MAX_BYTES) if is_source_path(file.path, held_out)
        )
        while batch := list(islice(files, _BATCH)):
            yield number, tree, batch


def _in_order(tasks: Iterable[_Task], workers: int) -> Iterator[tuple[int, list[_Mined]]]:
    """(tree number, its mined pairs) of every task, in the tasks' order."""
    with ProcessPoolExecutor(workers) as pool:
        pending: deque[tuple[int, Future[list[_Mined]]]] = deque()
        try:
            for number, tree, files in tasks:
                pending.append((number, pool.submit(_mine_files, tree, files)))
                if len(pending) >= _PENDING:
                    first, job = pending.popleft()
                    yield first, job.result()
            while pending:
                first, job = pending.popleft()
                yield first, job.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _mine_files(tree: SourceTree, files: list[SourceFile]) -> list[_Mined]:
    pairs = (pair for file in files for pair in _mine_file(tree, file))
    return [(pair, fingerprint(pair.query), fingerprint(pair.document)) for pair in pairs]


def _mine_file(tree: SourceTree, file: SourceFile) -> Iterator[Pair]:
    try:
        text = decode(Path(tree.path, file.path).read_bytes())
    except OSError:
        return  # gone or unreadable since it was listed
    if text is None or not is_trainable(text):
        return
    found = (
        _from_document(text, file.language)
        if file.language in ("markdown", "rst")
        else _from_code(text, file)
    )
    package = tree.package
    path = file.path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    for kind, query, document, language in found:
        if len(document) >= _MIN_DOCUMENT and not has_secret(document):
            task = Task.QA if kind == SECTION else Task.NL2CODE
            yield Pair(query, document, task, language, str(package), package.licence, path, kind)


_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_Found = tuple[str, str, str, str]  # kind, query, document, language


def _from_code(text: str, file: SourceFile) -> Iterator[_Found]:
    if file.language == "r":
        # roxygen2 lets blank lines stand between its comments and what they document.
        text = _ROXYGEN_GAP.sub("", text)
    elsewhere = _pod(text) if file.language == "perl" else {}
    for definition in definitions(text, file.language):
        documentation = definition.doc or elsewhere.get(definition.name.rpartition(".")[2], "")
        body = definition.text[definition.body_start :]
        if body.count("\n") + 1 < _MIN_BODY_LINES and len(body) < 2 * _MIN_DOCUMENT:
            continue  # getters, setters, aliases, declarations: their name says it all
        if documentation and is_query(query := summary(documentation)):
            yield DOCUMENTATION, query, _cut(definition.text), file.language
        elif (
            fingerprint(definition.text) % _NAMES_ONE_IN == 0
            and len(body) < _MAX_DOCUMENT
            and (name := _name_query(definition))
        ):
            yield NAME, name, _masked(definition), file.language


_ROXYGEN_GAP = re.compile(r"(?<=\n)(?:[ \t]*\n)+(?=[\w.`]+[ \t]*(?:<-|=)[ \t]*function\b)")
_POD_ENTRY = re.compile(
    r"^=(?:head[2-4]|item)[ \t]+(?:[\w$]+[ \t]*(?:->|=)[ \t]*)*(?:[\w:]+::)?(\w+)[^\n]*\n", re.M
)
_POD_END = re.compile(r"^=(?:head\d|item|back|cut|over)\b", re.M)


def _pod(text: str) -> dict[str, str]:
    """What Perl's manual sections (perlpod) say about each subroutine: often far from it, behind `__END__`."""
    found: dict[str, str] = {}
    for entry in _POD_ENTRY.finditer(text):
        end = _POD_END.search(text, entry.end())
        body = text[entry.end() : end.start() if end else len(text)].lstrip("\n")
        # An indented paragraph is verbatim: a synopsis, before the prose.
        while body.startswith((" ", "\t")):
            body = body.partition("\n\n")[2].lstrip("\n")
        found.setdefault(entry[1], body)
    return found


def _name_query(definition: Definition) -> str:
    """The words of a function's name, with those of what it stands in; "" unless it says something itself."""
    if definition.kind not in ("function", "method"):
        return ""
    *scope, bare = definition.name.split(".")
    own = [word for word in _WORDS.findall(bare) if len(word) > 1]
    if len(own) < 2 or len(set(own)) < 2 or own[0] == "test":
        return ""
    return " ".join([*(_WORDS.findall(scope[-1]) if scope else ()), *own]).lower()


def _masked(definition: Definition) -> str:
    bare = re.escape(definition.name.rpartition(".")[2])
    return re.sub(rf"(?<![\w$]){bare}(?![\w$])", "_", definition.text)


def _from_document(text: str, language: str) -> Iterator[_Found]:
    for section in sections(text, language):
        heading = clean_prose(section.heading)
        if is_query(heading):
            yield SECTION, heading, _cut(section.text), language
        for example in section.examples:
            introduction = clean_prose(example.introduction)
            query = introduction if is_query(introduction) else heading
            if example.code.count("\n") >= 2 and example.language and is_query(query):
                yield EXAMPLE, query, _cut(example.code), example.language


def _cut(text: str) -> str:
    """As many whole lines of a text as a document may have."""
    if len(text) <= _MAX_DOCUMENT:
        return text
    return text[: text.rfind("\n", 0, _MAX_DOCUMENT) if "\n" in text[:_MAX_DOCUMENT] else _MAX_DOCUMENT]
