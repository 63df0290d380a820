"""The model of an index: chosen once, kept, refused where it is another, and loaded only where vectors are needed."""

from __future__ import annotations

import json
import random
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from trees import CONFIG, FILES, RETRY, write

import robustness
from codekin import Embedder
from codekin.errors import InputError, ModelError, StoreError
from codekin.search import CodeIndex, Mode, UpdateProgress, indexing
from codekin.search.store import FILE_NAME

QUERIES = ("where are failed requests sent again", "Session.close", "sort numbers")
MakeModel = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(params=["static", "transformer"])
def model(request: pytest.FixtureRequest) -> str:
    """A model that is not the bundled one."""
    if request.param == "static":
        return str(request.getfixturevalue("turned_model")())
    return str(request.getfixturevalue("decoder"))


def answers(index: CodeIndex) -> list:
    return [index.search(query, 50, mode=mode) for query in QUERIES for mode in Mode]


def clean_answers(tree: Path, scratch: Path, **options: object) -> list:
    shutil.rmtree(scratch, ignore_errors=True)
    with CodeIndex(tree, index=scratch, **options) as index:
        return answers(index)


def in_index(folder: Path, statement: str) -> list:
    db = sqlite3.connect(folder / FILE_NAME)
    try:
        with db:
            return db.execute(statement).fetchall()
    finally:
        db.close()


def stored_vectors(folder: Path) -> dict[bytes, bytes]:
    return dict(in_index(folder, "SELECT path, rows FROM files JOIN vectors ON file = id"))


def build(tree: Path, folder: Path, **options: object) -> dict[bytes, bytes]:
    """Indexes, and returns the vectors of each file."""
    with CodeIndex(tree, index=folder, **options) as index:
        index.update()
    return stored_vectors(folder)


# ---- an index keeps its model


def test_vectors_are_the_models_own(tree: Path, tmp_path: Path, model: str):
    folder = tmp_path / "index"
    stored = build(tree, folder, model=model)
    embedder = Embedder(model)
    with CodeIndex(tree, index=folder) as index:
        [best, *_] = index.search("load_settings", mode="lexical")
        assert (index.status().model, index.status().dimensions) == (model, embedder.dimensions)
    wanted = embedder.encode([f"config {best.symbol}\n{best.text}"])[0]
    rows = np.frombuffer(stored[b"app/config.py"], np.int8).reshape(-1, embedder.dimensions).astype(float)
    cosines = rows @ wanted / np.linalg.norm(rows, axis=1)
    assert cosines.max() > 0.99


def test_an_index_goes_on_with_the_model_it_was_made_with(tree: Path, tmp_path: Path, model: str):
    folder = tmp_path / "index"
    build(tree, folder, model=model)
    write(tree, {"lib/again.py": RETRY.replace("send_with_retries", "send_again")})
    with CodeIndex(tree, index=folder) as index:
        assert index.update().added == 1
        assert answers(index) == clean_answers(tree, tmp_path / "clean", model=model)
        related = index.related("net/retry.py", 8)
    with CodeIndex(tree, index=tmp_path / "clean", model=model) as index:
        assert index.related("net/retry.py", 8) == related
    assert stored_vectors(folder) == stored_vectors(tmp_path / "clean")


def test_a_local_model_is_found_from_anywhere(
    tree: Path, tmp_path: Path, turned_model: MakeModel, monkeypatch: pytest.MonkeyPatch
):
    model = turned_model(tmp_path / "models/turned")
    monkeypatch.chdir(tmp_path / "models")
    build(tree, tmp_path / "index", model="turned")
    monkeypatch.chdir(tmp_path)
    with CodeIndex(tree, index=tmp_path / "index", model="models/../models/turned") as index:
        assert answers(index) == clean_answers(tree, tmp_path / "clean", model=str(model))
        assert index.status().model == str(model)


