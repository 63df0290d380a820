"""Pairs written by a language model: the synthetic families of jina-code-embeddings, and questions to bare code.

`solutions` translates a problem's solution into eight more languages (CodeChefP2S, and from it CodeChefS2S and
CodeChefXLang); `frameworks` moves deep-learning code to other frameworks (SyntheticDLTrans); `questions` writes what
a developer would ask to find a piece of code that says nothing about itself.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from importlib import resources
from itertools import pairwise
from pathlib import Path
from string import Template as Placeholders
from typing import BinaryIO

import numpy as np

from codekin.data.chat import AnswerError, BudgetError, Chat, Endpoint, Usage
from codekin.data.filters import fingerprint, has_secret, is_query, is_source_path, is_trainable
from codekin.data.minhash import sketches
from codekin.data.pairs import Pair, format_pair, parse_pair, read_pairs, write_pairs
from codekin.data.records import parse_object
from codekin.data.sampling import PairFiles
from codekin.errors import InputError
from codekin.source import decode, definitions, parses, walk
from codekin.tasks import Choice, Task


class Family(Choice):
    """What is written."""

    SOLUTIONS = "solutions"
    FRAMEWORKS = "frameworks"
    QUESTIONS = "questions"


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt with `$placeholders`. `digest` is that of its text, so that a row tells which wording made it."""

    name: str
    text: str

    @classmethod
    def load(cls, path: str | Path) -> Template:
        """The template in a file, or the one that comes with codekin for that family."""
        if isinstance(path, Family):
            text = (resources.files("codekin.data") / "templates" / f"{path.value}.txt").read_text("utf-8")
            return cls(path.value, text)
        try:
            return cls(Path(path).stem, Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read the template {path}: {error}") from None

    @property
    def digest(self) -> str:
        """12 hexadecimal digits."""
        return blake2b(self.text.encode(), digest_size=6).hexdigest()

    def fill(self, values: dict[str, str]) -> str:
        """The prompt; raises InputError naming a placeholder that the family has no value for."""
        try:
            return Placeholders(self.text).substitute(values)
        except (KeyError, ValueError) as error:
            names = ", ".join(f"${name}" for name in values)
            raise InputError(
                f"template {self.name}: {error} is no placeholder of this family: {names}"
            ) from None


@dataclass(slots=True)
class SynthesisReport:
    """`written` rows by this run, `set_aside` items that never got a usable answer, `present` done before it.

    `derived` counts the rows of each file made from the answers, by its name. `spent` says that the run ended before
    its budget was exceeded.
    """

    present: int
    written: int = 0
    set_aside: int = 0
    derived: dict[str, int] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    spent: bool = False


_ANSWERS = 3  # asked for at most, until one is of use
_LONGEST_CODE = 12_000  # characters

# Nine, so that a solution in one of them has eight more.
_LANGUAGES = ("python", "java", "cpp", "csharp", "go", "javascript", "php", "ruby", "rust")
_TRANSLATIONS = 8
_FRAMEWORKS = {
    "PyTorch": re.compile(r"\btorch(?:vision|audio)?\b[. ]"),
    "TensorFlow": re.compile(r"\b(?:tensorflow|tf|keras)\b[. ]"),
    "JAX": re.compile(r"\b(?:jax|jnp|flax)\b[. ]"),
    "MXNet": re.compile(r"\b(?:mxnet|mx|gluon)\b[. ]"),
    "PaddlePaddle": re.compile(r"\bpaddle\b[. ]"),
}
_FENCE = re.compile(r"^[ \t]*```[^\n`]*\n(.*?)^[ \t]*```[ \t]*$", re.DOTALL | re.MULTILINE)
_NAME = re.compile(r"\b(?:\w+_\w+|[A-Za-z]+[a-z][A-Z]\w*)\b")  # snake_case, camelCase
_COPY = 0.9  # similarity
_SMALLEST, _LARGEST = 0.2, 5.0  # of the original's length
_MIN_BODY_LINES = 3
_LONGEST_QUESTION = 40  # words
_FEW_TOKENS = 512  # for a line, and beside the code: room for a model that says more than it should


@dataclass(frozen=True, slots=True)
class _Item:
    """One thing to ask for: of `pair`, in `target` (a language or framework, or ""), in at most `longest` tokens."""

    pair: Pair
    target: str
    values: dict[str, str]
    longest: int

    def key(self, template: Template) -> str:
        """16 hexadecimal digits that tell this item from any other, in every run."""
        parts = (template.digest, self.target, self.pair.query, self.pair.document)
        return blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=8).hexdigest()


