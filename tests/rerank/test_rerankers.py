"""Rerankers of every kind behind one interface: which one a name means, their scores, and their keeping to time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bert_folders import bert_tokenizer, save_classifier
from numpy.typing import NDArray

from codekin import Embedder
from codekin.embed import VectorCache
from codekin.errors import InputError, ModelError
from codekin.rerank import Reranker, open_reranker
from codekin.rerank.embedding import EmbeddingReranker
from codekin.rerank.reranker import paced
from codekin.tasks import Task

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

QUERY = "sort the rows of a table"
TEXTS = [
    f"def function_{n}(rows):\n    return {'sorted(rows)' if n % 3 else 'None'}  # {n}" for n in range(12)
]


@pytest.fixture(scope="module")
def make_classifier(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes random BERTs for sequence classification."""

    def make(labels: int = 1) -> Path:
        return save_classifier(tmp_path_factory.mktemp("classifier"), labels)

    return make


def test_a_cross_encoder_scores_as_sentence_transformers_does(make_classifier: Callable[..., Path]) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    folder = make_classifier()
    theirs = sentence_transformers.CrossEncoder(str(folder), device="cpu")
    expected = theirs.predict([(QUERY, text) for text in TEXTS], batch_size=1)
    reranker = open_reranker(folder, device="cpu")
    assert isinstance(reranker, Reranker)
    found = reranker.score(QUERY, TEXTS, Task.NL2CODE)
    assert found.dtype == np.float32 and np.ptp(expected) > 1e-3
    assert np.allclose(found, expected, atol=1e-5)
    assert np.allclose(reranker.score(QUERY, TEXTS, Task.NL2CODE, 60.0), expected, atol=1e-5)


def test_a_classifier_of_several_classes_is_no_reranker(make_classifier: Callable[..., Path]) -> None:
    with pytest.raises(ModelError, match="sorts pairs into 3 classes"):
        open_reranker(make_classifier(3)).load()


def test_a_damaged_cross_encoder_is_told_of_in_a_line(make_classifier: Callable[..., Path]) -> None:
    folder = make_classifier()
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"cannot be loaded: [^\n]+$"):
        open_reranker(folder).load()


def test_an_embedding_model_scores_by_cosine_through_the_cache(tmp_path: Path) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    bert_tokenizer().save_pretrained(tmp_path / "base")
    config = transformers.BertConfig(
        vocab_size=1200, hidden_size=24, num_hidden_layers=1, num_attention_heads=3, intermediate_size=40
    )
    transformers.BertModel(config).save_pretrained(tmp_path / "base")
    modules = [Transformer(str(tmp_path / "base"), max_seq_length=64), Pooling(24)]
    sentence_transformers.SentenceTransformer(modules=modules, device="cpu").save(str(tmp_path / "model"))
    cache = VectorCache(tmp_path / "cache")
    reranker = open_reranker(tmp_path / "model", dtype="float32", cache=cache)
    assert isinstance(reranker, EmbeddingReranker)
    found = reranker.score(QUERY, TEXTS, Task.NL2CODE)
    model = Embedder(tmp_path / "model", dtype="float32")
    vectors = model.encode([QUERY, *TEXTS])
    assert np.allclose(found, vectors[1:] @ vectors[0], atol=1e-5)
    # What was embedded once, for a search or for an index, is not embedded again.
    again = Embedder(tmp_path / "model", dtype="float32", cache=cache)
    again.encode(TEXTS)
    assert "_transformer" not in vars(again)


def test_the_bundled_model_is_one_too() -> None:
    reranker = open_reranker("codekin-static")
    reranker.load()
    found = reranker.score("sort rows", ["def sort_rows(rows): ...", "def close(self): ..."], Task.NL2CODE)
    assert found[0] > found[1]


def test_what_is_no_reranker_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model"):
        open_reranker(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    with pytest.raises(ModelError, match="LlamaForCausalLM"):
        open_reranker(tmp_path)
    with pytest.raises(InputError, match="no URL of an API"):
        open_reranker("https://host/v1")


def slow(asked: list[int], seconds: float) -> Any:
    """A model that takes `seconds` a text; a text's score is its length."""

    def score(texts: Sequence[str]) -> NDArray[np.float32]:
        asked.append(len(texts))
        time.sleep(seconds * len(texts))
        return np.array([len(text) for text in texts], np.float32)

    return score


@pytest.mark.parametrize(("budget", "least", "most"), [(0.4, 12, 20), (0.01, 1, 1), (60.0, 100, 100)])
def test_a_budget_is_kept_and_used(budget: float, least: int, most: int) -> None:
    texts = ["x" * n for n in range(100)]
    asked: list[int] = []
    started = time.monotonic()
    found = paced(slow(asked, 0.02 if budget < 60 else 0.0), texts, budget)
    taken = time.monotonic() - started
    assert least <= len(found) <= most
    assert found.tolist() == list(range(len(found)))
    # What is over it is the first batch, at the most, or a batch that took longer than the one before.
    assert taken < budget + 0.3


def test_without_a_budget_all_is_scored_at_once() -> None:
    asked: list[int] = []
    assert len(paced(slow(asked, 0.0), ["x"] * 50, None)) == 50
    assert asked == [50]
