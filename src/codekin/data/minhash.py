"""Near-equal texts by MinHash (Broder, 1997) and locality-sensitive hashing, on arrays of many texts at a time.

A text is the set of its shingles, runs of words; words are runs of letters, digits and underscores, case folded, so
that layout and punctuation do not count. Hashes are the same in every process and on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from codekin.data.filters import fingerprint

ROWS = 128
"""Numbers in a sketch: it tells a similarity of 0.8 to 0.035 (one standard deviation)."""

THRESHOLD = 0.8
"""The Jaccard similarity from which texts are near-equal, as for the code models' training sets."""

# Two texts meet if all rows of one band agree: 998 of 1,000 pairs at a similarity of 0.8, 6 of 100 at 0.4.
_BANDS, _BAND_ROWS = 21, 6
_SHINGLE = 3
# Hashes that stay in the processor's cache while all functions pass over them.
_CACHED = 32_768
_COMPARED = 65_536

_FOLD = np.zeros(256, np.uint8)
for _byte in range(256):
    if _byte >= 0x80 or chr(_byte).isalnum() or _byte == ord("_"):
        _FOLD[_byte] = ord(chr(_byte).lower()) if _byte < 0x80 else _byte
_rng = np.random.default_rng(20_250_828)
_FLIPS = _rng.integers(0, 2**32, ROWS, np.uint32)
_FACTORS = _rng.integers(0, 2**32, ROWS, np.uint32) | np.uint32(1)
_PLACES = _rng.integers(0, 2**64, 16, np.uint64) | np.uint64(1)
_BASE = 0x9E3779B97F4A7C15 | 1


@dataclass(frozen=True, slots=True)
class Shingles:
    """Texts as hashes, one after the other: text i owns hashes[starts[i]:starts[i + 1]]; uint64 and int64."""

    hashes: NDArray[np.uint64]
    starts: NDArray[np.int64]


def shingles(texts: Sequence[str], length: int) -> Shingles:
    """The hash of every run of `length` (at most 16) words of each text; every text has one at least.

    A text of fewer words has one run, that of all its words; one without any counts as a word that is the text.
    """
    data = [text.encode("utf-8", "replace") for text in texts]
    sizes = np.fromiter(map(len, data), np.int64, len(data)) + 1
    folded = _FOLD[np.frombuffer(b"\0".join([*data, b""]), np.uint8)]
    inside = np.zeros(len(folded) + 1, np.int8)
    inside[1:] = folded != 0
    # Every text ends with a zero byte, so begins and ends alternate.
    edges = np.flatnonzero(np.diff(inside))
    begins, ends = edges[::2], edges[1::2]
    first = np.concatenate(([0], np.searchsorted(begins, np.cumsum(sizes))))
    counts = np.diff(first)
    if not counts.all():
        return shingles(
            [t if n else f"{fingerprint(t):x}" for t, n in zip(texts, counts.tolist(), strict=True)], length
        )
    words = _mix(_polynomials(folded, begins, ends))
    sums = np.zeros(len(words), np.uint64)
    at, stop = np.arange(len(words)), np.repeat(first[1:], counts)
    for place in range(min(length, len(words))):
        rest = len(words) - place
        within = at[:rest] + place < stop[:rest]
        sums[:rest] += np.where(within, words[place:], 0) * _PLACES[place]
    kept = at + length <= stop
    kept[first[:-1]] = True
    return Shingles(_mix(sums[kept]), np.concatenate(([0], np.cumsum(kept)))[first])


def _polynomials(
    folded: NDArray[np.uint8], begins: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """A hash of each word folded[begins[i]:ends[i]]: a polynomial of its bytes modulo 2**64."""
    # Running sums of byte * base**position; a word's part, divided by base**begin, does not know where it stands.
    bits = len(folded).bit_length()
    sums = np.zeros(len(folded) + 1, np.uint64)
    np.cumsum(folded * _powers(_BASE, bits)[: len(folded)], out=sums[1:])
    return (sums[ends] - sums[begins]) * _powers(pow(_BASE, -1, 2**64), bits)[begins]


@cache
def _powers(base: int, bits: int) -> NDArray[np.uint64]:
    """base**0 to base**(2**bits - 1), modulo 2**64."""
    table = np.full(1 << bits, base, np.uint64)
    table[0] = 1
    return np.cumprod(table, out=table)


def _mix(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser: every bit of the result hangs on every bit of the hash."""
    mixed = hashes ^ (hashes >> np.uint64(30))
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def sketches(texts: Sequence[str]) -> NDArray[np.uint16]:
    """The texts' MinHash sketches, (n, ROWS) uint16: the share of equal numbers of two is about their similarity.

    16 bits of each minimum are kept (b-bit minwise hashing, arXiv 0910.3349). The work needs some hundred times
    the texts' size in memory: give a few megabytes at a time.
    """
    runs = shingles(texts, _SHINGLE)
    hashes = runs.hashes.astype(np.uint32)
    result = np.empty((len(texts), ROWS), np.uint16)
    cuts = np.unique(np.searchsorted(runs.starts, [*range(0, len(hashes), _CACHED), len(hashes)]))
    for low, high in pairwise(cuts.tolist()):
        part = hashes[runs.starts[low] : runs.starts[high]]
        starts = runs.starts[low:high] - runs.starts[low]
        scratch = np.empty_like(part)
        for row in range(ROWS):
            np.bitwise_xor(part, _FLIPS[row], out=scratch)
            np.multiply(scratch, _FACTORS[row], out=scratch)
            result[low:high, row] = np.minimum.reduceat(scratch, starts)
    return result


def near_equal(rows: NDArray[np.uint16], threshold: float = THRESHOLD) -> NDArray[np.int64]:
    """Each text's label, (n,): the number of the first of the texts that it is near-equal to, in chains of such.

    `rows` are their sketches.
    """
    labels = np.arange(len(rows))
    for band in range(_BANDS):
        keys = np.zeros(len(rows), np.uint64)
        for row in range(band * _BAND_ROWS, (band + 1) * _BAND_ROWS):
            keys = _mix(keys + rows[:, row])
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        repeats = np.flatnonzero(keys[1:] == keys[:-1]) + 1
        leaders = np.searchsorted(keys, keys[repeats])
        # Against the first that fell together and the one before: two comparisons a text, whatever their number.
        for others in (leaders, repeats - 1):
            _join(labels, order[repeats], order[others], rows, threshold)
    return labels


def _join(
    labels: NDArray[np.int64],
    one: NDArray[np.int64],
    other: NDArray[np.int64],
    rows: NDArray[np.uint16],
    threshold: float,
) -> None:
    """Give texts one[i] and other[i], and all that have their labels, one label where they are near-equal."""
    apart = labels[one] != labels[other]
    one, other = one[apart], other[apart]
    alike = np.zeros(len(one), np.bool_)
    for start in range(0, len(one), _COMPARED):
        part = slice(start, start + _COMPARED)
        equal = rows[one[part]] == rows[other[part]]
        alike[part] = np.count_nonzero(equal, axis=1) >= threshold * ROWS
    one, other = one[alike], other[alike]
    while len(one):
        first, second = labels[one], labels[other]
        np.minimum.at(labels, np.maximum(first, second), np.minimum(first, second))
        while (labels[labels] != labels).any():
            labels[:] = labels[labels]
        apart = labels[one] != labels[other]
        one, other = one[apart], other[apart]
