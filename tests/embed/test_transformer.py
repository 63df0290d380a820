"""Decoders: the vectors of transformers' own hidden states, whatever is packed with whatever."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from codekin import Embedder
from codekin.embed import VectorCache
from codekin.errors import InputError, ModelError
from codekin.tasks import Role, Task, instruction

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

MakeCheckpoint = Callable[..., Path]

_SOURCE = (Path(sysconfig.get_path("stdlib")) / "tempfile.py").read_text(encoding="utf-8")
ODD = [
    "",
    " ",
    "\n\nafter the instruction's own end of line",
    "ends in its padding <|endoftext|>",
    "日本語のコメント # 🙂",
    "x" * 700,
]
TEXTS = ODD + [_SOURCE[start : start + 5 + 13 * number] for number, start in enumerate(range(0, 9_000, 150))]
TEXTS = TEXTS[:64]


@pytest.fixture(scope="module")
def folder(make_checkpoint: MakeCheckpoint) -> Path:
    return make_checkpoint(tie_word_embeddings=True)


def reference(
    folder: Path, texts: list[str], pooling: str = "last", side: str = "right", batch: int = 64
) -> NDArray[np.float32]:
    """The pooled hidden states that transformers makes of the texts, padded on a side."""
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side=side, truncation_side="right")
    tokenizer.pad_token = "<|endoftext|>"
    vectors = []
    for start in range(0, len(texts), batch):
        padded = tokenizer(
            texts[start : start + batch],
            padding=True,
            truncation=True,
            max_length=512,
            split_special_tokens=True,
            return_tensors="pt",
        )
        mask = padded["attention_mask"]
        with torch.no_grad():
            positions = (mask.cumsum(1) - 1).clamp(min=0)
            hidden = model(padded["input_ids"], attention_mask=mask, position_ids=positions).last_hidden_state
        if pooling == "mean":
            pooled = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        else:
            last = mask.shape[1] - 1 - mask.flip(1).argmax(1)
            pooled = hidden[torch.arange(len(hidden)), last]
        vectors.append(torch.nn.functional.normalize(pooled, dim=1).numpy())
    return np.concatenate(vectors)


def cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.einsum("nd,nd->n", a.astype(np.float64), b.astype(np.float64))


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("Qwen2ForCausalLM", {"tie_word_embeddings": True}),
        ("Qwen2ForCausalLM", {"tie_word_embeddings": False, "shards": "50KB"}),
        ("Qwen2Model", {"rope_theta": 1e6}),
        ("Qwen3Model", {"head_dim": 16}),
    ],
)
def test_vectors_are_transformers_own(
    make_checkpoint: MakeCheckpoint, kind: str, settings: dict[str, Any], side: str, pooling: str
) -> None:
    folder = make_checkpoint(kind, **settings)
    embedder = Embedder(folder, dtype="float32", pooling=pooling)
    for task, role in ((Task.NL2CODE, Role.QUERY), (Task.CODE2COMPLETION, Role.DOCUMENT)):
        texts = [instruction(task, role) + text for text in TEXTS]
        wanted = reference(folder, texts, pooling, side)
        with warnings.catch_warnings(action="ignore"):
            together = embedder.encode(TEXTS, task, role)
            alone = np.concatenate([embedder.encode([text], task, role) for text in TEXTS])
        assert cosines(together, wanted).min() > 0.99999
        assert cosines(alone, wanted).min() > 0.99999
        assert np.abs(together - alone).max() < 1e-5


def test_the_default_type_is_as_exact_on_this_device(folder: Path) -> None:
    embedder = Embedder(folder)
    wanted = reference(folder, [instruction(Task.QA, Role.QUERY) + text for text in TEXTS])
    with warnings.catch_warnings(action="ignore"):
        made = embedder.encode(TEXTS, "qa", "query")
    assert cosines(made, wanted).min() > (0.99999 if embedder.dtype == "float32" else 0.999)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_smaller_types_stay_near(folder: Path, dtype: str) -> None:
    with warnings.catch_warnings(action="ignore"):
        exact = Embedder(folder, dtype="float32").encode(TEXTS)
        near = Embedder(folder, dtype=dtype).encode(TEXTS)
    assert near.dtype == np.float32
    assert 0.99 < cosines(exact, near).min() < 0.9999999
    assert np.allclose(np.linalg.norm(near, axis=1), 1, atol=1e-5)


def test_greedy_continuation_is_transformers_own(folder: Path) -> None:
    from codekin.embed.checkpoints import Checkpoint
    from codekin.embed.config import Pooling
    from codekin.embed.devices import NumberType
    from codekin.embed.qwen2 import Pack
    from codekin.embed.registry import find_model
    from codekin.embed.transformer import TransformerModel

    checkpoint = find_model(str(folder))
    assert isinstance(checkpoint, Checkpoint)
    loaded = TransformerModel.load(checkpoint, torch.device("cpu"), NumberType.FLOAT32, Pooling.LAST, 512)
    [start] = checkpoint.tokenizer.encode(["def merge(left, right):\n"])
    tokens = list(start)
    with torch.inference_mode():
        for _ in range(40):
            [state] = loaded.decoder(Pack([tokens]), ends_only=True)
            tokens.append(int((loaded.decoder.embed_tokens.weight @ state).argmax()))
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    wanted = model.generate(
        torch.tensor([start]), max_new_tokens=40, min_new_tokens=40, do_sample=False, eos_token_id=None
    )
    assert tokens == wanted[0].tolist()


def test_latent_attention_is_the_published_form(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    """NV-Embed's code (arXiv 2405.17428), written out a text and a head at a time."""
    from safetensors.torch import save_file

    from codekin.embed.pooling import LatentAttention

    folder = make_checkpoint("Qwen2Model")
    torch.manual_seed(1)
    state = {name: torch.randn_like(value) * 0.3 for name, value in LatentAttention(32).state_dict().items()}
    place = folder / "1_LatentAttention"
    place.mkdir()
    save_file(state, place / "model.safetensors")
    (folder / "modules.json").write_text(
        '[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},'
        ' {"idx": 1, "name": "1", "path": "1_LatentAttention", "type": "codekin.LatentAttention"}]'
    )
    embedder = Embedder(folder, dtype="float32")
    assert embedder.pooling == "latent"
    texts = TEXTS[:12]
    with warnings.catch_warnings(action="ignore"):
        made = embedder.encode(texts)

    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    norm = torch.nn.functional.layer_norm
    for text, vector in zip(texts, made, strict=True):
        prefixed = instruction(Task.NL2CODE, Role.DOCUMENT) + text
        ids = tokenizer(prefixed, split_special_tokens=True, return_tensors="pt")["input_ids"][:, :512]
        with torch.no_grad():
            x = model(ids).last_hidden_state[0]
        queries = (
            norm(x, (32,), state["token_norm.weight"], state["token_norm.bias"])
            @ state["to_queries.weight"].T
        )
        latents = norm(state["latents"], (32,), state["latent_norm.weight"], state["latent_norm.bias"])
        keys, values = (latents @ state["to_keys_values.weight"].T).split(32, dim=1)
        heads = [
            torch.softmax(q @ k.T / 2.0, dim=1) @ v
            for q, k, v in zip(*(rows.split(4, dim=1) for rows in (queries, keys, values)), strict=True)
        ]
        x = x + torch.cat(heads, dim=1) @ state["to_out.weight"].T
        wide = norm(x, (32,), state["wide_norm.weight"], state["wide_norm.bias"])
        wide = wide @ state["widen.weight"].T + state["widen.bias"]
        gated = wide[:, :128] * torch.nn.functional.gelu(wide[:, 128:])
        x = x + gated @ state["narrow.weight"].T + state["narrow.bias"]
        wanted = torch.nn.functional.normalize(x.mean(0), dim=0)
        assert float(wanted @ torch.tensor(vector)) > 0.99999


