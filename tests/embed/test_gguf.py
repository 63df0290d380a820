"""GGUF files against the `gguf` package, ggml's own block formats, and transformers' checkpoint of the same weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codekin import Embedder
from codekin.embed.checkpoints import Checkpoint
from codekin.embed.registry import find_model
from codekin.errors import ModelError

gguf = pytest.importorskip("gguf")
from codekin.embed.gguf import GgufFile  # noqa: E402

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

# ggml's name of each part of a layer, written from its documentation and not from our table.
NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
TEXTS = ["def f(x):\n    return x + 1", "中文 <|endoftext|> 🙂", "", "<tool_call>" * 3]
Make = Callable[..., Path]


def ggml_name(name: str) -> str:
    if name in NAMES:
        return NAMES[name]
    _, _, layer, *part, kind = name.split(".")
    return f"blk.{layer}.{NAMES['.'.join(part)]}.{kind}"


def write(folder: Path, path: Path, kind: Any = gguf.GGMLQuantizationType.F32, **metadata: Any) -> Path:
    """Convert a checkpoint of transformers as llama.cpp's script does; `metadata` overrides, None leaves out."""
    model = transformers.AutoModelForCausalLM.from_pretrained(str(folder))
    config, tokenizer = model.config, json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    family = config.model_type
    tokens = dict(sorted((number, token) for token, number in tokenizer["model"]["vocab"].items()))
    kinds = dict.fromkeys(tokens, 1)
    for token in tokenizer["added_tokens"]:
        tokens[token["id"]], kinds[token["id"]] = token["content"], 3 if token["special"] else 4
    for number in range(config.vocab_size):
        tokens.setdefault(number, f"[PAD{number}]")
        kinds.setdefault(number, 5)
    said = {
        f"{family}.context_length": config.max_position_embeddings,
        f"{family}.embedding_length": config.hidden_size,
        f"{family}.block_count": config.num_hidden_layers,
        f"{family}.feed_forward_length": config.intermediate_size,
        f"{family}.attention.head_count": config.num_attention_heads,
        f"{family}.attention.head_count_kv": config.num_key_value_heads,
        f"{family}.attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        f"{family}.rope.freq_base": config.rope_parameters["rope_theta"],
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": [tokens[number] for number in range(config.vocab_size)],
        "tokenizer.ggml.token_type": [kinds[number] for number in range(config.vocab_size)],
        "tokenizer.ggml.merges": [" ".join(merge) for merge in tokenizer["model"]["merges"]],
        "tokenizer.ggml.eos_token_id": 2000,
        "tokenizer.ggml.padding_token_id": 2000,
    } | metadata
    if family == "qwen3":
        said.setdefault("qwen3.attention.key_length", config.head_dim)
    writer = gguf.GGUFWriter(str(path), said.pop("architecture", family))
    for key, value in said.items():
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        elif value is not None:
            writer.add_array(key, value)
    head = [] if config.tie_word_embeddings else [("lm_head.weight", model.lm_head.weight)]
    for name, tensor in [*((f"model.{n}", t) for n, t in model.model.named_parameters()), *head]:
        array = tensor.detach().numpy()
        own = kind if array.ndim == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(ggml_name(name), gguf.quantize(array, own), raw_dtype=own)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def source(make_checkpoint: Make) -> Path:
    return make_checkpoint(tie_word_embeddings=True)


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(source, tmp_path_factory.mktemp("gguf") / "model.gguf", **{"general.license": "apache-2.0"})


def opened(path: Path) -> Checkpoint:
    found = find_model(str(path))
    assert isinstance(found, Checkpoint)
    return found


@pytest.mark.parametrize("kind", ["Qwen2ForCausalLM", "Qwen3ForCausalLM"])
@pytest.mark.parametrize("tied", [True, False])
def test_the_same_model_as_in_the_folder(
    make_checkpoint: Make, tmp_path: Path, kind: str, tied: bool
) -> None:
    folder = make_checkpoint(kind, head_dim=16, tie_word_embeddings=tied, rms_norm_eps=2.0**-20)
    path = write(folder, tmp_path / "model.gguf", **{f"{kind[:5].lower()}.attention.key_length": 16})
    ours, theirs = opened(path), opened(folder)
    assert ours.config == theirs.config
    assert ours.tokenizer.encode(TEXTS) == theirs.tokenizer.encode(TEXTS)
    assert ours.tokenizer.padding == 2000
    assert ("lm_head.weight" in ours) == (not tied)
    expected = Embedder(folder, dtype="float32").encode(TEXTS)
    np.testing.assert_array_equal(Embedder(path, dtype="float32").encode(TEXTS), expected)


def test_the_head_is_read_as_the_package_reads_it(whole: Path) -> None:
    ours, theirs = GgufFile(whole), gguf.GGUFReader(str(whole))
    metadata = {key: field.contents() for key, field in theirs.fields.items() if not key.startswith("GGUF.")}
    assert {key: list(v) if isinstance(v, tuple) else v for key, v in ours.metadata.items()} == metadata
    assert len(theirs.tensors) == 26
    for tensor in theirs.tensors:
        name = next(n for n in (*NAMES, *layers()) if ggml_name(n) == tensor.name)
        np.testing.assert_array_equal(
            ours.read(name.removeprefix("model.")), tensor.data.reshape(tensor.shape[::-1])
        )


