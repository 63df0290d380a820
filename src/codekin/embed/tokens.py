"""Texts to token ids and back: a tokenizer that takes every text for plain text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

from codekin.embed.config import read_json
from codekin.errors import ModelError

# Qwen2's pre-tokenizer (arXiv 2309.16609, as released): contractions, letters, single digits, symbols, white space.
_QWEN2_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# transformers writes this, and more, where a tokenizer has no longest text.
_NO_LIMIT = 10**9


class TextTokenizer:
    """A tokenizer whose special and added tokens are never found in a text.

    `settings` are those of transformers' `tokenizer_config.json`; `files` are where it came from. `prefix` and
    `suffix` are the ids that stand before and after every text (often none), `padding` the id of the padding token.
    """

    def __init__(self, tokenizer: Tokenizer, settings: Mapping[str, Any], files: Sequence[Path]) -> None:
        """`tokenizer` is changed, so give it away."""
        tokenizer.no_padding()
        tokenizer.no_truncation()
        # Only special tokens can be left in pieces; so every added token becomes one.
        added = tokenizer.get_added_tokens_decoder().values()
        tokenizer.add_special_tokens([AddedToken(token.content, special=True) for token in added])
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        self._settings = dict(settings)
        self.files = tuple(files)
        probe = tokenizer.encode("a")
        own = [place for place, special in enumerate(probe.special_tokens_mask) if not special]
        self.prefix = tuple(probe.ids[: own[0]])
        self.suffix = tuple(probe.ids[own[-1] + 1 :])
        self.padding = self._id("pad_token")
        longest = self._settings.get("model_max_length")
        self.max_length = int(longest) if longest is not None and 0 < longest < _NO_LIMIT else None
        self.size = max(tokenizer.get_vocab().values()) + 1

    @classmethod
    def from_folder(cls, folder: Path) -> TextTokenizer:
        """The tokenizer in a model's folder: `tokenizer.json`, or `vocab.json` and `merges.txt` of Qwen2's kind.

        Raises ModelError where there is neither, or a file is not what its name says.
        """
        path, vocabulary, merges = (folder / name for name in ("tokenizer.json", "vocab.json", "merges.txt"))
        config = folder / "tokenizer_config.json"
        settings = read_json(config) if config.is_file() else {}
        try:
            if path.is_file():
                return cls(Tokenizer.from_file(str(path)), settings, (path,))
            if vocabulary.is_file() and merges.is_file():
                model = BPE.from_file(str(vocabulary), str(merges))
                added = {
                    int(place): AddedToken(**{key: value for key, value in token.items() if key != "__type"})
                    for place, token in settings.get("added_tokens_decoder", {}).items()
                }
                return cls(qwen2_tokenizer(model, added), settings, (vocabulary, merges))
        except Exception as error:  # tokenizers raises plain Exception
            raise ModelError(f"{path if path.is_file() else folder}: not a tokenizer: {error}") from None
        raise ModelError(f"{folder}: tokenizer.json is missing")

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Each text's ids with `prefix` and `suffix`, neither cut nor padded.

        A lone surrogate, which UTF-8 cannot hold, is read as a question mark.
        """
        clean = [text.encode("utf-8", "replace").decode() for text in texts]
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(clean)]

    def encode_template(self, text: str) -> list[int]:
        """The ids of a text that is the program's own: special tokens are found in it, and none stand around it."""
        self._tokenizer.encode_special_tokens = False
        try:
            return list(self._tokenizer.encode(text, add_special_tokens=False).ids)
        finally:
            self._tokenizer.encode_special_tokens = True

    def knows(self, token: str) -> bool:
        """Whether there is such a token."""
        return self._tokenizer.token_to_id(token) is not None

    def decode(self, ids: Sequence[int]) -> str:
        """The ids' text; special tokens as they are written."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json`, which transformers reads as the same tokenizer.

        In it, too, special tokens are never found in a text.
        """
        self._tokenizer.save(str(folder / "tokenizer.json"))
        # add_bos_token and add_eos_token would replace the file's own ends of texts, added_tokens_decoder its tokens.
        overruling = ("add_bos_token", "add_eos_token", "added_tokens_decoder")
        settings = {key: value for key, value in self._settings.items() if key not in overruling}
        settings["split_special_tokens"] = True
        text = json.dumps(settings, ensure_ascii=False, indent=2)
        (folder / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")

    def _id(self, setting: str) -> int | None:
        named = self._settings.get(setting)
        content = named.get("content") if isinstance(named, dict) else named
        return self._tokenizer.token_to_id(content) if content else None


def qwen2_tokenizer(model: BPE, added: Mapping[int, AddedToken]) -> Tokenizer:
    """Qwen2's tokenizer over a byte-level model, as its tokenizer.json describes it, with tokens added at their ids.

    Raises ValueError where the added tokens' ids do not follow the model's own.
    """
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_QWEN2_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    for place, token in sorted(added.items()):
        tokenizer.add_tokens([token])
        if tokenizer.token_to_id(token.content) != place:
            raise ValueError(f"token {token.content!r} has no place at {place}")
    return tokenizer
