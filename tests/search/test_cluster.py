"""An index in a shared store against one on this machine: the same calls on the same code, over a Milvus server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from commands import COMMAND
from milvus import milvus_server
from trees import FILES, write

from codekin.errors import CodekinError, InputError, MissingExtraError, StoreError
from codekin.search import CodeIndex, Level, Result, places, search_together
from codekin.search.cluster import view as cluster_view
from codekin.search.cluster.address import name_of, parse_address
from codekin.search.cluster.milvus import Milvus, equal

QUESTIONS = [
    "where are failed requests retried",
    "parse_size",
    "read the cache of a session",
    "retry_request queue timeout",
    "Session.close",
    "zebra quantum",
]
FILTERS: list[dict[str, object]] = [
    {},
    {"mode": "lexical"},
    {"mode": "semantic"},
    {"languages": ["javascript", "markdown"]},
    {"include": ["net/", "*.md", "cache/"]},
    {"exclude": ["tests/", "c*"], "anyway": True},
    {"top": 60},
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server."""
    with milvus_server(tmp_path_factory.mktemp("milvus")) as address:
        yield address


_NUMBERS = count()


@pytest.fixture
def store(server: str) -> str:
    """A store of the test's own."""
    return f"{server}?collection=test{next(_NUMBERS)}"


@pytest.fixture
def name(server: str) -> str:
    """A repository of the test's own, in a store that others use too."""
    return f"{server}#acme/tree{next(_NUMBERS)}"


@pytest.fixture
def mixed_tree(large_tree: Path) -> Path:
    """Files of several languages, equal ones, and odd ones: empty, of one long line, of a name that is not UTF-8."""
    for path in sorted(large_tree.rglob("*.py"))[25:]:
        path.unlink()
    write(large_tree, FILES)
    (large_tree / "empty.py").write_text("")
    (large_tree / "long.js").write_text(f"const table = {[f'item_{n}' for n in range(1200)]};\n")
    (large_tree / '"quoted" and \u00fc.py').write_text("def umlaut():\n    return 1\n")
    (large_tree / os.fsdecode(b"caf\xe9.py")).write_text("def latin():\n    return 1\n")
    for number in range(30):
        write(large_tree, {f"copies/{number}.py": "def sort_stream(queue):\n    return sorted(queue)\n"})
    return large_tree


def assert_same(shared: CodeIndex, local: CodeIndex, questions: int = 6, **options: object) -> None:
    for question in QUESTIONS[:questions]:
        assert_equal(shared.search(question, **options), local.search(question, **options))
        assert shared.answered == local.answered


def assert_equal(found: list[Result], expected: list[Result]) -> None:
    assert [replace(one, score=0.0, text="") for one in found] == [
        replace(one, score=0.0, text="") for one in expected
    ]
    assert [one.score for one in found] == pytest.approx([one.score for one in expected], abs=1e-5)
    for one, local in zip(found, expected, strict=True):  # of a very long line a chunk has the first part
        assert one.text and local.text.startswith(one.text)
        assert one.text == local.text or one.path == "long.js"


def test_a_shared_store_answers_as_the_local_one_does(
    mixed_tree: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        CodeIndex(mixed_tree, index=tmp_path / "index") as local,
        CodeIndex(mixed_tree, store=name) as shared,
    ):
        done, told = local.update(), shared.update()
        assert (told.added, told.chunks_embedded, told.skipped) == (
            done.added,
            done.chunks_embedded,
            done.skipped,
        )
        for options in FILTERS:
            assert_same(shared, local, 6 if not options else 3, **options)
        # Candidates that are too few at first are asked for again, however far the weights are from the true ones.
        monkeypatch.setattr(cluster_view, "_FIRST", 1)
        monkeypatch.setattr(cluster_view, "_FILES_AT_ONCE", 20)
        monkeypatch.setattr("codekin.search.ranking.POOL", 10)
        for options in [*FILTERS[:3], FILTERS[5]]:
            assert_same(shared, local, 4, top=5, **options)
        place = "net/retry.py", 8
        assert_equal(shared.related(*place, top=20), local.related(*place, top=20))
        assert_equal(
            shared.related(*place, languages=["markdown"]), local.related(*place, languages=["markdown"])
        )
        held, expected = shared.status(), local.status()
        assert (held.files, held.chunks, held.languages) == (
            expected.files,
            expected.chunks,
            expected.languages,
        )
        assert (held.model, held.dimensions, held.bytes) == (expected.model, expected.dimensions, None)
        for path, line in [("net/nowhere.py", 1), ("net/retry.py", 999)]:
            with pytest.raises(InputError) as one, CodeIndex(mixed_tree, index=tmp_path / "index") as other:
                other.related(path, line)
            with pytest.raises(InputError) as two:
                shared.related(path, line)
            assert str(one.value) == str(two.value)
        with pytest.raises(InputError, match=r"unknown language 'klingon'; indexed here: .*javascript"):
            shared.search("sort", languages=["klingon"])


