"""Embedder and the static model: golden vectors, parity with whole-text tokenisation, errors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from codekin.embed import DEFAULT_MODEL, Embedder, available_models, static
from codekin.embed.folders import static_files
from codekin.embed.safetensors import write_safetensors
from codekin.errors import InputError, ModelError

BUNDLED = static_files(Path(static.__file__).parent / "models" / DEFAULT_MODEL)
MODEL = static.StaticModel(BUNDLED)

CODE = """
def fetch_with_retry(session, URL, maxRetries=3):
    for attempt in range(maxRetries):
        try:
            return session.get(URL)
        except ConnectionError:
            time.sleep(2 ** attempt)
"""


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder()


def tiny_model(folder: Path, **config: object) -> Path:
    """A model of three words and two dimensions, by hand."""
    vocabulary = {"[UNK]": 0, "read": 1, "file": 2, "##s": 3}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[^\p{L}\p{N}]+"), "removed")
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    table = np.array([[9, 9], [3, 0], [0, 4], [1, 0]], dtype=np.int8)
    weights = np.array([1.0, 1.0, 0.5, 2.0], dtype=np.float32)
    write_safetensors(folder / "model.safetensors", {"embeddings": table, "weights": weights})
    settings = {"normalize": True, "max_length": None, "words": True, "sizes": [1, 2], **config}
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


def test_golden_vectors(tmp_path: Path) -> None:
    model = Embedder(str(tiny_model(tmp_path / "m")))
    vectors = model.encode(["read file", "files", "READ read unknown", "unknown", ""])
    # read (3, 0) + file (0, 2); file (0, 2) + ##s (2, 0); two reads, the unknown word left out; nothing; nothing
    expected = [
        [3 / np.sqrt(13), 2 / np.sqrt(13)],
        [np.sqrt(0.5), np.sqrt(0.5)],
        [1, 0],
        [0, 0],
        [0, 0],
    ]
    np.testing.assert_allclose(vectors, expected, atol=1e-7)
    np.testing.assert_allclose(model.encode(["read file", "file"], dimensions=1), [[1], [0]], atol=1e-7)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.text() | st.text(alphabet="aZ9_ .éßΣ中-x"), max_size=4))
@example(
    ["HTTPServerError", "parseHTMLDoc v2Beta", "naïve_Ångström", "x" * 300, "a\x00B", "ΑΣ ΑΣ-ΑΣb", "\ud800a"]
)
@example(["e\u0301Tude -\u0301x ﬁle…end a\u200bB"])
def test_word_look_up_equals_whole_tokenisation(texts: list[str]) -> None:
    model = MODEL
    model._memo.clear()
    looked_up = model._lookup(texts)
    for ours, theirs in zip(looked_up, model._tokenise(texts), strict=True):
        assert ours.tolist() == theirs.tolist()
    # Again, now from the memo.
    for first, second in zip(looked_up, model._lookup(texts), strict=True):
        assert first.tolist() == second.tolist()


def test_vectors_equal_the_weighted_sum_of_rows(embedder: Embedder) -> None:
    from codekin.embed.safetensors import read_safetensors

    tensors = read_safetensors(BUNDLED.tensors)
    tokenizer = Tokenizer.from_file(str(BUNDLED.tokenizer))
    ids = [i for i in tokenizer.encode(CODE, add_special_tokens=False).ids if i != 0]
    ids, counts = np.unique(ids, return_counts=True)
    assert counts.max() > 1
    weights = tensors["weights"][ids] * (np.rint(counts**0.35 * 256) / 256)
    total = (tensors["embeddings"][ids].astype(np.float64) * weights[:, None]).sum(0)
    np.testing.assert_allclose(embedder.encode([CODE])[0], total / np.linalg.norm(total), atol=1e-6)


def test_a_text_has_one_vector_in_any_company(embedder: Embedder) -> None:
    texts = [f"{CODE}\nvalue_{i} = {i} * parse(node{i})\n" * (1 + i % 7) for i in range(300)]
    together = embedder.encode(texts)
    alone = np.concatenate([Embedder().encode([text]) for text in texts[:5]])
    np.testing.assert_array_equal(together[:5], alone)
    np.testing.assert_array_equal(together, embedder.encode(texts[::-1])[::-1])


def test_rows_are_of_unit_length_at_every_size(embedder: Embedder) -> None:
    texts = [CODE, "where are failed requests retried", "x"]
    full = embedder.encode(texts)
    assert full.dtype == np.float32
    assert full.shape == (3, embedder.dimensions)
    for size in embedder.sizes:
        vectors = embedder.encode(texts, dimensions=size)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
        cut = full[:, :size]
        np.testing.assert_allclose(vectors, cut / np.linalg.norm(cut, axis=1, keepdims=True), atol=1e-5)


def test_meaning_beats_chance(embedder: Embedder) -> None:
    documents = [
        CODE,
        "def read_lines(path):\n    with open(path) as f:\n        return f.readlines()",
        "def area(radius):\n    return math.pi * radius ** 2",
        "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT UNIQUE)",
    ]
    queries = [
        "try the connection again when it fails",
        "load a text file line by line",
        "surface of a circle",
        "database schema for accounts",
    ]
    scores = embedder.encode(queries, role="query") @ embedder.encode(documents).T
    assert scores.argmax(1).tolist() == [0, 1, 2, 3]


def test_empty_unknown_and_long_texts(embedder: Embedder) -> None:
    assert embedder.encode([]).shape == (0, embedder.dimensions)
    assert not embedder.encode(["", "  \n", "!!! --- ???"]).any()
    long = embedder.encode([" ".join(f"word{i}" for i in range(10_000))])
    np.testing.assert_allclose(np.linalg.norm(long), 1, atol=1e-6)


def test_the_memo_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static, "_MEMO_WORDS", 50)
    model = static.StaticModel(BUNDLED)
    texts = [f"name{i} other{i} {'z' * 200}{i}" for i in range(2_000)]
    expected = static.StaticModel(BUNDLED)._tokenise(texts)
    for text, ids in zip(texts, expected, strict=True):
        assert model._lookup([text])[0].tolist() == ids.tolist()
    assert len(model._memo) <= 50 + 3
    assert max(map(len, model._memo)) <= static._MEMO_WORD_BYTES


@pytest.mark.parametrize("size", [0, 1, 100, 257, -64])
def test_other_sizes_are_refused(embedder: Embedder, size: int) -> None:
    with pytest.raises(InputError, match="sizes: 64, 128, 256"):
        embedder.encode(["x"], dimensions=size)


def test_wrong_arguments(embedder: Embedder) -> None:
    with pytest.raises(InputError, match="unknown task 'sql'"):
        embedder.encode(["x"], task="sql")
    with pytest.raises(InputError, match="unknown role 'passage'"):
        embedder.encode(["x"], role="passage")
    with pytest.raises(InputError, match="not one string"):
        embedder.encode("x")


@pytest.mark.parametrize("name", ["no-such-model", "", "../models", "a/b/c"])
def test_unknown_models_name_the_known(name: str) -> None:
    with pytest.raises(ModelError, match=DEFAULT_MODEL):
        Embedder(name)


def test_a_transformer_of_another_kind_is_refused(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "m", architectures=["RobertaModel"])
    with pytest.raises(ModelError, match=r"config\.json: architecture RobertaModel"):
        Embedder(str(folder))


def test_files_that_disagree(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "m")
    write_safetensors(folder / "model.safetensors", {"embeddings": np.ones((3, 2), dtype=np.float32)})
    with pytest.raises(ModelError, match="3 vectors for the 4 tokens"):
        Embedder(str(folder))
    write_safetensors(folder / "model.safetensors", {"vectors": np.ones((4, 2), dtype=np.float32)})
    with pytest.raises(ModelError, match="'embeddings' is missing"):
        Embedder(str(folder))
    with pytest.raises(ModelError, match="sizes"):
        Embedder(str(tiny_model(tmp_path / "n", sizes=[1, 3])))


def test_a_repeated_token_counts_its_power(tmp_path: Path) -> None:
    model = Embedder(str(tiny_model(tmp_path / "m", count_exponent=0.5)))
    twice = round(2**0.5 * 256) / 256
    # four reads (6, 0) + file (0, 2); two reads + two files
    expected = np.array([[6, 2], [3 * twice, 2 * twice]])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    texts = ["read read file read read", "file read file read"]
    np.testing.assert_allclose(model.encode(texts), expected, atol=1e-7)
    np.testing.assert_array_equal(model.encode(texts)[1], model.encode([texts[1]])[0])


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "1", True, None])
def test_a_power_that_cannot_be(tmp_path: Path, wrong: object) -> None:
    with pytest.raises(ModelError, match="count_exponent must be above 0 and at most 1"):
        Embedder(str(tiny_model(tmp_path / "m", count_exponent=wrong)))


def test_fingerprint_follows_every_file(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "m")
    seen = {Embedder(str(folder)).fingerprint}
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    assert Embedder(str(copy)).fingerprint in seen
    tiny_model(folder, sizes=[2])
    seen.add(Embedder(str(folder)).fingerprint)
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    seen.add(Embedder(str(folder)).fingerprint)
    assert len(seen) == 3


def test_available_models() -> None:
    models = available_models()
    assert models[0].name == DEFAULT_MODEL
    assert models[0].default
    assert models[0].installed
    assert models[0].licence == "Apache-2.0"
    assert models[0].dimensions == 256
    assert models[0].bytes < 30_000_000


def test_model2vec_agrees_on_our_model_but_for_repeated_words(embedder: Embedder) -> None:
    model2vec = pytest.importorskip("model2vec")
    theirs = model2vec.StaticModel.from_pretrained(BUNDLED.config.parent)
    texts = ["def add(a, b):", "where are failed requests retried", "HTTPServerError naïve", ""]
    np.testing.assert_allclose(embedder.encode(texts), theirs.encode(texts), atol=1e-5)


def test_we_agree_on_a_model2vec_model(tmp_path: Path) -> None:
    model2vec = pytest.importorskip("model2vec")
    tokenizer = Tokenizer.from_file(str(BUNDLED.tokenizer))
    rows = np.random.default_rng(0).normal(size=(tokenizer.get_vocab_size(), 16)).astype(np.float32)
    theirs = model2vec.StaticModel(rows, tokenizer, normalize=True)
    theirs.save_pretrained(tmp_path)
    texts = [CODE, "one", CODE * 40, ""]
    np.testing.assert_allclose(Embedder(str(tmp_path)).encode(texts), theirs.encode(texts), atol=1e-5)
