"""Saved folders: the same vectors from sentence-transformers, transformers and codekin; what is there stays there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codekin import Embedder, Role, Task
from codekin.embed import DEFAULT_MODEL, static
from codekin.errors import InputError, ModelError
from codekin.tasks import instruction

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
sentence_transformers = pytest.importorskip("sentence_transformers")

BUNDLED = Path(static.__file__).parent / "models" / DEFAULT_MODEL
TEXTS = [
    "def read(path):\n    return open(path).read()",
    "x",
    "",
    "ends in <|endoftext|>",
    "<tool_call> is text, and so is <|im_start|>",
    "中文 e\u0301 🙂\x00\t",
    "long " * 500,
]
MakeCheckpoint = Callable[..., Path]


@pytest.fixture(params=["last", "mean"])
def saved(request: pytest.FixtureRequest, make_checkpoint: MakeCheckpoint, tmp_path: Path) -> Path:
    folder = make_checkpoint(matryoshka_dimensions=[8, 16])
    Embedder(folder, pooling=request.param, max_length=64, dtype="float32").save(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.mark.filterwarnings("ignore:.*were cut")
@pytest.mark.parametrize("role", Role)
def test_sentence_transformers_makes_the_same_vectors(saved: Path, role: Role) -> None:
    ours = Embedder(saved, dtype="float32")
    theirs = sentence_transformers.SentenceTransformer(str(saved), device="cpu")
    for task in Task:
        expected = theirs.encode(TEXTS, prompt_name=f"{task.value}_{role.value}")
        np.testing.assert_allclose(ours.encode(TEXTS, task, role), expected, atol=1e-6)
    assert theirs.max_seq_length == ours.max_length == 64
    assert ours.sizes == (8, 16, 32)


def test_transformers_reads_the_same_tokens_and_weights(saved: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(saved))
    model = transformers.AutoModel.from_pretrained(str(saved))
    ours = Embedder(saved, dtype="float32")
    texts = [text for text in TEXTS[:-1] if text]
    tokens = tokenizer(
        [instruction(Task.QA, Role.QUERY) + text for text in texts], return_tensors="pt", padding=True
    )
    with torch.inference_mode():
        hidden = model(**tokens).last_hidden_state
    mask = tokens["attention_mask"]
    last = hidden[torch.arange(len(texts)), mask.sum(1) - 1]
    mean = (hidden * mask[:, :, None]).sum(1)
    expected = torch.nn.functional.normalize({"last": last, "mean": mean}[ours.pooling], dim=1)
    np.testing.assert_allclose(ours.encode(texts, Task.QA, Role.QUERY), expected, atol=1e-6)


def test_saving_again_replaces_a_saved_model_and_nothing_else(saved: Path, tmp_path: Path) -> None:
    model = Embedder(saved, dtype="float32")
    before = model.encode(TEXTS[:2])
    model.save(saved)
    np.testing.assert_array_equal(Embedder(saved, dtype="float32").encode(TEXTS[:2]), before)
    (saved / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="saved holds other things"):
        model.save(saved)
    assert (saved / "notes.txt").read_text() == "mine"
    other = tmp_path / "other"
    other.mkdir()
    model.save(other)
    (other / "config_sentence_transformers.json").write_text("{}")
    with pytest.raises(InputError, match="other holds other things"):
        model.save(other)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InputError, match="file holds other things"):
        model.save(file)
    assert {path.name for path in tmp_path.iterdir()} == {"saved", "other", "file"}


def test_a_save_that_fails_leaves_nothing(saved: Path, tmp_path: Path) -> None:
    weights = saved / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-4:] = np.float32("nan").tobytes()
    weights.write_bytes(content)
    with pytest.raises(ModelError, match="not finite"):
        Embedder(saved, dtype="float32").save(tmp_path / "new")
    assert {path.name for path in tmp_path.iterdir()} == {"saved"}


def test_types_and_shards_are_kept(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    source = make_checkpoint(dtype=torch.bfloat16, shards="50KB", tie_word_embeddings=False)
    assert len(list(source.glob("*.safetensors"))) > 2
    Embedder(source, dtype="float32").save(tmp_path / "saved")
    model = transformers.AutoModel.from_pretrained(str(tmp_path / "saved"))
    original = transformers.AutoModel.from_pretrained(str(source))
    for (name, ours), (_, theirs) in zip(model.named_parameters(), original.named_parameters(), strict=True):
        assert ours.dtype == torch.bfloat16
        assert torch.equal(ours, theirs), name


def test_latent_attention_is_for_codekin_alone(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    from codekin.embed.config import Pooling
    from codekin.embed.pooling import pooling_module
    from codekin.embed.registry import find_model
    from codekin.embed.saving import save_folder
    from codekin.embed.transformer import stored_tensors

    source = find_model(str(make_checkpoint()))
    pooling = pooling_module(Pooling.LATENT, 32)
    state = dict(stored_tensors(source, Pooling.LAST)) | {
        f"pooling.{name}": parameter.detach() for name, parameter in pooling.named_parameters()
    }
    save_folder(
        tmp_path / "saved",
        source.config,
        source.tokenizer,
        state.items(),
        pooling=Pooling.LATENT,
        prompts={},
        sizes=source.sizes,
        max_length=source.max_length,
        licence=None,
    )
    model = Embedder(tmp_path / "saved", dtype="float32")
    assert model.pooling == "latent"
    vectors = model.encode(TEXTS[:2])
    model.save(tmp_path / "again")
    np.testing.assert_array_equal(Embedder(tmp_path / "again", dtype="float32").encode(TEXTS[:2]), vectors)
    note = json.loads((tmp_path / "saved" / "1_LatentAttention" / "config.json").read_text())["note"]
    assert "codekin alone" in note
    with pytest.raises(Exception, match="LatentAttention"):
        sentence_transformers.SentenceTransformer(str(tmp_path / "saved"), device="cpu")


def test_a_static_model_is_sentence_transformers_static_embedding(tmp_path: Path) -> None:
    shutil.copytree(BUNDLED, tmp_path / "plain")
    config = tmp_path / "plain" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "count_exponent": 1}))
    model = Embedder(tmp_path / "plain")
    model.save(tmp_path / "saved")
    theirs = sentence_transformers.SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    texts = [*TEXTS, "parseHTTPResponse naïve_Ångström [UNK]"]
    expected = model.encode(texts)
    np.testing.assert_allclose(theirs.encode(texts), expected, atol=1e-5)  # theirs adds in float32
    again = Embedder(tmp_path / "saved")
    np.testing.assert_array_equal(again.encode(texts), expected)
    assert again.sizes == model.sizes


def test_a_static_model_that_damps_counts_keeps_doing_so(tmp_path: Path) -> None:
    model = Embedder()
    model.save(tmp_path / "saved")
    texts = ["read read read a file", "read a file"]
    saved = Embedder(tmp_path / "saved").encode(texts)
    np.testing.assert_array_equal(saved, model.encode(texts))
    theirs = sentence_transformers.SentenceTransformer(str(tmp_path / "saved"), device="cpu").encode(texts)
    np.testing.assert_allclose(theirs[1], saved[1], atol=1e-5)
    assert np.abs(theirs[0] - saved[0]).max() > 0.01
    assert "codekin alone" in (tmp_path / "saved" / "README.md").read_text()