def test_an_update_takes_in_what_changed(mixed_tree: Path, tmp_path: Path, name: str) -> None:
    with (
        CodeIndex(mixed_tree, index=tmp_path / "index") as local,
        CodeIndex(mixed_tree, store=name) as shared,
    ):
        shared.update()
        local.update()
        shutil.rmtree(mixed_tree / "net")
        (mixed_tree / "long.js").unlink()
        config = mixed_tree / "app/config.py"
        config.write_text("def retry_request(queue):\n    return queue\n\n\n" + config.read_text())
        (mixed_tree / "new.py").write_text("def zebra():\n    return quantum\n")
        done, told = local.update(), shared.update()
        assert (
            (told.added, told.changed, told.removed) == (done.added, done.changed, done.removed) == (1, 1, 2)
        )
        assert told.chunks_embedded == done.chunks_embedded
        assert_same(shared, local)
        assert shared.status().languages == local.status().languages
        assert_equal(shared.related("app/config.py", 1), local.related("app/config.py", 1))


def test_another_machine_writes_nothing_where_the_content_is_the_same(
    mixed_tree: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CodeIndex(mixed_tree, store=name) as first:
        first.update()
    copy = tmp_path / "elsewhere"
    shutil.copytree(mixed_tree, copy)
    for path in copy.rglob("*.*"):
        os.utime(path, ns=(1, 1))
    written: list[str] = []
    monkeypatch.setattr(Milvus, "upsert", lambda milvus, kind, rows: written.append(kind))
    with CodeIndex(copy, store=name) as second:
        report = second.update()
    assert (report.added, report.changed, report.removed) == (0, 0, 0) and not written


def test_writing_the_same_again_changes_nothing(tree: Path, name: str) -> None:
    with CodeIndex(tree, store=name) as index:
        index.update()
        before = rows_of(name)
        index.update(rebuild=True)
        assert rows_of(name) == before and len(before) == index.status().chunks


def rows_of(name: str) -> list[tuple[object, ...]]:
    address = parse_address(name)
    milvus = Milvus(address)
    columns = ("path", "text", "terms", "vector")
    rows = milvus.every("chunks", equal("repository", str(address.repository)), columns, strong=True)
    found = [
        (row["id"], row["path"], row["text"], *map(tuple, (row["terms"], row["vector"]))) for row in rows
    ]
    milvus.close()
    return sorted(found)


UPDATE = (
    "import sys\nfrom codekin import CodeIndex\n"
    "from codekin.search import indexing\nindexing._BATCH_BYTES = 4096\n"
    "with CodeIndex(sys.argv[1], store=sys.argv[2]) as index:\n    index.update()\n"
)


def start_update(tree: Path, store: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", UPDATE, str(tree), store])


def test_an_update_that_is_killed_is_made_whole_by_the_next(
    mixed_tree: Path, tmp_path: Path, name: str
) -> None:
    with CodeIndex(mixed_tree, store=name) as index:
        index.update()
        for path in sorted(mixed_tree.rglob("*.py"))[::2]:
            path.write_text(path.read_text() + "\n\ndef retry_queue():\n    return cache\n")
        for path in sorted(mixed_tree.rglob("*.py"))[1:40:4]:
            path.unlink()
        before = rows_of(name)
        process = start_update(mixed_tree, name)
        while process.poll() is None and rows_of(name) == before:
            pass
        process.kill()
        process.wait()
        assert rows_of(name) != before
        index.update()
        with CodeIndex(mixed_tree, index=tmp_path / "index") as local:
            local.update()
            assert_same(index, local)
            assert (index.status().files, index.status().chunks) == (
                local.status().files,
                local.status().chunks,
            )
            assert len(rows_of(name)) == local.status().chunks


@pytest.mark.parametrize("broken", ["chunks lost", "rows lost", "chunks of nothing"])
def test_what_does_not_agree_is_made_anew(tree: Path, tmp_path: Path, name: str, broken: str) -> None:
    where = equal("repository", str(parse_address(name).repository))
    with CodeIndex(tree, store=name) as index:
        index.update()
        milvus = Milvus(parse_address(name))
        if broken == "chunks lost":
            milvus.delete("chunks", "path", ["net/retry.py"], where)
        elif broken == "rows lost":
            milvus.delete("files", "path", ["net/retry.py"], where)
        else:
            milvus.delete("files", "path", ["net/retry.py"], where)
            (tree / "net/retry.py").unlink()
        milvus.close()
        index.update()
        with CodeIndex(tree, index=tmp_path / "index") as local:
            local.update()
            assert_same(index, local)
            assert len(rows_of(name)) == local.status().chunks
            assert index.update().unchanged == local.status().files


def test_two_updates_at_once_leave_what_one_would(mixed_tree: Path, tmp_path: Path, name: str) -> None:
    with CodeIndex(mixed_tree, store=name) as index, CodeIndex(mixed_tree, index=tmp_path / "index") as local:
        index.update()
        for path in sorted(mixed_tree.rglob("*.py"))[::3]:
            path.write_text(path.read_text() + "\n\ndef retry_queue():\n    return cache\n")
        processes = [start_update(mixed_tree, name) for _ in range(2)]
        assert [process.wait(60) for process in processes] == [0, 0]
        local.update()
        assert_same(index, local)
        assert len(rows_of(name)) == local.status().chunks == index.status().chunks
        assert index.update().unchanged == local.status().files


def test_one_question_to_every_repository_of_a_store(tmp_path: Path, store: str) -> None:
    whole = tmp_path / "whole"
    for number, (path, text) in enumerate(FILES.items()):
        write(whole, {f"{'one' if number % 2 else 'two'}/a/b/c/{path}": text})
    for name in ("one", "two"):
        with CodeIndex(whole / name, store=f"{store}#acme/{name}") as index:
            index.update()
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()
    with (
        CodeIndex(nowhere, store=f"{store}#*") as every,
        CodeIndex(nowhere, store=f"{store}#acme/one") as one,
        CodeIndex(whole, index=tmp_path / "index") as local,
    ):
        local.update()
        for question in QUESTIONS:
            found, expected = every.search(question), local.search(question)
            assert [(f"acme/{result.path}", result.text) for result in expected] == [
                (result.path, result.text) for result in found
            ]
            assert [result.score for result in found] == pytest.approx([result.score for result in expected])
        assert every.status().chunks == local.status().chunks > one.status().chunks
        held = every.status().repositories
        assert list(held) == ["acme/one", "acme/two"] and held["acme/one"].chunks == one.status().chunks
        place = "one/a/b/c/app/config.py", 8
        assert [f"acme/{result.path}" for result in local.related(*place)] == [
            result.path for result in every.related(f"acme/{place[0]}", place[1])
        ]
        assert {result.path for result in every.search("retried", include=["acme/one/"])} <= {
            f"acme/one/{result.path}" for result in one.search("retried", anyway=True)
        }
        assert {place.path for _, place in places([every], "parse_size retried", level=Level.REPO)} == {
            "acme/one",
            "acme/two",
        }
        with pytest.raises(InputError, match="every repository"):
            every.update()


def test_several_indexes_and_levels_are_ranked_as_local_ones(
    mixed_tree: Path, tmp_path: Path, name: str
) -> None:
    other = write(tmp_path / "other", {f"more/{path}": text for path, text in FILES.items()})
    with (
        CodeIndex(mixed_tree, index=tmp_path / "one") as one,
        CodeIndex(other, index=tmp_path / "two") as two,
        CodeIndex(mixed_tree, store=name) as first,
        CodeIndex(other, store=f"{name}-other") as second,
    ):
        for index in (one, two, first, second):
            index.update()
        local, shared = (one, two), (first, second)
        for question in QUESTIONS[:3]:
            expected, found = search_together(local, question), search_together(shared, question)
            assert [local.index(of) for of, _ in expected] == [shared.index(of) for of, _ in found]
            assert_equal([result for _, result in found], [result for _, result in expected])
        for level in (Level.FILE, Level.FOLDER, Level.REPO):
            held = [
                places(indexes, "retry the request of a session", level=level) for indexes in (local, shared)
            ]
            assert [place.path for _, place in held[0]] == [place.path for _, place in held[1]]
            scores = [[place.score for _, place in some] for some in held]
            assert scores[1] == pytest.approx(scores[0], abs=1e-4)


def test_a_store_has_one_model(tree: Path, store: str) -> None:
    with CodeIndex(tree, store=f"{store}#a") as first:
        first.update()
        with CodeIndex(tree, store=f"{store}#a", dimensions=64) as other:
            with pytest.raises(
                StoreError, match=r"made with 256 dimensions, not 64; .*--store .*--rebuild makes it anew"
            ):
                other.search("retry")
            other.update(rebuild=True)  # the only repository may choose
            assert other.status().dimensions == 64 and other.search("where are failed requests retried")
        with CodeIndex(tree, store=f"{store}#b") as second:
            second.update()
            assert second.status().dimensions == 64
        with (
            CodeIndex(tree, store=f"{store}#b", dimensions=128) as other,
            pytest.raises(StoreError, match="holds 1 other repositories, made with codekin-static of 64"),
        ):
            other.update(rebuild=True)
        milvus = Milvus(parse_address(store))
        milvus.upsert("repositories", [{"id": "!", "about": {"version": 99}}])
        milvus.close()
        with pytest.raises(StoreError, match="of another version of codekin; name another with"):
            first.search("retry")


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("milvus://me:secret@host", "put them into CODEKIN_STORE_TOKEN"),
        ("milvus://host:port", "port is a number"),
        ("http://host", "is no store; write milvus://HOST"),
        ("milvus-lite:file.sqlite", "is no store"),
        ("milvus://host?collection=a b", "no name of a collection"),
        ("milvus://host#a b", "no name of a repository"),
        ("milvus://host/a/b", "is no store"),
    ],
)
def test_an_address_that_is_none_is_one_line(tree: Path, address: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        CodeIndex(tree, store=address)
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


def test_what_keeps_a_store_from_answering_is_one_line(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codekin.search.cluster.milvus._CONNECT_SECONDS", 0.5)
    monkeypatch.setenv("CODEKIN_STORE_TOKEN", "root:secret")
    with (
        CodeIndex(tree, store="milvus://127.0.0.1:9") as index,
        pytest.raises(StoreError, match=r"store: milvus://127.0.0.1:9 cannot be reached$"),
    ):
        index.search("retry")
    with pytest.raises(InputError, match="one of both"):
        CodeIndex(tree, store="milvus://host", index=tmp_path / "index")
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with (
        CodeIndex(tree, store="milvus://host") as index,
        pytest.raises(MissingExtraError, match=r"codekin\[cluster\]"),
    ):
        index.status()


def test_a_refusal_does_not_tell_the_token(tree: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEKIN_STORE_TOKEN", "root:secret")
    with CodeIndex(tree, store=name) as index:
        index.update()
        import pymilvus

        def refuse(*arguments: object, **options: object) -> None:
            raise pymilvus.MilvusException(65535, "auth check failure,\nplease check root:secret")

        monkeypatch.setattr(pymilvus.MilvusClient, "search", refuse)
        with pytest.raises(
            CodekinError, match=r"refuses: auth check failure, .*CODEKIN_STORE_TOKEN"
        ) as caught:
            index.search("retry")
        assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_repository_goes_by_the_name_of_its_remote(tmp_path: Path) -> None:
    def named(remote: str) -> str:
        root = tmp_path / str(next(_NUMBERS))
        subprocess.run(["git", "init", "-q", str(root)], check=True)
        subprocess.run(["git", "-C", str(root), "remote", "add", "origin", remote], check=True)
        (root / "sub").mkdir()
        assert name_of(root / "sub", "other").removesuffix("/sub") == name_of(root, "other")
        return name_of(root, "other")

    assert named("git@github.com:acme/api.git") == "github.com/acme/api"
    assert named("https://token@github.com/acme/api") == "github.com/acme/api"
    assert named("ssh://git@git.acme.org:2222/team/api.git/") == "git.acme.org/team/api"
    assert named(str(tmp_path)) == "other"
    assert name_of(tmp_path, "gr\u00f6\u00dfe x-12") == "gr__e_x-12"


def test_the_command_line_speaks_to_a_store(tree: Path, tmp_path: Path, name: str) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "CODEKIN_STORE": name, "XDG_CACHE_HOME": str(tmp_path)}
        done = subprocess.run(
            [COMMAND, *arguments], cwd=tree, env=environment, capture_output=True, text=True
        )
        assert "Traceback" not in done.stderr
        return done

    empty = run("search", "retry")
    assert (empty.returncode, empty.stderr.count("\n")) == (1, 1) and "nothing is indexed" in empty.stderr
    assert "5 added" in run("index").stdout
    found = run("search", "where are failed requests retried", "--rerank=codekin-static")
    assert found.returncode == 0 and found.stdout.startswith("net/retry.py:1-24") and not found.stderr
    everywhere = run("search", "where are failed requests retried", "--all", "--json")
    assert f"{name.partition('#')[2]}/net/retry.py" in everywhere.stdout
    assert name in run("status").stdout


def test_a_file_serves_as_a_store_for_trials(tree: Path, tmp_path: Path) -> None:
    store = f"milvus-lite:{tmp_path}/trial.db"
    subprocess.run([sys.executable, "-c", UPDATE, str(tree), store], check=True)
    code = f"from codekin import CodeIndex; print(CodeIndex({str(tree)!r}, store={store!r}).status().chunks)"
    assert int(subprocess.check_output([sys.executable, "-c", code])) == 5
