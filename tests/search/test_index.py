"""CodeIndex on real trees: what it finds, and that an update is as good as a new index."""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import sqlite3
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import CONFIG, FILES, RETRY, SORTING, TEST, write

from codekin.errors import InputError, ModelError, StoreError
from codekin.search import CodeIndex, Mode, Result, UpdateProgress, indexing

QUERIES = (
    "where are failed requests sent again",
    "send_with_retries",
    "Session.close",
    "sort numbers",
    "def",
)
MODES = [mode.value for mode in Mode]


@pytest.fixture
def index(tree: Path, tmp_path: Path):
    with CodeIndex(tree, index=tmp_path / "index") as opened:
        yield opened


def places(results: list[Result]) -> list[tuple[str, int, int]]:
    return [(result.path, result.start_line, result.end_line) for result in results]


def answers(index: CodeIndex) -> list[list[Result]]:
    return [index.search(query, 50, mode=mode) for query in QUERIES for mode in MODES]


def clean_answers(tree: Path, scratch: Path, **options) -> list[list[Result]]:
    shutil.rmtree(scratch, ignore_errors=True)
    with CodeIndex(tree, index=scratch, **options) as index:
        return answers(index)


def snapshot(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            path.stat().st_mode,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in folder.rglob("*")
    }


def age(root: Path) -> None:
    """Gives every file a time long past: times that are seconds old make an index read the file again."""
    for path in root.rglob("*"):
        if path.is_file():
            os.utime(path, (1_600_000_000, 1_600_000_000))


# ---- finding


@pytest.mark.parametrize("mode", MODES)
def test_a_question_finds_the_function(index: CodeIndex, mode: str):
    (best, *_) = index.search("send a request again, waiting longer each time", mode=mode)
    assert (best.path, best.symbol, best.kind, best.language) == (
        "net/retry.py",
        "send_with_retries",
        "function",
        "python",
    )
    assert best.text.split("\n")[0] == RETRY.split("\n")[best.start_line - 1]
    assert "waiting longer each time" in best.text


@pytest.mark.parametrize(
    ("name", "path", "text"),
    [
        ("send_with_retries", "net/retry.py", "def send_with_retries"),
        ("load_settings", "app/config.py", "def load_settings"),
        ("quickSort", "web/sorting.js", "function quickSort"),
        ("Session.close", "net/retry.py", "def close"),
        ("parse_size()", "app/config.py", "def parse_size"),
    ],
)
def test_a_name_finds_its_definition(index: CodeIndex, name: str, path: str, text: str):
    (best, *_) = index.search(name)
    assert best.path == path
    assert text in best.text


def test_text_and_lines_belong_together(index: CodeIndex):
    for results in answers(index):
        for result in results:
            lines = FILES[result.path].split("\n")[result.start_line - 1 : result.end_line]
            assert result.text.rstrip("\n") == "\n".join(lines).rstrip("\n")


def test_results_are_sorted_and_never_twice(index: CodeIndex):
    for results in answers(index):
        scores = [result.score for result in results]
        assert scores == sorted(scores, reverse=True)
        assert all(score >= 0 for score in scores)
        assert len(set(places(results))) == len(results)


def test_top_cuts_the_list(index: CodeIndex):
    results = index.search("retry a request", 50)
    assert len(results) > 2
    assert index.search("retry a request", 2) == results[:2]


@pytest.mark.parametrize("mode", MODES)
def test_filters_leave_only_what_they_name(index: CodeIndex, mode: str):
    def paths(**filters) -> set[str]:
        return {result.path for result in index.search("retry request sort file", 50, mode=mode, **filters)}

    assert paths(languages=["javascript"]) == {"web/sorting.js"}
    assert paths(languages=["markdown"]) == {"docs/guide.md"}
    assert paths(include=["net/"]) == {"net/retry.py"}
    assert paths(include=["*.md", "app/**"]) == {"docs/guide.md", "app/config.py"}
    assert "tests/test_retry.py" in paths(exclude=["docs/"])
    assert not {"docs/guide.md", "tests/test_retry.py"} & paths(exclude=["docs/", "test_*"])
    assert paths(include=["*.py"], exclude=["tests/"]) <= {"net/retry.py", "app/config.py"}
    assert paths(include=["no/such/folder"]) == set()


def test_an_unknown_language_is_told_apart_from_one_that_is_not_here(index: CodeIndex):
    assert index.search("retry", languages=["rust"]) == []
    with pytest.raises(
        InputError, match="unknown language 'klingon'; indexed here: javascript, markdown, python"
    ):
        index.search("retry", languages=["klingon"])


