"""A small random language model of Qwen3's kind with its chat tokens, as transformers writes it."""

from __future__ import annotations

import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, pre_tokenizers, trainers
from tokenizers.models import BPE

from codekin.embed.tokens import qwen2_tokenizer


@pytest.fixture(scope="session")
def make_chat(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a folder of that name, whose tokenizer has yes and no, in both cases."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")

    def make(name: str, **settings: Any) -> Path:
        folder = tmp_path_factory.mktemp("chat") / name
        folder.mkdir()
        tokenizer = qwen2_tokenizer(BPE(), {})
        sources = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:30]
        lines = [line for source in sources for line in source.read_text("utf-8", "replace").splitlines()]
        trainer = trainers.BpeTrainer(
            vocab_size=1500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        )
        tokenizer.train_from_iterator([*lines, *["yes", "no", "Yes", "No"] * 5000], trainer)
        tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
        tokenizer.add_tokens([AddedToken(token, normalized=False) for token in ("<think>", "</think>")])
        tokenizer.save(str(folder / "tokenizer.json"))
        wrapped = transformers.Qwen2Tokenizer.from_pretrained(
            str(folder), eos_token="<|im_end|>", pad_token="<|endoftext|>"
        )
        wrapped.save_pretrained(folder)
        torch.manual_seed(0)
        config = transformers.Qwen3Config(
            vocab_size=1600,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            max_position_embeddings=512,
            initializer_range=0.2,
            **settings,
        )
        transformers.Qwen3ForCausalLM(config).save_pretrained(folder)
        return folder

    return make
