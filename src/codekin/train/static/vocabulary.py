"""The static model's tokenizer: whole words that the corpus uses, and a known vocabulary's pieces for the rest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

UNKNOWN = "[UNK]"
_CAMEL_CASE = r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"
_PIECE = re.compile(r"(##)?[^\W_]+")
# Longer words are hashes and encoded data more often than names.
_MAX_WORD = 24


def build_tokenizer(known: Iterable[str], texts: Iterable[str], *, size: int, min_texts: int) -> Tokenizer:
    """A WordPiece tokenizer (arXiv 1609.08144) over at most `size` tokens, UNKNOWN at 0.

    Words are split at everything but letters and digits and at camelCase humps, in lower case, without accents.
    The tokens are those of `known` (WordPiece, `##` before continuations) that such words can meet, then the
    words that occur in most of `texts`, at least `min_texts` of them, in that order.
    """
    normalise, split = _normaliser(), _splitter()
    tokens = dict.fromkeys(
        [UNKNOWN, *(t for t in known if _PIECE.fullmatch(t) and normalise.normalize_str(t) == t)]
    )
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update({word for word, _ in split.pre_tokenize_str(normalise.normalize_str(text))})
    # Counter order depends on set order: sort by the word as well, for the same vocabulary in every process.
    for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if count < min_texts or len(tokens) >= size:
            break
        if len(word) <= _MAX_WORD:
            tokens.setdefault(word)
    return word_piece([*tokens][:size])


def word_piece(tokens: list[str]) -> Tokenizer:
    """The tokenizer over just these tokens, numbered in order."""
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN, max_input_chars_per_word=100))
    tokenizer.normalizer = _normaliser()
    tokenizer.pre_tokenizer = _splitter()
    return tokenizer


def _normaliser() -> normalizers.Normalizer:
    humps = normalizers.Replace(Regex(_CAMEL_CASE), " ")
    return normalizers.Sequence(
        [humps, normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )


def _splitter() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(r"[^\p{L}\p{N}]+"), "removed")
