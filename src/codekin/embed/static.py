"""The static model: a text's vector is the weighted sum of its tokens' vectors, of unit length.

numpy and tokenizers alone. Reads what model2vec writes (https://github.com/MinishLab/model2vec).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from codekin.embed.folders import StaticFiles
from codekin.embed.safetensors import read_safetensors
from codekin.errors import ModelError

# Every ASCII character but letters and digits parts words; the rest of Unicode is left to the tokenizer.
_SEPARATORS = bytes(b if b > 127 or chr(b).isalnum() else 32 for b in range(256))
# About 30 MB at worst. When full it starts anew: cheaper than keeping an order of use.
_MEMO_WORDS = 1 << 17
# Longer words are blobs that will not come again.
_MEMO_WORD_BYTES = 64
# A batch's count matrix is dense (texts x distinct tokens): 64 chunks of code keep it within the L2 cache.
_BATCH_TEXTS = 64
_BATCH_BYTES = 1 << 20
# Powers of counts are kept to 8 bits after the point, so that sums stay exact.
_COUNT_STEPS = 256
# What model2vec takes where the configuration does not say.
_DEFAULT_MAX_LENGTH = 512


class StaticModel:
    """A table of token vectors (v, d), a weight a token, and the tokenizer that names the tokens.

    Configuration keys beyond model2vec's: `words` true says that the tokenizer treats every run of ASCII
    letters, digits and non-ASCII characters on its own, whatever stands around it, which lets the model look
    words up instead of tokenising them again; `sizes` lists the Matryoshka sizes (arXiv 2205.13147); a token that
    occurs c times counts c ** `count_exponent` (default 1): below 1, what a text says often drowns out less.

    Raises ModelError where the files disagree with one another.
    """

    def __init__(self, files: StaticFiles) -> None:
        config = files.read_config()
        tensors = read_safetensors(files.tensors)
        if files.table not in tensors:
            raise ModelError(f"{files.tensors}: tensor {files.table!r} is missing")
        self._table = tensors[files.table]
        if self._table.ndim != 2:
            raise ModelError(
                f"{files.tensors}: tensor {files.table!r} has shape {self._table.shape}, not (v, d)"
            )
        try:
            self._tokenizer: Tokenizer = Tokenizer.from_file(str(files.tokenizer))
        except Exception as error:  # tokenizers raises plain Exception
            raise ModelError(f"{files.tokenizer}: not a tokenizer: {error}") from None
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        vocabulary = self._tokenizer.get_vocab_size()
        self._weights = tensors.get("weights")
        self._mapping = tensors.get("mapping")
        rows = self._table.shape[0]
        if self._mapping is None and rows != vocabulary:
            raise ModelError(
                f"{files.tensors}: {rows} vectors for the {vocabulary} tokens of {files.tokenizer}"
            )
        for name, tensor in (("weights", self._weights), ("mapping", self._mapping)):
            if tensor is not None and tensor.shape != (vocabulary,):
                raise ModelError(
                    f"{files.tensors}: tensor {name!r} has shape {tensor.shape}, not ({vocabulary},)"
                )
        if self._mapping is not None and self._mapping.size and not 0 <= self._mapping.max() < rows:
            raise ModelError(f"{files.tensors}: tensor 'mapping' points beyond the {rows} vectors")

        self.dimensions = int(self._table.shape[1])
        self.sizes = _sizes(config.get("sizes"), self.dimensions, files)
        self.count_exponent = _count_exponent(config.get("count_exponent", 1), files)
        self._max_length = config.get("max_length", _DEFAULT_MAX_LENGTH)
        self._max_characters = None
        if self._max_length is not None:
            # model2vec cuts the text before it cuts the tokens, at this many characters.
            median = int(np.median([len(token) for token in self._tokenizer.get_vocab()]))
            self._max_characters = self._max_length * median
        self._by_words = bool(config.get("words", False)) and self._max_length is None
        self._unknown = _unknown_token(self._tokenizer)
        self._memo: dict[bytes, bytes] = {}
        self._column = np.zeros(vocabulary, dtype=np.intp)

    def encode(self, texts: Sequence[str], dimensions: int) -> NDArray[np.float32]:
        """The texts' vectors, (n, dimensions) float32, rows of unit length; zero where no token is known."""
        vectors = np.empty((len(texts), dimensions), dtype=np.float32)
        with _one_thread() if len(texts) > 1 else nullcontext():
            for start, batch in _batches(texts):
                tokens = self._lookup(batch) if self._by_words else self._tokenise(batch)
                vectors[start : start + len(batch)] = self._sum(tokens, dimensions)
        return vectors

    @property
    def size(self) -> int:
        """How many tokens there are."""
        return int(self._column.size)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text's vector is the sum of; safe beside `encode`."""
        return [ids.size for ids in self._tokenise(texts)]

    def decode(self, ids: Sequence[int]) -> str:
        """The tokens' text."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))

    @property
    def parameters(self) -> int:
        """The numbers of table and weights."""
        return int(self._table.size) + (0 if self._weights is None else int(self._weights.size))

    def export(self) -> tuple[NDArray[np.float32], str]:
        """The model as one row a token, (v, d), and its tokenizer.json, which cuts texts itself.

        The rows hold the weights, and zeros for the token that is left out: a text's vector is their plain sum,
        where `count_exponent` is 1.
        """
        rows = self._table if self._mapping is None else self._table[self._mapping]
        rows = rows.astype(np.float32)
        if self._weights is not None:
            rows *= self._weights[:, None]
        if self._unknown >= 0:
            rows[self._unknown] = 0
        tokenizer = Tokenizer.from_str(self._tokenizer.to_str())
        if self._max_length is not None:
            tokenizer.enable_truncation(self._max_length)
        return rows, tokenizer.to_str()

    def _lookup(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Each text's token ids, word by word from the memo: the same ids as tokenising it whole."""
        words = [text.encode("utf-8", "replace").translate(_SEPARATORS).split() for text in texts]
        distinct = set().union(*words)
        if len(self._memo) > _MEMO_WORDS:
            self._memo.clear()
        unseen = [word for word in distinct if word not in self._memo]
        for word, ids in zip(unseen, self._tokenise([word.decode() for word in unseen]), strict=True):
            self._memo[word] = ids.tobytes()
        known = self._memo.__getitem__
        tokens = [np.frombuffer(b"".join(map(known, text)), dtype=np.int32) for text in words]
        for word in unseen:
            if len(word) > _MEMO_WORD_BYTES:
                del self._memo[word]
        return tokens

    def _tokenise(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        clean = [text[: self._max_characters].encode("utf-8", "replace").decode() for text in texts]
        encodings = self._tokenizer.encode_batch_fast(clean, add_special_tokens=False)
        tokens = [np.array(encoding.ids[: self._max_length], dtype=np.int32) for encoding in encodings]
        return [ids[ids != self._unknown] for ids in tokens]

    def _sum(self, tokens: list[NDArray[np.int32]], dimensions: int) -> NDArray[np.float32]:
        """Counts (n, u) times the vectors of the u distinct tokens, then unit length.

        In float64: with an int8 table, and weights and counts of few bits, every product and sum is exact, so that a
        text's vector does not depend on the order in which the matrix product adds, and so not on its batch.
        """
        flat = np.concatenate(tokens)
        present = np.zeros(self._column.size, dtype=bool)
        present[flat] = True
        distinct = np.flatnonzero(present)
        if not distinct.size:
            return np.zeros((len(tokens), dimensions), dtype=np.float32)
        self._column[distinct] = np.arange(distinct.size)
        row = np.repeat(np.arange(len(tokens)) * distinct.size, [ids.size for ids in tokens])
        counts = np.bincount(row + self._column[flat], minlength=len(tokens) * distinct.size)
        table = self._table[self._mapping[distinct] if self._mapping is not None else distinct, :dimensions]
        rows = table.astype(np.float64)
        if self._weights is not None:
            rows *= self._weights[distinct, None]
        sums = damped(counts, self.count_exponent).reshape(len(tokens), distinct.size) @ rows
        length = np.sqrt(np.einsum("nd,nd->n", sums, sums))
        unit = sums / np.where(length > 0, length, 1.0)[:, None]
        return unit.astype(np.float32)


def damped(counts: NDArray[np.integer[Any]], exponent: float) -> NDArray[np.float64]:
    """What each of `counts` counts: itself to the power of `exponent`, to 1/256; the shape stays."""
    if exponent == 1:
        return counts.astype(np.float64)
    powers = np.arange(counts.max(initial=0) + 1) ** exponent
    return np.asarray((np.rint(powers * _COUNT_STEPS) / _COUNT_STEPS)[counts])


def _one_thread() -> AbstractContextManager[object]:
    """One BLAS thread: a batch's matrices are small, and threads that wait for one another on a busy machine cost
    many times the work. A single text's product is too small for a second thread."""
    from threadpoolctl import threadpool_limits  # not on the way of a single query

    limits: AbstractContextManager[object] = threadpool_limits(limits=1, user_api="blas")
    return limits


def _batches(texts: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """Runs of neighbouring texts, each within the limits of a batch, with their first index."""
    start = size = 0
    for end, text in enumerate(texts):
        if end > start and (end - start == _BATCH_TEXTS or size + len(text) > _BATCH_BYTES):
            yield start, texts[start:end]
            start, size = end, 0
        size += len(text)
    if start < len(texts):
        yield start, texts[start:]


def _sizes(listed: Any, dimensions: int, files: StaticFiles) -> tuple[int, ...]:
    if listed is None:
        return (dimensions,)
    if (
        not isinstance(listed, list)
        or not all(isinstance(size, int) and 0 < size <= dimensions for size in listed)
        or dimensions not in listed
    ):
        raise ModelError(f"{files.config}: sizes {listed} do not fit vectors of {dimensions} numbers")
    return tuple(sorted(listed))


def _count_exponent(given: Any, files: StaticFiles) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 < given <= 1:
        raise ModelError(f"{files.config}: count_exponent must be above 0 and at most 1, not {given!r}")
    return float(given)


def _unknown_token(tokenizer: Tokenizer) -> int:
    """The id of the tokenizer's unknown token, which carries no meaning and is left out; -1 without one."""
    if hasattr(tokenizer.model, "unk_token"):
        found = tokenizer.token_to_id(tokenizer.model.unk_token or "")
    else:  # Unigram does not expose it
        found = json.loads(tokenizer.to_str())["model"].get("unk_id")
    return -1 if found is None else int(found)
