"""What holds of chunks whatever the text, and where the cuts fall in real code."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import codekin.source
from codekin.source import LANGUAGES, Chunk, chunk, language_of
from codekin.source.chunks import MAX_SIZE, SOLID_SIZE, TEXT_LIMIT
from codekin.source.grammars import GRAMMARS

SAMPLES = [p for p in sorted((Path(__file__).parent / "samples").iterdir()) if p.suffix != ".txt"]
SOURCES = sorted(Path(codekin.source.__file__).parent.glob("*.py"))
PROSE = ("markdown", "rst", "text")


def check(text: str, language: str) -> list[Chunk]:
    """The chunks of `text`, with all that is promised of them checked."""
    chunks = chunk(text, language)
    lines = text.split("\n")
    last = 0
    for c in chunks:
        assert last < c.start_line <= c.end_line <= len(lines)
        assert not "".join(lines[last : c.start_line - 1]).strip(), "a line is lost"
        assert c.text == "\n".join(lines[c.start_line - 1 : c.end_line])[:TEXT_LIMIT]
        assert lines[c.start_line - 1].strip() and lines[c.end_line - 1].strip()
        assert len(c.text) <= MAX_SIZE or c.start_line == c.end_line
        assert c.kind and (c.kind == "section" if language in PROSE else c.kind != "section")
        last = c.end_line
    assert not "".join(lines[last:]).strip(), "a line is lost at the end"
    return chunks


languages = st.sampled_from(sorted({*GRAMMARS, *PROSE, "json", "vue"}))
bits = st.one_of(
    st.sampled_from([*"\n\n\n \t{}()[]<>;:,.'\"`#/*-=%@|\\\r\0\f", "x", "é", "\ud800", "😀", "\u2028"]),
    st.sampled_from(
        ["def ", "class ", "fn ", "end\n", "if ", "do\n", "begin\n", "x = 1\n", "/* ", " */", '"""']
    ),
    st.sampled_from(["```\n", "# h\n", "====\n", "<p>", "</p>"]),
)


@settings(max_examples=400, deadline=None)
@given(text=st.lists(bits, max_size=120).map("".join), language=languages)
@example(text="", language="python")
@example(text="\n\n", language="markdown")
@example(text="a\r\nb\rc\n", language="python")
def test_any_text(text: str, language: str):
    check(text, language)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), language=languages)
def test_pieces_of_real_code(data: st.DataObject, language: str):
    """Real code, cut and joined anywhere, read as any language."""
    path = data.draw(st.sampled_from(SAMPLES + SOURCES))
    text = path.read_text()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=4)))
    check(text[: cuts[0]] + text[cuts[1] :] * data.draw(st.integers(1, 3)), language)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.name)
def test_our_own_source(path: Path):
    text = path.read_text()
    chunks = check(text, "python")
    for c in chunks:
        for name in c.defines:
            assert name in c.text
    defined = [name for c in chunks for name in c.defines]
    tops = [
        line.split("(")[0].split(":")[0].split()[-1] for line in text.split("\n") if line.startswith("def ")
    ]
    assert set(tops) <= set(defined)


