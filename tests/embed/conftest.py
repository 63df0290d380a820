"""A tokenizer and checkpoints of Qwen2's and Qwen3's kind, small, as transformers writes them."""

from __future__ import annotations

import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, pre_tokenizers, trainers
from tokenizers.models import BPE

from codekin.embed.tokens import qwen2_tokenizer

END = "<|endoftext|>"


@pytest.fixture(scope="session")
def qwen2_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer.json of Qwen2's kind, trained on Python's own sources; with special and ordinary added tokens."""
    tokenizer = qwen2_tokenizer(BPE(), {})
    sources = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:60]
    trainer = trainers.BpeTrainer(
        vocab_size=2000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train([str(source) for source in sources], trainer)
    tokenizer.add_special_tokens([END, "<|im_start|>"])
    tokenizer.add_tokens([AddedToken("<tool_call>", normalized=False)])
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(path))
    return path


@pytest.fixture(scope="session")
def make_checkpoint(qwen2_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a folder with a random decoder of two layers, written by transformers."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")

    def make(
        kind: str = "Qwen2ForCausalLM", dtype: Any = torch.float32, shards: str = "5GB", **settings: Any
    ) -> Path:
        folder = tmp_path_factory.mktemp("checkpoint")
        torch.manual_seed(0)
        model_class = getattr(transformers, kind)
        config = model_class.config_class(
            vocab_size=2048,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            **settings,
        )
        model_class(config).to(dtype).save_pretrained(folder, max_shard_size=shards)
        tokenizer = transformers.Qwen2Tokenizer.from_pretrained(
            str(qwen2_file.parent), eos_token=END, pad_token=END
        )
        tokenizer.save_pretrained(folder)
        return folder

    return make
