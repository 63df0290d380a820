"""Ignore files against git itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from codekin.source import walk

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")

# All ASCII: `?` and `[...]` match a character here, one byte in git.
NAMES = ["a", "b", "ab", "a.x", "b.x", "foo", "foo.x", "a b", "a]"]
PATHS = [
    *NAMES,
    *(f"{d}/{n}" for d in ("d", "foo.d", "e") for n in NAMES),
    *(f"d/e/{n}" for n in NAMES),
    "d/foo.d/e/a",
    "e/d/a.x",
]


def git(root: Path, *arguments: str) -> bytes:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    return subprocess.run(
        ["git", "-c", "core.excludesFile=", *arguments],
        cwd=root,
        env=environment,
        check=True,
        capture_output=True,
    ).stdout


@pytest.fixture(scope="module")
def repository():
    with tempfile.TemporaryDirectory() as folder:
        root = Path(os.path.realpath(folder))
        git(root, "init", "-q")
        for path in PATHS:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text("x")
        yield root


def kept_by_git(root: Path) -> set[str]:
    listed = git(root, "ls-files", "--others", "--exclude-standard", "-z").split(b"\0")
    paths = {os.fsdecode(path) for path in listed if path}
    return {p for p in paths if not p.rpartition("/")[2].startswith(".")}


def kept_by_walk(root: Path) -> set[str]:
    return {file.path for file in walk(root)}


FRAGMENTS = [
    *("a", "b", "foo", "x", "d", "e", " ", "."),
    *("*", "**", "/", "**/", "/**", "/**/", "***", "?", "!", "#", "\\", "\\ ", "\\*", "\\!", "\\#"),
    *("[ab]", "[!a]", "[^a]", "[a-d]", "[]a]", "[[:alpha:]]", "[a", "[b-a]", "[\\]a]", "[[:nope:]]", "[a-]"),
    *("*.x", "/a", "d/", "foo.d/", "!a", "!d/", "!*/", "*", "/*", "d/*", "**/a", "d/**", "e/**/a"),
]
# What `a**/b` matches depends in git on where the strings lie in memory (wildmatch.c: `prev_p < text`).
UNBOUND_STARS = re.compile(r"(?:[^/*!]|.!)\*\*|\*\*[^/*]")
lines = (
    st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=4)
    .map("".join)
    .filter(lambda line: not UNBOUND_STARS.search(line))
)
ignore_files = st.lists(lines, max_size=5).flatmap(
    lambda found: st.sampled_from(["\n", "\r\n"]).map(lambda end: end.join(found) + end)
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(top=ignore_files, inner=ignore_files, exclude=ignore_files)
@example(top="*\n!*/\n!*.x\n", inner="", exclude="")
@example(top="d/*\n!d/e\n", inner="", exclude="")
@example(top="foo.d\n!foo.d/a\n", inner="", exclude="")
@example(top="*.x\n", inner="!a.x\n", exclude="b\n")
@example(top="d/**/a\n/e/**\n", inner="", exclude="")
@example(top="a\\ b\na b \n", inner="", exclude="")
@example(top="\ufeffa\n", inner="", exclude="")
def test_what_git_ignores_is_ignored(repository: Path, top: str, inner: str, exclude: str):
    (repository / ".gitignore").write_text(top, newline="")
    (repository / "d/.gitignore").write_text(inner, newline="")
    (repository / ".git/info/exclude").write_text(exclude, newline="")
    assert kept_by_walk(repository) == kept_by_git(repository)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(top=ignore_files, inner=ignore_files)
def test_a_subfolder_knows_the_rules_above_it(repository: Path, top: str, inner: str):
    (repository / ".gitignore").write_text(top, newline="")
    (repository / "d/.gitignore").write_text(inner, newline="")
    (repository / ".git/info/exclude").write_text("", newline="")
    whole = kept_by_walk(repository)
    below = kept_by_walk(repository / "d/e")
    # What is asked for by name is walked even if it is ignored as a whole.
    if any(path.startswith("d/e/") for path in whole):
        assert below == {path.removeprefix("d/e/") for path in whole if path.startswith("d/e/")}


def test_ignore_overrules_gitignore(tmp_path: Path):
    for name in ("a.py", "b.py", "c.py"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".gitignore").write_text("a.py\nb.py\n")
    (tmp_path / ".ignore").write_text("!b.py\nc.py\n")
    assert kept_by_walk(tmp_path) == {"b.py"}


def test_a_linked_work_tree_finds_the_exclude_file(tmp_path: Path):
    main = tmp_path / "main"
    main.mkdir()
    git(main, "init", "-q")
    git(main, "-c", "user.name=n", "-c", "user.email=e", "commit", "-q", "--allow-empty", "-m", "m")
    git(main, "worktree", "add", "-q", "../linked")
    (main / ".git/info/exclude").write_text("secret.py\n")
    for name in ("secret.py", "open.py"):
        (tmp_path / "linked" / name).write_text("x")
    assert kept_by_walk(tmp_path / "linked") == {"open.py"}
