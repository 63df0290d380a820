"""Pairs from git repositories, made here by the git command."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from codekin.data import Pair, SourceTree, mine
from codekin.data.git import Commit, commits
from codekin.data.history import is_minable_commit, query_of
from codekin.errors import InputError
from codekin.tasks import Task

MIT = "Permission is hereby granted, free of charge. This notice shall be included in all copies."
READ = "def read_rows(path):\n    rows = []\n    for line in open(path):\n        rows.append(line)\n    return rows\n"
CLOSED = READ.replace(
    "    for line in open(path):\n        rows.append(line)\n",
    "    with open(path) as file:\n        for line in file:\n            rows.append(line)\n",
)
SLOW = "def slow_sum(rows):\n    total = 0\n    for row in rows:\n        total += row\n    return total\n"


class Repository:
    """A repository of a test's own; `git` runs there with an identity and no settings of the machine's."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *command: str, author: str = "Ann <ann@example.org>") -> str:
        name, _, mail = author.rstrip(">").partition(" <")
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
        for who in ("AUTHOR", "COMMITTER"):
            environment |= {f"GIT_{who}_NAME": name, f"GIT_{who}_EMAIL": mail}
        done = subprocess.run(
            ["git", "-c", "protocol.file.allow=always", *command],
            cwd=self.root,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def commit(
        self, message: str, files: dict[str, str | bytes], author: str = "Ann <ann@example.org>"
    ) -> str:
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message, author=author)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Three commits: two functions come, one is changed, both are."""
    made = Repository(tmp_path / "tables")
    made.commit("Initial commit of it all", {"LICENSE": MIT, "io/rows.py": READ + "\n\n" + SLOW})
    made.commit("fix(io): close the file after reading rows (#12)", {"io/rows.py": CLOSED + "\n\n" + SLOW})
    return made


def _mine(path: Path) -> list[Pair]:
    return list(mine([SourceTree.open(path)], per_source=None, workers=0))


def _history(pairs: list[Pair]) -> list[Pair]:
    return [pair for pair in pairs if pair.kind in ("commit", "version")]


def test_a_commit_gives_its_function_and_both_versions(repository: Repository):
    revision = repository.git("rev-parse", "HEAD")
    about = ("python", "git:tables", "MIT", "io/rows.py")
    assert _history(_mine(repository.root)) == [
        Pair(READ.rstrip(), CLOSED.rstrip(), Task.CODE2CODE, *about, "version", revision),
        Pair("Close the file after reading rows", CLOSED.rstrip(), Task.NL2CODE, *about, "commit", revision),
    ]


def test_pairs_of_files_have_the_revision_checked_out_and_the_origin(repository: Repository):
    repository.git("remote", "add", "origin", "https://someone:word@git.example.org/group/tables.git")
    head = repository.commit("Say what it does", {"io/rows.py": f"# Read the rows of a file.\n{CLOSED}"})
    pairs = [pair for pair in _mine(repository.root) if pair.kind == "documentation"]
    assert {(p.query, p.source, p.revision) for p in pairs if p.task is Task.NL2CODE} == {
        ("Read the rows of a file.", "git:group/tables", head)
    }


def test_a_change_outside_of_functions_gives_its_hunk(repository: Repository):
    table = "LIMITS = {\n" + "".join(f'    "level {n}": {n},\n' for n in range(40)) + "}\n"
    repository.commit("Start of a table", {"limits.py": table})
    repository.commit("Raise the limit of the ninth level", {"limits.py": table.replace("9,", "99,", 1)})
    (pair,) = (p for p in _history(_mine(repository.root)) if p.path == "limits.py")
    assert (pair.query, pair.task, pair.kind) == (
        "Raise the limit of the ninth level",
        Task.NL2CODE,
        "commit",
    )
    assert pair.document.split("\n") == [
        *(f'     "level {n}": {n},' for n in (6, 7, 8)),
        '-    "level 9": 9,',
        '+    "level 9": 99,',
        *(f'     "level {n}": {n},' for n in (10, 11, 12)),
    ]


def test_a_message_about_a_new_file_or_many_functions_is_not_one_about_a_function(repository: Repository):
    functions = "".join(SLOW.replace("slow_sum", f"sum_{n}").replace("0", str(n)) for n in range(9))
    repository.commit("Start of several sums", {"sums.py": functions})
    repository.commit("Make every sum of rows faster", {"sums.py": functions.replace("+= row", "+= row * 1")})
    repository.commit(
        "Write rows into a file", {"write.py": READ, "io/rows.py": CLOSED + "\n\n" + SLOW + "\n# x\n"}
    )
    pairs = _history(_mine(repository.root))
    assert [p.query for p in pairs if p.kind == "commit"] == ["Close the file after reading rows"]
    assert sum(p.kind == "version" for p in pairs) == 10


@pytest.mark.parametrize(
    ("message", "author"),
    [
        ('Revert "Close the file after reading rows"', "Ann <ann@example.org>"),
        ("Read it as before\n\nThis reverts commit 0123456789.", "Ann <ann@example.org>"),
        ("Close the file after reading rows", "dependabot[bot] <1+dependabot[bot]@users.noreply.github.com>"),
        ("Close the file after reading rows", "Renovate <bot@renovateapp.com>"),
    ],
)
def test_bots_and_reverts_give_nothing(repository: Repository, message: str, author: str):
    repository.commit(message, {"io/rows.py": CLOSED.replace("append", "insert") + "\n\n" + SLOW}, author)
    assert len(_history(_mine(repository.root))) == 2


def test_sweeping_commits_and_merges_give_nothing(repository: Repository):
    many = {f"part{n}.py": SLOW.replace("slow", f"slow{n}") for n in range(30)}
    repository.commit("Add all of the parts", many)
    repository.commit("Sum with the helper", {name: text.replace("+=", "-=") for name, text in many.items()})
    repository.git("checkout", "-q", "-b", "side", "HEAD~1")
    repository.commit("Sum of a side branch", {"side.py": SLOW})
    repository.git("checkout", "-q", "main")
    repository.git("merge", "-q", "--no-ff", "-m", "Join the side with its sums", "side")
    assert len(_history(_mine(repository.root))) == 2


def test_a_secret_in_a_version_drops_its_pairs(repository: Repository):
    leaking = CLOSED.replace("rows = []", 'password = "hunter2hunter2"')
    repository.commit("Log in before reading rows", {"io/rows.py": leaking + "\n\n" + SLOW})
    assert all("hunter2" not in p.query + p.document for p in _mine(repository.root))
    assert len(_history(_mine(repository.root))) == 2


@pytest.mark.parametrize(
    ("subject", "query"),
    [
        ("feat(parser)!: accept trailing commas in lists", "Accept trailing commas in lists"),
        ("net/http: reuse idle connections, fixes #77", "Reuse idle connections,"),
        ("[core] Keep the order of keys (#123)", "Keep the order of keys"),
        ("PROJ-12: Keep the order of keys", "Keep the order of keys"),
        ("Bump lodash from 4.1 to 4.2", ""),
        ("Fix typos in the docs", ""),
        ("WIP do not merge this yet", ""),
        ("update readme", ""),
        ("1.2.3", ""),
        ("Corrige el error de la lista de los usuarios", ""),
    ],
)
def test_query_of(subject: str, query: str):
    commit = Commit("0" * 40, "Ann <a@b>", subject, "", (), ())
    assert is_minable_commit(commit)
    assert query_of(commit, ()).rstrip(",") == query.rstrip(",")


def test_bare_shallow_and_partial_trees(repository: Repository, tmp_path: Path):
    whole = _mine(repository.root)
    repository.git("clone", "-q", "--bare", str(repository.root), str(tmp_path / "bare" / "tables.git"))
    bare = _mine(tmp_path / "bare" / "tables.git")
    key = [(p.query, p.document, p.kind, p.path, p.licence, p.revision) for p in whole]
    assert [(p.query, p.document, p.kind, p.path, p.licence, p.revision) for p in bare] == key
    shallow = tmp_path / "shallow"
    repository.git("clone", "-q", "--depth=1", f"file://{repository.root}", str(shallow))
    assert _history(_mine(shallow)) == []
    assert len(_mine(shallow)) == len(whole) - 2
    part = _mine(repository.root / "io")
    assert [(p.kind, p.path, p.licence) for p in _history(part)] == [
        ("version", "rows.py", "MIT"),
        ("commit", "rows.py", "MIT"),
    ]


def test_what_is_no_repository_or_a_broken_one(repository: Repository, tmp_path: Path):
    untracked = repository.root / "build-of-mine"
    untracked.mkdir()
    (untracked / "rows.py").write_text(f"# Read the rows of a file.\n{READ}")
    tree = SourceTree.open(untracked)
    assert (tree.source, tree.revision, tree.repository) == ("folder:build-of-mine", "", None)
    empty = Repository(tmp_path / "empty")
    assert _mine(empty.root) == []
    with pytest.raises(InputError, match="does not exist"):
        SourceTree.open(tmp_path / "nowhere")
    # A commit whose objects are gone: what can be read still is.
    blob = repository.git("rev-parse", "HEAD~1:io/rows.py")
    (repository.root / ".git/objects" / blob[:2] / blob[2:]).unlink()
    assert _history(_mine(repository.root)) == []
    shutil.rmtree(repository.root / ".git/objects")
    (repository.root / ".git/objects").mkdir()
    skipped: list[tuple[str, str]] = []
    pairs = mine([SourceTree.open(repository.root)], workers=0, on_skip=lambda *what: skipped.append(what))
    assert _history(list(pairs)) == []


def test_messages_may_hold_anything(repository: Repository):
    message = "Keep \x01 and \x02 and \u2028 in the rows"
    odd = repository.commit(message, {"io/r\N{LATIN SMALL LETTER U WITH DIAERESIS} s.py": READ})
    repository.commit(message, {"io/r\N{LATIN SMALL LETTER U WITH DIAERESIS} s.py": CLOSED})
    opened = SourceTree.open(repository.root).repository
    assert opened is not None
    assert len(list(commits(opened, 10))) in (1, 3)  # those with separators in their message may be left out
    assert odd
    assert _history(_mine(repository.root))


def test_git_runs_nothing_that_a_repository_names(repository: Repository, tmp_path: Path):
    mark = tmp_path / "ran"
    for name in ("core.fsmonitor", "diff.external", "core.pager", "diff.x.textconv", "diff.x.command"):
        repository.git("config", name, f"touch {mark}; false")
    (repository.root / ".gitattributes").write_text("*.py diff=x\n")
    assert len(_history(_mine(repository.root))) == 2
    assert not mark.exists()
