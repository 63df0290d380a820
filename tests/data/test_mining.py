from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from codekin.data import MiningProgress, Pair, SourceTree, mine
from codekin.tasks import Task

PACKAGE = "pypi:sample@1.0"

SAMPLE = Path(__file__).parent / "sample"

# File, language, query, and the lines of the file (counted from 1) that make up the document.
DOCUMENTED: list[tuple[str, str, str, list[int]]] = [
    ("src/Cart.php", "php", "Gets the price of all items, with tax.", [*range(10, 15)]),
    ("src/Clamp.swift", "swift", "Keeps a value inside the bounds of a range.", [*range(5, 9)]),
    ("src/Retry.cs", "csharp", "Calls an System.Action again until it stops failing.", [*range(9, 17)]),
    ("src/Runs.hs", "haskell", "Counts the runs of equal elements in a list.", [*range(7, 12)]),
    ("src/Shapes.scala", "scala", "Computes the area of a polygon by the shoelace formula.", [*range(6, 10)]),
    ("src/Sums.java", "java", "Adds up all int values of an array.", [*range(7, 12)]),
    ("src/Trim.pm", "perl", "Removes white space around a $text.", [*range(2, 7)]),
    (
        "src/backup.sh",
        "bash",
        "Keeps the seven newest copies of a file and removes older ones.",
        [*range(4, 9)],
    ),
    ("src/chunks.ex", "elixir", "Splits a binary into parts of at most size bytes.", [*range(9, 13)]),
    ("src/debounce.js", "javascript", "Delays a call until the events stop coming.", [*range(5, 12)]),
    ("src/groups.kt", "kotlin", "Groups words by their first letter.", [*range(6, 10)]),
    ("src/lib.rs", "rust", "Counts the set bits of every byte.", [*range(8, 13)]),
    ("src/matrix.hpp", "cpp", "Multiplies two square matrices held row by row.", [*range(6, 11)]),
    ("src/merge.lua", "lua", "Copies the fields of one table into another.", [*range(6, 12)]),
    ("src/queue.py", "python", "Take up to limit items from the queue.", [2, *range(7, 10)]),
    ("src/ring.go", "go", "Push writes a value over the oldest one.", [*range(4, 8)]),
    ("src/scale.R", "r", "Scale a vector to unit length", [*range(6, 10)]),
    ("src/slug.rb", "ruby", "Turns a title into a part of an address.", [*range(2, 6)]),
    ("src/store.ts", "typescript", "Looks an item up, making it if it is not there yet.", [*range(9, 14)]),
    ("src/swap.c", "c", "Swap the contents of two buffers", [*range(5, 11)]),
]


def _tree(root: Path, files: dict[str, str]) -> SourceTree:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return SourceTree(root, PACKAGE, "MIT")


def _mine(*trees: SourceTree, **options: object) -> list[Pair]:
    return list(mine(trees, workers=0, **options))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def sample() -> list[Pair]:
    return list(mine([SourceTree(SAMPLE, PACKAGE, "MIT")], workers=2))


@pytest.mark.parametrize(("name", "language", "query", "lines"), DOCUMENTED)
def test_documentation_leads_to_the_definition_without_it(
    sample: list[Pair], name: str, language: str, query: str, lines: list[int]
):
    text = (SAMPLE / name).read_text(encoding="utf-8").split("\n")
    document = "\n".join(text[number - 1] for number in lines).lstrip()
    about = (language, "pypi:sample@1.0", "MIT", name, "documentation")
    assert [pair for pair in sample if pair.path == name and pair.kind == "documentation"] == [
        Pair(query, document, Task.NL2CODE, *about),
        Pair(document, query, Task.CODE2NL, *about),
    ]


def test_the_sample_gives_nothing_else(sample: list[Pair]):
    kinds = Counter(pair.kind for pair in sample)
    assert kinds.pop("completion") == sum(_completed(sample, text) for text in DOCUMENTED)
    assert 0 < kinds.pop("documented") < len(DOCUMENTED)
    assert kinds == {"documentation": 2 * len(DOCUMENTED), "section": 1, "example": 1}
    assert [pair.path for pair in sample] == sorted(pair.path for pair in sample)


