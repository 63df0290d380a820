"""Model folders: what transformers and sentence-transformers write is read as they read it; what is wrong is named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codekin.embed.checkpoints import Checkpoint
from codekin.embed.config import DecoderConfig
from codekin.embed.folders import StaticFiles
from codekin.embed.registry import find_model
from codekin.errors import ModelError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
sentence_transformers = pytest.importorskip("sentence_transformers")

MakeCheckpoint = Callable[..., Path]


def opened(folder: Path) -> Checkpoint:
    found = find_model(str(folder))
    assert isinstance(found, Checkpoint)
    return found


def change(path: Path, **values: Any) -> None:
    """Set entries of a JSON file; None takes one out."""
    content = json.loads(path.read_text()) if path.exists() else {}
    content |= values
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


@pytest.fixture
def folder(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> Path:
    """A copy of a small checkpoint, to change."""
    return shutil.copytree(make_checkpoint(), tmp_path / "model")


@pytest.fixture
def sentence_folder(folder: Path, tmp_path: Path) -> Path:
    """The same as sentence-transformers writes it."""
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    modules = [Transformer(str(folder), max_seq_length=99), Pooling(32, "lasttoken"), Normalize()]
    model = sentence_transformers.SentenceTransformer(
        modules=modules, prompts={"find": "Find: "}, default_prompt_name="find", truncate_dim=8, device="cpu"
    )
    model.save(str(tmp_path / "sentence"), create_model_card=False)
    return tmp_path / "sentence"


@pytest.mark.parametrize("kind", ["Qwen2ForCausalLM", "Qwen2Model", "Qwen3ForCausalLM", "Qwen3Model"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("shards", ["5GB", "20KB"])
def test_tensors_and_shape_are_those_of_transformers(
    make_checkpoint: MakeCheckpoint, kind: str, tied: bool, shards: str
) -> None:
    own = {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}, "rms_norm_eps": 1e-5}
    folder = make_checkpoint(kind, shards=shards, tie_word_embeddings=tied, head_dim=16, **own)
    model = transformers.AutoModelForCausalLM.from_pretrained(str(folder))
    ours = opened(folder)
    for name, tensor in model.model.state_dict().items():
        assert torch.equal(ours.read(name, tuple(tensor.shape)), tensor), name
    assert ("lm_head.weight" in ours) == (not tied and kind.endswith("ForCausalLM"))
    if "lm_head.weight" in ours:
        assert torch.equal(ours.read("lm_head.weight", (2048, 32)), model.lm_head.weight)
    assert ours.config == DecoderConfig(
        vocab_size=2048,
        hidden_size=32,
        intermediate_size=64,
        layers=2,
        heads=4,
        kv_heads=2,
        head_dim=16,
        rope_theta=5e5,
        norm_eps=1e-5,
        qkv_bias=kind.startswith("Qwen2"),
        qk_norm=kind.startswith("Qwen3"),
        tied=tied,
        max_positions=512,
    )
    assert transformers.AutoConfig.for_model(**ours.config.to_transformers()).head_dim == 16


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_tensors_come_in_the_type_that_they_are_stored_in(
    make_checkpoint: MakeCheckpoint, dtype: Any
) -> None:
    assert opened(make_checkpoint(dtype=dtype)).read("norm.weight", (32,)).dtype == dtype


def test_rope_theta_of_older_and_newer_configurations(folder: Path) -> None:
    config = folder / "config.json"
    change(config, rope_parameters=None, rope_theta=1e6, rope_scaling=None)
    assert opened(folder).config.rope_theta == 1e6
    change(config, rope_theta=None)
    assert opened(folder).config.rope_theta == 1e4


def test_a_plain_folder_says_little(folder: Path) -> None:
    ours = opened(folder)
    assert (ours.pooling, ours.prompts, ours.default_prompt, ours.sizes) == (None, {}, None, (32,))
    assert (ours.max_length, ours.licence) == (512, None)
    change(folder / "tokenizer_config.json", model_max_length=100)
    change(folder / "config.json", matryoshka_dimensions=[16, 8])
    (folder / "README.md").write_text("---\ntags:\n- code\nlicense: cc-by-nc-4.0\n---\n# A model\n")
    ours = opened(folder)
    assert (ours.sizes, ours.max_length, ours.licence) == ((8, 16, 32), 100, "CC-BY-NC-4.0")


def test_a_folder_of_sentence_transformers_says_more(sentence_folder: Path) -> None:
    ours = opened(sentence_folder)
    assert ours.pooling == "last"
    assert ours.prompts["find"] == "Find: "
    assert ours.default_prompt == "find"
    assert ours.sizes == (8, 32)
    assert ours.max_length == 99


def test_a_transformer_in_a_folder_of_its_own(sentence_folder: Path) -> None:
    place = sentence_folder / "0_Transformer"
    place.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (sentence_folder / name).rename(place / name)
    modules = json.loads((sentence_folder / "modules.json").read_text())
    modules[0] |= {"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}
    (sentence_folder / "modules.json").write_text(json.dumps(modules))
    (place / "sentence_bert_config.json").write_text('{"max_seq_length": 50}')
    ours = opened(sentence_folder)
    assert (ours.pooling, ours.max_length, ours.sizes) == ("last", 50, (8, 32))
    assert ours.read("norm.weight", (32,)).shape == (32,)


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode": ["lasttoken"]}, "last"),
        ({"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False}, "last"),
        ({"pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode": "lasttoken", "include_prompt": False}, "last"),
        ({"pooling_mode": "mean", "include_prompt": False}, "include_prompt"),
        ({"pooling_mode": "cls"}, "pooling cls; codekin computes lasttoken or mean"),
        ({"pooling_mode": ["mean", "max"]}, "pooling mean and max"),
        ({"pooling_mode_weightedmean_tokens": True}, "pooling weightedmean"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_lasttoken": True}, "pooling mean and lasttoken"),
        ({"pooling_mode": "mean", "embedding_dimension": 64}, "64 numbers a token, the transformer makes 32"),
        ({"pooling_mode": "mean", "word_embedding_dimension": 16}, "16 numbers a token"),
    ],
)
def test_poolings_old_and_new(sentence_folder: Path, config: dict[str, Any], pooling: str) -> None:
    path = sentence_folder / "1_Pooling" / "config.json"
    path.write_text(json.dumps(config))
    if " " not in pooling and "_" not in pooling:
        assert opened(sentence_folder).pooling == pooling
    else:
        with pytest.raises(ModelError, match=pooling) as error:
            opened(sentence_folder)
        assert str(path) in str(error.value)


def test_modules_that_are_not_computed_are_refused(sentence_folder: Path) -> None:
    path = sentence_folder / "modules.json"
    modules = json.loads(path.read_text())
    for kind in ("Dense", "LayerNorm", "WordEmbeddings"):
        modules[2]["type"] = f"sentence_transformers.models.{kind}"
        path.write_text(json.dumps(modules))
        with pytest.raises(ModelError, match=rf"modules\.json: module sentence_transformers\.models\.{kind}"):
            opened(sentence_folder)
    for content in ("", "{", "[1]", '[{"type": "Transformer"}]', "{}"):
        path.write_text(content)
        with pytest.raises(ModelError, match=r"modules\.json: "):
            opened(sentence_folder)


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("config_sentence_transformers.json", {"default_prompt_name": "other"}, "no prompt 'other'"),
        ("config_sentence_transformers.json", {"truncate_dim": 64}, r"sizes \[64, 32\] do not fit"),
        ("config_sentence_transformers.json", {"prompts": {"query": 3}}, "prompts"),
        ("sentence_bert_config.json", {"do_lower_case": True}, "do_lower_case"),
        ("sentence_bert_config.json", {"max_seq_length": "long"}, "max_seq_length"),
        (
            "config.json",
            {"architectures": ["LlamaForCausalLM"]},
            "architecture LlamaForCausalLM; codekin reads",
        ),
        (
            "config.json",
            {"architectures": ["Qwen2ForSequenceClassification"]},
            "Qwen2ForSequenceClassification",
        ),
        ("config.json", {"use_sliding_window": True}, "sliding-window attention"),
        ("config.json", {"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "scaled by 'yarn'"),
        (
            "config.json",
            {"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 2}},
            "by 'linear'",
        ),
        ("config.json", {"is_causal": False}, "attention to later tokens"),
        ("config.json", {"hidden_act": "gelu"}, "activation 'gelu'"),
        ("config.json", {"quantization_config": {"quant_method": "gptq"}}, "weights packed by 'gptq'"),
        ("config.json", {"num_hidden_layers": None}, "num_hidden_layers is missing"),
        ("config.json", {"num_hidden_layers": "two"}, "layers is 'two', not a positive whole number"),
        ("config.json", {"num_key_value_heads": 3}, "4 heads do not share 3 key-value heads"),
        ("config.json", {"num_attention_heads": 0}, "config.json"),
        ("config.json", {"matryoshka_dimensions": [0, 8]}, r"sizes \[0, 8, 8, 32\]"),
        ("config.json", {"matryoshka_dimensions": 8}, "matryoshka"),
        ("config.json", {"vocab_size": 100}, "the tokenizer has 2003 tokens, config.json 100"),
    ],
)
def test_what_is_not_computed_or_impossible_is_refused(
    sentence_folder: Path, file: str, values: dict[str, Any], message: str
) -> None:
    change(sentence_folder / file, **values)
    with pytest.raises(ModelError, match=message) as error:
        opened(sentence_folder)
    assert str(sentence_folder) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "file", ["config.json", "tokenizer.json", "tokenizer_config.json", "1_Pooling/config.json"]
)
@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\ud800"])
def test_json_that_is_none(sentence_folder: Path, file: str, content: str) -> None:
    (sentence_folder / file).write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(ModelError) as error:
        opened(sentence_folder)
    assert str(sentence_folder / file) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("named", [{}, {"architectures": ["StaticModel"], "model_type": "model2vec"}])
def test_a_static_model_by_any_of_its_names(tmp_path: Path, named: dict[str, Any]) -> None:
    change(tmp_path / "config.json", normalize=True, **named)
    for file in ("tokenizer.json", "model.safetensors"):
        (tmp_path / file).touch()
    assert find_model(str(tmp_path)) == StaticFiles(
        tmp_path / "config.json", tmp_path / "tokenizer.json", tmp_path / "model.safetensors", "embeddings"
    )


@pytest.mark.parametrize("file", ["tokenizer.json", "model.safetensors"])
def test_missing_files_are_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(ModelError, match=rf"{file} is missing"):
        opened(folder)


def test_a_missing_shard_is_named(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    folder = shutil.copytree(make_checkpoint(shards="20KB"), tmp_path / "model")
    shard = sorted(folder.glob("*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(ModelError, match=rf"{shard.name}: the file is missing"):
        opened(folder)


def test_an_index_that_promises_too_much(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    folder = shutil.copytree(make_checkpoint(shards="20KB"), tmp_path / "model")
    index = folder / "model.safetensors.index.json"
    placed = json.loads(index.read_text())
    shards = sorted(folder.glob("*.safetensors"))
    wrong = next(shard.name for shard in shards if shard.name != placed["weight_map"]["model.norm.weight"])
    placed["weight_map"]["model.norm.weight"] = wrong
    index.write_text(json.dumps(placed))
    with pytest.raises(ModelError, match=rf"{wrong}: tensor 'norm.weight' cannot be read"):
        opened(folder).read("norm.weight", (32,))
    index.write_text('{"weight_map": []}')
    with pytest.raises(ModelError, match="weight_map"):
        opened(folder)


def test_every_cut_of_the_weights_is_an_error_that_names_the_file(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = path.read_bytes()
    for length in (0, 1, 7, 8, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ModelError, match=r"model\.safetensors: "):
            opened(folder)


def test_a_cut_tensor_is_named(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"model\.safetensors: tensor 'model\..*' is cut off"):
        opened(folder)


def test_tensors_that_are_wrong(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["model.norm.weight"] = torch.full((32,), float("nan"))
    tensors["model.layers.0.input_layernorm.weight"] = torch.tensor([float("inf")] * 32)
    tensors["model.layers.0.mlp.up_proj.weight"] = torch.ones((64, 32), dtype=torch.int8)
    tensors["model.layers.0.mlp.down_proj.weight"] = torch.ones((64, 32))
    del tensors["model.layers.0.self_attn.q_proj.bias"]
    save_file(tensors, path)
    ours = opened(folder)
    for name, shape, message in (
        ("norm.weight", (32,), "holds numbers that are not finite"),
        ("layers.0.input_layernorm.weight", (32,), "holds numbers that are not finite"),
        ("layers.0.mlp.up_proj.weight", (64, 32), "has type torch.int8"),
        ("layers.0.mlp.down_proj.weight", (32, 64), r"has shape \(64, 32\), not \(32, 64\)"),
        ("layers.0.self_attn.q_proj.bias", (32,), "is missing"),
    ):
        with pytest.raises(ModelError, match=rf"model\.safetensors: tensor '{name}' {message}"):
            ours.read(name, shape)


def test_fingerprint_follows_every_file_and_is_remembered(folder: Path, tmp_path: Path) -> None:
    first = opened(folder).fingerprint
    assert len(first) == 32
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert opened(copy).fingerprint == first
    seen = {first}
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        path = copy / name
        content = path.read_bytes()
        path.write_bytes(
            content[:-2] + b" }" if name == "config.json" else content[:-1] + bytes([content[-1] ^ 1])
        )
        if name != "tokenizer.json":
            seen.add(opened(copy).fingerprint)
        path.write_bytes(content)
    assert len(seen) == 3
    assert opened(copy).fingerprint == first


@pytest.mark.parametrize("missing", ["torch", "safetensors", "gguf", "huggingface_hub"])
def test_a_package_that_is_missing_is_one_line(folder: Path, tmp_path: Path, missing: str) -> None:
    (tmp_path / "model.gguf").touch()
    name = {"gguf": str(tmp_path / "model.gguf"), "huggingface_hub": "owner/model"}.get(missing, str(folder))
    code = (
        "import sys\n"
        "sys.modules[sys.argv[1]] = None\n"
        "from codekin import Embedder\n"
        "from codekin.errors import MissingExtraError\n"
        "try:\n"
        "    Embedder(sys.argv[2])\n"
        "except MissingExtraError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, missing, name], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith((f"model {name} needs", "owner/model, no local folder")), done.stderr
    assert done.stdout.endswith("an extra: pip install 'codekin[models]'\n")
