"""Calibration: figures against scikit-learn and brute force, labelled sets, where it is kept, and what search does."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sets import write_set

from codekin.data import Pair, write_pairs
from codekin.embed import Embedder
from codekin.embed.calibration import (
    Calibration,
    Distribution,
    Geometry,
    TaskCalibration,
    find_calibration,
    write_calibration,
)
from codekin.errors import InputError, ModelError
from codekin.evaluate.calibration import auc, balanced, calibrate, measure_scores, read_labelled, threshold
from codekin.search import CodeIndex
from codekin.tasks import Task

COMMAND = str(Path(sysconfig.get_path("scripts")) / "codekin")

# Few values, so that ties are many.
SCORES = st.integers(-20, 20).map(lambda n: n / 20)
COSINES = arrays(np.float32, st.integers(1, 60), elements=SCORES.map(np.float32))


@settings(deadline=None)  # the first call imports scikit-learn
@given(COSINES, COSINES)
def test_auc_is_scikit_learns(related: np.ndarray, others: np.ndarray) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    labels = np.concatenate([np.ones(len(related)), np.zeros(len(others))])
    expected = metrics.roc_auc_score(labels, np.concatenate([related, others]))
    assert auc(related, np.sort(others)) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)  # the first call imports scikit-learn
@given(COSINES, COSINES)
def test_the_balanced_threshold_is_the_one_of_youdens_j(related: np.ndarray, others: np.ndarray) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    labels = np.concatenate([np.ones(len(related)), np.zeros(len(others))])
    wrong, right, _ = metrics.roc_curve(labels, np.concatenate([related, others]))
    found = balanced(related, np.sort(others))
    j = (related >= found).mean() - (others >= found).mean()
    assert j == pytest.approx((right - wrong).max(), abs=1e-9)


@given(COSINES, st.sampled_from([0.5, 0.1, 0.05, 0.02]))
def test_a_threshold_is_the_lowest_that_keeps_the_rate(others: np.ndarray, rate: float) -> None:
    found = threshold(np.sort(others), rate)
    if rate * len(others) < 1 - 1e-6:
        assert found is None
        return
    assert found is not None
    assert (others >= np.float32(found)).mean() <= rate + 1e-9
    lower = np.float32(found - 1.1e-4)
    assert found == -1.0 or (others >= lower).mean() > rate


def test_rates_that_too_few_pairs_show_have_no_threshold() -> None:
    rng = np.random.default_rng(2)
    drawn = ((0.6, 50), (0.4, 50), (0.1, 2000))
    found = measure_scores(
        *(rng.normal(mean, 0.1, n).astype(np.float32) for mean, n in drawn), geometry=Geometry(0.1, 5.0, 0.2)
    )
    assert list(found.thresholds) == ["0.1", "0.01", "0.001"]
    scores = list(found.thresholds.values())
    assert scores == sorted(scores)
    assert scores[0] == pytest.approx(0.1 + 1.2816 * 0.1, abs=0.01)
    assert scores[1] == pytest.approx(0.1 + 2.3263 * 0.1, abs=0.03)
    assert found.auc > found.hard_auc > 0.5
    assert found.related.mean == pytest.approx(0.6, abs=0.05)
    assert found.unrelated.deviation == pytest.approx(0.1, abs=0.01)
    assert found.unrelated.quantiles["50"] == pytest.approx(0.1, abs=0.01)


def pairs() -> list[Pair]:
    verbs = "open close read write parse merge split sort retry cache".split()
    nouns = "file socket table queue header".split()
    made = [
        Pair(f"{verb} a {noun}", f"def {verb}_{noun}({noun}):\n    return {noun}.{verb}()\n", Task.NL2CODE)
        for verb in verbs
        for noun in nouns
    ]
    return [*made, *(Pair(pair.document, pair.query, Task.CODE2NL) for pair in made)]


def test_pairs_are_calibrated_by_task_and_size(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", pairs())
    embedder = Embedder()
    found = calibrate(embedder, read_labelled(tmp_path / "pairs.jsonl"))
    assert found.fingerprint == embedder.fingerprint
    assert set(found.tasks) == {Task.NL2CODE, Task.CODE2NL}
    for task in found.tasks:
        assert list(found.tasks[task]) == [64, 128, 256]
        for one in found.tasks[task].values():
            assert (one.related.count, one.unrelated.count, one.hard.count) == (50, 50 * 49, 50 * 5)
            assert 0.8 < one.hard_auc <= one.auc <= 1
            assert one.unrelated.mean == pytest.approx(one.geometry.noise_floor, abs=1e-4)
    by_hand = (
        embedder.encode([p.query for p in pairs()[:50]], dimensions=64)
        @ embedder.encode([p.document for p in pairs()[:50]], dimensions=64).T
    )
    assert found.tasks[Task.NL2CODE][64].related.mean == pytest.approx(
        float(np.diag(by_hand).mean()), abs=1e-4
    )
    off = by_hand[~np.eye(50, dtype=bool)]
    assert found.tasks[Task.NL2CODE][64].unrelated.quantiles["95"] == pytest.approx(
        float(np.percentile(off, 95)), abs=1e-4
    )


def test_negatives_of_pairs_are_the_hard_ones(tmp_path: Path) -> None:
    first, second, third = pairs()[:3]
    told = Pair(
        first.query, first.document, Task.NL2CODE, negatives=(third.document, "def other():\n    pass\n")
    )
    write_pairs(tmp_path / "pairs.jsonl", [told, second])
    [labelled] = read_labelled(tmp_path / "pairs.jsonl")
    assert [len(hard) for hard in labelled.hard] == [2, 0]
    assert {labelled.documents[n] for n in labelled.hard[0]} == set(told.negatives)


def test_a_folder_in_beirs_layout_brings_its_whole_corpus(tmp_path: Path) -> None:
    write_pairs(tmp_path / "set", pairs()[:6], split="test")
    with open(tmp_path / "set/corpus.jsonl", "a") as corpus:
        corpus.write(json.dumps({"_id": "more", "text": "def unheard_of():\n    return 1\n"}) + "\n")
    [labelled] = read_labelled(tmp_path / "set")
    assert (len(labelled.queries), len(labelled.documents)) == (6, 7)
    [asked] = read_labelled(tmp_path / "set", Task.QA)
    assert asked.task is Task.NL2CODE  # its own queries say so
    (tmp_path / "set/queries.jsonl").write_text(
        (tmp_path / "set/queries.jsonl").read_text().replace('"task": "nl2code"', '"x": 1')
    )
    assert read_labelled(tmp_path / "set", Task.QA)[0].task is Task.QA


def test_a_set_without_labels_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text("")
    unanswered = write_set(tmp_path / "set", qrels={"q1": {"add": 0, "read": -1}})
    for where in (tmp_path / "none.jsonl", unanswered):
        with pytest.raises(InputError, match=f"{where.name}: nothing is labelled"):
            read_labelled(where)


def test_pairs_that_do_not_say_their_task_have_the_one_that_is_given(tmp_path: Path) -> None:
    (tmp_path / "plain.jsonl").write_text('{"query": "a", "document": "b"}\n')
    assert [one.task for one in read_labelled(tmp_path / "plain.jsonl")] == [Task.NL2CODE]
    assert [one.task for one in read_labelled(tmp_path / "plain.jsonl", Task.QA)] == [Task.QA]


def test_a_model_of_unsound_vectors_is_named_and_refused(tmp_path: Path, decoder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    shutil.copytree(decoder, tmp_path / "broken")
    tensors = load_file(tmp_path / "broken" / "model.safetensors")
    tensors["norm.weight"] *= 1e6  # more than float16 holds
    save_file(tensors, tmp_path / "broken" / "model.safetensors", {"format": "pt"})
    embedder = Embedder(tmp_path / "broken", dtype="float16")
    with pytest.raises(ModelError, match=r"broken gives NaN or infinite numbers, in 5 of 5 vectors"):
        calibrate(embedder, read_labelled(write_set(tmp_path / "set")))


def test_tasks_are_calibrated_one_after_the_other(tmp_path: Path, turned_model: Callable[..., Path]) -> None:
    folder = turned_model()
    for task in (Task.QA, Task.CODE2NL):
        embedder = Embedder(folder)
        labelled = read_labelled(write_set(tmp_path / task.value), task)
        embedder.keep_calibration(calibrate(embedder, labelled))
        assert embedder.calibration is not None and embedder.calibration.of(task, 64)
    again = Embedder(folder).calibration
    assert again is not None and set(again.tasks) == {Task.QA, Task.CODE2NL}


def test_what_is_measured_is_kept_in_the_models_folder(
    tmp_path: Path, turned_model: Callable[..., Path]
) -> None:
    write_pairs(tmp_path / "pairs.jsonl", pairs())
    folder = turned_model()
    (folder / "calibration.json").unlink()
    embedder = Embedder(folder)
    assert embedder.calibration is None
    found = calibrate(embedder, read_labelled(tmp_path / "pairs.jsonl"))
    assert embedder.keep_calibration(found) == folder / "calibration.json"
    again = Embedder(folder).calibration
    assert again is not None
    assert again.fingerprint == found.fingerprint
    one, other = found.of(Task.CODE2NL, 128), again.of(Task.CODE2NL, 128)
    assert one is not None and other is not None
    assert other.thresholds == one.thresholds
    assert other.related.quantiles == pytest.approx(one.related.quantiles, abs=1e-6)
    assert (other.auc, other.geometry.noise_floor) == pytest.approx(
        (one.auc, one.geometry.noise_floor), abs=1e-6
    )


def test_a_model_without_a_folder_of_its_own_is_kept_by_its_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    numbers = Distribution(0, math.nan, math.nan, {})
    task = TaskCalibration(
        numbers, numbers, numbers, 0.5, math.nan, {"0.1": 0.2}, 0.1, Geometry(0.0, 1.0, 0.0)
    )
    made = Calibration("f" * 32, {Task.QA: {8: task}})
    missing = tmp_path / "not" / "there"  # as good as a folder that cannot be written
    for folder in (None, missing):
        place = write_calibration(made, folder)
        assert place.is_relative_to(tmp_path / "data")
        found = find_calibration(folder, "f" * 32)
        assert found is not None and found.tasks[Task.QA][8].thresholds == {"0.1": 0.2}
        assert math.isnan(found.tasks[Task.QA][8].hard_auc)
        place.unlink()
    assert find_calibration(None, "f" * 32) is None


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"fingerprint": "f", "tasks": {"nl2code": {"8": {}}}}', "{"]
)
def test_a_calibration_that_is_damaged_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "calibration.json").write_text(content)
    assert find_calibration(tmp_path, "f") is None


def test_a_calibration_of_other_files_is_none(turned_model: Callable[..., Path]) -> None:
    folder = turned_model()
    assert (folder / "calibration.json").is_file()
    assert Embedder(folder).calibration is None


def test_the_bundled_model_comes_with_its_calibration() -> None:
    """Made anew with the model: CONTRIBUTING.md says how."""
    found = Embedder().calibration
    assert found is not None, "calibration.json is of another model; codekin calibrate makes it anew"
    for size in Embedder().sizes:
        one = found.of(Task.NL2CODE, size)
        assert one is not None
        assert {"0.1", "0.01", "0.001", "0.0001"} == set(one.thresholds)
        assert one.auc > 0.9


ANSWERED = [
    "where are failed requests retried",
    "parse headers",
    "shopping cart",
    "how is the frobnicate_widget that nobody ever saw in any moon phase called",
]
UNANSWERED = [
    "kubernetes deployment manifest",
    "how are users authenticated with a password",
    "training a neural network",
]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[CodeIndex]:
    files = {
        "retry.py": "def send_with_retries(request):\n    # Send a failed request again.\n    return request.send()\n",
        "headers.py": "def parse_headers(data):\n    return dict(line.split(':') for line in data.splitlines())\n",
        "cart.js": "// Keeps a shopping cart.\nfunction addToCart(cart, item) {\n  return [...cart, item];\n}\n",
        "odd.py": "def f(x):\n    return frobnicate_widget(x) + 1\n",
    }
    (tmp_path / "tree").mkdir()
    for name, text in files.items():
        (tmp_path / "tree" / name).write_text(text)
    with CodeIndex(tmp_path / "tree", index=tmp_path / "index") as index:
        yield index


@pytest.mark.parametrize("mode", ["hybrid", "semantic"])
def test_search_says_when_nothing_answers(index: CodeIndex, mode: str) -> None:
    for question in ANSWERED:
        assert index.search(question, mode=mode), question
        assert index.answered
    for question in UNANSWERED:
        assert index.search(question, mode=mode) == [], question
        assert not index.answered
        assert index.search(question, mode=mode, anyway=True), question
        assert not index.answered


def test_without_vectors_or_a_calibration_nothing_is_refused(
    index: CodeIndex, tmp_path: Path, turned_model: Callable[..., Path]
) -> None:
    assert index.search("users request", mode="lexical")
    folder = turned_model()
    with CodeIndex(tmp_path / "tree", index=tmp_path / "other", model=str(folder)) as other:
        assert other.search(UNANSWERED[0], mode="semantic")
    assert index.search(UNANSWERED[0], task="qa")  # a task that is not calibrated


def test_the_command_says_so_in_one_line(tmp_path: Path, index: CodeIndex) -> None:
    def search(*options: str) -> subprocess.CompletedProcess[str]:
        command = [COMMAND, "search", UNANSWERED[0], str(tmp_path / "tree"), *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    refused = search()
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "codekin: nothing here answers this; --anyway shows what comes nearest\n"
    told = search("--json")
    assert told.returncode == 1
    assert [json.loads(told.stdout)[key] for key in ("answered", "results")] == [False, []]
    anyway = search("--anyway", "--json")
    assert anyway.returncode == 0
    assert json.loads(anyway.stdout)["answered"] is False
    assert json.loads(anyway.stdout)["results"]


def test_calibrate_prints_what_scores_mean_and_where_it_is_kept(
    tmp_path: Path, turned_model: Callable[..., Path]
) -> None:
    write_pairs(tmp_path / "pairs.jsonl", pairs())
    folder = turned_model()
    command = [COMMAND, "calibrate", str(folder), "--set", str(tmp_path / "pairs.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    for told in ("nl2code, 256 dimensions", "AUC 1.000, against hard pairs ", "0.01 at 0.", "noise floor 0."):
        assert told in done.stdout
    assert (
        done.stdout.splitlines()[-1]
        == f"{folder}/calibration.json: nl2code, code2nl at 64, 128, 256 dimensions"
    )
    wrong = subprocess.run(
        [*command[:-1], "missing"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
