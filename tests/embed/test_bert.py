"""BERT sentence encoders: the vectors of sentence-transformers, through the same Embedder as all others."""

from __future__ import annotations

import json
import sysconfig
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
sentence_transformers = pytest.importorskip("sentence_transformers")

from bert_folders import bert_tokenizer  # noqa: E402

from codekin import Embedder  # noqa: E402
from codekin.errors import ModelError  # noqa: E402

SOURCES = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
TEXTS = [
    "",
    "sort a list",
    *(source.read_text("utf-8", "replace")[: 40 * n] for n, source in enumerate(SOURCES[:40])),
]


@pytest.fixture(scope="module")
def make_bert(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a random BERT of two layers with mean pooling, as sentence-transformers writes it."""

    def make(prompts: dict[str, str] | None = None, dtype: Any = torch.float32) -> Path:
        from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

        folder = tmp_path_factory.mktemp("bert")
        tokenizer = bert_tokenizer()
        tokenizer.save_pretrained(folder / "base")
        torch.manual_seed(5)
        config = transformers.BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=24,
            num_hidden_layers=2,
            num_attention_heads=3,
            intermediate_size=40,
            max_position_embeddings=96,
            initializer_range=0.3,
        )
        transformers.BertModel(config).to(dtype).save_pretrained(folder / "base")
        modules = [Transformer(str(folder / "base"), max_seq_length=64), Pooling(24), Normalize()]
        made = sentence_transformers.SentenceTransformer(modules=modules, device="cpu", prompts=prompts)
        made.save(str(folder / "whole"))
        return folder / "whole"

    return make


def vectors(model: Embedder, texts: list[str], **said: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of texts that are cut
        return model.encode(texts, **said)


def test_vectors_are_those_of_sentence_transformers(make_bert: Callable[..., Path]) -> None:
    folder = make_bert()
    model = Embedder(folder, dtype="float32")
    theirs = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    found = vectors(model, TEXTS)
    assert (model.kind, model.sizes, model.max_length, model.pooling) == ("transformer", (24,), 64, "mean")
    assert 0 < model.truncated < len(TEXTS)
    assert np.allclose(found, theirs.encode(TEXTS, normalize_embeddings=True), atol=1e-5)
    # The same whatever else is in the call, and different texts are different.
    assert np.allclose(found[7], vectors(model, [TEXTS[7]])[0], atol=1e-5)
    assert (found[2:] @ found[2:].T - np.eye(40)).max() < 0.999


def test_only_a_prompt_of_its_own_is_put_before_a_text(make_bert: Callable[..., Path]) -> None:
    assert Embedder(make_bert()).instruction("nl2code", "query") == ""
    prompted = Embedder(make_bert({"query": "query: ", "document": "passage: "}), dtype="float32")
    assert prompted.instruction("qa", "document") == "passage: "
    plain = vectors(Embedder(make_bert(), dtype="float32"), ["query: sort a list"])
    assert np.allclose(vectors(prompted, ["sort a list"], role="query"), plain, atol=1e-5)


def test_what_is_saved_is_read_by_both(make_bert: Callable[..., Path], tmp_path: Path) -> None:
    model = Embedder(make_bert({"query": "query: "}, torch.float16), dtype="float32")
    model.save(tmp_path / "saved")
    again = Embedder(tmp_path / "saved", dtype="float32")
    assert np.allclose(vectors(again, TEXTS), vectors(model, TEXTS), atol=1e-6)
    theirs = sentence_transformers.SentenceTransformer(
        str(tmp_path / "saved"), device="cpu", model_kwargs={"dtype": torch.float32}
    )
    made = theirs.encode(TEXTS, prompt="", normalize_embeddings=True)
    assert np.allclose(made, vectors(again, TEXTS), atol=1e-5)


def test_parameters_are_those_of_the_encoder(make_bert: Callable[..., Path]) -> None:
    folder = make_bert()
    theirs = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False)
    assert Embedder(folder).parameters == sum(parameter.numel() for parameter in theirs.parameters())


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"hidden_act": "relu"}, "activation 'relu'"),
        ({"position_embedding_type": "relative_key"}, "relative_key positions"),
        ({"is_decoder": True}, "as a decoder"),
        ({"num_attention_heads": 5}, "5 heads do not share 24"),
        ({"vocab_size": -3}, "vocab_size is -3"),
        ({"max_position_embeddings": None}, "max_positions is None"),
    ],
)
def test_a_variant_that_is_not_computed_is_refused_in_a_line(
    make_bert: Callable[..., Path], settings: dict[str, Any], problem: str
) -> None:
    folder = make_bert()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))
    with pytest.raises(ModelError, match=rf"config\.json: .*{problem}"):
        Embedder(folder)