def test_another_model_is_refused_with_the_command_that_changes_it(tree: Path, tmp_path: Path, model: str):
    folder = tmp_path / "index"
    stored = build(tree, folder)
    with CodeIndex(tree, index=folder) as index:
        expected = answers(index)
    for update in (True, False):
        with CodeIndex(tree, index=folder, model=model, update=update) as index:
            for question in (
                index.update,
                lambda index=index: index.search("retry"),
                lambda index=index: index.search("retry", mode="lexical"),
                lambda index=index: index.related("net/retry.py", 8),
            ):
                with pytest.raises(StoreError) as caught:
                    question()
                assert str(caught.value) == (
                    f"the index at {folder / FILE_NAME} is made with codekin-static, not {model}; "
                    f"codekin index {tree} --index {folder} --model {model} --rebuild makes it anew"
                )
    with CodeIndex(tree, index=folder, model="codekin-static") as index:
        assert answers(index) == expected
    assert stored_vectors(folder) == stored
    with CodeIndex(tree, index=folder, model=model) as index:
        assert index.update(rebuild=True).added == len(FILES)
        assert answers(index) == clean_answers(tree, tmp_path / "clean", model=model)


def test_rebuilding_keeps_the_model(tree: Path, tmp_path: Path, model: str):
    stored = build(tree, tmp_path / "index", model=model)
    with CodeIndex(tree, index=tmp_path / "index") as index:
        report = index.update(rebuild=True)
        assert (report.added, report.chunks_embedded) == (len(FILES), index.status().chunks)
        assert index.status().model == model
    assert stored_vectors(tmp_path / "index") == stored


def test_rebuilding_with_a_model_that_is_not_there_loses_nothing(tree: Path, tmp_path: Path):
    stored = build(tree, tmp_path / "index")
    with (
        CodeIndex(tree, index=tmp_path / "index", model="no-such-model") as index,
        pytest.raises(ModelError, match="no-such-model"),
    ):
        index.update(rebuild=True)
    assert stored_vectors(tmp_path / "index") == stored


def test_a_closed_process_and_an_open_one_see_a_new_model(
    tree: Path, tmp_path: Path, turned_model: MakeModel
):
    """What was opened before goes on with what it has; what is opened later has the new model."""
    folder, model = tmp_path / "index", str(turned_model())
    with CodeIndex(tree, index=folder) as before:
        expected = answers(before)
        with CodeIndex(tree, index=folder, model=model) as writer:
            writer.update(rebuild=True)
            new = answers(writer)
        assert answers(before) == expected
        before.close()
        assert answers(before) == new


# ---- sizes and types of number


def test_dimensions_are_kept(tree: Path, tmp_path: Path):
    folder = tmp_path / "index"
    whole = build(tree, tmp_path / "whole")
    cut = build(tree, folder, dimensions=64)
    assert {path: 4 * len(rows) for path, rows in cut.items()} == {
        path: len(rows) for path, rows in whole.items()
    }
    with CodeIndex(tree, index=folder) as index:
        assert index.status().dimensions == 64
        assert index.search("send a request again, waiting longer")[0].symbol == "send_with_retries"
        index.update(rebuild=True)
        assert index.status().dimensions == 64
    assert stored_vectors(folder) == cut
    with (
        CodeIndex(tree, index=folder, dimensions=128) as index,
        pytest.raises(
            StoreError,
            match=r"made with 64 dimensions, not 128; codekin index .* --dimensions 128 --rebuild makes it anew$",
        ),
    ):
        index.search("retry")
    with CodeIndex(tree, index=folder, dimensions=128) as index:
        index.update(rebuild=True)
        assert index.status().dimensions == 128


def test_a_size_that_the_model_lacks_makes_no_index(tree: Path, tmp_path: Path):
    with CodeIndex(tree, index=tmp_path / "index", dimensions=100) as index:
        with pytest.raises(
            InputError, match="codekin-static has no vectors of 100 dimensions; sizes: 64, 128, 256"
        ):
            index.search("retry")
        assert index.status().model is None
    build(tree, tmp_path / "index")


