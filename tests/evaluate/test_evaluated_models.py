"""Models of other kinds: embedders of every sort, sentence-transformers' folders, objects."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sets import FUNCTIONS, write_set

from codekin.embed import Embedder
from codekin.errors import ModelError
from codekin.evaluate.benchmarks import find_benchmarks
from codekin.evaluate.models import EmbedderModel, Lexical, SentenceModel, open_model
from codekin.evaluate.runner import evaluate
from codekin.tasks import Role, Task

TEXTS = list(FUNCTIONS.values())


def quiet(_: float) -> None: ...


@pytest.fixture(scope="session")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A RoBERTa of one layer as sentence-transformers writes it, without a module that brings rows to unit length."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    sentence_transformers = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("models")
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *"def return add read file sort parse a b ( ) :".split(),
    ]
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(folder / "base")
    torch.manual_seed(3)
    config = transformers.RobertaConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
    )
    transformers.RobertaModel(config).save_pretrained(folder / "base")
    modules = [Transformer(str(folder / "base"), max_seq_length=64), Pooling(16)]
    made = sentence_transformers.SentenceTransformer(
        modules=modules, device="cpu", prompts={"query": "sort ", "nl2code_document": "def "}
    )
    made.save(str(folder / "roberta"))
    return folder / "roberta"


def test_a_folder_that_sentence_transformers_alone_computes(roberta: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = open_model(roberta)
    assert isinstance(model, SentenceModel)
    assert model.sizes == (16,)
    theirs = SentenceTransformer(str(roberta), device="cpu")
    assert model.parameters == sum(parameter.numel() for parameter in theirs.parameters())
    for task, role, prompt in (
        (Task.QA, Role.QUERY, "sort "),
        (Task.NL2CODE, Role.DOCUMENT, "def "),
        (Task.QA, Role.DOCUMENT, ""),
    ):
        expected = theirs.encode([prompt + text for text in TEXTS], normalize_embeddings=True, prompt="")
        assert np.allclose(model.encode(TEXTS, task, role, quiet), expected, atol=1e-6)
    (found,) = evaluate([open_model(theirs)], find_benchmarks([str(write_set(tmp_path / "set"))]))
    assert found.model == "SentenceTransformer"
    assert found.form.dimensions == 16


def test_a_damaged_folder_is_told_of_as_codekin_reads_it(roberta: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    folder.mkdir()
    (folder / "modules.json").write_bytes((roberta / "modules.json").read_bytes())
    with pytest.raises(ModelError, match="damaged"):
        open_model(folder)


def test_a_decoder_has_the_instructions_of_each_task(decoder: Path) -> None:
    from transformers import AutoModel

    model = open_model(decoder)
    assert isinstance(model, EmbedderModel)
    assert model.parameters == sum(
        parameter.numel() for parameter in AutoModel.from_pretrained(decoder).parameters()
    )
    own = Embedder(decoder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = model.encode(TEXTS, Task.CODE2NL, Role.QUERY, quiet)
    assert np.allclose(found, own.encode(TEXTS, "code2nl", "query"), atol=1e-6)
    assert not np.allclose(found, own.encode(TEXTS, "qa", "query"), atol=1e-3)


def test_a_device_is_for_those_that_have_one(decoder: Path) -> None:
    assert open_model("codekin-static", device="cpu", dtype="float32").sizes == (64, 128, 256)
    assert open_model(decoder, device="cpu", dtype="float32").sizes == (32,)  # type: ignore[union-attr]
    with pytest.raises(ModelError, match="nonsense"):
        open_model(decoder, device="nonsense")


def test_parameters_are_those_of_the_files(turned_model: Callable[..., Path]) -> None:
    from safetensors.numpy import load_file

    folder = turned_model()
    (tensors,) = folder.glob("*.safetensors")
    numbers = [tensor.size for name, tensor in load_file(tensors).items() if name != "mapping"]
    assert Embedder(folder).parameters == sum(numbers)


def test_an_object_is_told_what_it_takes() -> None:
    class Told:
        def __init__(self) -> None:
            self.said: dict[str, Any] = {}

        def encode(self, texts: list[str], **said: Any) -> NDArray[np.float64]:
            self.said = said
            return np.tile([0.6, 0.8], (len(texts), 1))

    class ByRole:
        def encode(self, texts: list[str], role: str) -> list[list[float]]:
            return [[1.0, 0.0] if role == "query" else [0.0, 1.0]] * len(texts)

    told = Told()
    assert open_model(told).encode(["a", "b"], Task.QA, Role.QUERY, quiet).shape == (2, 2)  # type: ignore[union-attr]
    assert told.said == {"task": "qa", "role": "query"}
    by_role = open_model(ByRole(), name="by role")
    assert by_role.name == "by role"
    assert by_role.encode(["a"], Task.QA, Role.DOCUMENT, quiet).tolist() == [[0.0, 1.0]]  # type: ignore[union-attr]
    assert isinstance(open_model("BM25"), Lexical)