def lines_of(function: str, size: int) -> str:
    body = "".join(f"    total += compute({i})\n" for i in range(size // 27))
    return f"def {function}():\n{body}\n\n"


def test_solid_functions_stand_alone():
    text = "import os\n\n\n" + "".join(lines_of(f"f{i}", SOLID_SIZE + 100) for i in range(5))
    chunks = check(text, "python")
    assert [c.symbol for c in chunks][-5:] == [f"f{i}" for i in range(5)]
    assert {c.kind for c in chunks[-5:]} == {"function"}


def test_small_functions_are_merged():
    text = "".join(f"def f{i}():\n    return {i}\n\n\n" for i in range(40))
    chunks = check(text, "python")
    assert len(chunks) < 4
    assert [n for c in chunks for n in c.defines] == [f"f{i}" for i in range(40)]


def test_a_long_function_is_cut_between_statements():
    block = "    if ready(a):\n        first(a)\n        second(a)\n"
    chunks = check("def long(a):\n" + block * 200, "python")
    assert len(chunks) > 5
    assert {c.symbol for c in chunks} == {"long"}
    assert [c.defines for c in chunks] == [("long",)] + [()] * (len(chunks) - 1)
    assert all(c.text.startswith("    if ready") for c in chunks[1:])


def test_a_class_is_cut_between_methods():
    methods = "".join(
        f"    # About m{i}.\n    @property\n    def m{i}(self):\n" + "        self.go()\n" * 35 + "\n"
        for i in range(4)
    )
    head = 'class Big(Base):\n    """Doc."""\n\n' + "    x = 1\n" * 25
    chunks = check(f"{head}\n{methods}", "python")
    assert [(c.kind, c.symbol) for c in chunks] == [
        ("class", "Big"),
        *(("method", f"Big.m{i}") for i in range(4)),
    ]
    assert [c.text.split("\n")[0] for c in chunks[1:]] == [f"    # About m{i}." for i in range(4)]


def test_a_comment_too_long_for_its_function_still_speaks_of_it():
    comment = "/**\n" + " * Long words about the matter at hand.\n" * 100 + " */\n"
    chunks = check(comment + "void f(void) {\n" + "  work();\n" * 100 + "}\n", "c")
    assert {c.symbol for c in chunks} == {"f"}
    assert [c.defines for c in chunks if c.defines] == [("f",)]


def test_what_does_not_parse_is_cut_at_blank_lines():
    paragraph = "}}} ((( ]] @@ 12 %% not code at all\n" * 20 + "\n"
    chunks = check(paragraph * 10, "go")
    assert {(c.kind, c.symbol) for c in chunks} == {("lines", "")}
    starts = {c.start_line for c in chunks}
    assert starts <= {1 + 21 * i for i in range(10)}


def test_markdown_by_headings():
    text = (
        "intro\n\n# One #\n\n"
        + "words " * 120
        + "\n\n```sh\n# no heading\n```\n\nTwo\n---\n\n"
        + "more " * 120
        + "\n"
        "\n### Three\n\n" + "rest " * 120 + "\n\n| a |\n|---|\n| b |\n"
    )
    chunks = check(text, "markdown")
    assert [c.symbol for c in chunks] == ["One", "Two", "Three"]


def test_rst_by_headings():
    text = (
        "=====\nTitle\n=====\n\n" + "words " * 120 + "\n\nPart\n----\n\n" + "more " * 120 + "\n\n    code::\n"
    )
    assert [c.symbol for c in check(text, "rst")] == ["Title", "Part"]


def test_long_prose_is_cut_between_paragraphs():
    text = "# Head\n\n" + ("Sentence of some length. " * 10 + "\n\n") * 40
    chunks = check(text, "markdown")
    assert len(chunks) > 4
    assert {c.symbol for c in chunks} == {"Head"}


def test_html_names_elements_by_id():
    item = '<li class="x">some text that fills the page</li>\n'
    text = (
        "<html>\n<body>\n"
        + "".join(f'<div id="part{i}">\n{item * 25}</div>\n' for i in range(4))
        + "</body>\n</html>\n"
    )
    chunks = check(text, "html")
    assert [n for c in chunks for n in c.defines] == [f"part{i}" for i in range(4)]


@pytest.mark.parametrize("language", GRAMMARS)
@pytest.mark.parametrize(
    "text",
    [
        "[" * 10_000 + "]" * 10_000,
        "(\n" * 10_000 + ")\n" * 10_000,
        "f {\n" * 6_000 + "}\n" * 6_000,
        "if x:\n" * 4_000,
    ],
    ids=["one line", "many lines", "blocks", "unfinished"],
)
def test_deep_nesting(language: str, text: str):
    began = time.thread_time()
    check(text, language)
    assert time.thread_time() - began < 10


def test_a_line_of_100_mb():
    text = "x = 1\n" + "y" * 100_000_000 + "\nz = 2\n"
    began = time.thread_time()
    for language in ("python", "markdown", "json"):
        chunks = chunk(text, language)
        assert sum(len(c.text) for c in chunks) <= TEXT_LIMIT + 20
        assert chunks[-1].end_line == 3
    assert time.thread_time() - began < 5


def test_the_same_text_gives_the_same_chunks():
    for path in SAMPLES:
        text, language = path.read_text(), language_of(path.name, path.read_bytes())
        assert chunk(text, language) == chunk(text, language)


def test_unknown_languages_go_by_lines():
    for language in ("cobol", "vue"):
        assert {c.kind for c in check("a\n\nb\n" * 300, language)} == {"lines"}
    assert {"python", "vue", "text"} <= set(LANGUAGES)


def test_crlf_counts_as_one_line():
    text = "\r\n".join(f"def f{i}():\r\n    pass\r\n" for i in range(300))
    for c in check(text, "python"):
        assert c.text.startswith("def f")
        assert f"f{(c.start_line - 1) // 3}" == c.symbol


def test_merging_never_reorders():
    rng = random.Random(7)
    text = "\n".join(lines_of(f"g{i}", rng.choice([30, 200, 800, 2500, 5000])) for i in range(60))
    names = [n for c in check(text, "python") for n in c.defines]
    assert names == [f"g{i}" for i in range(60)]
