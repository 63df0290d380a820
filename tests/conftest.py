"""Models that the tests of several layers use: small, on disk, as their own libraries write them."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from codekin import embed

# A shell's background jobs ignore Ctrl-C and hand that down; commands under test are to be interrupted.
signal.signal(signal.SIGINT, signal.default_int_handler)

BUNDLED_MODEL = Path(embed.__file__).parent / "models" / "codekin-static"


@pytest.fixture
def turned_model(tmp_path: Path) -> Callable[..., Path]:
    """Makes a copy of the bundled model whose vectors point the other way."""

    def make(folder: Path | None = None) -> Path:
        folder = folder or tmp_path / "turned"
        shutil.copytree(BUNDLED_MODEL, folder)
        (tensors,) = folder.glob("*.safetensors")
        changed = load_file(tensors)
        name = max(changed, key=lambda key: changed[key].ndim)
        changed[name] = -changed[name]
        save_file(changed, tensors)
        return folder

    return make


@pytest.fixture(scope="session")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2 decoder of two layers with random weights, written by transformers."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("models") / "decoder"
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="Ġ").save_pretrained(folder)
    torch.manual_seed(7)
    config = transformers.Qwen2Config(
        vocab_size=len(alphabet),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
    )
    transformers.Qwen2Model(config).save_pretrained(folder)
    return folder
