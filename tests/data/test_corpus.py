import hashlib
import zipfile
from pathlib import Path

import pytest

from codekin.data import Corpus, Package, fetch, load_corpus
from codekin.data.corpus import ECOSYSTEMS, PERMISSIVE_LICENCES, _debian_sources, _reason
from codekin.data.filters import is_held_out
from codekin.errors import InputError

_ENTRY = (
    'ecosystem = "npm", name = "left", version = "1.0.0", licence = "MIT", '
    f'sha256 = "{"ab" * 32}", languages = ["javascript"]'
)


def _list(entry: str) -> str:
    return f'debian_suite = "bookworm"\nheld_out = ["pallets/click"]\npackages = [\n  {{ {entry} }},\n]\n'


def test_the_corpus_that_comes_with_codekin():
    corpus = load_corpus()
    packages = corpus.packages
    assert len({(p.ecosystem, p.name) for p in packages}) == len(packages) >= 300
    assert {p.ecosystem for p in packages} == set(ECOSYSTEMS)
    assert {p.licence for p in packages} <= PERMISSIVE_LICENCES
    assert not any("GPL" in licence or "MPL" in licence for licence in PERMISSIVE_LICENCES)
    assert not [p for p in packages if is_held_out(p.name, corpus.held_out)]
    assert len({language for p in packages for language in p.languages[:1]}) >= 10
    assert len(corpus.held_out) >= 60
    assert {"pallets/flask", "rust-lang/rust"} & set(corpus.held_out) == {"pallets/flask"}


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"npm"', '"cargo"', "unknown ecosystem"),
        ('"1.0.0"', '"^1.0.0"', "not an exact version"),
        ('"1.0.0"', '"latest"', "not an exact version"),
        ('"MIT"', '"GPL-3.0-only"', "permissive"),
        ("abab", "ABAB", "sha256"),
        ('"left"', '"click"', "held out"),
        ('"left"', '"@click/core"', "held out"),
        ('"left"', '"--registry=x"', "not a package name"),
        ('"left"', '"../left"', "not a package name"),
        ('"left"', '"git+ssh:x"', "not a package name"),
        (', languages = ["javascript"]', "", "languages"),
        ('ecosystem = "npm"', 'ecosystem = "npm", url = "x"', "url"),
        ("[", "{", "corpus.toml: "),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, old: str, new: str, reason: str):
    path = tmp_path / "corpus.toml"
    path.write_text(_list(_ENTRY), encoding="utf-8")
    assert [str(p) for p in load_corpus(path).packages] == ["npm:left@1.0.0"]
    path.write_text(_list(_ENTRY).replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_corpus(path)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def _wheel(folder: Path, name: str) -> Package:
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}/core.py", "x = 1\n")
        wheel.writestr(f"{name}/tests/test_core.py", "assert 1\n")
        wheel.writestr(f"{name}/logo.png", "png")
        wheel.writestr(
            f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        )
        wheel.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return Package("pypi", name, "1.0", "MIT", hashlib.sha256(path.read_bytes()).hexdigest(), ("python",))


def test_fetch_checks_unpacks_and_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The real pip, which finds its packages in a folder instead of on the network."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    good, other = _wheel(shelf, "good"), _wheel(shelf, "other")
    forged = Package("pypi", "other", "1.0", "MIT", "0" * 64, ("python",))
    absent = Package("pypi", "absent", "1.0", "MIT", "0" * 64, ("python",))
    calls: list[tuple[int, int, str]] = []
    report = fetch(
        tmp_path / "corpus",
        Corpus((absent, good, forged), "bookworm", ()),
        progress=lambda *call: calls.append(call),
    )
    assert [(tree.source, tree.licence, tree.path) for tree in report.trees] == [
        ("pypi:good@1.0", good.licence, tmp_path / "corpus" / "pypi" / "good@1.0")
    ]
    files = [
        p.relative_to(report.trees[0].path).as_posix()
        for p in report.trees[0].path.rglob("*.*")
        if p.is_file()
    ]
    assert files == ["good/core.py"]
    (first, why_absent), (second, why_forged) = report.skipped
    assert (first, second) == (absent, forged)
    assert "absent" in why_absent and "\n" not in why_absent
    assert why_forged == "the registry's archive differs from the pinned one"
    assert sorted(done for done, _, _ in calls) == [1, 2, 3]
    assert {total for _, total, _ in calls} == {3}
    assert [p.name for p in (tmp_path / "corpus").iterdir()] == ["pypi"]

    for path in shelf.iterdir():
        if path.name.startswith("good"):
            path.unlink()  # a second download would fail
    again = fetch(tmp_path / "corpus", Corpus((good, other), "bookworm", ()))
    assert [tree.source for tree in again.trees] == [str(good), str(other)]
    assert again.skipped == ()


def test_debian_sources_take_the_machine_s_mirror_and_keys(tmp_path: Path):
    (tmp_path / "debian.sources").write_text(
        "Types: deb\n# a comment\nURIs: http://mirror.example/debian\nSuites: trixie trixie-updates\n"
        "Components: main contrib\nSigned-By: /usr/share/keyrings/debian.gpg\n\n"
        "Types: deb\nURIs: http://mirror.example/security\nSuites: trixie-security\nComponents: main\n"
    )
    (tmp_path / "other.sources.disabled").write_text("Types: deb\nURIs: x\nSuites: trixie\n")
    assert _debian_sources("bookworm", tmp_path) == [
        "Types: deb deb-src\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/debian.gpg"
    ]
    assert _debian_sources("bookworm", tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        (
            "WARNING: slow\nERROR: No matching distribution found for x==1\n",
            "ERROR: No matching distribution",
        ),
        ("W: unsandboxed\nE: Unable to locate package x\nE: more\n", "E: Unable to locate package x"),
        ("npm error code E404\nnpm error 404 Not Found", "npm error code E404"),
        ("something else\n", "something else"),
        ("", ""),
    ],
)
def test_the_telling_line_of_a_client(stderr: str, reason: str):
    assert _reason(stderr).startswith(reason)
