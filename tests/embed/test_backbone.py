"""A real GGUF file against transformers' reading of it: `CODEKIN_BACKBONE=FILE pytest -m slow tests/embed`."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from codekin import Embedder

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

_NAMED = os.environ.get("CODEKIN_BACKBONE")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not _NAMED, reason="CODEKIN_BACKBONE names no file"),
]
_SOURCE = (Path(sysconfig.get_path("stdlib")) / "heapq.py").read_text(encoding="utf-8")
TEXTS = [
    "binary search in Rust",
    "",
    "\n\n# 中文 🙂 <|im_end|> <tool_call>\x00",
    _SOURCE[:3000],
    _SOURCE[4000:4400],
]


@pytest.fixture(scope="module")
def reference() -> tuple[Any, Any]:
    """transformers' tokenizer, and its model in float32."""
    path = Path(_NAMED or "")
    where = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    tokenizer = transformers.AutoTokenizer.from_pretrained(**where)
    model = transformers.AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    return tokenizer, model.eval()


def test_tokens_and_hidden_states(reference: tuple[Any, Any]) -> None:
    tokenizer, model = reference
    embedder = Embedder(str(_NAMED), dtype="float32")
    prefix = embedder.instruction("nl2code", "document")
    vectors = embedder.encode(TEXTS)
    for text, vector in zip(TEXTS, vectors, strict=True):
        [ids] = embedder._files.tokenizer.encode([prefix + text])
        if "<" not in text:  # a special token in a text stays text with us
            assert ids == tokenizer(prefix + text)["input_ids"]
        with torch.no_grad():
            hidden = model.model(torch.tensor([ids])).last_hidden_state[0, -1]
        wanted = torch.nn.functional.normalize(hidden, dim=0).numpy()
        assert float(wanted @ vector) >= 0.9999


def test_greedy_continuation(reference: tuple[Any, Any]) -> None:
    from codekin.embed.qwen2 import Pack

    tokenizer, model = reference
    start = tokenizer("def quicksort(items):\n")["input_ids"]
    decoder = Embedder(str(_NAMED), dtype="float32")._decoder.decoder
    head = model.lm_head.weight
    tokens = list(start)
    with torch.inference_mode():
        for _ in range(40):
            [state] = decoder(Pack([tokens]), ends_only=True)
            tokens.append(int((head @ state).argmax()))
        wanted = model.generate(
            torch.tensor([start]),
            max_new_tokens=40,
            min_new_tokens=40,
            do_sample=False,
            repetition_penalty=1.0,
        )
    assert tokens == wanted[0].tolist()