def layers() -> list[str]:
    parts = [part for part in NAMES if part.count(".") < 2 and "weight" not in part]
    return [
        f"model.layers.{n}.{part}.{kind}" for n in range(2) for part in parts for kind in ("weight", "bias")
    ]


def test_what_the_file_says_beside_the_weights(source: Path, whole: Path, tmp_path: Path) -> None:
    ours = opened(whole)
    assert (ours.pooling, ours.sizes, ours.max_length, ours.licence) == (None, (32,), 512, "Apache-2.0")
    assert (ours.tokenizer.prefix, ours.tokenizer.suffix) == ((), ())
    said = {
        "qwen2.pooling_type": 3,
        "tokenizer.ggml.add_eos_token": True,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.bos_token_id": 2001,
        "tokenizer.ggml.pre": None,
    }
    more = opened(write(source, tmp_path / "last.gguf", **said))
    assert more.pooling == "last"
    assert (more.tokenizer.prefix, more.tokenizer.suffix) == ((2001,), (2000,))
    assert more.tokenizer.encode(["x"]) == [[2001, *ours.tokenizer.encode(["x"])[0], 2000]]
    assert opened(write(source, tmp_path / "mean.gguf", **{"qwen2.pooling_type": 1})).pooling == "mean"
    assert ours.fingerprint != more.fingerprint


