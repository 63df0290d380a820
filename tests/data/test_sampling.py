from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codekin.data import Pair, PairFiles, Position, Sampler, answer_labels, read_pairs, write_pairs
from codekin.errors import InputError
from codekin.tasks import Task

_pair = st.builds(
    Pair,
    query=st.text(min_size=1).filter(str.strip),
    document=st.text(min_size=1).filter(str.strip),
    task=st.sampled_from(Task),
    negatives=st.lists(st.text(), max_size=2).map(tuple),
)
_samplers = st.builds(
    lambda sets, labels, size, seed, temperature, mixed: (
        Sampler(
            sets[: len(labels)],
            np.array(labels[: len(sets)]),
            size,
            seed=seed,
            temperature=temperature,
            mixed=mixed,
        ),
        sets[: len(labels)],
        np.array(labels[: len(sets)]),
        size,
        mixed,
    ),
    st.lists(st.sampled_from("abc"), min_size=1, max_size=60),
    st.lists(st.tuples(st.integers(0, 40), st.integers(30, 60)), min_size=1, max_size=60),
    st.integers(1, 8),
    st.integers(0, 3),
    st.sampled_from([0.5, 1.0, 3.0, 100.0]),
    st.booleans(),
)


@given(st.lists(st.lists(_pair, max_size=4), max_size=3))
def test_pairs_by_number(tmp_path_factory: pytest.TempPathFactory, files: list[list[Pair]]):
    folder = tmp_path_factory.mktemp("pairs")
    paths = [folder / f"{i}.jsonl" for i in range(len(files))]
    for path, pairs in zip(paths, files, strict=True):
        write_pairs(path, pairs)
    found = PairFiles(paths)
    everything = [pair for pairs in files for pair in pairs]
    assert len(found) == len(everything)
    assert list(found) == everything
    assert [found[i - len(everything)] for i in range(len(everything))] == everything
    assert found[1:3] == everything[1:3]
    assert found.sets.tolist() == [i for i, pairs in enumerate(files) for _ in pairs]
    with pytest.raises(IndexError):
        found[len(everything)]


def test_pairs_by_number_of_files_that_are_none(tmp_path: Path):
    path = tmp_path / "p.jsonl"
    good = '{"query":"q","document":"d","task":"qa"}'
    path.write_text(f"{good}\nnothing\n{good}")  # no newline at the end
    pairs = PairFiles([path])
    assert len(pairs) == 3
    assert pairs[0] == pairs[2] == pairs[-1] == Pair("q", "d", Task.QA)
    with pytest.raises(InputError, match=rf"{path}:2: not JSON"):
        pairs[1]
    with pytest.raises(InputError, match="cannot read pairs"):
        PairFiles([tmp_path / "nowhere.jsonl"])
    with pytest.raises(InputError, match=r"name a \.jsonl file"):
        PairFiles([tmp_path / "p.jsonl.gz"])


def test_labels_tell_which_pairs_answer_each_other():
    long = "def f(values):\n    total = sum(values)\n    return [value / total for value in values if value]"
    pairs = [
        Pair("scale values", long, Task.NL2CODE),
        Pair("Scale  values!", "def other(): pass", Task.NL2CODE),
        Pair("norm", long.replace("    ", "  ") + "  # end", Task.NL2CODE),
        Pair(long, "function f(values) { return 1 }", Task.CODE2CODE),
        Pair("something else", "def third(): return 3", Task.NL2CODE),
    ]
    labels = [set(pair) for pair in answer_labels(pairs).tolist()]
    assert [bool(labels[0] & other) for other in labels] == [True, True, True, True, False]
    assert not labels[1] & labels[2]
    assert answer_labels([]).shape == (0, 2)


@given(_samplers, st.integers(0, 2))
def test_batches_are_full_of_one_set_and_without_answers_to_each_other(made, epoch):  # type: ignore[no-untyped-def]
    sampler, _, labels, size, _ = made
    batches = sampler.epoch(epoch)
    assert batches
    assert [len(batch) for batch in batches] == [size] * len(batches) or len(batches) == 1
    for batch in batches:
        owned = [set(labels[row].tolist()) for row in batch.tolist()]
        assert len(set().union(*owned)) == sum(map(len, owned))
    assert sum(map(len, batches)) <= max(len(labels), 1)