def test_modes_differ_where_they_should(index: CodeIndex):
    assert index.search("qqqzzz", mode="lexical") == []
    assert index.search("quicksort", mode="lexical")
    with pytest.raises(InputError, match="unknown mode 'fuzzy'; modes: hybrid, semantic, lexical"):
        index.search("x", mode="fuzzy")


@pytest.mark.parametrize("query", ["", " ", "\n\t"])
def test_an_empty_query_is_refused(index: CodeIndex, query: str):
    with pytest.raises(InputError, match="the query is empty"):
        index.search(query)


@pytest.mark.parametrize("top", [0, -1])
def test_top_below_one_is_refused(index: CodeIndex, top: int):
    with pytest.raises(InputError, match=f"top is {top}"):
        index.search("x", top)


@pytest.mark.parametrize(
    "query", ["_", "?", "\0", "\ud800", "🦊", "the of and", "a" * 100_000, "Σελίδα 変数"]
)
@pytest.mark.parametrize("mode", MODES)
def test_any_text_is_a_query(index: CodeIndex, query: str, mode: str):
    index.search(query, mode=mode)


def test_a_query_of_ten_thousand_words(index: CodeIndex):
    query = " ".join([*(f"word{number}" for number in range(10_000)), "quickSort pivot"])
    assert index.search(query)[0].path == "web/sorting.js"


@given(query=st.text(min_size=1, max_size=40))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_breaks_a_search(index: CodeIndex, query: str):
    if not query.strip():
        return
    for mode in MODES:
        for result in index.search(query, 5, mode=mode):
            assert result.path in FILES


# ---- related code


def test_related_finds_the_like_and_not_the_place_itself(tree: Path, index: CodeIndex):
    write(tree, {"lib/again.py": RETRY.replace("send_with_retries", "send_again")})
    line = 1 + RETRY.split("\n").index("def send_with_retries(request, attempts=3):")
    results = index.related("net/retry.py", line + 2)
    assert results[0].path == "lib/again.py"
    assert results[0].symbol == "send_again"
    assert all((r.path, r.start_line <= line <= r.end_line) != ("net/retry.py", True) for r in results)
    assert {r.path for r in index.related("net/retry.py", line, languages=["javascript"])} <= {
        "web/sorting.js"
    }


@pytest.mark.parametrize(
    ("path", "line", "message"),
    [
        ("no/such.py", 1, "no/such.py is not in the index"),
        ("net/retry.py", 0, "no code at line 0"),
        ("net/retry.py", 10_000, "no code at line 10000"),
    ],
)
def test_related_needs_a_place_that_is_there(index: CodeIndex, path: str, line: int, message: str):
    with pytest.raises(InputError, match=message):
        index.related(path, line)


# ---- where the index is


