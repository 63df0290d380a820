"""A whole small run: it learns, twice the same, and what it writes is what it trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

torch = pytest.importorskip("torch")

from synonyms import SYNONYMS, synonym_pairs  # noqa: E402

from codekin.data import Pair, write_pairs  # noqa: E402
from codekin.embed import Embedder  # noqa: E402
from codekin.embed.safetensors import write_safetensors  # noqa: E402
from codekin.errors import InputError, ModelError  # noqa: E402
from codekin.tasks import Task  # noqa: E402
from codekin.train import load_recipe, train_static  # noqa: E402
from codekin.train.static.run import distinct, split, typed  # noqa: E402
from codekin.train.static.stages import ndcg_at_10  # noqa: E402
from codekin.train.static.student import Bags, StaticStudent  # noqa: E402
from codekin.train.static.teacher import Teacher, VectorCache  # noqa: E402
from codekin.train.static.vocabulary import UNKNOWN, build_tokenizer, word_piece  # noqa: E402

RECIPE = """
kind = "static"
name = "tiny"
licence = "Apache-2.0"
seed = 3
[data]
source = "pairs.jsonl"
pairs = 10000
held_out = 0.15
max_tokens = 64
named = 0.0
[vocabulary]
size = 400
min_texts = 2
[teacher]
model = "teacher"
queries = 100
documents = 60
max_tokens = 16
[model]
dimensions = 16
sizes = [8, 16]
frequency = 1e-3
count_exponent = 0.5
[distil]
epochs = 1
batch = 64
learning_rate = 1e-2
max_tokens = 16
[contrast]
epochs = 12
batch = 64
learning_rate = 3e-2
temperature = 0.1
token_dropout = 0.0
patience = 12
"""


def _teacher(folder: Path, dimensions: int = 24) -> Path:
    """A BERT of one layer with random weights: it knows no synonyms, so that contrast has to find them."""
    folder.mkdir()
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = ["[PAD]", UNKNOWN, *SYNONYMS, *SYNONYMS.values(), "def", "return", "self"]
    tokens += [*letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    rng = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(vocabulary), dimensions),
        "embeddings.position_embeddings.weight": (64, dimensions),
        "embeddings.token_type_embeddings.weight": (2, dimensions),
        "embeddings.LayerNorm.weight": (dimensions,),
        "embeddings.LayerNorm.bias": (dimensions,),
    }
    layer = "encoder.layer.0."
    for part in (
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
    ):
        shapes |= {f"{layer}{part}.weight": (dimensions, dimensions), f"{layer}{part}.bias": (dimensions,)}
    shapes |= {
        f"{layer}intermediate.dense.weight": (48, dimensions),
        f"{layer}intermediate.dense.bias": (48,),
        f"{layer}output.dense.weight": (dimensions, 48),
        f"{layer}output.dense.bias": (dimensions,),
    }
    for norm in ("attention.output.LayerNorm", "output.LayerNorm"):
        shapes |= {f"{layer}{norm}.weight": (dimensions,), f"{layer}{norm}.bias": (dimensions,)}
    tensors = {
        name: np.ones(shape, np.float32)
        if name.endswith("LayerNorm.weight")
        else rng.normal(0, 0.2, shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    write_safetensors(folder / "model.safetensors", tensors)
    config = {
        "model_type": "bert",
        "vocab_size": len(vocabulary),
        "hidden_size": dimensions,
        "intermediate_size": 48,
        "max_position_embeddings": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "layer_norm_eps": 1e-12,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    root = tmp_path_factory.mktemp("run")
    write_pairs(root / "pairs.jsonl", synonym_pairs(900))
    (root / "recipe.toml").write_text(RECIPE)
    _teacher(root / "teacher")

    def go(name: str):  # type: ignore[no-untyped-def]
        named = [f"data.source={root / 'pairs.jsonl'}", f"teacher.model={root / 'teacher'}"]
        return train_static(load_recipe(root / "recipe.toml", named), output=root / name, log=lambda _: None)

    return root, go, go("run")


def test_training_improves_on_unseen_packages(run) -> None:  # type: ignore[no-untyped-def]
    root, _, report = run
    assert report.best_ndcg > report.start_ndcg + 0.2
    # The files say the same as the run: quantisation and the numpy model cost next to nothing.
    _, held_out = split(distinct(root / "pairs.jsonl"), 0.15)
    assert len(held_out) == report.held_out > 50
    model = Embedder(str(root / "run" / "model"))
    queries = torch.from_numpy(model.encode([pair.query for pair in held_out]))
    documents = torch.from_numpy(model.encode([pair.document for pair in held_out]))
    assert ndcg_at_10(queries, documents) == pytest.approx(report.best_ndcg, abs=0.02)


def test_the_same_run_twice_is_the_same_model(run) -> None:  # type: ignore[no-untyped-def]
    root, go, report = run
    again = go("again")
    assert again.epoch_ndcg == report.epoch_ndcg
    for file in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (root / "again" / "model" / file).read_bytes() == (root / "run" / "model" / file).read_bytes()


def test_training_leaves_the_arithmetic_as_it_was(run) -> None:  # type: ignore[no-untyped-def]
    assert np.float64(2.0**-1060) * 0.5 > 0


def test_split_keeps_a_source_on_one_side() -> None:
    pairs = synonym_pairs(400)
    training, held_out = split(pairs, 0.2)
    assert 0 < len(held_out) <= 80
    assert len(training) + len(held_out) == 400
    assert not {pair.source for pair in training} & {pair.source for pair in held_out}
    with pytest.raises(InputError, match="no source"):
        split(pairs, 0.01)


def test_teacher_is_the_same_in_any_batch(run) -> None:  # type: ignore[no-untyped-def]
    root, _, _ = run
    teacher = Teacher(root / "teacher", max_tokens=16)
    texts = ["list file", "copy", "def clone self return self", "open the row of a page"] * 30
    together = teacher.encode(texts)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    # Half precision, where the processor prefers it, rounds differently with the shape of the batch.
    np.testing.assert_allclose(together[:4], [teacher.encode([text])[0] for text in texts[:4]], atol=2e-2)


def test_teacher_vectors_survive_a_killed_run(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    root, _, _ = run
    teacher = Teacher(root / "teacher", max_tokens=16)
    VectorCache(teacher, tmp_path).fill(["list", "copy", "open"])
    expected = VectorCache(teacher, tmp_path).matrix().copy()
    vectors = next(tmp_path.glob("*.f16"))
    vectors.write_bytes(vectors.read_bytes()[:-5])
    cache = VectorCache(teacher, tmp_path)
    assert cache.rows(["list", "copy", "open"]).tolist() == [0, 1, -1]
    cache.fill(["open", "list"])
    np.testing.assert_allclose(cache.matrix().astype(float), expected.astype(float), atol=2e-2)


def test_a_folder_that_is_no_teacher(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is no model: config\.json"):
        Teacher(tmp_path, max_tokens=8)


def test_vocabulary_takes_frequent_words_and_known_pieces() -> None:
    texts = ["readFile parse_http", "readFile HTTPServer", "zzz naïve", "naïve"]
    tokenizer = build_tokenizer(["the", "##s", "[CLS]", "!", "a-b"], texts, size=9, min_texts=2)
    assert sorted(tokenizer.get_vocab(), key=tokenizer.token_to_id) == [
        UNKNOWN, "the", "##s", "file", "http", "naive", "read",
    ]  # fmt: skip
    assert tokenizer.encode("HTTPFiles, Naïve read_file").tokens == [
        "http", "file", "##s", "naive", "read", "file",
    ]  # fmt: skip


def test_student_sums_weighted_tokens() -> None:
    tokenizer = word_piece([UNKNOWN, "a", "b"])
    bags = Bags.of(tokenizer, ["a b b", "zz", "b", "a a a a"], max_tokens=3, count_exponent=1)
    vectors = np.array([[9, 9], [1, 0], [0, 2]], dtype=np.float32)
    student = StaticStudent(vectors, np.array([1.0, 0.5, 2.0], dtype=np.float32))
    expected = [[0.5, 8.0], [0.0, 0.0], [0.0, 4.0], [1.5, 0.0]]
    np.testing.assert_allclose(student.embed(bags).numpy(), expected, atol=1e-6)
    rows = np.array([3, 0])
    np.testing.assert_allclose(student(*bags.batch(rows)).detach().numpy(), [[1.5, 0], [0.5, 8]], atol=1e-6)


def test_a_repeated_token_counts_its_root() -> None:
    tokenizer = word_piece([UNKNOWN, "a", "b"])
    bags = Bags.of(tokenizer, ["a a a a b", "b b"], max_tokens=9, count_exponent=0.5)
    assert bags.counts.tolist() == [2.0, 1.0, pytest.approx(2**0.5, abs=1 / 512)]


def test_queries_name_their_language() -> None:
    pairs = [
        Pair("read a file", "x = 1", Task.NL2CODE, language=language, source=str(n))
        for language in ("cpp", "python", "markdown")
        for n in range(300)
    ]
    queries = typed(pairs, 0.5, seed=3)
    assert queries == typed(pairs, 0.5, seed=3)
    assert set(queries[:300]) == {
        "read a file", "c++ read a file", "read a file c++", "how to read a file in c++", "read a file in c++",
    }  # fmt: skip
    assert 110 < sum("python" in query for query in queries[300:600]) < 190
    assert set(queries[600:]) == {"read a file"}
    assert typed(pairs, 0.0, seed=3) == ["read a file"] * 900


def test_export_keeps_directions() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(50, 32)).astype(np.float32)
    weights = rng.random(50).astype(np.float32) + 0.01
    table, scales = StaticStudent(vectors, weights).export()
    assert table.dtype == np.int8
    restored = table * scales[:, None]
    original = vectors * weights[:, None]
    ratio = np.linalg.norm(restored, axis=1) / np.linalg.norm(original, axis=1)
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=5e-3)
    cosine = (
        (restored * original).sum(1) / np.linalg.norm(restored, axis=1) / np.linalg.norm(original, axis=1)
    )
    assert cosine.min() > 0.9995


def test_ndcg_by_hand() -> None:
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1]])
    documents = torch.tensor([[2.0, 0.0], [1.0, 1.0], [0.0, 5.0]])
    # Ranks of the right documents: first, second, third.
    assert ndcg_at_10(queries, documents) == pytest.approx((1 + 1 / np.log2(3) + 0.5) / 3, abs=1e-6)
