"""A causal language model as reranker: asked whether a text answers, how much rather "yes" than "no" it would say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from codekin.embed.checkpoints import Checkpoint
from codekin.embed.config import DecoderConfig
from codekin.errors import MissingExtraError, ModelError
from codekin.rerank.reranker import Scores, paced
from codekin.tasks import Role, Task, instruction

if TYPE_CHECKING:
    import torch

    from codekin.embed.qwen2 import Decoder, Prefix

Tokens = tuple[int, ...]

MAX_LENGTH = 8_192
"""The longest prompt in tokens, as Qwen3-Reranker's own example has it."""
_THOUGHT = "<think>\n\n</think>\n\n"
_TURN = "<|im_start|>"


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked: the model's special tokens stand in `head` and `tail` alone, the text to judge in the `body`.

    `yes` and `no` are the two answers.
    """

    head: str
    body: str
    tail: str
    yes: str
    no: str


QWEN3_RERANKER = Prompt(
    head="<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n',
    body="<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}",
    tail=f"<|im_end|>\n<|im_start|>assistant\n{_THOUGHT}",
    yes="yes",
    no="no",
)
"""That of arXiv 2506.05176, as published with the model (https://huggingface.co/Qwen/Qwen3-Reranker-0.6B)."""
RELEVANCE = Prompt(
    head="",
    body="Passage: {document}\nQuery: {query}\nDoes the passage answer the query?\nAnswer:",
    tail="",
    yes=" Yes",
    no=" No",
)
"""That of HELM (arXiv 2211.09110) for any language model."""
RELEVANCE_CHAT = Prompt(
    head=f"{_TURN}user\n",
    body="Passage: {document}\nQuery: {query}\nDoes the passage answer the query? Answer Yes or No.",
    tail="<|im_end|>\n<|im_start|>assistant\n",
    yes="Yes",
    no="No",
)
"""The same question as a turn of ChatML, for models that are trained to follow instructions."""


class JudgingReranker:
    """A Qwen2 or Qwen3 decoder with its head; the score is P(yes) / (P(yes) + P(no)), from 0 to 1.

    Qwen3-Reranker ("rerank" in its name) is asked as it was trained, any other model HELM's question. What stands
    before the text is computed once a query where the prompt begins with the query. Raises ModelError where the
    checkpoint is no language model, MissingExtraError where torch is not installed.
    """

    def __init__(
        self, checkpoint: Checkpoint, *, device: str | None = None, dtype: str | None = None
    ) -> None:
        try:
            from codekin.embed import devices
        except ImportError:
            raise MissingExtraError(f"model {checkpoint.name}", "models") from None
        if not isinstance(checkpoint.config, DecoderConfig):
            raise ModelError(f"{checkpoint.name} is no language model")
        self.name, self._config = checkpoint.name, checkpoint.config
        self._checkpoint, self._tokenizer = checkpoint, checkpoint.tokenizer
        self._place = devices.pick_device(device)
        self._number = devices.NumberType.parse(dtype) if dtype else devices.fastest_type(self._place)
        self._prompt = _choose(checkpoint)
        self._yes, self._no = (_answer(checkpoint, word) for word in (self._prompt.yes, self._prompt.no))
        self._longest = min(MAX_LENGTH, self._config.max_positions)
        self._loaded: tuple[Decoder, torch.Tensor] | None = None
        self._known: tuple[Tokens, Prefix] | None = None

    def load(self) -> None:
        if self._loaded is not None:
            return
        import torch

        from codekin.embed.config import Pooling
        from codekin.embed.qwen2 import Decoder
        from codekin.embed.transformer import TransformerModel

        model = TransformerModel.load(
            self._checkpoint, self._place, self._number, Pooling.LAST, self._longest
        )
        assert isinstance(model.decoder, Decoder)
        config = self._config
        name = "embed_tokens.weight" if config.tied else "lm_head.weight"
        head = self._checkpoint.read(name, (config.vocab_size, config.hidden_size))
        difference = head[self._yes].float() - head[self._no].float()
        self._loaded = model.decoder, difference.to(self._place, torch.float32)

    def score(self, query: str, texts: Sequence[str], task: Task, seconds: float | None = None) -> Scores:
        self.load()
        return paced(lambda some: self._judge(query, some, task), texts, seconds)

    def prompts(self, query: str, texts: Sequence[str], task: Task) -> tuple[list[Tokens], Tokens]:
        """What is read for each text, and the tokens that all prompts of the query begin with.

        A text that is too long for the model is cut at its end.
        """
        prompt, encode = self._prompt, self._tokenizer.encode
        said = instruction(task, Role.QUERY).rstrip(":\n")
        before, after = (
            part.replace("{instruction}", said).replace("{query}", query)
            for part in prompt.body.split("{document}")
        )
        head, tail = (self._tokenizer.encode_template(part) for part in (prompt.head, prompt.tail))
        [end] = encode([after])
        room = max(0, self._longest - len(head) - len(tail))
        made = []
        for text, tokens in zip(texts, encode([before + text + after for text in texts]), strict=True):
            body = tokens
            if len(tokens) > room:
                [open_end] = encode([before + text])
                body = (open_end[: max(0, room - len(end))] + end)[:room]
            made.append((*head, *body, *tail))
        # The last token before a text may be another one where the text follows.
        [begin] = encode([before])
        return made, (*head, *begin[:-1])

    def _judge(self, query: str, texts: Sequence[str], task: Task) -> Scores:
        import torch

        from codekin.embed.qwen2 import Pack
        from codekin.embed.transformer import pack_tokens, split_packs

        assert self._loaded is not None
        decoder, difference = self._loaded
        prompts, shared = self.prompts(query, texts, task)
        rows: dict[Tokens, list[int]] = defaultdict(list)
        for row, tokens in enumerate(prompts):
            rows[tokens].append(row)
        sharing = [tokens for tokens in rows if tokens[: len(shared)] == shared and len(tokens) > len(shared)]
        alone = list(rows.keys() - set(sharing))
        scores = np.empty(len(texts), np.float32)
        with torch.inference_mode():
            prefix = self._prefix(decoder, shared) if shared and sharing else None
            start = len(shared) if prefix else 0
            for begin, some in ((start, sharing), (0, alone)):
                for packed in split_packs([tokens[begin:] for tokens in some], pack_tokens(self._place)):
                    before = prefix if begin else None
                    hidden = decoder(Pack(packed, begin, self._place), before, ends_only=True)
                    made = torch.sigmoid(hidden.float() @ difference).cpu().numpy()
                    for tokens, score in zip(packed, made, strict=True):
                        scores[rows[shared[:begin] + tokens]] = score
        return scores

    def _prefix(self, decoder: Decoder, tokens: Tokens) -> Prefix:
        """The state of a query's beginning, kept for the next texts of the same query."""
        if self._known is None or self._known[0] != tokens:
            self._known = tokens, decoder.prefix(tokens)
        return self._known[1]


def _choose(checkpoint: Checkpoint) -> Prompt:
    if "rerank" in checkpoint.name.rstrip("/").rpartition("/")[2].lower():
        return QWEN3_RERANKER
    tokenizer = checkpoint.tokenizer
    if not tokenizer.knows(_TURN):
        return RELEVANCE
    # A model that thinks first is told that it has done so.
    thinks = tokenizer.knows("<think>")
    return replace(RELEVANCE_CHAT, tail=RELEVANCE_CHAT.tail + _THOUGHT) if thinks else RELEVANCE_CHAT


def _answer(checkpoint: Checkpoint, word: str) -> int:
    """The first token of an answer."""
    [tokens] = checkpoint.tokenizer.encode([word])
    return tokens[len(checkpoint.tokenizer.prefix)]
