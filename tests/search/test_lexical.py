"""Terms of words, and postings against a counter that a person can check by eye."""

from __future__ import annotations

import re
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codekin.search import lexical
from codekin.search.lexical import Document, Field, Indexer, term_hash, terms

VOCABULARY = ["get", "getUser", "HTTPServer", "snake_case", "x", "sha256", "größe", "变量", "_", "Users"]
WORDS = st.lists(st.sampled_from(VOCABULARY), max_size=12)
DOCUMENTS = st.lists(
    st.builds(Document, text=WORDS, defines=WORDS, stem=WORDS, folders=WORDS), min_size=1, max_size=8
)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("x", ["x"]),
        ("requests", ["request"]),
        ("getUserName", ["getusername", "get", "user", "name"]),
        ("GetUser", ["getuser", "get", "user"]),
        ("snake_case_name", ["snake_case_name", "snake", "case", "name"]),
        ("MAX_VALUE", ["max_value", "max", "valu"]),
        ("__init__", ["init"]),
        ("HTTPServer", ["httpserver", "http", "server"]),
        ("getHTTPResponse", ["gethttpresponse", "get", "http", "respons"]),
        ("XMLHttpRequest", ["xmlhttprequest", "xml", "http", "request"]),
        ("parseURL", ["parseurl", "pars", "url"]),
        ("sha256", ["sha256", "sha", "256"]),
        ("utf8Decode", ["utf8decode", "utf", "8", "decod"]),
        ("retriedRequests", ["retriedrequests", "retri", "request"]),
        ("变量", ["变量"]),
        ("abc变量def", ["abc变量def", "abc", "变量", "def"]),
        ("__", []),
        ("", []),
    ],
)
def test_a_word_splits_where_its_writer_meant(word: str, expected: list[str]):
    assert terms(word) == expected


def test_inflected_words_meet():
    assert terms("retries") == terms("retry") == terms("retrying") == terms("retried")


def test_ten_megabytes_without_a_space_are_one_short_term():
    started = time.perf_counter()
    (word,) = lexical.words("a" * 10_000_000)
    (term,) = terms(word)
    assert len(term) <= 64
    postings, lengths = Indexer().postings([Document([word], [], [], [])])
    assert len(postings) == 1
    assert lengths.tolist() == [1]
    assert time.perf_counter() - started < 2


@given(st.text(max_size=80))
def test_every_word_has_terms_of_its_own_characters(text: str):
    for word in lexical.words(text):
        for term in terms(word):
            assert term
            assert term == term.strip("_")
        assert bool(terms(word)) == bool(word.strip("_"))


def expected_counts(documents: list[Document]) -> Counter[tuple[int, int]]:
    """How often chunk c holds the term that hashes to h, by (h, c): one term at a time."""
    counts: Counter[tuple[int, int]] = Counter()
    for number, document in enumerate(documents):
        for field, words in (
            (Field.TEXT, document.text),
            (Field.DEFINES, document.defines),
            (Field.STEM, document.stem),
            (Field.FOLDER, document.folders),
        ):
            for word in words:
                counts.update((term_hash(term, field), number) for term in terms(word))
        counts.update((term_hash(name.lower(), Field.NAME), number) for name in document.defines)
    return counts


def unpack(postings: lexical.Postings) -> dict[tuple[int, int], int]:
    return {(p >> 32, p >> 8 & 0xFFFFFF): p & 0xFF for p in postings.tolist()}


@given(DOCUMENTS)
def test_postings_count_every_term_of_every_field(documents: list[Document]):
    postings, lengths = Indexer().postings(documents)
    assert unpack(postings) == expected_counts(documents)
    assert np.all(postings[1:] > postings[:-1])
    assert lengths.tolist() == [sum(len(terms(word)) for word in d.text) for d in documents]


@given(DOCUMENTS, DOCUMENTS)
def test_what_an_indexer_met_before_changes_nothing(before: list[Document], documents: list[Document]):
    worn = Indexer()
    worn.postings(before)
    for new, old in zip(worn.postings(documents), Indexer().postings(documents), strict=True):
        assert np.array_equal(new, old)


