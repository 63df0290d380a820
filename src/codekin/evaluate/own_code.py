"""A search benchmark made of a repository's own code: what its comments and commits say, and the functions meant.

A question is the summary of a function's documentation, which is hidden from the search, or what a commit says it
does, whose answer is the function that it changed most. A question whose words stand anywhere else in the tree would
be found by them, and is left out.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from codekin.data import SourceTree, git
from codekin.data.extraction import DOCUMENTATION, FUNCTIONS, is_trivial
from codekin.data.filters import is_handwritten, is_query, is_source_path, summary
from codekin.data.git import Blobs
from codekin.data.history import COMMIT, MAX_COMMITS, is_minable, is_minable_commit, query_of, told_function
from codekin.errors import InputError
from codekin.evaluate.repositories import Place, Question, Repository
from codekin.source import DEFAULT_MAX_BYTES, decode, definitions, walk
from codekin.source.grammars import GRAMMARS

NO_QUESTION = "no question in its words"
TRIVIAL = "the function is a line or two"
ELSEWHERE = "its words stand elsewhere too"
SEVERAL = "no one function is meant"
GONE = "the function is gone or has another name"

_WORD = re.compile(r"[^\W_]+")
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class OwnCode:
    """The benchmark, and what did not become a question: (kind, reason) -> how many."""

    repository: Repository
    left_out: Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A question, and where the comment stands that it is taken from, in bytes of the file."""

    question: Question
    comment: tuple[Span, ...] = ()
    said: int = 0
    """How often the comment itself has the question's words, in their order."""

    def key(self, seed: int) -> bytes:
        """What puts candidates in an order that is random, but the same in every run."""
        place = self.question.answers[0]
        return blake2b(f"{seed}\0{place.path}\0{self.question.text}".encode("utf-8", "replace")).digest()


def own_code(
    path: Path,
    *,
    questions: int = 200,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> OwnCode:
    """At most so many questions to the tree at `path`, half of them from its newest commits where there are as many.

    The same tree and seed give the same questions. Tests and generated or vendored code are searched, but nothing is
    asked about them. `progress` is called with files and commits read, and all of them, 0 where that is not known.
    Raises InputError for what is no readable folder with a work tree, or where no question can be made.
    """
    tree = SourceTree.open(path)
    if tree.repository is not None and tree.repository.bare:
        raise InputError(f"{path} is a bare repository; give a folder with its files")
    source = _Source(tree, progress)
    order = iter(sorted(source.documented, key=lambda candidate: candidate.key(seed)))
    newest = source.commits()
    commits = list(_taken(source, newest, questions // 2))
    documented = list(_taken(source, order, questions - len(commits)))
    commits += _taken(source, newest, questions - len(commits) - len(documented))
    chosen = [*documented, *commits]
    if not chosen:
        raise InputError(f"{path} has no documented functions and no commits to make questions of")
    hidden: dict[str, list[Span]] = defaultdict(list)
    for candidate in documented:
        hidden[candidate.question.answers[0].path] += candidate.comment
    repository = Repository(
        name=tree.path.name,
        language="",
        questions=tuple(candidate.question for candidate in chosen),
        checkout=lambda place: _write(tree.path, source.paths, hidden, place),
    )
    return OwnCode(repository, source.left_out)


class _Source:
    """The files that an index takes, their words, and their functions."""

    def __init__(self, tree: SourceTree, progress: Callable[[int, int], None]) -> None:
        self._tree = tree
        self._progress = progress
        self._functions: dict[str, dict[str, Place | None]] = {}
        self._asked: set[str] = set()
        self.left_out: Counter[tuple[str, str]] = Counter()
        self.documented: list[_Candidate] = []
        files = list(walk(tree.path, max_bytes=DEFAULT_MAX_BYTES))
        self.paths = [file.path for file in files]
        words = []
        for number, file in enumerate(files, 1):
            try:
                data = (tree.path / file.path).read_bytes()
            except OSError:
                continue
            text = decode(data)
            if text is None:
                continue
            words.append(_words(text))
            # Where a comment stands is known in bytes of UTF-8.
            if file.language in GRAMMARS and is_source_path(file.path) and is_handwritten(text):
                self._read(file.path, text, file.language, exact=text.encode("utf-8", "replace") == data)
            progress(number, len(files))
        self._words = "\n".join(words)

    def _read(self, path: str, text: str, language: str, *, exact: bool) -> None:
        functions = self._functions[path] = {}
        for definition in definitions(text, language):
            if definition.kind not in FUNCTIONS:
                continue
            place = Place(path, definition.start_line, definition.end_line)
            functions[definition.name] = None if definition.name in functions else place
            if not definition.doc or not exact:
                continue
            query = summary(definition.doc)
            if is_trivial(definition):
                self.left_out[DOCUMENTATION, TRIVIAL] += 1
            elif not is_query(query):
                self.left_out[DOCUMENTATION, NO_QUESTION] += 1
            else:
                said = _words(definition.doc).count(_words(query))
                question = Question(query, (place,), DOCUMENTATION)
                self.documented.append(_Candidate(question, definition.doc_spans, said))

    def is_new(self, candidate: _Candidate) -> bool:
        """Whether nothing but the comment has the question's words, and it was not asked before."""
        words = _words(candidate.question.text)
        if words in self._asked or self._words.count(words) > candidate.said:
            return False
        self._asked.add(words)
        return True

    def commits(self) -> Iterator[_Candidate]:
        """What the newest commits say, of those that are about a function which is still there."""
        repository = self._tree.repository
        if repository is None:
            return
        with Blobs(repository.folder, DEFAULT_MAX_BYTES) as blobs:
            for number, commit in enumerate(git.commits(repository, MAX_COMMITS), 1):
                self._progress(number, 0)
                changes = [change for change in commit.changes if is_minable(change.path, ())]
                if not changes or not is_minable_commit(commit):
                    continue
                query = query_of(commit, ())
                told = told_function(changes, blobs) if query else None
                place = self._functions.get(told[0], {}).get(told[1].name) if told else None
                if place is not None:
                    yield _Candidate(Question(query, (place,), COMMIT))
                else:
                    self.left_out[COMMIT, NO_QUESTION if not query else GONE if told else SEVERAL] += 1


def _taken(source: _Source, candidates: Iterator[_Candidate], number: int) -> Iterator[_Candidate]:
    """The first `number` of the candidates that are new."""
    taken = 0
    while taken < number and (candidate := next(candidates, None)):
        if source.is_new(candidate):
            taken += 1
            yield candidate
        else:
            source.left_out[candidate.question.kind, ELSEWHERE] += 1


def _words(text: str) -> str:
    """The words of a text in lower case, a blank around each: comment marks, line ends and markup fall away."""
    return f" {' '.join(_WORD.findall(text.lower()))} "


def _write(root: Path, paths: list[str], hidden: Mapping[str, list[Span]], place: Path) -> Path:
    """A copy of the files below `place`, with blanks in place of what is hidden: lines keep their numbers."""
    for path in paths:
        target = place / path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            data = bytearray((root / path).read_bytes())
        except OSError:
            continue
        for start, end in hidden.get(path, ()):
            data[start:end] = re.sub(rb"[^\r\n]", b" ", bytes(data[start:end]))
        target.write_bytes(data)
    return place