def synthesize(
    family: Family | str,
    source: str | Path,
    destination: str | Path,
    endpoint: Endpoint,
    *,
    template: str | Path | None = None,
    progress: Callable[[int, Usage], None] | None = None,
) -> SynthesisReport:
    """Have the model behind `endpoint` write pairs from `source`, appended to `destination`, a JSONL file.

    `source` is anything `read_pairs` reads: problems with solutions for `solutions`, documents of Python code for
    `frameworks`, any documents for `questions`, which also takes a folder of source code and asks about the
    functions without documentation. `destination` says what is done: a run that was killed goes on where it stopped,
    with another model as well. A row's `kind` is `template@digest:model`, its `path` that of the original with the
    item's key. An answer counts if it has the form asked for, parses, and is neither a copy nor of a wholly other
    size; else the model is asked again, up to three times, and then the item stands with its last answer in
    `NAME.rejected.jsonl`, and is not asked for again. From solutions come two more files when a run ends:
    `NAME.s2s.jsonl` of solutions in one language and `NAME.xlang.jsonl` across languages.

    `progress` is called with (items done by this run, usage). Raises InputError where the input, the template or
    the endpoint is at fault.
    """
    family = Family.parse(family)
    prompt = Template.load(template or family)
    target = Path(destination)
    if target.suffix != ".jsonl":
        raise InputError(f"{target}: answers are appended to a .jsonl file; name one")
    rejected = target.with_suffix(".rejected.jsonl")
    done = {key for place, line in _whole_lines(target) if (key := _key_of(parse_pair(line, place)))}
    done |= {str(parse_object(line, place).get("key")) for place, line in _whole_lines(rejected)}
    report = SynthesisReport(present=len(done))
    try:
        with open(target, "ab") as rows, open(rejected, "ab") as aside:
            run = _Run(family, prompt, endpoint, report, rows, aside, progress)
            asyncio.run(run.ask_all(_items(family, source), done))
    except OSError as error:
        raise InputError(f"cannot write to {target}: {error.strerror or error}") from None
    if not rejected.stat().st_size:
        rejected.unlink()
    if family is Family.SOLUTIONS:
        report.derived = _derive(source, target, prompt)
    return report


def _whole_lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """`file:line` and text of a file's lines; half a line at its end, of a run that was killed, is cut off."""
    if not path.exists():
        return
    with open(path, "r+b") as stream:
        end = 0
        for number, line in enumerate(stream, 1):
            if line.endswith(b"\n"):
                end += len(line)
                yield f"{path}:{number}", line
        stream.truncate(end)


def _key_of(row: Pair) -> str:
    return row.path.rpartition("#")[2]