def test_latent_attention_that_the_checkpoint_has_not(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"pooling\.latents"):
        Embedder(folder, pooling="latent").encode(["x"])


def test_long_texts_are_cut_counted_and_warned_of(folder: Path) -> None:
    embedder = Embedder(folder, dtype="float32", max_length=40)
    texts = ["short", _SOURCE[:500], _SOURCE[:2000], "short"]
    with pytest.warns(UserWarning, match="2 of 4 texts are longer than 40 tokens"):
        vectors = embedder.encode(texts)
    assert embedder.truncated == 2
    assert np.abs(vectors[1] - vectors[2]).max() < 1e-6
    [start] = Embedder(folder)._files.tokenizer.encode([instruction(Task.NL2CODE, Role.DOCUMENT) + texts[1]])
    cut = Embedder(folder)._files.tokenizer.decode(start[:40])
    assert np.abs(reference(folder, [cut])[0] - vectors[1]).max() < 1e-5
    embedder.encode(["short"])
    assert embedder.truncated == 0


def test_a_text_is_not_cut_where_its_tokens_are_long(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from codekin.embed import transformer

    monkeypatch.setattr(transformer, "_CHARACTERS", 8)  # this tokenizer's longest token has 16
    tokenizer = Embedder(folder)._files.tokenizer
    rule = "-" * 16
    assert len(tokenizer.encode([rule])[0]) == 1
    embedder = Embedder(folder, max_length=30, dtype="float32")
    made = embedder.encode([rule * 18])
    assert embedder.truncated == 0
    wanted = reference(folder, [instruction(Task.NL2CODE, Role.DOCUMENT) + rule * 18])
    assert cosines(made, wanted).min() > 0.99999
    with pytest.warns(UserWarning, match="1 of 1"):
        embedder.encode([_SOURCE * 200])


def test_sizes(folder: Path) -> None:
    embedder = Embedder(folder)
    assert embedder.sizes == (32,) and embedder.dimensions == 32 and embedder.kind == "transformer"
    with pytest.raises(InputError, match="no vectors of 8 dimensions; sizes: 32"):
        embedder.encode(["x"], dimensions=8)
    short = embedder.encode(["x", "y"], dimensions=8, any_dimension=True)
    whole = embedder.encode(["x", "y"])[:, :8]
    assert np.allclose(short, whole / np.linalg.norm(whole, axis=1, keepdims=True), atol=1e-6)
    with pytest.raises(InputError, match="33 dimensions"):
        embedder.encode(["x"], dimensions=33, any_dimension=True)


def test_wrong_arguments(folder: Path) -> None:
    for wrong, message in (
        ({"dtype": "int4"}, "unknown numbertype|float32"),
        ({"pooling": "max"}, "last, mean, latent"),
        ({"max_length": 0}, "from 1 to 512"),
        ({"max_length": 513}, "from 1 to 512"),
    ):
        with pytest.raises(InputError, match=message):
            Embedder(folder, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="no device 'abc'"):
        Embedder(folder, device="abc")
    for option in ("device", "dtype", "pooling"):
        with pytest.raises(InputError, match=f"{option} is for transformers"):
            Embedder(**{option: "cpu"})


def test_encoding_imports_no_transformers(folder: Path) -> None:
    code = (
        "import sys; from codekin import Embedder; Embedder(sys.argv[1]).encode(['x']);"
        "print(sorted({'transformers', 'sentence_transformers', 'scipy', 'sympy'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_equal_texts_and_no_texts(folder: Path) -> None:
    embedder = Embedder(folder)
    same = embedder.encode(["a = 1", "b", "a = 1"])
    assert np.array_equal(same[0], same[2]) and not np.array_equal(same[0], same[1])
    assert embedder.encode([]).shape == (0, 32)


def test_progress_counts_every_token_once(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    with warnings.catch_warnings(action="ignore"):
        Embedder(folder).encode(TEXTS, progress=lambda done, total: seen.append((done, total)))
    done, totals = zip(*seen, strict=True)
    assert len(seen) > 3 and len(set(totals)) == 1
    assert list(done) == sorted(set(done)) and done[-1] == totals[0]


def test_prompts_of_the_folder_come_first(folder: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    Embedder(folder, dtype="float32").save(saved)
    config = saved / "config_sentence_transformers.json"
    assert Embedder(saved).instruction("nl2code", "query") == instruction(Task.NL2CODE, Role.QUERY)
    text = config.read_text(encoding="utf-8").replace("Candidate answer:", "Antwort:")
    config.write_text(text, encoding="utf-8")
    embedder = Embedder(saved, dtype="float32")
    assert embedder.instruction("qa", "document") == "Antwort:\n"
    made = embedder.encode(["42"], "qa", "document")
    assert cosines(made, reference(folder, ["Antwort:\n42"])).min() > 0.99999


def test_empty_prompts_are_none(folder: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    Embedder(folder).save(saved)
    config = saved / "config_sentence_transformers.json"
    config.write_text('{"prompts": {"query": "", "document": ""}}', encoding="utf-8")
    assert Embedder(saved).instruction("qa", "query") == instruction(Task.QA, Role.QUERY)
    config.write_text('{"prompts": {"query": "Ask: ", "document": ""}}', encoding="utf-8")
    assert Embedder(saved).instruction("qa", "query") == "Ask: "
    assert Embedder(saved).instruction("qa", "document") == ""


def test_what_the_cache_holds_needs_no_decoder(folder: Path, tmp_path: Path) -> None:
    cache = VectorCache(tmp_path / "cache")
    first = Embedder(folder, cache=cache)
    made = first.encode(["a", "b", "a"], "qa")
    second = Embedder(folder, cache=cache)
    assert np.array_equal(second.encode(["b", "a"], "qa", dimensions=None), made[[1, 0]])
    assert "_transformer" not in vars(second)
    assert np.array_equal(second.encode(["a", "c"], "qa")[0], made[0])
    assert "_transformer" in vars(second)
    other = Embedder(folder, cache=cache, pooling="mean")
    assert not np.allclose(other.encode(["a"], "qa"), made[:1], atol=1e-3)


def test_what_a_narrow_type_cannot_hold_is_not_kept(folder: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    model = tmp_path / "model"
    shutil.copytree(folder, model)
    tensors = load_file(model / "model.safetensors")
    (norm,) = (name for name in tensors if name.removeprefix("model.") == "norm.weight")
    tensors[norm] *= 1e6
    save_file(tensors, model / "model.safetensors", {"format": "pt"})
    cache = VectorCache(tmp_path / "cache")
    assert not np.isfinite(Embedder(model, dtype="float16", cache=cache).encode(["a"])).any()
    assert np.isfinite(Embedder(model, dtype="float32", cache=cache).encode(["a"])).all()


def test_fingerprints_differ_where_vectors_do(folder: Path) -> None:
    prints = [
        Embedder(folder).fingerprint,
        Embedder(folder, pooling="mean").fingerprint,
        Embedder(folder, max_length=100).fingerprint,
    ]
    assert len(set(prints)) == 3
    assert Embedder(folder, dtype="float32").fingerprint == Embedder(folder, dtype="bfloat16").fingerprint


@given(st.lists(st.integers(1, 400), max_size=60), st.integers(50, 1024))
def test_packs_hold_every_text_once_and_little_filling(lengths: list[int], limit: int) -> None:
    from codekin.embed.transformer import split_packs

    texts = [(number, *[0] * (length - 1)) for number, length in enumerate(lengths)]
    packs = list(split_packs(texts, limit))
    assert sorted(text for pack in packs for text in pack) == sorted(texts)
    for pack in packs:
        tokens = sum(map(len, pack))
        assert tokens <= limit or len(pack) == 1
        assert len(pack) * max(map(len, pack)) - tokens <= 0.25 * max(len(pack) * max(map(len, pack)), limit)
    assert [len(text) for pack in packs for text in pack] == sorted(lengths, reverse=True)