def test_int8_is_kept_and_wider_types_agree(tree: Path, tmp_path: Path, decoder: Path):
    folder = tmp_path / "index"
    stored = build(tree, folder, model=str(decoder), dtype="int8")
    with (
        CodeIndex(tree, index=folder, dtype="float32") as index,
        pytest.raises(
            StoreError, match=r"made with int8, not float32; codekin index .* --dtype float32 --rebuild"
        ),
    ):
        index.search("retry")
    write(tree, {"app/config.py": CONFIG + "\n"})
    with CodeIndex(tree, index=folder) as index:
        index.update(rebuild=True)
    assert {path: rows for path, rows in stored_vectors(folder).items() if path != b"app/config.py"} == {
        path: rows for path, rows in stored.items() if path != b"app/config.py"
    }
    build(tree, tmp_path / "wide", model=str(decoder))
    with CodeIndex(tree, index=tmp_path / "wide", dtype="float32") as index:
        assert index.search("retry")
    with (
        CodeIndex(tree, index=tmp_path / "wide", dtype="int8") as index,
        pytest.raises(StoreError, match="not int8"),
    ):
        index.search("retry")


# ---- a model that is gone or has changed


def test_a_model_that_is_gone_leaves_lexical_search(tree: Path, tmp_path: Path, turned_model: MakeModel):
    model = turned_model()
    with CodeIndex(tree, index=tmp_path / "index", model=str(model)) as index:
        expected = [index.search(query, mode="lexical") for query in QUERIES]
    shutil.rmtree(model)
    write(tree, {"lib/extra.py": "def extra_thing():\n    return 1\n"})
    with CodeIndex(tree, index=tmp_path / "index") as index:
        assert [index.search(query, mode="lexical") for query in QUERIES] == expected
        assert index.status().model == str(model)
        for mode in ("hybrid", "semantic"):
            with pytest.raises(ModelError, match=rf"{re.escape(str(model))}.*; .*--mode lexical") as caught:
                index.search("retry", mode=mode)
            assert "\n" not in str(caught.value)


def test_a_first_index_needs_its_model_even_for_lexical_search(tree: Path, tmp_path: Path):
    with (
        CodeIndex(tree, index=tmp_path / "index", model=str(tmp_path / "gone")) as index,
        pytest.raises(ModelError, match="gone"),
    ):
        index.search("retry", mode="lexical")


def test_a_model_that_has_changed_makes_no_vectors(tree: Path, tmp_path: Path, turned_model: MakeModel):
    model, folder = turned_model(), tmp_path / "index"
    stored = build(tree, folder, model=str(model))
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "changed": True}))
    write(tree, {"lib/extra.py": "def extra_thing():\n    return 1\n"})
    with CodeIndex(tree, index=folder) as index:
        assert index.search("quickSort", mode="lexical")[0].symbol == "quickSort"
        for question in (index.update, lambda: index.search("retry")):
            with pytest.raises(ModelError) as caught:
                question()
            assert str(caught.value) == (
                f"the model {model} has changed since it made this index; "
                f"codekin index {tree} --index {folder} --rebuild makes it anew"
            )
    assert stored_vectors(folder) == stored
    with CodeIndex(tree, index=folder) as index:
        index.update(rebuild=True)
        assert index.search("extra_thing")[0].path == "lib/extra.py"


def age_bundled_model(folder: Path) -> None:
    """As if an earlier version of the bundled model had made the index."""
    in_index(folder, "UPDATE model SET fingerprint = 'earlier'")
    in_index(folder, "UPDATE vectors SET rows = zeroblob(length(rows))")


def test_a_new_version_of_the_bundled_model_rebuilds(tree: Path, tmp_path: Path):
    folder = tmp_path / "index"
    stored = build(tree, folder, dimensions=128)
    age_bundled_model(folder)
    with CodeIndex(tree, index=folder, update=False) as index:
        with pytest.raises(ModelError, match="codekin-static has changed since it made this index"):
            index.search("retry")
        assert index.search("quickSort", mode="lexical")
    with CodeIndex(tree, index=folder) as index:
        assert index.search("send a request again")[0].path == "net/retry.py"
        assert index.status().dimensions == 128
    assert stored_vectors(folder) == stored


def test_an_index_of_another_version_keeps_its_model(tree: Path, tmp_path: Path, turned_model: MakeModel):
    folder, model = tmp_path / "index", str(turned_model())
    stored = build(tree, folder, model=model, dimensions=64)
    in_index(folder, "PRAGMA user_version = 99")
    with CodeIndex(tree, index=folder, update=False) as index:
        assert index.search("retry") == []
    build(tree, folder)
    assert stored_vectors(folder) == stored
    in_index(folder, "PRAGMA user_version = 99")
    with CodeIndex(tree, index=folder, model="codekin-static") as index:
        assert answers(index) == clean_answers(tree, tmp_path / "clean", dimensions=256)


