"""From the original records of the catalogue's data sets to queries and documents.

An adapter takes the files of a set, as downloaded or unpacked, and the split wanted. Where a record's form is
known from a publication or a repository, the docstring names it.
"""

from __future__ import annotations

import re
import sqlite3
from ast import literal_eval
from collections.abc import Callable, Iterator
from difflib import unified_diff
from html.parser import HTMLParser
from itertools import groupby, islice
from typing import NamedTuple
from xml.etree import ElementTree

from codekin.data.beir import retrievals, text_of
from codekin.data.pairs import parse_pair
from codekin.data.records import Files, Record
from codekin.errors import InputError
from codekin.source import definitions


class Found(NamedTuple):
    """A query and its document; `key` is the same for all pairs that must stay on one side of a split."""

    query: str
    document: str
    language: str = ""
    key: str = ""
    licence: str = ""
    path: str = ""


Adapter = Callable[[Files, str], Iterator[Found]]

_LANGUAGES = {
    "c++": "cpp",
    "c#": "csharp",
    "shell": "bash",
    "golang": "go",
    "js": "javascript",
    "objective-c": "objc",
}


def language(name: str) -> str:
    """A data set's name of a programming language as codekin's."""
    return _LANGUAGES.get(name.lower(), name.lower())


def retrieval(default: str = "") -> Adapter:
    """Sets in the layout of BEIR and CoIR. Their documents are in `default` unless they or the part's name say."""

    def adapt(files: Files, split: str) -> Iterator[Found]:
        for part in retrievals(files, split):
            for where, query, document in part.judged():
                own = document.get("language") or part.part or default
                yield Found(text_of(query, where), text_of(document, where), language(own))

    return adapt


def columns(pattern: str, query: str, document: str, of: str = "", key: str = "") -> Adapter:
    """Records with a column for each side.

    `pattern` is the form of the files' names, {split} in it the split's, a group `language` the documents'
    language, which is else `of`. `key` is the column of the split's key, by default the query's.
    """

    def adapt(files: Files, split: str) -> Iterator[Found]:
        for match in files.matching(pattern.format(split=split)):
            own = language(match.groupdict().get("language") or of)
            for where, record in files.records(match.string):
                texts = _texts(record, where, query, document, key or query)
                yield Found(texts[0], texts[1], own, key=texts[2])

    return adapt


def code_search_net(files: Files, split: str) -> Iterator[Found]:
    """CodeSearchNet (arXiv 1909.09436): the documentation, and the function without it.

    In Python the documentation stands in the function; elsewhere it is not in `code` to begin with.
    """
    for match in files.matching(rf"(?P<language>\w+)/final/jsonl/{split}/[^/]+\.jsonl(?:\.gz)?"):
        own = match["language"]
        for where, record in files.records(match.string):
            query, code, path = _texts(record, where, "docstring", "code", "path")
            if own == "python":
                code = next((found.text for found in definitions(code, own)), code)
            yield Found(query, code, own, path=path)


def codeforces(files: Files, split: str) -> Iterator[Found]:
    """Accepted submissions to Codeforces (MatrixStudio/Codeforces-Python-Submissions): problem, solution."""
    for match in files.matching(rf"data/{split}-[^/]*\.parquet"):
        for where, record in files.records(match.string):
            if record.get("verdict") == "OK":
                query, code = _texts(record, where, "problem-description", "code")
                yield Found(query, code, "python", key=f"{record['contestId']}{record['index']}")


def solutions(site: str) -> Adapter:
    """Description2Code: two solutions of one problem of `site` in one language, each used once.

    A problem is a folder: description/description.txt, solutions_c++/*.txt, solutions_python/*.txt.
    """

    def adapt(files: Files, split: str) -> Iterator[Found]:
        matches = files.matching(rf"(?i:{site})\w*/(?P<problem>.+)/solutions_(?P<language>[\w+]+)/[^/]+\.txt")
        for (problem, own), group in groupby(
            matches, key=lambda match: (match["problem"], match["language"])
        ):
            names = [match.string for match in group]
            for first, second in zip(names[::2], names[1::2], strict=False):
                yield Found(files.text(first), files.text(second), language(own), key=f"{site}/{problem}")

    return adapt


def commits(files: Files, split: str) -> Iterator[Found]:
    """CommitPackFT (arXiv 2308.07124): the commit's message, and its change as a unified diff."""
    for match in files.matching(r"data/(?P<language>[^/]+)/data\.jsonl"):
        for where, record in files.records(match.string):
            before, after, message = _texts(record, where, "old_contents", "new_contents", "message")
            old, new, commit, licence = _texts(record, where, "old_file", "new_file", "commit", "license")
            lines = unified_diff(before.splitlines(), after.splitlines(), f"a/{old}", f"b/{new}", lineterm="")
            yield Found(message, "\n".join(lines), language(match["language"]), commit, licence, new)