@pytest.mark.parametrize("name", ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_vectors_of_files_with_fewer_bits(source: Path, tmp_path: Path, name: str) -> None:
    kind = gguf.GGMLQuantizationType[name]
    path = write(source, tmp_path / "model.gguf", kind)
    table = transformers.AutoModel.from_pretrained(str(source)).embed_tokens.weight
    read = opened(path).read("embed_tokens.weight", (2048, 32))
    expected = gguf.dequantize(gguf.quantize(table.detach().numpy(), kind), kind)
    np.testing.assert_array_equal(read, expected)
    assert read.dtype == torch.float32
    whole = Embedder(source, dtype="float32").encode(TEXTS[:2])
    cosines = (Embedder(path, dtype="float32").encode(TEXTS[:2]) * whole).sum(1)
    assert cosines.min() > (0.999 if name in ("F32", "F16", "BF16", "Q8_0") else 0.9)


def half(raw: np.ndarray) -> np.float32:
    return np.float32(raw.view(np.float16)[0])


def scale_and_least(scales: np.ndarray, j: int) -> tuple[int, int]:
    """Two 6-bit numbers of the eight pairs in 12 bytes: ggml's get_scale_min_k4."""
    q = scales.astype(int)
    if j < 4:
        return q[j] & 63, q[j + 4] & 63
    return (q[j + 4] & 15) | (q[j - 4] >> 6 << 4), (q[j + 4] >> 4) | (q[j] >> 6 << 4)


def ggml_block(name: str, raw: np.ndarray) -> list[np.float32]:
    """One block's numbers, by the scalar loops of ggml-quants.c (dequantize_row_*)."""
    if name in ("Q4_K", "Q5_K"):
        d, least, scales = half(raw[:2]), half(raw[2:4]), raw[4:16]
        high, q = (raw[16:48], raw[48:]) if name == "Q5_K" else (np.zeros(32, np.uint8), raw[16:])
        numbers = []
        for j in range(8):
            scale, low = scale_and_least(scales, j)
            part = q[j // 2 * 32 : j // 2 * 32 + 32].astype(int) >> 4 * (j % 2) & 15
            part = part + (high.astype(int) >> j & 1) * 16
            numbers += [d * np.float32(scale) * np.float32(x) - least * np.float32(low) for x in part]
        return numbers
    if name == "Q6_K":
        low, high, scales, d = (
            raw[:128].astype(int),
            raw[128:192].astype(int),
            raw[192:208].view(np.int8),
            half(raw[208:]),
        )
        numbers = [np.float32(0)] * 256
        for n in range(2):
            for lane in range(32):
                for k in range(4):
                    q = low[64 * n + lane + 32 * (k % 2)] >> 4 * (k // 2) & 15
                    q |= (high[32 * n + lane] >> 2 * k & 3) << 4
                    scale = scales[8 * n + lane // 16 + 2 * k]
                    numbers[128 * n + 32 * k + lane] = d * np.float32(scale) * np.float32(q - 32)
        return numbers
    d, rest = half(raw[:2]), raw[2:]
    if name == "Q8_0":
        return [d * np.float32(x) for x in rest.view(np.int8)]
    least = None
    if name.endswith("_1"):
        least, rest = half(rest[:2]), rest[2:]
    bits = 0
    if name.startswith("Q5"):
        bits, rest = int.from_bytes(rest[:4].tobytes(), "little"), rest[4:]
    q = [int(x) & 15 for x in rest] + [int(x) >> 4 for x in rest]
    q = [x | (bits >> j & 1) << 4 for j, x in enumerate(q)]
    if least is None:
        return [d * np.float32(x - (16 if name == "Q5_0" else 8)) for x in q]
    return [d * np.float32(x) + least for x in q]


@pytest.mark.parametrize("name", ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"])
def test_blocks_are_those_of_ggml(tmp_path: Path, name: str) -> None:
    kind = gguf.GGMLQuantizationType[name]
    numbers, size = gguf.GGML_QUANT_SIZES[kind]
    generator = np.random.default_rng(3)
    raw = generator.integers(0, 256, (24, size), dtype=np.uint8)
    scales = {"Q6_K": (208,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q4_1": (0, 2), "Q5_1": (0, 2)}.get(name, (0,))
    for at in scales:  # finite ones
        raw[:, at : at + 2] = generator.normal(size=(24, 1)).astype(np.float16).view(np.uint8)
    writer = gguf.GGUFWriter(str(tmp_path / "blocks.gguf"), "qwen2")
    writer.add_tensor("token_embd.weight", raw.reshape(12, -1), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    read = GgufFile(tmp_path / "blocks.gguf").read("embed_tokens.weight")
    expected = np.array([ggml_block(name, block) for block in raw], np.float32).reshape(12, 2 * numbers)
    np.testing.assert_allclose(read, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"architecture": "llama"}, "architecture llama; codekin reads"),
        ({"split.count": 3}, "one of 3 parts"),
        ({"qwen2.rope.scaling.type": "yarn"}, "scaled by 'yarn'"),
        ({"qwen2.attention.causal": False}, "attention to later tokens"),
        ({"qwen2.pooling_type": 2}, "pooling_type 2"),
        ({"qwen2.block_count": None}, r"qwen2\.block_count is missing"),
        ({"qwen2.block_count": "two"}, "layers is 'two'"),
        ({"qwen2.attention.head_count": 0}, "metadata is damaged"),
        ({"qwen2.attention.head_count_kv": 3}, "do not share"),
        ({"tokenizer.ggml.model": "llama"}, "tokenizer llama/qwen2"),
        ({"tokenizer.ggml.pre": "llama-bpe"}, "tokenizer gpt2/llama-bpe"),
        ({"tokenizer.ggml.tokens": None}, r"tokenizer\.ggml\.tokens is missing"),
        ({"tokenizer.ggml.tokens": ["a", "b"]}, "metadata is damaged"),
        ({"tokenizer.ggml.merges": ["a"]}, "metadata is damaged"),
        ({"tokenizer.ggml.merges": ["zzz qqq"]}, "tokenizer is damaged"),
        ({"tokenizer.ggml.eos_token_id": 5000}, "metadata is damaged"),
    ],
)
def test_what_is_not_computed_or_damaged_is_refused(
    source: Path, tmp_path: Path, metadata: dict[str, Any], message: str
) -> None:
    path = write(source, tmp_path / "model.gguf", **metadata)
    with pytest.raises(ModelError, match=message) as error:
        find_model(str(path))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_cut_tensor_is_named(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole.read_bytes()[:-33])
    ours = opened(path)
    last = gguf.GGUFReader(str(whole)).tensors[-1]
    assert last.name == "output_norm.weight"
    with pytest.raises(
        ModelError, match=r"cut\.gguf: tensor 'norm.weight' ends at byte .*: the file is cut off"
    ):
        ours.read("norm.weight", (32,))
    with pytest.raises(ModelError, match=r"tensor 'norm.weight' has shape \(32,\), not \(33,\)"):
        opened(whole).read("norm.weight", (33,))


def test_every_cut_of_the_head_is_an_error_that_names_the_file(whole: Path, tmp_path: Path) -> None:
    content, path = whole.read_bytes(), tmp_path / "cut.gguf"
    head = content.index(b"blk.1.ffn_norm.weight")
    for length in [*range(200), *range(200, head, 997), head]:
        path.write_bytes(content[:length])
        with pytest.raises(ModelError, match=r"cut\.gguf"):
            find_model(str(path))


@settings(deadline=None, max_examples=200)
@given(at=st.integers(0, 700), value=st.integers(0, 255))
def test_a_damaged_head_is_an_error_or_another_model(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, at: int, value: int
) -> None:
    content = bytearray(whole.read_bytes())
    content[at] = value
    path = tmp_path_factory.mktemp("damaged") / "model.gguf"
    path.write_bytes(content)
    try:
        ours = opened(path)
        ours.read("embed_tokens.weight", (ours.config.vocab_size, ours.config.hidden_size))
    except ModelError as error:
        assert str(path) in str(error)


def test_files_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    for content, message in (
        (b"", "cannot be read"),
        (b"GGML and more of the same", "not a GGUF file"),
        (b"GGUF\x01\x00\x00\x00" + bytes(16), "version 1"),
        (b"GGUF\x00\x00\x00\x03" + bytes(16), "little-endian"),
    ):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=message):
            find_model(str(path))
