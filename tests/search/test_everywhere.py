"""Searching every folder that is indexed: summaries choose which to ask, and lose next to nothing by it."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from trees import write

from codekin import CodeIndex, Embedder
from codekin.errors import InputError, StoreError
from codekin.search import (
    Contents,
    Everywhere,
    Level,
    Result,
    default_location,
    forget_index,
    known_indexes,
    places,
    ranking,
    search_together,
)
from codekin.search import everywhere as everywhere_module
from codekin.search.everywhere import RECALL
from codekin.search.levels import Weights, evidence
from codekin.search.lexical import Field, terms
from codekin.search.summaries import SUMMARIES, Plan, Summaries, Summed
from codekin.tasks import Role, Task

TOPICS = (
    "invoice customer payment tax ledger receipt refund currency",
    "packet socket router firewall latency port address frame",
    "patient doctor hospital diagnosis allergy ward nurse dose",
    "planet orbit comet telescope galaxy eclipse crater moon",
    "recipe oven flour butter sugar whisk dough spice",
    "engine piston gearbox clutch brake wheel chassis torque",
)
FOLDERS = 24


def code(topic: str, seed: int) -> dict[str, str]:
    """A few files of functions about a topic."""
    random = np.random.default_rng(seed)
    words = topic.split()
    files = {}
    for name in random.choice(words, 3, replace=False).tolist():
        functions = []
        for _ in range(4):
            verb = random.choice(["send", "load", "check", "merge", "count"])
            one, two, three = random.choice(words, 3, replace=False).tolist()
            functions.append(
                f'def {verb}_{one}_{two}({three}):\n    """{verb} the {one} of a {two} by its {three}."""\n'
                f"    total = {one}.{verb}({two})\n    return total + {three}\n"
            )
        files[f"{name}s/{name}_{seed}.py"] = "\n\n".join(functions)
    return files


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders on six topics, more than are asked without choosing, and a cache with their indexes."""
    top = tmp_path_factory.mktemp("everywhere")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(top / "cache"))
        for number in range(FOLDERS):
            add(top / f"folder{number:02}", code(TOPICS[number % len(TOPICS)], number))
    return top


