"""Definitions of a small sample in every language with a grammar, against what a reader finds in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from codekin.source import Definition, chunk, definitions, language_of
from codekin.source.grammars import GRAMMARS

SAMPLES = Path(__file__).parent / "samples"


def golden() -> dict[str, list[str]]:
    """What expected.txt says of each sample: "lines kind name  # doc", then the signature, alternating."""
    found: dict[str, list[str]] = {}
    for line in (SAMPLES / "expected.txt").read_text().splitlines():
        if line.startswith("== "):
            found[line[3:]] = []
        else:
            found[list(found)[-1]].append(line)
    return found


def rendered(definition: Definition) -> list[str]:
    doc = f"  # {definition.doc!r}" if definition.doc else ""
    lines = f"{definition.start_line}-{definition.end_line}"
    signature = definition.text[: definition.body_start]
    return [f"{lines} {definition.kind} {definition.name}{doc}", f"    {signature!r}"]


def read(name: str) -> tuple[str, str]:
    data = (SAMPLES / name).read_bytes()
    return data.decode(), language_of(name, data)


@pytest.mark.parametrize("name", golden())
def test_definitions(name: str):
    text, language = read(name)
    assert [line for d in definitions(text, language) for line in rendered(d)] == golden()[name]


def test_every_grammar_has_a_sample():
    assert {read(name)[1] for name in golden()} == set(GRAMMARS)


@pytest.mark.parametrize("name", golden())
def test_chunks_define_the_same(name: str):
    text, language = read(name)
    bare = {d.name.rpartition(".")[2] if d.kind != "rule" else d.name for d in definitions(text, language)}
    defined = {n for c in chunk(text, language) for n in c.defines}
    assert bare <= defined


@pytest.mark.parametrize("name", golden())
def test_text_is_source_without_its_documentation(name: str):
    text, language = read(name)
    lines = text.split("\n")
    for d in definitions(text, language):
        own = "\n".join(lines[d.start_line - 1 : d.end_line])
        kept = [line for line in d.text.split("\n") if line.strip()]
        assert all(line in own for line in kept)
        if d.doc:
            assert d.doc.split("\n")[0] not in d.text.split("\n")


def only(text: str, language: str) -> Definition:
    (found,) = definitions(text, language)
    return found


def test_body_starts_after_the_signature():
    found = only('def f(a,\n      b):\n    """Doc."""\n    return a\n', "python")
    assert found.text[: found.body_start] == "def f(a,\n      b):\n"
    assert found.text[found.body_start :] == "    return a"


def test_offsets_count_characters():
    found = only("// é\nfunction f(ü = 'é') { return 'é' }\n", "javascript")
    assert found.text[found.body_start :] == "{ return 'é' }"
    assert found.doc == "é"


@pytest.mark.parametrize(
    ("comment", "doc"),
    [
        ("/**\n * One.\n *\n *   indented\n * @param x y\n */", "One.\n\n  indented\n@param x y"),
        ("/* One.\n   Two. */", "One.\nTwo."),
        ("/// One.\n/// Two.", "One.\nTwo."),
        ("//! One.", "One."),
        ("//\n// One.\n// ------\n//", "One."),
        ("/**< One. */", "One."),
        ("/*\n**  One\n*/", "One"),
        ("// One.\n\n// Two.", "Two."),
        ("// One.\n", ""),
        ("int x; // One.", ""),
    ],
)
def test_comments_are_cleaned(comment: str, doc: str):
    found = definitions(f"{comment}\nint f() {{ return 1; }}\n", "c")
    assert found[-1].doc == doc


@pytest.mark.parametrize(
    ("literal", "doc"),
    [
        ('"""One.\n\n    Two.\n      Three.\n    """', "One.\n\nTwo.\n  Three."),
        ("'One.'", "One."),
        ('r"""One."""', "One."),
        ('"""One."""; pass', "One."),
        ('f"{x}"', "{x}"),
        ('""', ""),
    ],
)
def test_docstrings_are_cleaned(literal: str, doc: str):
    assert only(f"def f():\n    {literal}\n", "python").doc == doc


def test_attributes_between_comment_and_definition():
    found = only("/// Doc.\n#[inline]\n// why\n#[cold]\nfn f() {}\n", "rust")
    assert found.text == "#[inline]\n#[cold]\nfn f() {}"
    assert found.doc == "Doc.\nwhy"


def test_unbalanced_preprocessor_branches_are_seen_through():
    text = "".join(
        f"int f{i}(int a) {{\n#ifdef X\n  if (a) {{\n#else\n  if (!a) {{\n#endif\n    a++;\n  }}\n  return a;\n}}\n"
        for i in range(20)
    )
    assert [d.name for d in definitions(text, "c")] == [f"f{i}" for i in range(20)]


def test_a_header_with_classes_is_read_as_cplusplus():
    found = definitions("namespace n {\nclass Foo {\n public:\n  int bar() { return 1; }\n};\n}\n", "c")
    assert [d.name for d in found] == ["Foo", "Foo.bar"]


def test_no_grammar_no_definitions():
    assert definitions("def f(): pass", "text") == []
    assert definitions("def f(): pass", "cobol") == []