def test_an_index_of_the_first_version_is_made_anew(tree: Path, tmp_path: Path):
    folder = tmp_path / "index"
    folder.mkdir()
    db = sqlite3.connect(folder / FILE_NAME)
    db.executescript(
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
        "INSERT INTO meta VALUES ('model', 'codekin-static 0123'), ('next_chunk', 7), ('generation', 3);"
        "CREATE TABLE files (id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE); PRAGMA user_version = 1;"
    )
    db.close()
    assert build(tree, folder) == build(tree, tmp_path / "clean")


# ---- several processes


def test_an_update_ends_where_another_process_gives_the_index_another_model(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Two versions of codekin share an index: neither writes its vectors among those of the other."""
    folder = tmp_path / "index"
    monkeypatch.setattr(indexing, "_BATCH_BYTES", 1)

    def upgrade(now: UpdateProgress) -> None:
        if now.files == 2:
            age_bundled_model(folder)
            with CodeIndex(tree, index=folder) as other, pytest.raises(KeyboardInterrupt):
                other.update(progress=interrupt)

    def interrupt(now: UpdateProgress) -> None:
        raise KeyboardInterrupt

    with (
        CodeIndex(tree, index=folder) as index,
        pytest.raises(
            StoreError, match=r"another process has given the index .* another model; run this again"
        ),
    ):
        index.update(progress=upgrade)
    assert len(stored_vectors(folder)) == 1
    assert build(tree, folder) == build(tree, tmp_path / "clean")


_CHILD = """
import sys
from codekin.errors import StoreError
from codekin.search import CodeIndex, indexing
indexing._BATCH_BYTES = 5_000
with CodeIndex(sys.argv[1], index=sys.argv[2], model=sys.argv[3]) as index:
    print("ready", flush=True)
    try:
        index.update(rebuild=sys.argv[4] == "rebuild")
    except StoreError as error:
        sys.exit(str(error))
"""


def start(tree: Path, folder: Path, model: str, *, rebuild: bool) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _CHILD, tree, folder, model, "rebuild" if rebuild else "update"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_a_killed_change_of_model_never_mixes_vectors(
    large_tree: Path, tmp_path: Path, turned_model: MakeModel
):
    folder, choice = tmp_path / "index", random.Random(5)
    models = {"codekin-static": {}, str(turned_model()): {}}
    for number, name in enumerate(models):
        models[name] = build(large_tree, tmp_path / f"clean-{number}", model=name)
    build(large_tree, folder)
    process = start(large_tree, folder, "codekin-static", rebuild=True)
    started = time.perf_counter()
    process.wait()
    span = time.perf_counter() - started
    kills = partial = 0
    for number in range(30):
        if partial == 3:
            break
        process = start(large_tree, folder, list(models)[1 - number % 2], rebuild=True)
        try:
            process.wait(choice.uniform(0, span))
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        if not (folder / FILE_NAME).exists() or not in_index(folder, "SELECT 1 FROM sqlite_master"):
            continue
        assert robustness.integrity(folder) == ""
        [(name,)] = in_index(folder, "SELECT name FROM model") or [("",)]
        stored = stored_vectors(folder)
        partial += 0 < len(stored) < len(models["codekin-static"])
        assert stored.items() <= (models[name].items() if name else set())
    assert kills and partial
    [(name,)] = in_index(folder, "SELECT name FROM model") or [("codekin-static",)]
    assert build(large_tree, folder) == models[name]


def test_two_processes_with_two_models_end_as_one_index(
    large_tree: Path, tmp_path: Path, turned_model: MakeModel
):
    folder, models = tmp_path / "index", ["codekin-static", str(turned_model())]
    processes = [start(large_tree, folder, model, rebuild=False) for model in models]
    errors = [process.communicate()[1] for process in processes]
    assert sorted(process.returncode for process in processes) == [0, 1], errors
    [refused] = filter(None, errors)
    assert " is made with " in refused
    [(name,)] = in_index(folder, "SELECT name FROM model")
    assert stored_vectors(folder) == build(large_tree, tmp_path / "clean", model=name)


# ---- loaded only where it is needed


def test_what_needs_no_vector_loads_no_model(tree: Path, tmp_path: Path, decoder: Path):
    build(tree, tmp_path / "index", model=str(decoder))
    code = (
        "import sys\n"
        "from codekin import CodeIndex\n"
        "with CodeIndex(sys.argv[1], index=sys.argv[2]) as index:\n"
        "    assert index.update().chunks_embedded == 0\n"
        "    assert index.search('quickSort', mode='lexical') and index.status().chunks\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    for edit in ("none", "touched", "moved"):
        if edit == "touched":
            (tree / "app/config.py").touch()
        elif edit == "moved":
            write(tree, {"app/config.py": "\n\n\n" + CONFIG})
        subprocess.run([sys.executable, "-c", code, str(tree), str(tmp_path / "index")], check=True)


# ---- transformers


def test_a_slow_model_tells_of_its_progress_within_files_and_works_alone(
    tree: Path, tmp_path: Path, decoder: Path, monkeypatch: pytest.MonkeyPatch
):
    """One file is one transaction, however long it takes."""
    write(tree, {"app/long.py": "\n".join(f"def function_{n}(x):\n    return x + {n}\n" for n in range(300))})
    monkeypatch.setattr(indexing, "worker_count", lambda size: pytest.fail("a transformer needs all cores"))
    calls: list[UpdateProgress] = []
    with CodeIndex(tree, index=tmp_path / "index", model=str(decoder)) as index:
        report = index.update(progress=calls.append)
    for name in ("files", "size", "chunks"):
        counts = [getattr(now, name) for now in calls]
        assert counts == sorted(counts)
    assert len({now.chunks for now in calls if now.path == "app/long.py"}) > 3
    last = calls[-1]
    assert (last.files, last.size, last.chunks) == (last.files_total, last.size_total, report.chunks_embedded)


def test_a_slow_model_takes_first_what_answers_most_and_commits_often(
    tree: Path, tmp_path: Path, decoder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(indexing, "_SLOW_BATCH_BYTES", 1)
    monkeypatch.setattr(indexing, "_SLOW_BATCH_LIMIT", 1)
    order: list[str] = []

    def stop(now: UpdateProgress) -> None:
        if now.path not in order:
            order.append(now.path)
        if now.files == 3:
            raise KeyboardInterrupt

    with CodeIndex(tree, index=tmp_path / "index", model=str(decoder)) as index:
        with pytest.raises(KeyboardInterrupt):
            index.update(progress=stop)
        assert set(order) == {"net/retry.py", "app/config.py", "web/sorting.js"}
        assert index.status().files == 3
        report = index.update()
        assert (report.added, report.unchanged) == (2, 3)
        assert answers(index) == clean_answers(tree, tmp_path / "clean", model=str(decoder))


def test_vectors_of_a_transformer_are_made_once_on_a_machine(
    tree: Path, tmp_path: Path, decoder: Path, cache_of_its_own: Path
):
    first = build(tree, tmp_path / "one", model=str(decoder))
    (weights,) = decoder.glob("*.safetensors")
    [cache] = cache_of_its_own.rglob("vectors-*.sqlite")
    db = sqlite3.connect(cache)
    before = db.execute("SELECT count(*), sum(used) FROM vectors").fetchone()
    shutil.copytree(tree, tmp_path / "copy")
    assert build(tmp_path / "copy", tmp_path / "two", model=str(decoder)) == first
    assert db.execute("SELECT count(*), sum(used) FROM vectors").fetchone()[0] == before[0]
    db.close()
    assert weights.exists()


def test_the_command_of_a_refusal_is_one_that_a_shell_reads(
    tree: Path, tmp_path: Path, turned_model: MakeModel
):
    build(tree, tmp_path / "an index")
    model = turned_model(tmp_path / "it's a model")
    with (
        CodeIndex(tree, index=tmp_path / "an index", model=str(model)) as index,
        pytest.raises(StoreError, match="; codekin index") as caught,
    ):
        index.update()
    command = str(caught.value).split("; ")[1].removesuffix(" makes it anew")
    assert shlex.split(command) == [
        *("codekin", "index", str(tree), "--index", str(tmp_path / "an index")),
        *("--model", str(model), "--rebuild"),
    ]
