"""The lexical index: terms of a text, and their postings, in blocks of a segment.

A posting is one unsigned 64-bit integer, `term << 32 | chunk << 8 | count`: the 32-bit hash of the term, the chunk's
number counted from the segment's base (24 bits), and how often the term occurs (8 bits, saturating). A segment is
the sorted array of its postings, cut into blocks by the term's leading bits, so that a query reads a few kilobytes
whatever the index's size. A block is stored in columns of native integers, from which a query takes what it needs as it
stands: the number of terms, the terms, where the postings of each end, the chunks (all uint32), the counts (uint8).

A field (the text, names it defines, its file's name, its folders) is part of the term's hash: "definitions of
`retry`" is a list of postings like any other, next to that of the texts with `retry`.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain, pairwise
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from Stemmer import Stemmer

Postings = NDArray[np.uint64]
"""(n,) uint64, sorted: `term << 32 | chunk << 8 | count`."""

CHUNK_LIMIT = 1 << 24
"""Chunk numbers of a segment lie below this, counted from the segment's base."""

FUNCTION_WORDS = frozenset(
    "a about all an and any are as at be been before being but by can could did do does done each for from get gets "
    "had has have how i if in into is it its me my no not of on one or our should so some such than that the their "
    "them then there these they this those through to use used uses using was we were what when where whether which "
    "while who why will with would you your".split()
)
"""What a question is made of and code is full of: it says nothing about what answers."""

_BLOCK_POSTINGS = 1024  # 6 KB: within a page of SQLite, read in some 10 µs
_WORD = re.compile(r"\w+")
_SEPARATORS = {code: " " for code in range(128) if not _WORD.match(chr(code))}
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")
_STEMMER = Stemmer("english", 0)  # no cache of its own: every word is stemmed once
_NO_FIELD = 0xFFFFFFF8
_MEMO_LIMIT = 150_000  # words: some 50 MB
_LONGEST_TERM = 64  # characters; longer words are data (base64, hashes), cut so that the memo stays small


class Field(Enum):
    """Where a term occurs: the last three bits of its hash, so that one block holds a term of every field.

    `DEFINES` holds the terms of the names that a chunk defines, `NAME` those names whole, in lower case.
    """

    TEXT = 0
    DEFINES = 1
    NAME = 2
    STEM = 3
    FOLDER = 4


def parts(name: str) -> list[str]:
    """The parts of a name at case, underscore, digit and other boundaries."""
    return _PART.findall(name)


def terms(word: str) -> list[str]:
    """The terms of one word: its parts at case, underscore and digit boundaries, and itself if it has several.

    Parts are lower-case and stemmed (Snowball's English): `retriedRequests` gives `retriedrequests`, `retri`,
    `request`.
    """
    word = word[:_LONGEST_TERM]
    if word.islower() and word.isalpha() and word.isascii():
        return [_STEMMER.stemWord(word)]
    stems: list[str] = _STEMMER.stemWords([part.lower() for part in parts(word)])
    return stems if len(stems) < 2 else [word.lower().strip("_"), *stems]


def words(text: str) -> list[str]:
    """The words of a text: runs of letters, digits and underscores."""
    # The same words, at three times the speed, of what most source is.
    return text.translate(_SEPARATORS).split() if text.isascii() else _WORD.findall(text)


def term_hash(term: str, field: Field = Field.TEXT) -> int:
    """The 32 bits that stand for a term of a field: one term in 5,000 shares them with one of 100,000 others."""
    return crc32(term.encode("utf-8", "surrogatepass")) & _NO_FIELD | field.value


class _Vocabulary(dict[str, int]):
    """Word -> its row in the table of term hashes; a word not met before is split and hashed once."""

    def __init__(self, field: Field) -> None:
        self.field = field
        self.hashes = array("Q")
        self.starts = array("q", [0])

    def __missing__(self, word: str) -> int:
        self[word] = row = len(self)
        found = [word.lower()] if self.field is Field.NAME else terms(word)
        self.hashes.extend(term_hash(term, self.field) for term in found)
        self.starts.append(len(self.hashes))
        return row


@dataclass(frozen=True, slots=True)
class Document:
    """What the lexical index knows of a chunk: words by field."""

    text: Sequence[str]
    defines: Sequence[str]
    stem: Sequence[str]
    folders: Sequence[str]


class Indexer:
    """Turns chunks into postings; keeps the words it has met, so that each is split and hashed once."""

    def __init__(self) -> None:
        self._vocabularies: dict[Field, _Vocabulary] = {}

    def postings(self, documents: Sequence[Document]) -> tuple[Postings, NDArray[np.uint32]]:
        """Postings of chunks 0..n-1, and (n,) uint32, the number of terms in each chunk's text."""
        if not self._vocabularies or sum(map(len, self._vocabularies.values())) > _MEMO_LIMIT:
            self._vocabularies = {field: _Vocabulary(field) for field in Field}
        body, lengths = self._field(Field.TEXT, [document.text for document in documents])
        columns = [
            body,
            self._field(Field.DEFINES, [document.defines for document in documents])[0],
            self._field(Field.NAME, [document.defines for document in documents])[0],
            self._field(Field.STEM, [document.stem for document in documents])[0],
            self._field(Field.FOLDER, [document.folders for document in documents])[0],
        ]
        return _count(np.concatenate(columns)), lengths

    def _field(
        self, field: Field, texts: Sequence[Sequence[str]]
    ) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
        """`term << 32 | chunk << 8` of every occurrence, and the number of terms of each text."""
        vocabulary = self._vocabularies[field]
        total = sum(map(len, texts))
        rows = np.fromiter(map(vocabulary.__getitem__, chain.from_iterable(texts)), np.int64, total)
        starts = np.array(vocabulary.starts, np.int64)
        hashes = np.array(vocabulary.hashes, np.uint64)
        counts = (starts[1:] - starts[:-1])[rows]
        chunk_of_word = np.repeat(np.arange(len(texts), dtype=np.uint64), [len(text) for text in texts])
        ends = np.cumsum(counts)
        first = np.repeat(starts[rows] - (ends - counts), counts)
        keys = hashes[first + np.arange(len(first))] << np.uint64(32)
        chunks = np.repeat(chunk_of_word, counts)
        lengths = np.bincount(chunks.astype(np.int64), minlength=len(texts)).astype(np.uint32)
        return keys | chunks << np.uint64(8), lengths