def code_edits(files: Files, split: str) -> Iterator[Found]:
    """CodeEditSearch (cassanof/CodeEditSearch): instruction and diff, of each language the first that MTEB takes."""
    for match in files.matching(rf"(?P<language>[^/]+)/{split}-[^/]*\.parquet"):
        for where, record in islice(files.records(match.string), _EDITS):
            instruction, diff = _texts(record, where, "instruction", "diff")
            yield Found(instruction, diff, language(match["language"]))


_EDITS = 1000


def cosqa_plus(files: Files, split: str) -> Iterator[Found]:
    """CoSQA+ (arXiv 2406.11589): web queries and the Python functions labelled 1.

    The training file has both texts; the pairs to test with name them by index.
    """
    if split == "train":
        for match in files.matching(r"finetune/train_query_code_pairs\.json"):
            for where, record in files.records(match.string):
                if str(record.get("label")) == "1":
                    query, code = _texts(record, where, "query", "code")
                    yield Found(query, code, "python")
        return
    sides = []
    for name, index, text in (("query", "query-idx", "query"), ("codebase", "code-idx", "code")):
        store = _Texts()
        for match in files.matching(rf"{split}_agent_{name}\.json"):
            for where, record in files.records(match.string):
                store.put(str(record[index]), *_texts(record, where, text))
        sides.append(store)
    for match in files.matching(rf"{split}_agent_pairs_true\.json"):
        for where, record in files.records(match.string):
            query, code = (
                store.find(str(record[index]), where)[0]
                for store, index in zip(sides, ("query-idx", "code-idx"), strict=True)
            )
            yield Found(query, code, "python")


def data_science(files: Files, split: str) -> Iterator[Found]:
    """StackSample, a tenth of Stack Overflow: questions with a tag of data science, answers that score 3 or more.

    Three tables in Latin-1: Questions.csv, Answers.csv, Tags.csv.
    """
    questions, answers, tags = (
        files.matching(rf"{name}\.csv")[0].string for name in ("Questions", "Answers", "Tags")
    )
    latin = "latin-1"
    chosen = {record["Id"] for _, record in files.records(tags, latin) if record["Tag"] in _DATA_SCIENCE}
    store = _Texts()
    for where, record in files.records(questions, latin):
        if record["Id"] in chosen:
            title, body = _texts(record, where, "Title", "Body")
            store.put(record["Id"], f"{title}\n\n{plain(body)}")
    for where, record in files.records(answers, latin):
        key = record["ParentId"]
        if key in chosen and int(record["Score"]) >= _MIN_SCORE:
            yield Found(store.find(key, where)[0], plain(record["Body"]), key=key)


_MIN_SCORE = 3  # EleutherAI/stackexchange_dataset's own limit
_DATA_SCIENCE = frozenset(
    "r pandas numpy scipy matplotlib scikit-learn tensorflow keras theano pytorch machine-learning deep-learning "
    "neural-network statistics regression classification cluster-analysis data-mining nlp nltk data-science "
    "dataframe ggplot2 dplyr data.table data-visualization linear-regression random-forest time-series seaborn "
    "statsmodels jupyter-notebook ipython-notebook apache-spark pyspark".split()
)


def stack_exchange(*fields: str) -> Adapter:
    """Stack Exchange's dumps (Posts.xml): `Title` and `Body` of a question, and each good answer.

    Good is accepted, or of score 3 or more (EleutherAI/stackexchange_dataset). A dump is ordered by id, so that
    a question comes before its answers.
    """

    def adapt(files: Files, split: str) -> Iterator[Found]:
        for match in files.matching(r"(?:(?P<site>[^/]+)/)?Posts\.xml"):
            store = _Texts()
            site = match["site"] or ""
            for row in _rows(files, match.string):
                if row.get("PostTypeId") == "1":
                    texts = {"Title": row.get("Title", ""), "Body": plain(row.get("Body", ""))}
                    query = "\n\n".join(texts[field] for field in fields)
                    store.put(row["Id"], query, row.get("AcceptedAnswerId", ""))
                elif row.get("PostTypeId") == "2" and (question := store.get(row.get("ParentId", ""))):
                    query, accepted = question
                    if row["Id"] == accepted or int(row.get("Score", 0)) >= _MIN_SCORE:
                        yield Found(query, plain(row.get("Body", "")), key=f"{site}/{row['ParentId']}")

    return adapt