class _Run:
    def __init__(
        self,
        family: Family,
        template: Template,
        endpoint: Endpoint,
        report: SynthesisReport,
        rows: BinaryIO,
        aside: BinaryIO,
        progress: Callable[[int, Usage], None] | None,
    ) -> None:
        self._family = family
        self._template = template
        self._endpoint = endpoint
        self._report = report
        self._rows = rows
        self._aside = aside
        self._progress = progress
        self._stopped = False

    async def ask_all(self, items: Iterator[_Item], done: set[str]) -> None:
        """Ask for the items whose keys are not in `done`."""
        async with Chat(self._endpoint) as chat:
            self._report.usage = chat.usage
            todo = self._todo(items, done)
            workers = [self._work(chat, todo) for _ in range(self._endpoint.concurrency)]
            # Where one fails the others still get, and keep, the answer that they wait for.
            for outcome in await asyncio.gather(*workers, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome

    def _todo(self, items: Iterator[_Item], done: set[str]) -> Iterator[tuple[str, _Item]]:
        for item in items:
            key = item.key(self._template)
            if key not in done:
                done.add(key)
                yield key, item

    async def _work(self, chat: Chat, todo: Iterator[tuple[str, _Item]]) -> None:
        try:
            while not self._stopped and (entry := next(todo, None)) is not None:
                await self._settle(chat, *entry)
                if self._progress:
                    self._progress(self._report.written + self._report.set_aside, chat.usage)
        except BudgetError:
            self._report.spent = True
        except BaseException:
            self._stopped = True
            raise

    async def _settle(self, chat: Chat, key: str, item: _Item) -> None:
        """Write the row of an item, or set it aside."""
        outcome = await _answer(chat, self._family, item, self._template.fill(item.values))
        made, model = f"{self._template.name}@{self._template.digest}", self._endpoint.model
        if isinstance(outcome, Pair):
            row = replace(outcome, path=f"{item.pair.path}#{key}", kind=f"{made}:{model}", negatives=())
            _append(self._rows, format_pair(row))
            self._report.written += 1
            return
        aside = {"key": key, "reason": outcome.reason, "answer": outcome.answer, "target": item.target}
        aside |= {"model": model, "template": made, "query": item.pair.query, "document": item.pair.document}
        _append(self._aside, json.dumps(aside, ensure_ascii=False) + "\n")
        self._report.set_aside += 1


async def _answer(chat: Chat, family: Family, item: _Item, prompt: str) -> Pair | AnswerError:
    """The row of an item, or what is wrong with the last answer."""
    outcome: Pair | AnswerError = AnswerError("not asked")
    for _ in range(_ANSWERS):
        outcome = await _attempt(chat, family, item, prompt)
        if isinstance(outcome, Pair) or not outcome.again:
            break
    return outcome


async def _attempt(chat: Chat, family: Family, item: _Item, prompt: str) -> Pair | AnswerError:
    text = ""
    try:
        text = await chat.ask(prompt, item.longest)
        return _read(family, item, text)
    except AnswerError as error:
        error.answer = text
        return error


def _append(stream: BinaryIO, line: str) -> None:
    # A model may write half of a surrogate pair, which is no text in UTF-8.
    stream.write(line.encode("utf-8", "replace"))
    stream.flush()


def _items(family: Family, source: str | Path) -> Iterator[_Item]:
    bare = family is Family.QUESTIONS and Path(source).is_dir()
    for pair in _undocumented(Path(source)) if bare else read_pairs(source):
        if len(pair.document) <= _LONGEST_CODE:
            yield from _items_of(family, pair)


def _items_of(family: Family, pair: Pair) -> Iterator[_Item]:
    values = {"problem": pair.query, "code": pair.document}
    longest = _FEW_TOKENS + len(pair.document.encode("utf-8", "replace"))
    if family is Family.SOLUTIONS:
        for language in [name for name in _LANGUAGES if name != pair.language][:_TRANSLATIONS]:
            named = {"language": language, "source_language": pair.language}
            yield _Item(pair, language, values | named, longest)
    elif family is Family.FRAMEWORKS:
        used = [name for name, pattern in _FRAMEWORKS.items() if pattern.search(pair.document)]
        for framework in _FRAMEWORKS if len(used) == 1 else ():
            if framework != used[0]:
                named = {"framework": framework, "source_framework": used[0]}
                yield _Item(pair, framework, values | named, longest)
    else:
        yield _Item(pair, "", values | {"language": pair.language}, _FEW_TOKENS)


def _undocumented(root: Path) -> Iterator[Pair]:
    """The functions of a folder of source code that nothing is said about, with an empty query."""
    for file in walk(root):
        if not is_source_path(file.path):
            continue
        try:
            text = decode((root / file.path).read_bytes())
        except OSError:
            continue  # gone or unreadable since it was listed
        if text is None or not is_trainable(text):
            continue
        for found in definitions(text, file.language):
            lines = found.text.count("\n", found.body_start) + 1
            bare = found.kind in ("function", "method") and not found.doc and lines >= _MIN_BODY_LINES
            if bare and not has_secret(found.text):
                path = file.path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
                yield Pair("", found.text, Task.NL2CODE, file.language, root.resolve().name, path=path)


def _read(family: Family, item: _Item, text: str) -> Pair:
    """The row that an answer makes, of the item's source and licence; raises AnswerError saying what is wrong."""
    pair = item.pair
    if family is Family.QUESTIONS:
        return replace(pair, query=_question(text, pair.document), task=Task.NL2CODE)
    if family is Family.SOLUTIONS:
        code = _code(text, pair.document, item.target)
        return replace(pair, document=code, language=item.target, task=Task.NL2CODE)
    code = _code(text, pair.document, "python")
    if not _FRAMEWORKS[item.target].search(code):
        raise AnswerError(f"the code does not use {item.target}")
    if _FRAMEWORKS[item.values["source_framework"]].search(code):
        raise AnswerError(f"the code still uses {item.values['source_framework']}")
    return replace(pair, query=pair.document, document=code, language="python", task=Task.CODE2CODE)


def _question(text: str, code: str) -> str:
    line = text.strip().strip("\"'`").strip()
    if "\n" in line:
        raise AnswerError("the answer has more than one line")
    if not is_query(line) or line.count(" ") >= _LONGEST_QUESTION:
        raise AnswerError("the answer is no question or description in English of 3 to 40 words")
    if known := [name for name in _NAME.findall(line) if name in code]:
        raise AnswerError(f"the answer names {known[0]}, which only a reader of the code knows")
    return line


def _code(text: str, original: str, language: str) -> str:
    blocks = _FENCE.findall(text)
    if len(blocks) != 1:
        raise AnswerError(f"{len(blocks)} fenced code blocks in the answer, not one")
    code = str(blocks[0]).strip("\n").rstrip()
    if not _SMALLEST * len(original) <= len(code) <= _LARGEST * len(original):
        raise AnswerError(f"{len(code)} characters of code for {len(original)}")
    if not parses(code, language):
        raise AnswerError(f"the code does not parse as {language}")
    one, other = sketches([code, original])
    if np.mean(one == other) >= _COPY:
        raise AnswerError("the code is a copy of what it was to be made from")
    return code


def _derive(source: str | Path, target: Path, template: Template) -> dict[str, int]:
    """Write the solution-to-solution and the cross-language pairs of all rows so far."""
    rows = PairFiles([target])
    numbers = {_key_of(row): number for number, row in enumerate(rows)}

    def versions() -> Iterator[list[Pair]]:
        """Each solution with its translations."""
        for pair in read_pairs(source):
            keys = (item.key(template) for item in _items_of(Family.SOLUTIONS, pair))
            yield [pair, *(rows[numbers[key]] for key in keys if key in numbers)]

    def across() -> Iterator[Pair]:
        for found in versions():
            yield from (_equivalent(one, other) for one, other in pairwise(found))

    def within() -> Iterator[Pair]:
        last: dict[tuple[int, str], tuple[Pair, bool]] = {}
        for found in versions():
            for version in found:
                problem = fingerprint(version.query), version.language
                made = version is not found[0]
                before, before_made = last.get(problem, (version, False))
                last[problem] = version, made
                if (made or before_made) and fingerprint(before.document) != fingerprint(version.document):
                    # The row says how it was made if either side was.
                    yield _equivalent(before, version) if made else _equivalent(version, before)

    files = {target.with_suffix(".s2s.jsonl"): within(), target.with_suffix(".xlang.jsonl"): across()}
    return {path.name: write_pairs(path, pairs) for path, pairs in files.items()}


def _equivalent(one: Pair, other: Pair) -> Pair:
    return replace(other, query=one.document, task=Task.CODE2CODE)