@pytest.fixture
def cache(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the indexes, a copy: without summaries yet."""
    shutil.copytree(made / "cache", tmp_path / "cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "codekin" / "indexes"


def add(root: Path, files: dict[str, str]) -> Path:
    with CodeIndex(write(root, files)) as index:
        index.update()
    return root


def hits(found: list[tuple[CodeIndex, Result]]) -> list[tuple[Path, str, int]]:
    return [(index.root, result.path, result.start_line) for index, result in found]


def asking_all(query: str, top: int = 10) -> list[tuple[Path, str, int]]:
    indexes = [CodeIndex(known.root, update=False) for known in known_indexes()]
    try:
        return hits(search_together(indexes, query, top, anyway=True))
    finally:
        for index in indexes:
            index.close()


def summed() -> dict[Path, Summed]:
    """The summaries, brought up to date, by folder."""
    summaries = Summaries()
    try:
        summaries.refresh()
        return {one.root: one for one in summaries.indexes}
    finally:
        summaries.close()


def test_few_of_the_folders_are_asked_and_find_what_all_find(cache: Path):
    found = shared = 0
    with Everywhere() as everywhere:
        for question in (
            "send the invoice of a customer",
            "merge orbit telescope",
            "dough",
            "check the clutch",
        ):
            some = hits(everywhere.search(question, 10, anyway=True))
            assert everywhere.known == FOLDERS
            assert everywhere.asked < FOLDERS
            every = asking_all(question)
            assert some[0] == every[0]
            shared += len(set(some) & set(every))
            found += len(every)
    assert shared / found >= 0.95


@pytest.mark.parametrize("options", [{"mode": "lexical"}, {"mode": "semantic"}, {"include": ["*.py"]}])
def test_where_nothing_is_measured_all_are_asked(cache: Path, options: dict[str, object]):
    with Everywhere() as everywhere:
        everywhere.search("invoice", **options)
        assert everywhere.asked == everywhere.known == FOLDERS


def test_where_few_files_may_be_open_those_that_promise_most_are_asked(
    cache: Path, made: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(everywhere_module, "_room", lambda count: 5)
    with Everywhere() as everywhere:
        found = everywhere.search("send the invoice of a customer", 10, include=["*.py"], anyway=True)
        assert everywhere.asked == 5
        assert hits(found)[0] == asking_all("send the invoice of a customer")[0]
        [told] = everywhere.left_out
        assert told.startswith(f"{FOLDERS - 5} folders that promise less")
        everywhere.search("telescope", 10, anyway=True)
        assert len(everywhere._opened) == 5


def test_the_share_to_ask_is_measured_once_and_again_when_the_folders_have_grown(cache: Path):
    told: list[str] = []
    with Everywhere(progress=lambda doing, done, total: told.append(doing)) as everywhere:
        everywhere.search("invoice")
        assert set(told) == {"summing up folders", "measuring how many folders to ask"}
        told.clear()
        everywhere.search("invoice")
        assert not told
    summaries = Summaries()
    summaries.refresh()
    plan = summaries.plan(10)
    assert plan is not None
    assert plan.share < 1
    assert plan.recall >= RECALL[10]
    assert plan.chunks == sum(one.chunks for one in summaries.indexes)
    summaries.keep_plan(10, Plan(1.0, 1.0, plan.chunks // 3))
    summaries.close()
    with Everywhere() as everywhere:
        everywhere.search("invoice")
        assert everywhere.asked < FOLDERS


def test_a_word_that_one_folder_alone_has_finds_it(cache: Path, tmp_path: Path):
    filler = "def helper(value):\n    return value\n"
    odd = add(tmp_path / "odd", {"a/misc.py": filler, "b.py": "FLAG = 'zyxomorphic'\n"})
    with Everywhere() as everywhere:
        # What else is asked for is elsewhere, and nearer.
        found = everywhere.search("invoice customer payment zyxomorphic", 10, anyway=True)
        assert everywhere.asked < FOLDERS
        assert odd in {index.root for index, _ in found}


def test_an_index_that_changes_is_summed_up_again(cache: Path, tmp_path: Path):
    root = add(tmp_path / "new", code(TOPICS[0], 99))
    before = summed()[root].chunks
    write(root, {"lava.py": "def measure_lava(volcano):\n    return volcano.eruption\n"})
    with Everywhere() as everywhere:
        everywhere.search("volcano")
        with CodeIndex(root) as index:
            index.update()
        [(index, best), *_] = everywhere.search("volcano eruption lava", anyway=True)
        assert (index.root, best.path) == (root, "lava.py")
    assert summed()[root].chunks == before + 1
    shutil.rmtree(root)
    assert root not in summed()
    [known] = [known for known in known_indexes() if not known.exists]
    forget_index(known)
    assert not known.location.parent.exists()


def test_summaries_count_what_the_index_holds(cache: Path, tmp_path: Path):
    root = add(tmp_path / "counted", code(TOPICS[0], 7) | code(TOPICS[1], 8))
    # Of a file that is gone, postings stay until they are merged.
    next(root.rglob("*.py")).unlink()
    with CodeIndex(root) as index:
        index.update()
        summaries = Summaries()
        summaries.refresh()
        place = [one.root for one in summaries.indexes].index(root)
        for word in ("invoice", "customer", "socket", "packet", "def", "telescope"):
            [term] = terms(word)
            [(total, text, defines)] = index.holding([term])
            held = summaries._holding(term, (Field.TEXT, Field.DEFINES))
            assert (held[Field.TEXT][place], held[Field.DEFINES][place]) == (text, defines)
            assert total == summaries.indexes[place].chunks
        summaries.close()


@pytest.mark.parametrize("harm", ["damaged", "of another version", "model"])
@pytest.mark.parametrize("many", [False, True])
def test_what_cannot_be_asked_is_left_out_and_told(
    cache: Path, made: Path, harm: str, many: bool, monkeypatch: pytest.MonkeyPatch
):
    if not many:
        monkeypatch.setattr(everywhere_module, "_FEW", FOLDERS)
    location = default_location(made / "folder00")
    if harm == "damaged":
        (location / "index.sqlite").write_bytes(b"no database" * 1000)
    else:
        with sqlite3.connect(location / "index.sqlite") as db:
            db.execute(
                "PRAGMA user_version = 2" if harm != "model" else "UPDATE model SET name = '/gone/model'"
            )
        db.close()
    with Everywhere() as everywhere:
        found = everywhere.search("send the invoice of a customer", 10, anyway=True)
        assert len(found) == 10
        assert made / "folder00" not in {index.root for index, _ in found}
        if harm != "model" or not many:  # of many, one whose model is gone is not among those asked
            [told] = everywhere.left_out
            assert "folder00" in told
            assert "\n" not in told


def test_a_search_that_cannot_ask_any_index_says_why(cache: Path, monkeypatch: pytest.MonkeyPatch):
    for path in cache.glob("*/index.sqlite"):
        path.write_bytes(b"no database" * 1000)
    with Everywhere() as everywhere, pytest.raises(StoreError, match="cannot read the index"):
        everywhere.search("invoice")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache / "empty"))
    with Everywhere() as everywhere, pytest.raises(InputError, match="no folder is indexed"):
        everywhere.search("invoice")


def test_summaries_that_are_damaged_or_cannot_be_kept_are_made_again(cache: Path):
    summed()
    (cache / SUMMARIES).write_bytes(b"no database" * 1000)
    assert len(summed()) == FOLDERS
    for path in cache.glob(f"{SUMMARIES}*"):
        path.unlink()
    (cache / SUMMARIES).mkdir()
    assert len(summed()) == FOLDERS


def test_a_repository_is_known_by_more_than_its_best_answer(cache: Path):
    with Everywhere() as everywhere:
        for place, topic in enumerate(TOPICS):
            found = everywhere.places(" ".join(topic.split()[:3]), 4, level="repo", anyway=True)
            assert len(found) == 4
            assert {int(index.root.name[-2:]) % len(TOPICS) for index, _ in found} == {place}


def test_terms_weigh_what_they_do_in_all_folders(cache: Path, tmp_path: Path):
    # "ledger" is all over one folder, and in another once: rare there, and common on the whole.
    about = {f"ledger_{n}.py": f"def book_{n}(ledger):\n    return ledger.post({n})\n" for n in range(12)}
    many = add(tmp_path / "many", about)
    once = add(
        tmp_path / "once",
        {f"part_{n}.py": f"def use_{n}(x):\n    return x + {n}\n" for n in range(12)}
        | {"other.py": "def total(ledger):\n    return ledger\n"},
    )
    with CodeIndex(many, update=False) as one, CodeIndex(once, update=False) as other:
        asked = ranking.parse("ledger use")
        found = search_together([one, other], "ledger use", 20, mode="lexical")
        lexical = []
        for index in (one, other):
            with index._reading() as view:
                own = view.candidates(asked, None, 20, text=True)[1].lexical.max()
                weighed = replace(asked, rarity=(ranking.rarity(13, 25), ranking.rarity(12, 25)))
                lexical.append((own, view.candidates(weighed, None, 20, text=True)[1].lexical.max()))
    assert found
    (own, together), (other_own, other_together) = lexical
    assert other_own > 5 * own
    assert other_together < 2 * together


@pytest.mark.parametrize("level", [Level.FILE, Level.FOLDER, Level.REPO])
def test_a_place_is_worth_its_answers_and_its_nearest_file(cache: Path, made: Path, level: Level):
    roots = [made / f"folder{number:02}" for number in range(6)]
    indexes = [CodeIndex(root, update=False) for root in roots]
    query = "send invoice customer"
    found = evidence(indexes, query, 50, level=level, anyway=True)
    keys = [(index.root, level.path_of(best)) for (index, best), *_ in found.answers]
    bare = found.scores(Weights(nearest=0.0, defines=0.0))
    assert bare[0] == pytest.approx(
        sum(result.score * 0.25**place for place, (_, result) in enumerate(found.answers[0]))
    )
    gains = dict(zip(keys, (found.scores(Weights(nearest=1.5, defines=0.0)) - bare).tolist(), strict=True))
    best = places(indexes, query, 1, level=level, anyway=True)[0]
    assert (best[0].root, best[1].path) == keys[int(found.scores().argmax())]
    # The nearest file's cosine, scaled from 0 to 1 over the places.
    nearest: dict[tuple[Path, str], float] = {}
    for index, result in search_together(indexes, query, 1000, anyway=True):
        vector = mean_vector(index.contents(), result.path)
        wanted = Embedder().encode([query], Task.NL2CODE, Role.QUERY)[0]
        key = (index.root, level.path_of(result))
        nearest[key] = max(nearest.get(key, -1.0), float(vector @ wanted))
    low, high = min(nearest.values()), max(nearest.values())
    assert gains == pytest.approx(
        {key: 1.5 * (value - low) / (high - low) for key, value in nearest.items()}, abs=0.02
    )
    for index in indexes:
        index.close()


def mean_vector(contents: Contents, path: str) -> NDArray[np.float32]:
    """The mean of a file's vectors, of unit length each, of unit length."""
    rows = contents.vectors[contents.file_of == contents.paths.index(path)].astype(np.float32)
    mean = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean))