def doc2code(files: Files, split: str) -> Iterator[Found]:
    """code-docstring-corpus (arXiv 1707.02275): a line of each file is one function of Python 2.

    The description is a quoted string; DCNL stands for a line's end, DCSP for a level of indentation, or for a
    space in a string.
    """
    texts, codes = (
        files.matching(rf"data_ps\.{side}\.{split}(?:\.gz)?")[0].string
        for side in ("descriptions", "declbodies")
    )
    # The corpus has a few bytes that are not UTF-8.
    lines = zip(files.lines(texts, "replace"), files.lines(codes, "replace"), strict=False)
    for (where, text), (_, code) in lines:
        try:
            description = str(literal_eval(text.strip()))
        except (ValueError, SyntaxError):
            raise InputError(f"{where}: not a quoted string") from None
        query = "\n".join(line.strip() for line in description.split("DCNL")).strip()
        yield Found(query, "\n".join(map(_indented, code.split(" DCNL "))), "python")


def _indented(line: str) -> str:
    level = 0
    while line.startswith(("DCSP ", " DCSP ")):
        line = line.lstrip(" ").removeprefix("DCSP ")
        level += 1
    return "    " * level + line.replace(" DCSP ", " ")


_SOLVED_IN = ("python", "java", "c++", "javascript")


def leetcode(files: Files, split: str) -> Iterator[Found]:
    """Problem and solution in each language (greengerong/leetcode)."""
    for problem, slug, code in _leetcode(files):
        for own, text in code.items():
            yield Found(problem, text, language(own), key=slug)


def leetcode_across(files: Files, split: str) -> Iterator[Found]:
    """Two solutions of one problem in different languages (greengerong/leetcode)."""
    for _, slug, code in _leetcode(files):
        for first in code:
            for second in code:
                if first != second:
                    yield Found(code[first], code[second], language(second), key=slug)


def _leetcode(files: Files) -> Iterator[tuple[str, str, dict[str, str]]]:
    for match in files.matching(r"leetcode-train\.jsonl"):
        for where, record in files.records(match.string):
            problem, slug = _texts(record, where, "content", "slug")
            code = {}
            for own in _SOLVED_IN:
                # An answer in Markdown: the first block is the solution, an explanation follows.
                if block := re.search(r"```[^\n]*\n(.*?)```", record.get(own) or "", re.DOTALL):
                    code[own] = block[1].lstrip("\n").rstrip()
            yield problem, slug, code


def wiki_sql(files: Files, split: str) -> Iterator[Found]:
    """WikiSQL (arXiv 1709.00103): question and query, written as in its lib/query.py with the columns' names."""
    names = {
        record["id"]: record["header"]
        for match in files.matching(rf"{split}\.tables\.jsonl")
        for _, record in files.records(match.string)
    }
    for match in files.matching(rf"{split}\.jsonl"):
        for where, record in files.records(match.string):
            question, table = _texts(record, where, "question", "table_id")
            if table not in names:
                raise InputError(f"{where}: there is no table {table}")
            header, sql = names[table], record["sql"]
            selected = f"SELECT {_AGGREGATES[sql['agg']]} {header[sql['sel']]} FROM table"
            conditions = [f"{header[column]} {_COMPARED[by]} {value}" for column, by, value in sql["conds"]]
            where_clause = " WHERE " + " AND ".join(conditions) if conditions else ""
            yield Found(question, " ".join((selected + where_clause).split()), "sql")


_AGGREGATES = ("", "MAX", "MIN", "COUNT", "SUM", "AVG")
_COMPARED = ("=", ">", "<", "OP")


def ds1000(files: Files, split: str) -> Iterator[Found]:
    """DS-1000 (arXiv 2211.11501): the problem up to where the answer begins, and the reference solution."""
    for match in files.matching(rf"{split}\.jsonl(?:\.gz)?"):
        for where, record in files.records(match.string):
            prompt, code = _texts(record, where, "prompt", "reference_code")
            problem = re.split(r"^A:\s*$", prompt, maxsplit=1, flags=re.MULTILINE)[0]
            yield Found(problem.removeprefix("Problem:").strip(), code, "python")