def test_a_count_stops_at_255():
    postings, lengths = Indexer().postings([Document(["x"] * 1000, [], [], [])])
    assert unpack(postings) == {(term_hash("x"), 0): 255}
    assert lengths.tolist() == [1000]


def test_no_documents_and_no_words():
    assert [len(part) for part in Indexer().postings([])] == [0, 0]
    postings, lengths = Indexer().postings([Document([], [], [], [])] * 3)
    assert (len(postings), lengths.tolist()) == (0, [0, 0, 0])


def some_postings(count: int, chunks: int, vocabulary: int, seed: int = 0) -> lexical.Postings:
    random = np.random.default_rng(seed)
    hashes = np.array([term_hash(f"w{i}") for i in range(vocabulary)], np.uint64)
    keys = np.unique(
        hashes[random.integers(0, vocabulary, count)] << np.uint64(32)
        | random.integers(0, chunks, count).astype(np.uint64) << np.uint64(8)
    )
    return keys | random.integers(1, 256, len(keys)).astype(np.uint64)


@pytest.mark.parametrize("count", [0, 1, 1023, 1024, 1025, 5000, 40_000])
def test_blocks_hold_every_posting_where_block_of_looks(count: int):
    postings = some_postings(count, 300, 900, seed=count)
    bits = lexical.block_bits(len(postings))
    blocks = list(lexical.blocks(postings, bits))
    assert np.array_equal(lexical.postings_of(data for _, data in blocks), postings)
    assert [block for block, _ in blocks] == sorted({block for block, _ in blocks})
    by_name = dict(blocks)
    expected = unpack(postings)
    for term in {term for term, _ in expected}:
        [(chunks, counts)] = lexical.matches(by_name[lexical.block_of(term, bits)], [term])
        assert dict(zip(chunks.tolist(), counts.tolist(), strict=True)) == {
            chunk: count for (t, chunk), count in expected.items() if t == term
        }


def test_blocks_stay_small_enough_to_read():
    postings = some_postings(40_000, 10_000, 20_000)
    blocks = lexical.blocks(postings, lexical.block_bits(len(postings)))
    assert max(len(data) for _, data in blocks) < 64_000


@pytest.mark.parametrize("term", [0, 1, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF])
def test_terms_at_the_ends_of_the_range_are_found(term: int):
    wanted = (term << 32) + (0xFFFFFF << 8) + 255
    others = [o << 32 | 5 << 8 | 1 for o in (0, 1, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF) if o != term]
    postings = np.sort(np.array([wanted, *others], np.uint64))
    bits = lexical.block_bits(len(postings))
    blocks = dict(lexical.blocks(postings, bits))
    [(chunks, counts)] = lexical.matches(blocks[lexical.block_of(term, bits)], [term])
    assert (chunks.tolist(), counts.tolist()) == ([0xFFFFFF], [255.0])


def test_a_term_that_is_not_there_matches_nothing():
    [(_, block)] = lexical.blocks(some_postings(500, 50, 30), 0)
    nothing, something = lexical.matches(block, [term_hash("no such term"), term_hash("w3")])
    assert len(nothing[0]) == len(nothing[1]) == 0
    assert len(something[0]) == len(something[1]) > 0


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 60)), min_size=1, max_size=5), st.randoms())
def test_merging_keeps_the_living_and_drops_the_dead(sizes, random):
    segments, base = [], 7
    for number, (chunks, count) in enumerate(sizes):
        segments.append((base, some_postings(count, chunks, 20, seed=number)))
        base += chunks
    first = 7
    alive = np.array([random.random() < 0.6 for _ in range(base - first)], np.bool_)
    expected = {
        (term, own + chunk): count
        for own, postings in segments
        for (term, chunk), count in unpack(postings).items()
        if alive[own + chunk - first]
    }
    random.shuffle(segments)
    new_base, merged = lexical.merge(segments, alive, first)
    assert np.all(merged[1:] > merged[:-1])
    assert {(term, new_base + chunk): count for (term, chunk), count in unpack(merged).items()} == expected


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_words_of_ascii_are_those_of_the_pattern(text: str):
    assert lexical.words(text) == re.findall(r"\w+", text)
