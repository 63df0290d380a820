"""Retrieval sets in the layout of BEIR (arXiv 2104.08663) and CoIR (arXiv 2407.02883): corpus, queries, qrels.

    corpus.jsonl    or  corpus/*      _id, text, optional title, language
    queries.jsonl   or  queries/*     _id, text
    qrels/test.tsv  or  qrels/test*, data/test*, default/test*, qrels.tsv     query-id, corpus-id, score

Files are JSONL or Parquet, `_id` may be `id`. A set in parts, as CodeSearchNet's languages, prefixes all three:
`go-corpus/`, `go-queries/`, `go-qrels/`. The hub keeps a data set's three configurations in these very folders.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from codekin.data.records import Files, Located, Record
from codekin.errors import InputError
from codekin.tasks import Task

if TYPE_CHECKING:
    from codekin.data.pairs import Pair

_NAME = re.compile(
    r"(?:^|/)(?:(?P<part>[^/]+)-)?(?P<what>corpus|quer(?:y|ies)|qrels|data|default)"
    r"(?:/(?P<split>\w+)[^/]*)?\.(?:jsonl|tsv|parquet)(?:\.gz)?$"
)
_KINDS = ("corpus", "queries", "qrels")


@dataclass(frozen=True)
class Retrieval:
    """One part of a retrieval set ("" where it is whole). Each of the three streams its records, from the start."""

    part: str
    corpus: Callable[[], Iterable[Located]]
    queries: Callable[[], Iterable[Located]]
    qrels: Callable[[], Iterable[Located]]

    def read(self) -> JudgedSet:
        """The judged queries and the documents' ids; the documents' texts stay where they are.

        What has an id that came before is passed over, and so are judgements of queries that are not there. Raises
        InputError naming the place of a record that is not what it should be, or of a judgement of a document that
        does not exist, and where no query is judged.
        """
        documents = dict.fromkeys(_id(record, where, "_id", "id") for where, record in self.corpus())
        qrels: dict[str, dict[str, float]] = {}
        last = ""
        for last, judgement in self.qrels():
            document = _id(judgement, last, "corpus-id", "corpus_id")
            if document not in documents:
                raise InputError(f"{last}: there is no document {document!r}")
            query = _id(judgement, last, "query-id", "query_id")
            qrels.setdefault(query, {})[document] = _score(judgement, last)
        queries: dict[str, str] = {}
        tasks: dict[str, str] = {}
        for where, record in self.queries():
            query = _id(record, where, "_id", "id")
            if query in qrels and query not in queries:
                queries[query] = text_of(record, where)
                tasks.setdefault(record.get("task") or "", where)
        if not queries:
            raise InputError(f"{last or 'the set'}: no query has a judgement")
        if len(tasks) > 1:
            raise InputError(f"{[*tasks.values()][1]}: queries of several tasks; make a set of each")
        (task,) = tasks

        def texts() -> Iterator[str]:
            waiting = set(documents)
            for where, record in self.corpus():
                if (document := _id(record, where, "_id", "id")) in waiting:
                    waiting.remove(document)
                    yield text_of(record, where).strip()

        judged = {query: qrels[query] for query in queries}
        return JudgedSet(self.part, Task.parse(task) if task else None, queries, judged, [*documents], texts)

    def judged(self) -> Iterator[tuple[str, Record, Record]]:
        """(place, query, document) of every judgement above 0, in the order of the qrels.

        The texts wait in a temporary database, of which SQLite holds a few megabytes in memory and the rest on
        disk. Raises InputError naming the place of a record without an id, or of a judgement of something that
        does not exist.
        """
        with _Shelf(self.queries()) as queries, _Shelf(self.corpus()) as documents:
            for where, judgement in self.qrels():
                if _score(judgement, where) > 0:
                    query = queries.find(_id(judgement, where, "query-id", "query_id"), "query", where)
                    document = documents.find(
                        _id(judgement, where, "corpus-id", "corpus_id"), "document", where
                    )
                    yield where, query, document


@dataclass(frozen=True)
class JudgedSet:
    """One part of a retrieval set, with what is judged in memory, and documents that stream.

    `task` is the one that the queries name, None if they name none. `queries` are texts by id, `qrels` the grades of
    documents by query, of the same queries in the same order; `documents` are the ids of the corpus. `texts` streams
    the documents in the order of their ids, without white space around them, as MTEB reads them.
    """

    part: str
    task: Task | None
    queries: dict[str, str]
    qrels: dict[str, dict[str, float]]
    documents: list[str]
    texts: Callable[[], Iterator[str]]


def is_retrieval(files: Files) -> bool:
    """Whether there is a corpus in this layout."""
    return any(match["what"] == "corpus" for name in files.names if (match := _NAME.search(name)))


def choose_split(files: Files, wanted: Sequence[str]) -> str:
    """The first of the splits `wanted` that is judged in `files`; the only one where there is one, or none is named."""
    found = {match["split"] or "" for name in files.names if (match := _judgements(name))}
    if len(found) == 1:
        return found.pop() or wanted[0]
    return next((split for split in wanted if split in found), wanted[0])


def retrievals(files: Files, split: str) -> list[Retrieval]:
    """The parts of the set in `files`, with the judgements of `split`; sorted by name.

    Raises InputError where corpus, queries or the judgements of `split` are missing.
    """
    found: dict[str, dict[str, list[tuple[str, str]]]] = {}
    for name in files.names:
        if match := _NAME.search(name):
            what = {"query": "queries", "data": "qrels", "default": "qrels"}.get(match["what"], match["what"])
            found.setdefault(match["part"] or "", {}).setdefault(what, []).append(
                (match["split"] or "", name)
            )

    def stream(names: list[str]) -> Callable[[], Iterator[Located]]:
        return lambda: (record for name in names for record in files.records(name))

    # What is not whole is something else beside the set: a folder "data/", a corpus of all parts.
    whole = {part: kinds for part, kinds in found.items() if len(kinds) == len(_KINDS)}
    if not whole:
        missing = [kind for kind in _KINDS if not any(kind in kinds for kinds in found.values())]
        raise InputError(
            f"{files.where} has no {' and no '.join(missing) or 'part with all three of its files'}"
        )
    parts = []
    for part, kinds in sorted(whole.items()):
        judged = [name for of, name in kinds["qrels"] if of in (split, "")]
        if not judged:
            splits = ", ".join(sorted({of for of, _ in kinds["qrels"]}))
            raise InputError(f"{files.where} has no judgements of split {split!r}; splits: {splits}")
        texts = {
            kind: [name for of, name in kinds[kind] if of == split] or [name for _, name in kinds[kind]]
            for kind in ("corpus", "queries")
        }
        parts.append(Retrieval(part, stream(texts["corpus"]), stream(texts["queries"]), stream(judged)))
    return parts


def _judgements(name: str) -> re.Match[str] | None:
    match = _NAME.search(name)
    return match if match and match["what"] in ("qrels", "data", "default") else None


def text_of(record: Record, where: str) -> str:
    """A query's or document's text, behind its title if it has one, as BEIR and MTEB join them."""
    text = record.get("text")
    if not isinstance(text, str):
        raise InputError(f"{where}: the text of {record.get('_id', record.get('id'))!r} is not a string")
    return f"{record.get('title') or ''} {text}".strip() if record.get("title") else text


def write_retrieval(folder: Path, pairs: Iterable[Pair], split: str) -> int:
    """Write `pairs` as a retrieval set and return how many; equal texts become one query or document.

    What else a pair says of its document stands beside it (language, source, licence), its task beside the
    query. Negatives are no part of the layout. Only the hashes of the texts are held in memory.
    """
    (folder / "qrels").mkdir(parents=True)
    seen: set[bytes] = set()
    count = 0
    with (
        open(folder / "corpus.jsonl", "w", encoding="utf-8", newline="\n") as corpus,
        open(folder / "queries.jsonl", "w", encoding="utf-8", newline="\n") as queries,
        open(folder / "qrels" / f"{split}.tsv", "w", encoding="utf-8", newline="\n") as qrels,
    ):
        qrels.write("query-id\tcorpus-id\tscore\n")
        for pair in pairs:
            query, document = _key("q", pair.query), _key("d", pair.document)
            if query not in seen:
                seen.add(query)
                record = {"_id": query.hex(), "text": pair.query, "task": pair.task.value}
                queries.write(json.dumps(record, ensure_ascii=False) + "\n")
            if document not in seen:
                seen.add(document)
                record = {"_id": document.hex(), "title": "", "text": pair.document}
                record |= {"language": pair.language, "source": pair.source, "licence": pair.licence}
                corpus.write(json.dumps(record, ensure_ascii=False) + "\n")
            if (judgement := query + document) not in seen:
                seen.add(judgement)
                qrels.write(f"{query.hex()}\t{document.hex()}\t1\n")
                count += 1
    return count


def _key(side: str, text: str) -> bytes:
    return blake2b(f"{side}{text}".encode(), digest_size=12).digest()


def _id(record: Record, where: str, *names: str) -> str:
    for name in names:
        if record.get(name) is not None:
            return str(record[name])
    raise InputError(f"{where}: no {names[0]}")


def _score(judgement: Record, where: str) -> float:
    try:
        return float(judgement.get("score", 1))
    except (TypeError, ValueError):
        raise InputError(f"{where}: the score {judgement['score']!r} is not a number") from None


class _Shelf:
    """Records by id, on disk."""

    def __init__(self, records: Iterable[Located]) -> None:
        # "" is a database that SQLite keeps in a temporary file of its own, once it outgrows its cache. Appending
        # and then sorting the ids is many times faster than a tree of records in the order they come.
        self._database = sqlite3.connect("")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("CREATE TABLE shelf (id TEXT, record TEXT)")
        rows = (
            (_id(record, where, "_id", "id"), json.dumps(record, default=str)) for where, record in records
        )
        self._database.executemany("INSERT INTO shelf VALUES (?, ?)", rows)
        self._database.execute("CREATE INDEX ids ON shelf (id)")

    def __enter__(self) -> _Shelf:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def find(self, key: str, what: str, where: str) -> Record:
        row = self._database.execute("SELECT record FROM shelf WHERE id = ?", (key,)).fetchone()
        if row is None:
            raise InputError(f"{where}: there is no {what} {key!r}")
        record: Record = json.loads(row[0])
        return record