def _count(occurrences: NDArray[np.uint64]) -> Postings:
    """Sorted postings with counts, of unsorted occurrences `term << 32 | chunk << 8`."""
    occurrences.sort()
    if not len(occurrences):
        return occurrences
    starts = np.flatnonzero(np.concatenate(([True], occurrences[1:] != occurrences[:-1])))
    counts = np.diff(np.append(starts, len(occurrences)))
    return occurrences[starts] | np.minimum(counts, 255).astype(np.uint64)


def block_bits(size: int) -> int:
    """The leading bits of a term that name its block, in a segment of so many postings."""
    return (size // _BLOCK_POSTINGS).bit_length()


def block_of(term: int, bits: int) -> int:
    """The block of a segment with `bits` that holds a term's postings."""
    return term >> (32 - bits)


def blocks(postings: Postings, bits: int) -> Iterator[tuple[int, bytes]]:
    """Each block of a segment with `bits` that holds some of `postings`, and its bytes."""
    heads = (postings >> np.uint64(32)).astype(np.uint32)
    chunks = (postings >> np.uint64(8)).astype(np.uint32) & np.uint32(0xFFFFFF)
    counts = postings.astype(np.uint8)
    firsts = _firsts(heads)
    terms = heads[firsts]
    ends = np.append(firsts[1:], len(heads)).astype(np.uint32)
    names = terms >> np.uint32(32 - bits) if bits else np.zeros(len(terms), np.uint32)
    edges = [*_firsts(names).tolist(), len(terms)]
    for first, last in pairwise(edges):
        start, end = int(firsts[first]), int(ends[last - 1])
        columns = (
            np.uint32(last - first),
            terms[first:last],
            ends[first:last] - np.uint32(start),
            chunks[start:end],
            counts[start:end],
        )
        yield int(names[first]), b"".join(column.tobytes() for column in columns)


def matches(block: bytes, terms: Sequence[int]) -> list[tuple[NDArray[np.uint32], NDArray[np.uint8]]]:
    """For each of some terms the chunks (from the segment's base) that hold it, and how often, from their block."""
    held, ends, chunks, counts = _columns(block)
    found = []
    for term in terms:
        place = bisect_left(held, term)
        if place < len(held) and held[place] == term:
            part = slice(ends[place - 1] if place else 0, ends[place])
        else:
            part = slice(0, 0)
        found.append((chunks[part], counts[part]))
    return found


def postings_of(blocks: Iterable[bytes]) -> Postings:
    """The postings that blocks were made of, one block after the other."""
    columns = [_columns(block) for block in blocks]
    if not columns:
        return np.empty(0, np.uint64)
    terms, ends, chunks, counts = (np.concatenate(column) for column in zip(*columns, strict=True))
    sizes = ends.copy()
    sizes[1:] -= ends[:-1]
    firsts = np.cumsum([0, *(len(column[0]) for column in columns[:-1])])
    sizes[firsts] = ends[firsts]  # each block counts from 0
    found: Postings = np.repeat(terms.astype(np.uint64) << np.uint64(32), sizes)
    found |= chunks.astype(np.uint64) << np.uint64(8)
    found |= counts
    return found


def _columns(block: bytes) -> tuple[memoryview, memoryview, NDArray[np.uint32], NDArray[np.uint8]]:
    """A block's terms and the ends of their postings, and the chunk and count of every posting."""
    numbers = memoryview(block)[: len(block) // 4 * 4].cast("I")
    terms = numbers[0]
    size = numbers[2 * terms] if terms else 0
    start = 4 * (1 + 2 * terms)
    chunks = np.frombuffer(block, np.uint32, size, start)
    return (
        numbers[1 : 1 + terms],
        numbers[1 + terms : 1 + 2 * terms],
        chunks,
        np.frombuffer(block, np.uint8, size, start + 4 * size),
    )


def _firsts(values: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Where each run of equal values begins."""
    if not len(values):
        return np.empty(0, np.int64)
    return np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))


def merge(
    segments: Iterable[tuple[int, Postings]], alive: NDArray[np.bool_], first: int
) -> tuple[int, Postings]:
    """One segment of several, each with its base, without the postings of dead chunks.

    `alive[i]` says whether chunk number `first + i` exists. Returns the new base and the postings.
    """
    shifted, bases = [], []
    segments = list(segments)
    base = min(base for base, _ in segments)
    for own, postings in segments:
        chunks = (postings >> np.uint64(8) & np.uint64(0xFFFFFF)).astype(np.int64) + (own - first)
        inside = (chunks >= 0) & (chunks < len(alive))
        inside[inside] = alive[chunks[inside]]
        shifted.append(postings[inside] + np.uint64(own - base << 8))
        bases.append(own)
    merged = np.concatenate(shifted)
    merged.sort(kind="stable")  # Timsort, which takes the sorted parts as they are
    return base, merged