def _completed(sample: list[Pair], entry: tuple[str, str, str, list[int]]) -> bool:
    """Whether the function has a completion pair, whose halves are then its text."""
    (document,) = (
        p.document for p in sample if (p.path, p.task, p.kind) == (entry[0], Task.NL2CODE, "documentation")
    )
    halves = [p for p in sample if p.path == entry[0] and p.kind == "completion"]
    assert len(halves) <= 1
    for pair in halves:
        assert pair.task is Task.CODE2COMPLETION
        assert f"{pair.query}\n{pair.document}" == document
    return bool(halves)


def test_documents_give_sections_and_examples(sample: list[Pair]):
    section, example = (pair for pair in sample if pair.path == "docs/device.md")
    assert (section.kind, section.task, section.language) == ("section", Task.QA, "markdown")
    assert section.query == "Reading from a slow device"
    assert section.document.startswith("Open it without blocking:\n\n```python\n")
    assert (example.kind, example.task, example.language) == ("example", Task.NL2CODE, "python")
    assert example.query == "Open it without blocking"
    assert example.document == (
        "device = open_device()\ndevice.nonblocking = True\nfor chunk in device:\n    handle(chunk)"
    )


def test_undocumented_definitions_are_asked_for_by_name(tmp_path: Path):
    code = "".join(
        f"def load_{word}_table(path):\n    rows = read(path)\n    check(rows, {number})\n    return rows\n\n\n"
        for number, word in enumerate(
            ["user", "order", "price", "stock", "vendor", "city", "route", "lease"] * 5
        )
    )
    pairs = _mine(_tree(tmp_path, {"tables.py": code}))
    pairs = [p for p in pairs if p.task is Task.NL2CODE]
    assert {p.kind for p in pairs} == {"name"}
    assert 0 < len(pairs) < 40
    for pair in pairs:
        first, verb, *rest = pair.query.split()
        assert (first, rest[-1]) == ("load", "table") and verb
        assert pair.document.startswith("def _(path):")


@pytest.mark.parametrize(
    ("name", "function"),
    [
        (
            "a.py",
            'def load_{0}_table(path):\n    """Rows of {0}."""\n    rows = []\n    read(rows)\n    return rows\n',
        ),
        (
            "a.c",
            "// Rows of {0}.\nint load_{0}_table(int path) {{\n    int rows = read(path);\n    return rows;\n}}\n",
        ),
    ],
)
def test_half_of_the_documented_are_asked_for_by_name_with_their_documentation(
    tmp_path: Path, name: str, function: str
):
    names = [first + second for first in ("user", "price", "city", "route") for second in "abcdefgh"]
    pairs = _mine(_tree(tmp_path, {name: "\n\n".join(map(function.format, names))}))
    found = [pair for pair in pairs if pair.kind == "documented"]
    assert len(names) / 4 < len(found) < len(names) * 3 / 4
    for pair in found:
        of = pair.query.split()[1]
        assert pair == replace(
            pair,
            query=f"load {of} table",
            document=function.format(of).replace(f"load_{of}_table", "_").strip(),
        )


def test_a_question_without_an_answer_is_no_pair(tmp_path: Path):
    text = "## Is it safe to run this as superuser, in a container or without one?\n\n## Why\n\nBecause it is asked.\n"
    assert not [pair for pair in _mine(_tree(tmp_path, {"faq.md": text})) if not pair.document]


def test_a_function_is_completed_at_a_line_of_its_middle(tmp_path: Path):
    lines = [
        "def total(rows):",
        "    sum = 0",
        *(f"    sum += weight({n}) * rows[{n}]" for n in range(10)),
        "    return sum",
    ]
    (pair,) = (p for p in _mine(_tree(tmp_path, {"a.py": "\n".join(lines)})) if p.kind == "completion")
    assert (pair.task, pair.language) == (Task.CODE2COMPLETION, "python")
    assert f"{pair.query}\n{pair.document}".split("\n") == lines
    assert 3 <= pair.query.count("\n") <= 9