@given(_samplers, st.integers(0, 1), st.integers(0, 12))
def test_a_run_goes_on_in_the_middle(made, epoch, done):  # type: ignore[no-untyped-def]
    sampler, *_ = made
    whole = list(islice(sampler.batches(Position(epoch)), 30))
    assert whole[0][0] == Position(epoch, 1)
    position = whole[done][0]
    rest = list(islice(sampler.batches(position), 5))
    for (where, batch), (expected, wanted) in zip(rest, whole[done + 1 :], strict=False):
        assert (where, batch.tolist()) == (expected, wanted.tolist())


def _apart(count: int) -> np.ndarray:
    return np.arange(2 * count).reshape(-1, 2)


def test_an_epoch_has_every_pair_once():
    sets = ["a"] * 1000 + ["b"] * 300 + ["c"] * 20
    sampler = Sampler(sets, _apart(1320), 60, seed=1)
    first, second = sampler.epoch(0), sampler.epoch(1)
    for batches in (first, second):
        rows = np.concatenate(batches)
        assert len(rows) == len(set(rows.tolist())) == 1320
        pure = [len({sets[row] for row in batch}) == 1 for batch in batches]
        # What is left of 1000, 300 and 20 after whole batches is 40, 0 and 20.
        assert Counter(pure) == {True: 21, False: 1}
    assert [batch.tolist() for batch in first] != [batch.tolist() for batch in second]
    again = Sampler(sets, _apart(1320), 60, seed=1).epoch(1)
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in second]
    mixed = Sampler(sets, _apart(1320), 60, seed=1, mixed=True).epoch(0)
    assert sorted(np.concatenate(mixed).tolist()) == list(range(1320))
    assert all(len({sets[row] for row in batch}) > 1 for batch in mixed)


@pytest.mark.parametrize(
    ("temperature", "shares"), [(1, [0.9, 0.09, 0.01]), (2, [0.706, 0.223, 0.074]), (1e6, [1 / 3] * 3)]
)
@pytest.mark.parametrize("mixed", [False, True])
def test_temperature_flattens_the_sets(temperature: float, shares: list[float], mixed: bool):
    sets = np.repeat([0, 1, 2], [9000, 900, 100])
    sampler = Sampler(sets, _apart(10_000), 50, seed=3, temperature=temperature, mixed=mixed)
    rows = np.concatenate(sampler.epoch(0))
    assert len(rows) > 9800
    assert np.bincount(sets[rows]) / len(rows) == pytest.approx(shares, abs=0.01)
    # A small set is gone through as a whole before a pair of it comes again; what fills no batch is missing.
    times = np.bincount(rows, minlength=10_000)
    for name in range(3):
        assert np.ptp(times[sets == name]) <= 3


def test_a_set_smaller_than_a_batch_is_mixed_in_as_often_as_it_should_be():
    sets = np.repeat([0, 1], [5000, 10])
    batches = Sampler(sets, _apart(5010), 64, seed=0, temperature=1e6).epoch(0)
    # Half of the epoch should be these ten, of which no batch can hold one twice.
    assert np.mean([(sets[batch] == 1).sum() for batch in batches]) > 9
    assert len(batches) > 40


def test_copies_spread_over_batches():
    labels = _apart(1000)
    labels[:100] = 5  # a hundred pairs that answer each other
    batches = Sampler([0] * 1000, labels, 10, seed=0).epoch(0)
    assert len(batches) > 90
    assert max(sum(row < 100 for row in batch.tolist()) for batch in batches) == 1


def test_a_file_larger_than_its_index(tmp_path: Path):
    path = tmp_path / "p.jsonl"
    write_pairs(path, (Pair(f"question {i}", f"answer {i} " * 20, Task.QA) for i in range(3000)))
    pairs = PairFiles([path])
    sampler = Sampler(pairs.sets, answer_labels(read_pairs(path)), 100, seed=0)
    seen = {pairs[row].query for batch in sampler.epoch(0) for row in batch.tolist()}
    assert len(seen) == 3000


@pytest.mark.parametrize(
    ("sets", "labels", "size", "temperature"),
    [
        ([], _apart(0), 4, 1.0),
        ([0, 0], _apart(3), 4, 1.0),
        ([0], _apart(1), 0, 1.0),
        ([0], _apart(1), 1, 0.0),
    ],
)
def test_what_cannot_be_sampled(sets, labels, size, temperature):  # type: ignore[no-untyped-def]
    with pytest.raises(InputError):
        Sampler(sets, labels, size, seed=0, temperature=temperature)
