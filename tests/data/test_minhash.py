import random
import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from codekin.data.minhash import ROWS, near_equal, shingles, sketches

_words = st.lists(st.text(alphabet="abcAB19_é", min_size=1, max_size=6), max_size=12)


def _runs(text: str, length: int) -> list[tuple[str, ...]]:
    """Runs of words as the documentation says, slowly; for texts with a word in them."""
    words = re.findall(r"[a-z0-9_é]+", text.replace("A", "a").replace("B", "b"))
    return [tuple(words[i : i + length]) for i in range(max(1, len(words) - length + 1))]


@given(st.lists(_words.filter(bool).map(" ".join), min_size=1, max_size=6), st.integers(1, 9))
def test_shingles_are_equal_where_runs_of_words_are(texts: list[str], length: int):
    found = shingles(texts, length)
    assert len(found.starts) == len(texts) + 1
    names: dict[int, tuple[str, ...]] = {}
    for i, text in enumerate(texts):
        hashes = found.hashes[found.starts[i] : found.starts[i + 1]].tolist()
        runs = _runs(text, length)
        assert len(hashes) == len(runs)
        for value, run in zip(hashes, runs, strict=True):
            assert names.setdefault(value, run) == run
    assert len(set(names.values())) == len(names)


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_a_texts_shingles_do_not_depend_on_its_neighbours(texts: list[str]):
    together = shingles(texts, 3)
    for i, text in enumerate(texts):
        alone = shingles([text], 3).hashes
        assert len(alone) >= 1
        assert np.array_equal(together.hashes[together.starts[i] : together.starts[i + 1]], alone)


def test_layout_case_and_punctuation_do_not_count():
    one, other, third = sketches(
        ["def f(x):\n    return X[0]", "DEF f ( x ) { return x.0 }", "def f(x): return 1"]
    )
    assert np.array_equal(one, other)
    assert not np.array_equal(one, third)
    # Texts without a word are themselves.
    one, other, third = sketches(["{ }", "{}", "()"])
    assert np.array_equal(one, other)
    assert not np.array_equal(one, third)


def test_hashes_stay_what_they_are():
    # Kept sketches and reports would be worth nothing if they did not.
    assert shingles(["the quick brown fox", "x"], 3).hashes.tolist() == [
        1704422094337064704, 8135909385619349474, 17019651397409728149,
    ]  # fmt: skip


def test_sketches_tell_the_similarity():
    rng = random.Random(1)
    errors = []
    for _ in range(300):
        words = [f"w{rng.randrange(10_000)}" for _ in range(rng.randrange(5, 300))]
        changed = [
            w if rng.random() > rng.choice([0.01, 0.05, 0.2]) else f"v{rng.randrange(9)}" for w in words
        ]
        one, other = set(_runs(" ".join(words), 3)), set(_runs(" ".join(changed), 3))
        rows = sketches([" ".join(words), " ".join(changed)])
        errors.append(np.mean(rows[0] == rows[1]) - len(one & other) / len(one | other))
    assert abs(np.mean(errors)) < 0.01  # no bias
    assert np.sqrt(np.mean(np.square(errors))) < 0.5 / np.sqrt(ROWS)  # at most the binomial's error


def test_near_equal_texts_have_the_first_ones_label():
    rng = random.Random(2)
    texts, expected = [], []
    for group in range(200):
        words = [f"w{rng.randrange(10_000)}" for _ in range(100)]
        first = len(texts)
        for copy in range(rng.randrange(1, 5)):
            changed = list(words)
            changed[rng.randrange(100)] = f"c{group}x{copy}"  # similarity to the others 0.88 or more
            texts.append(" ".join(changed))
            expected.append(first)
    order = rng.sample(range(len(texts)), len(texts))
    labels = near_equal(sketches([texts[i] for i in order]))
    place = {i: at for at, i in enumerate(order)}
    firsts = [min(place[j] for j in range(len(texts)) if expected[j] == expected[i]) for i in order]
    assert np.mean(labels == firsts) > 0.99
    assert np.all(labels <= np.arange(len(labels)))
    # Half of the words in common is not near-equal.
    halves = [" ".join(f"w{i}" for i in range(start, start + 200)) for start in (0, 70)]
    assert near_equal(sketches(halves)).tolist() == [0, 1]


@given(st.lists(st.sampled_from(["a b c d", "a b c e", "{", "}", "", "x"]), min_size=1))
def test_equal_texts_have_one_label(texts: list[str]):
    labels = near_equal(sketches(texts)).tolist()
    assert [texts[label] for label in labels] == texts
    assert labels == [texts.index(text) for text in texts]
