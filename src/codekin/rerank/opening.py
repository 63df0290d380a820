"""Which reranker it is that a user names."""

from __future__ import annotations

import os
from pathlib import Path

from codekin.embed import Embedder, VectorCache
from codekin.embed.checkpoints import Checkpoint
from codekin.embed.config import DecoderConfig, read_json
from codekin.embed.hub import HubName, fetch
from codekin.embed.registry import find_model
from codekin.rerank.reranker import Reranker

DEFAULT_RERANKER = "sentence-transformers/all-MiniLM-L6-v2"
"""Small enough for a CPU: 22 million numbers, 91 MB from the hub at first use."""


def open_reranker(
    name: str | Path = DEFAULT_RERANKER,
    *,
    device: str | None = None,
    dtype: str | None = None,
    cache: VectorCache | None = None,
) -> Reranker:
    """The reranker of that name.

    - `https://host/v1#model`: an API whose `/rerank` is of Jina's form; its key is in the environment as
      JINA_API_KEY for Jina's (`jina+https://` says so of another host), else COHERE_API_KEY;
    - a folder or hub name of a model for sequence classification: sentence-transformers' CrossEncoder;
    - of a Qwen2 or Qwen3 decoder that says nothing of pooling or prompts: a language model that is asked for yes or no;
    - any other that `Embedder` takes: the cosine of its vectors, kept in `cache`.

    `device` and `dtype` are as in `Embedder`. Nothing is loaded yet. Raises ModelError, InputError or
    MissingExtraError in one line where there is no such model.
    """
    name = str(name)
    if "://" in name:
        from codekin.embed.endpoint import parse_endpoint
        from codekin.rerank.remote import RemoteReranker

        url, model, jina = parse_endpoint(name) or (name, "", False)
        return RemoteReranker(url, model, os.environ.get("JINA_API_KEY" if jina else "COHERE_API_KEY", ""))
    if folder := _classifier(name):
        from codekin.rerank.cross_encoder import CrossEncoderReranker

        return CrossEncoderReranker(folder, name, device=device)
    found = find_model(name)
    if isinstance(found, Checkpoint) and _is_language_model(found):
        from codekin.rerank.judging import JudgingReranker

        return JudgingReranker(found, device=device, dtype=dtype)
    from codekin.rerank.embedding import EmbeddingReranker

    if not isinstance(found, Checkpoint):  # a static model has no choice of them
        device = dtype = None
    return EmbeddingReranker(Embedder(name, device=device, dtype=dtype, cache=cache))


def _is_language_model(found: Checkpoint) -> bool:
    return isinstance(found.config, DecoderConfig) and found.pooling is None and not found.prompts


def _classifier(name: str) -> Path | None:
    """The folder of a model for sequence classification; None for another."""
    folder = Path(name).expanduser()
    if not folder.exists() and (on_hub := HubName.parse(name)) and not on_hub.file:
        folder = fetch(on_hub)
    config = folder / "config.json"
    if not config.is_file():
        return None
    named = read_json(config).get("architectures") or [""]
    return folder if str(named[0]).endswith("ForSequenceClassification") else None