def human_eval(files: Files, split: str) -> Iterator[Found]:
    """HumanEval (arXiv 2107.03374): what the docstring says before its examples, and the function without it."""
    for match in files.matching(rf"openai_humaneval/{split}-[^/]*\.parquet"):
        for where, record in files.records(match.string):
            prompt, solution, name = _texts(record, where, "prompt", "canonical_solution", "entry_point")
            for found in definitions(prompt + solution, "python"):
                if found.name == name:
                    query = re.split(
                        r"^\s*(?:>>>|Examples?:?\s*$)", found.doc, maxsplit=1, flags=re.MULTILINE
                    )[0]
                    yield Found(query.strip(), found.text, "python")


def translated(files: Files, split: str) -> Iterator[Found]:
    """Description2Code's CodeChef problems with a solution in each language it has, and the translations of those.

    The former are what `codekin data synthesize solutions` starts from, the latter what it writes into the folder.
    """
    pattern = r"(?i:codechef)\w*/(?P<problem>.+)/solutions_(?P<language>[\w+]+)/[^/]+\.txt"
    solved = files.matching(pattern)
    for (problem, own), group in groupby(solved, key=lambda match: (match["problem"], match["language"])):
        name = next(group).string
        description = f"{name.rpartition('/solutions_')[0]}/description/description.txt"
        if description in files:
            key = f"codechef/{problem}"
            yield Found(files.text(description), files.text(name), language(own), key, path=key)
    if any(name.endswith(".jsonl") for name in files.names):
        yield from written()(files, split)


def written(part: str = "") -> Adapter:
    """Pairs that `codekin data synthesize` wrote: of its `s2s` or `xlang` file, or those with the model's answers."""
    suffix = re.escape(f".{part}.jsonl") if part else r"(?<!\.s2s)(?<!\.xlang)(?<!\.rejected)\.jsonl"

    def adapt(files: Files, split: str) -> Iterator[Found]:
        names = [name for name in files.names if re.search(rf"{suffix}$", name)]
        if not names:
            raise InputError(f"{files.where} holds no pairs yet; codekin data synthesize writes them")
        for name in names:
            for place, line in files.lines(name):
                pair = parse_pair(line, place)
                if "@" in pair.kind:  # the template that made it; what it was made from may lie here as well
                    key = pair.path.partition("#")[0]
                    yield Found(pair.query, pair.document, pair.language, key, pair.licence, pair.path)

    return adapt


class _Texts:
    """Texts by key in a temporary database: a site's questions do not fit into memory."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")
        self._database.execute(
            "CREATE TABLE texts (key TEXT PRIMARY KEY, text TEXT, more TEXT) WITHOUT ROWID"
        )

    def put(self, key: str, text: str, more: str = "") -> None:
        self._database.execute("INSERT OR REPLACE INTO texts VALUES (?, ?, ?)", (key, text, more))

    def get(self, key: str) -> tuple[str, str] | None:
        found: tuple[str, str] | None = self._database.execute(
            "SELECT text, more FROM texts WHERE key = ?", (key,)
        ).fetchone()
        return found

    def find(self, key: str, where: str) -> tuple[str, str]:
        if (found := self.get(key)) is None:
            raise InputError(f"{where}: there is nothing with the id {key}")
        return found


def _texts(record: Record, where: str, *fields: str) -> list[str]:
    texts = []
    for field in fields:
        text = record.get(field)
        if not isinstance(text, str):
            raise InputError(f"{where}: {field} is {'missing' if text is None else 'not a string'}")
        texts.append(text)
    return texts


def _rows(files: Files, name: str) -> Iterator[dict[str, str]]:
    """The attributes of the `row` elements of a dump, each forgotten once read."""
    with files.open(name) as stream:
        try:
            events = ElementTree.iterparse(stream, events=("start", "end"))
            root = next(events)[1]
            for event, element in events:
                if event == "end" and element.tag == "row":
                    yield dict(element.attrib)
                    root.clear()
        except ElementTree.ParseError as error:
            raise InputError(f"{files.where / name}: not XML: {error}") from None


def plain(html: str) -> str:
    """The text of an HTML fragment: a blank line between blocks, code as it is."""
    reader = _Plain()
    reader.feed(html)
    reader.close()
    return re.sub(r"\n{3,}", "\n\n", "".join(reader.parts)).strip()


class _Plain(HTMLParser):
    _BLOCKS = frozenset("p pre blockquote ul ol h1 h2 h3 h4 h5 h6 hr table div".split())

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.parts.append(
            "\n\n" if tag in self._BLOCKS else "\n- " if tag == "li" else "\n" if tag == "br" else ""
        )

    def handle_endtag(self, tag: str) -> None:
        self.parts.append("\n\n" if tag in self._BLOCKS else "")

    def handle_data(self, data: str) -> None:
        self.parts.append(data)