def test_nothing_is_written_into_the_tree(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    age(tree)
    before = snapshot(tree)
    with CodeIndex(tree) as index:
        index.search("retry")
        index.update(rebuild=True)
        assert index.status().location.is_relative_to(tmp_path / "cache")
    assert snapshot(tree) == before


def test_every_root_has_its_own_index(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "link").symlink_to(tree)
    with CodeIndex(tree) as whole, CodeIndex(tree / "net") as part, CodeIndex(tmp_path / "link") as same:
        assert {r.path for r in part.search("sort a file, retry a request", 50)} == {"retry.py"}
        assert "net/retry.py" in {r.path for r in whole.search("retry", 50)}
        assert part.status().location != whole.status().location
        assert same.status().location == whole.status().location


def test_an_index_inside_its_tree_does_not_index_itself(tree: Path, tmp_path: Path):
    with CodeIndex(tree, index=tree / "inside") as index:
        assert counts(index.update()) == (5, 0, 0, 0)
        age(tree)
        index.update()
        assert counts(index.update()) == (0, 0, 0, 5)
        assert answers(index) == clean_answers(tree, tmp_path / "clean")


def test_an_empty_folder_has_no_answers(tmp_path: Path):
    (tmp_path / "tree").mkdir()
    with CodeIndex(tmp_path / "tree", index=tmp_path / "index") as index:
        assert [index.search("retry", mode=mode) for mode in MODES] == [[], [], []]
        status = index.status()
        assert (status.files, status.chunks, status.languages) == (0, 0, {})


@pytest.mark.parametrize(
    ("name", "message"), [("no-such", "does not exist"), ("tree/docs/guide.md", "is a file")]
)
def test_a_root_must_be_a_folder(tree: Path, tmp_path: Path, name: str, message: str):
    with pytest.raises(InputError, match=message):
        CodeIndex(tmp_path / name, index=tmp_path / "index")


def test_an_unknown_model_is_named(tree: Path, tmp_path: Path):
    with (
        CodeIndex(tree, index=tmp_path / "index", model="no-such-model") as index,
        pytest.raises(ModelError, match="no-such-model"),
    ):
        index.search("retry")


def test_status_counts_what_is_there(index: CodeIndex):
    assert index.status().updated_at is None
    report = index.update()
    status = index.status()
    assert status.files == report.added == len(FILES)
    assert status.chunks == report.chunks_embedded == sum(status.languages.values())
    assert set(status.languages) == {"python", "javascript", "markdown"}
    assert status.bytes >= status.location.stat().st_size > 0
    assert (status.model, status.dimensions) == ("codekin-static", 256)
    assert status.updated_at is not None


# ---- updates


def counts(report) -> tuple[int, int, int, int]:
    return report.added, report.changed, report.removed, report.unchanged


def test_a_second_update_has_nothing_to_do(tree: Path, index: CodeIndex):
    age(tree)
    assert counts(index.update()) == (5, 0, 0, 0)
    before = index.status()
    report = index.update()
    assert (counts(report), report.chunks_embedded, report.skipped) == ((0, 0, 0, 5), 0, ())
    assert index.status() == before


def test_only_changed_chunks_are_embedded(tree: Path, index: CodeIndex):
    index.update()
    write(tree, {"net/retry.py": RETRY.replace("gave up", "gave up at last")})
    report = index.update()
    assert (counts(report), report.chunks_embedded) == ((0, 1, 0, 4), 1)


def test_lines_that_only_moved_are_not_embedded_again(tree: Path, index: CodeIndex):
    index.update()
    write(tree, {"web/sorting.js": "// A new first line.\n\n\n" + SORTING})
    report = index.update()
    assert report.changed == 1
    assert report.chunks_embedded <= 1
    (best, *_) = index.search("quickSort")
    assert "function quickSort" in best.text


def test_a_touched_file_is_unchanged(tree: Path, index: CodeIndex):
    index.update()
    age(tree)
    report = index.update()
    assert (counts(report), report.chunks_embedded) == ((0, 0, 0, 5), 0)


def test_a_change_within_the_clocks_tick_is_seen(tree: Path, index: CodeIndex):
    """Same size and same time: a file's time is only believed when it was old as the file was read."""
    path = tree / "app/config.py"
    os.utime(path, (time.time() + 10,) * 2)
    index.update()
    status = path.stat()
    write(tree, {"app/config.py": CONFIG.replace("load_settings", "save_settings")})
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    index.update()
    assert index.search("save_settings")[0].symbol == "save_settings"


def test_a_file_from_the_future_is_read_again_and_not_embedded_again(tree: Path, index: CodeIndex):
    os.utime(tree / "app/config.py", (time.time() + 1000,) * 2)
    index.update()
    report = index.update()
    assert (counts(report), report.chunks_embedded) == ((0, 0, 0, 5), 0)


def test_files_come_go_and_move(tree: Path, index: CodeIndex):
    index.update()
    (tree / "docs/guide.md").unlink()
    (tree / "net/retry.py").rename(tree / "net/again.py")
    write(tree, {"lib/extra.py": "def extra_thing():\n    return 1\n"})
    assert counts(index.update()) == (2, 0, 2, 3)
    found = {result.path for result in index.search("retry request extra_thing configuration", 50)}
    assert "docs/guide.md" not in found
    assert "net/retry.py" not in found
    assert {"net/again.py", "lib/extra.py"} <= found


def test_a_file_that_becomes_ignored_goes(tree: Path, index: CodeIndex):
    index.update()
    write(tree, {".gitignore": "web/\n"})
    assert index.update().removed == 1
    assert "web/sorting.js" not in {result.path for result in index.search("sort numbers", 50)}


def test_progress_counts_to_the_end(tree: Path, index: CodeIndex, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(indexing, "_BATCH_BYTES", 1)
    calls: list[UpdateProgress] = []
    index.update(progress=calls.append)
    for name in ("files", "size", "chunks"):
        counts = [getattr(now, name) for now in calls]
        assert counts == sorted(counts)
    last = calls[-1]
    size = sum(map(len, FILES.values()))
    assert (last.files, last.size, last.chunks) == (5, size, index.status().chunks)
    assert {(now.files_total, now.size_total) for now in calls} == {(5, size)}
    assert {now.path for now in calls} == set(FILES)


def test_a_search_brings_up_to_date_once(tree: Path, index: CodeIndex):
    assert index.search("quickSort")[0].path == "web/sorting.js"
    (tree / "web/sorting.js").unlink()
    assert index.search("quickSort")[0].path == "web/sorting.js"
    assert index.search("quickSort")[0].text == ""
    index.update()
    assert "web/sorting.js" not in {result.path for result in index.search("quickSort", 50)}


def test_without_update_the_index_answers_as_it_stands(tree: Path, tmp_path: Path):
    with CodeIndex(tree, index=tmp_path / "index", update=False) as index:
        assert index.search("quickSort") == []
        index.update()
    (tree / "web/sorting.js").write_text("// nothing\n")
    with CodeIndex(tree, index=tmp_path / "index", update=False) as index:
        assert index.search("quickSort")[0].symbol == "quickSort"
        assert index.status().files == len(FILES)


def test_an_open_index_sees_what_another_process_wrote(tree: Path, tmp_path: Path):
    with (
        CodeIndex(tree, index=tmp_path / "index") as reader,
        CodeIndex(tree, index=tmp_path / "index") as writer,
    ):
        reader.search("x")
        write(tree, {"lib/extra.py": "def extra_thing():\n    return 1\n"})
        writer.update()
        assert reader.search("extra_thing")[0].path == "lib/extra.py"


def test_an_interrupted_update_keeps_what_it_committed(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(indexing, "_BATCH_BYTES", 1)

    def interrupt(now: UpdateProgress) -> None:
        if now.files == 3:
            raise KeyboardInterrupt

    with CodeIndex(tree, index=tmp_path / "index") as index:
        with pytest.raises(KeyboardInterrupt):
            index.update(progress=interrupt)
        assert counts(index.update()) == (2, 0, 0, 3)
        assert answers(index) == clean_answers(tree, tmp_path / "clean")


class Edits:
    """A tree that changes at random."""

    def __init__(self, root: Path, choice: random.Random) -> None:
        self.root = root
        self.choice = choice
        self.parts = [RETRY, CONFIG, SORTING, TEST, "", "\n", "x = 1\n", "def f():\n    pass\n", "\0binary"]

    def step(self) -> None:
        files = sorted(path for path in self.root.rglob("*") if path.is_file())
        path = self.choice.choice(files) if files else self.root / "first.py"
        match self.choice.randrange(6):
            case 0:
                path.unlink(missing_ok=True)
            case 1 if path.exists():
                target = (
                    self.root / self.choice.choice(["a", "b/c", "tests"]) / f"{self.choice.randrange(9)}.py"
                )
                target.parent.mkdir(parents=True, exist_ok=True)
                path.rename(target)
            case 2:
                parts = self.choice.choices(self.parts, k=self.choice.randrange(4))
                write(
                    self.root,
                    {
                        f"new/{self.choice.randrange(9)}.{self.choice.choice(['py', 'js', 'md'])}": "".join(
                            parts
                        )
                    },
                )
            case 3 if path.exists():
                lines = path.read_text().split("\n")
                at = self.choice.randrange(len(lines))
                lines[at : at + self.choice.randrange(3)] = [
                    f"def edited_{self.choice.randrange(5)}(): return send"
                ]
                path.write_text("\n".join(lines))
            case 4 if path.exists():
                path.write_text(path.read_text() + self.choice.choice(self.parts))
            case _ if path.exists():
                os.utime(path, (self.choice.randrange(10**9),) * 2)


@given(seed=st.integers(0, 2**32), rounds=st.integers(1, 6))
@settings(max_examples=12, deadline=None)
def test_an_updated_index_equals_a_new_one(tmp_path_factory: pytest.TempPathFactory, seed: int, rounds: int):
    folder = tmp_path_factory.mktemp("edits")
    edits = Edits(write(folder / "tree", FILES), random.Random(seed))
    with CodeIndex(edits.root, index=folder / "index") as index:
        for _ in range(rounds):
            index.update()
            for _ in range(edits.choice.randrange(1, 6)):
                edits.step()
        index.update()
        assert answers(index) == clean_answers(edits.root, folder / "clean")
        numbers = dataclasses.asdict(index.status())
        with CodeIndex(edits.root, index=folder / "clean") as clean:
            for key in ("files", "chunks", "languages"):
                assert numbers[key] == dataclasses.asdict(clean.status())[key]


def test_small_transactions_give_the_same_index(
    large_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Segments of postings are merged many times; what they hold must not depend on it."""
    expected = clean_answers(large_tree, tmp_path / "clean")
    monkeypatch.setattr(indexing, "_BATCH_BYTES", 5_000)
    assert clean_answers(large_tree, tmp_path / "index") == expected


# ---- versions and damage


def built(tree: Path, location: Path) -> Path:
    """The database of a finished index."""
    with CodeIndex(tree, index=location) as index:
        index.update()
        return index.status().location


@pytest.mark.parametrize("damage", ["garbage", "text", "half", "header", "folder inside"])
def test_damage_is_one_line_and_rebuilding_heals(tree: Path, tmp_path: Path, damage: str):
    database = built(tree, tmp_path / "index")
    expected = clean_answers(tree, tmp_path / "clean")
    data = database.read_bytes()
    database.write_bytes(
        {
            "garbage": random.Random(3).randbytes(len(data)),
            "text": b"this is no database\n" * 100,
            "half": data[: len(data) // 2],
            "header": data[:100] + random.Random(4).randbytes(4000) + data[4100:],
            "folder inside": b"SQLite format 3\0" + bytes(4080),
        }[damage]
    )
    with CodeIndex(tree, index=tmp_path / "index") as index:
        with pytest.raises(
            StoreError, match=r"cannot .* the index at .*index\.sqlite: .*--rebuild"
        ) as caught:
            answers(index)
        assert "\n" not in str(caught.value)
    with CodeIndex(tree, index=tmp_path / "index") as index:
        assert counts(index.update(rebuild=True)) == (5, 0, 0, 0)
        assert answers(index) == expected


def damaged(data: bytes, choice: random.Random) -> bytes:
    """A database in which one thing went wrong: a page of noise, pages swapped, bytes flipped, an early end."""
    pages = [bytearray(data[start : start + 4096]) for start in range(0, len(data), 4096)]
    one, other = choice.sample(range(len(pages)), 2)
    match choice.randrange(5):
        case 0:
            pages[one][:] = choice.randbytes(4096)
        case 1:
            pages[one][:] = bytes(4096)
        case 2:
            pages[one], pages[other] = pages[other], pages[one]
        case 3:
            for _ in range(20):
                pages[choice.randrange(len(pages))][choice.randrange(4096)] = choice.randrange(256)
        case _:
            del pages[max(1, one) :]
    return b"".join(pages)


def test_any_damage_is_a_store_error_or_none_at_all(tree: Path, tmp_path: Path):
    database = built(tree, tmp_path / "index")
    data = database.read_bytes()
    errors = 0
    for seed in range(60):
        for path in database.parent.iterdir():
            path.unlink()
        database.write_bytes(damaged(data, random.Random(seed)))
        write(tree, {"app/config.py": CONFIG + f"\n\ndef edited_{seed}():\n    pass\n"})
        try:
            with CodeIndex(tree, index=tmp_path / "index", update=False) as index:
                index.search("retry failed requests")
                index.update()
                index.related("net/retry.py", 8)
                index.status()
        except StoreError as error:
            errors += 1
            assert "\n" not in str(error)
            assert str(error).endswith(" makes it anew")
        except InputError as error:
            assert "is not in the index" in str(error) or "has no code" in str(error)
    assert errors > 30
    with CodeIndex(tree, index=tmp_path / "index") as index:
        index.update(rebuild=True)
        assert answers(index) == clean_answers(tree, tmp_path / "clean")


def test_an_index_of_another_version_is_made_anew(tree: Path, tmp_path: Path):
    database = built(tree, tmp_path / "index")
    db = sqlite3.connect(database)
    db.executescript("DROP TABLE files; CREATE TABLE files (other); PRAGMA user_version = 99;")
    db.close()
    with CodeIndex(tree, index=tmp_path / "index") as index:
        assert counts(index.update()) == (5, 0, 0, 0)
        assert answers(index) == clean_answers(tree, tmp_path / "clean")


def test_rebuilding_a_good_index_changes_nothing(index: CodeIndex):
    expected = answers(index)
    report = index.update(rebuild=True)
    assert (counts(report), report.chunks_embedded) == ((5, 0, 0, 0), index.status().chunks)
    assert answers(index) == expected


def test_a_closed_index_opens_again(index: CodeIndex):
    expected = answers(index)
    index.close()
    index.close()
    assert answers(index) == expected