def test_questions_of_a_faq_lead_to_their_answers(tmp_path: Path):
    faq = """# FAQ

## 1. How do I install it on a server?

Run the installer as the user who owns the folder.

**Why does it ask for a password?**

Because the folder belongs to somebody else on that server.

Q: Can I run two of them at once?
A: Yes, as long as each of them has a folder of its own.

## Where things are kept

They are kept in the folder that the installer asked for.
"""
    pairs = _mine(_tree(tmp_path, {"faq.md": faq}))
    assert [(p.kind, p.query, p.document[:10]) for p in pairs] == [
        ("question", "How do I install it on a server?", "Run the in"),
        ("question", "Why does it ask for a password?", "Because th"),
        ("question", "Can I run two of them at once?", "Yes, as lo"),
        ("section", "Where things are kept", "They are k"),
    ]
    assert {p.task for p in pairs} == {Task.QA}


@pytest.mark.parametrize(
    "text",
    [
        'def size(self):\n    """Return the size of it."""\n    return self._size\n',
        '# Generated by a tool. DO NOT EDIT.\ndef f(x):\n    """Return the size of it."""\n    y = x\n    return y\n',
        '# under the GNU GPL\ndef f(x):\n    """Return the size of it."""\n    y = x\n    return y\n',
        'def f(x):\n    """Return the size of it."""\n    key = "AKIAIOSFODNN7EXAMPLE"\n    y = key\n    return y\n',
        'def f(x):\n    """TODO: document this one."""\n    y = x\n    z = y\n    return z\n',
        "\0binary",
    ],
)
def test_what_yields_nothing(tmp_path: Path, text: str):
    assert _mine(_tree(tmp_path, {"a.py": text})) == []


def _function(name: str, documentation: str, value: int) -> str:
    return f'def {name}(x):\n    """{documentation}"""\n    y = x + {value}\n    print(y)\n    return y\n\n\n'


def test_no_query_and_no_document_twice_across_trees(tmp_path: Path):
    first = _tree(tmp_path / "a", {"a.py": _function("f", "Add one to it.", 1)})
    second = _tree(
        tmp_path / "b",
        {
            "a.py": _function("g", "add one  to it.", 2),
            "b.py": _function("f", "Another text for it.", 1).upper().lower(),
            "c.py": _function("h", "A third text here.", 3),
        },
    )
    pairs = _mine(first, second)
    assert [p.query for p in pairs if p.task is Task.NL2CODE] == ["Add one to it.", "A third text here."]
    assert [p.document for p in pairs if p.task is Task.CODE2NL] == ["Add one to it.", "A third text here."]


def test_cap_per_tree_keeps_the_same_pairs_in_every_run(tmp_path: Path):
    files = {
        f"m{n}.py": _function(f"f{n}", f"Compute the value number n{'x' * n} of it.", n) for n in range(30)
    }
    tree = _tree(tmp_path, files)
    every = _mine(tree)
    capped = _mine(tree, per_source=10)
    assert Counter(p.task for p in every) == {Task.NL2CODE: 30, Task.CODE2NL: 30}
    assert Counter(p.task for p in capped) == {Task.NL2CODE: 10, Task.CODE2NL: 10}
    assert [p for p in every if p in capped] == capped
    assert list(mine([tree], workers=2, per_source=10)) == capped


def test_held_out_folders_and_progress(tmp_path: Path):
    files = {f"{folder}/m.py": _function("f", f"Do it for {folder} once.", 1) for folder in ("click", "own")}
    files["own/m.py"] = _function("g", "Do it for own once.", 2)
    calls: list[MiningProgress] = []
    empty = _tree(tmp_path / "empty", {"x.txt": "nothing"})
    pairs = _mine(
        _tree(tmp_path / "full", files),
        empty,
        held_out=("pallets/click",),
        progress=lambda now: calls.append(replace(now)),
    )
    assert [p.path for p in pairs if p.task is Task.NL2CODE] == ["own/m.py"]
    assert (calls[0].trees, calls[0].files, calls[0].functions) == (0, 1, 1)
    assert (calls[-1].trees, calls[-1].trees_total, calls[-1].functions) == (2, 2, 1)


def test_long_definitions_are_cut_at_a_line(tmp_path: Path):
    body = "".join(f"    x = x + {n}\n" for n in range(1000))
    pair, back = _mine(
        _tree(tmp_path, {"a.py": f'def f(x):\n    """Add up all the numbers."""\n{body}    return x\n'})
    )
    assert (back.task, back.query) == (Task.CODE2NL, pair.document)
    assert 2900 < len(pair.document) <= 3000
    assert pair.document.splitlines()[-1].startswith("    x = x + ")
