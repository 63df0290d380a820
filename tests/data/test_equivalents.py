"""Code that does the same: renamed copies, implementations, one example in several languages."""

from pathlib import Path

import pytest

from codekin.data import Pair, SourceTree, mine
from codekin.data.equivalents import bases
from codekin.tasks import Task


def _code2code(root: Path, files: dict[str, str]) -> list[Pair]:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    pairs = mine([SourceTree(root, "folder:x", "MIT")], workers=0)
    return [pair for pair in pairs if pair.task is Task.CODE2CODE]


MEAN = """def mean(values):
    total = 0
    for value in values:
        total += weight(value)
    return total / len(values)
"""


@pytest.mark.parametrize(
    ("changes", "equal"),
    [
        ({"mean": "average", "value": "row", "total": "sum_"}, True),
        ({"total": "sum_", "value": "row"}, True),
        ({"mean": "average"}, False),  # a copy rather than a renamed one
        ({"mean": "average", "weight": "height", "total": "t"}, False),  # calls something else
        ({"mean": "average", "total": "value"}, False),  # two names become one
        ({"mean": "average", "total": "t", "= 0": "= 1"}, False),
        ({"mean": "average", "for": "while", "value": "v"}, False),
    ],
)
def test_renamed_copies(tmp_path: Path, changes: dict[str, str], equal: bool):
    copy = MEAN
    for old, new in sorted(changes.items(), key=lambda item: -len(item[0])):
        copy = copy.replace(old, new)
    pairs = _code2code(tmp_path, {"a.py": MEAN, "b.py": copy})
    expected = [("renamed", MEAN.strip(), copy.strip(), "b.py")] if equal else []
    assert [(p.kind, p.query, p.document, p.path) for p in pairs] == expected


def test_implementations_of_one_method(tmp_path: Path):
    java = """class %s %s {
    public Result render(Node node) {
        Result made = start(node, %d);
        %s;
        return made;
    }
}
"""
    pairs = _code2code(
        tmp_path,
        {
            "A.java": java % ("A", "implements Renderer<Node>, Closeable", 1, "made.first()"),
            "B.java": java % ("B", "extends View implements api.Renderer<Leaf>", 2, "made.second(node)"),
            "C.java": java % ("C", "extends View", 3, "third(made, node, 1)"),
            "D.java": java % ("D", "implements Other", 4, "fourth(made)"),
        },
    )
    assert [(p.kind, p.language, p.path) for p in pairs] == [
        ("implementation", "java", "B.java"),
        ("implementation", "java", "C.java"),
    ]
    assert "made.first()" in pairs[0].query and "made.second(node)" in pairs[0].document


@pytest.mark.parametrize(
    ("language", "signature", "expected"),
    [
        ("python", "class A(pkg.Base[int], Generic[T, U], metaclass=Meta):", ["Base"]),
        ("java", "public class A<T extends X> extends B<T> implements C, d.E<F>", ["B", "C", "E"]),
        ("typescript", "class A extends B implements C", ["B", "C"]),
        ("csharp", "public sealed class A<T> : Base<T>, IThing where T : class", ["Base", "IThing"]),
        ("cpp", "class A : public ns::B, private virtual C<int>", ["B", "C"]),
        ("kotlin", "class A(val x: Int) : B(x), C", ["B", "C"]),
        ("swift", "extension A: P, Q where T: R", ["P", "Q"]),
        ("rust", "impl<T: Clone> fmt::Display for Point<T>", ["Display"]),
        ("rust", "impl Point", []),
        ("ruby", "class A < Net::Base", ["Base"]),
        ("scala", "class A extends B with C[Int]", ["B", "C"]),
        ("php", "final class A extends B implements \\Ns\\C", ["B", "C"]),
        ("go", "type A struct", []),
    ],
)
def test_bases(language: str, signature: str, expected: list[str]):
    assert bases(signature, language) == expected


def test_one_example_in_several_languages(tmp_path: Path):
    licence = "# Copyright 2020 Somebody. Licensed under the MIT license.\n\n"
    python = "def gcd(a, b):\n    while b:\n        a, b = b, a % b\n    return a\n\n\nprint(gcd(12, 18))"
    go = "package main\n\nfunc gcd(a, b int) int {\n\tfor b != 0 {\n\t\ta, b = b, a%b\n\t}\n\treturn a\n}"
    pairs = _code2code(
        tmp_path,
        {
            "tasks/python/greatest_divisor.py": licence + python,
            "tasks/golang/GreatestDivisor.go": go,
            "tasks/rust/other.rs": 'fn main() {\n    println!("{}", 1);\n    print();\n    print();\n    x();\n}\n',
            "greatest_divisor.py": python.replace("gcd", "divisor"),  # in no folder of a language
        },
    )
    assert [(p.kind, p.language, p.path) for p in pairs] == [
        ("translation", "python", "tasks/python/greatest_divisor.py")
    ]
    assert (pairs[0].query, pairs[0].document) == (go, python)


def test_a_method_that_every_class_has_gives_few_pairs(tmp_path: Path):
    classes = "".join(
        f"class C{n}(Base):\n    def load(self, path):\n        one({n})\n        two{n}(path)\n        return 1\n\n\n"
        for n in range(40)
    )
    assert 4 <= len(_code2code(tmp_path, {"a.py": classes})) <= 10
