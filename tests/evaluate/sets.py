"""Small retrieval sets on disk, in the layout of BEIR."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

FUNCTIONS = {
    "add": "def add(a, b):\n    return a + b",
    "read": "def read_file(path):\n    with open(path) as stream:\n        return stream.read()",
    "retry": "def send_with_retries(send, request, attempts):\n    for attempt in range(attempts):\n        try: ...",
    "headers": "def parse_headers(data):\n    return dict(line.split(b':') for line in data.splitlines())",
    "sort": "def sort_by_length(words):\n    return sorted(words, key=len)",
    "date": "def parse_date(text):\n    return datetime.strptime(text, '%Y-%m-%d')",
    "sort2": "def sort_by_length(words):\n    return sorted(words, key=len)",
}
QUERIES = {
    "q1": "add two numbers",
    "q2": "read the text of a file",
    "q3": "send failed requests again",
    "q4": "order words by how long they are",
    "q5": "split HTTP header lines",
    "q6": "nothing is judged here",
}
QRELS = {
    "q1": {"add": 1},
    "q2": {"read": 2, "headers": 1, "date": 0},
    "q3": {"retry": 1},
    "q4": {"sort": 1},
    "q5": {"headers": 1},
}


def write_set(
    folder: Path,
    *,
    queries: Mapping[str, str] = QUERIES,
    corpus: Mapping[str, str] | Iterable[tuple[str, str]] = FUNCTIONS,
    qrels: Mapping[str, Mapping[str, float]] = QRELS,
    split: str = "test",
    task: str | None = None,
    prefix: str = "",
) -> Path:
    """Write the set to `folder`, as one of its parts where there is a `prefix`."""
    documents = corpus.items() if isinstance(corpus, Mapping) else corpus
    said = {} if task is None else {"task": task}
    (folder / f"{prefix}qrels").mkdir(parents=True)
    _jsonl(
        folder / f"{prefix}corpus.jsonl", ({"_id": key, "title": "", "text": text} for key, text in documents)
    )
    _jsonl(
        folder / f"{prefix}queries.jsonl",
        ({"_id": key, "text": text, **said} for key, text in queries.items()),
    )
    rows = [
        f"{query}\t{document}\t{grade}"
        for query, judged in qrels.items()
        for document, grade in judged.items()
    ]
    (folder / f"{prefix}qrels" / f"{split}.tsv").write_text(
        "\n".join(["query-id\tcorpus-id\tscore", *rows]) + "\n"
    )
    return folder


def _jsonl(path: Path, records: Iterable[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
