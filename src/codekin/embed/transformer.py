"""A decoder, or BERT, as an embedding model: texts to tokens, to packs, to pooled vectors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.overrides import TorchFunctionMode

from codekin.embed.bert import Bert
from codekin.embed.checkpoints import Checkpoint
from codekin.embed.config import BertConfig, DecoderConfig, Pooling
from codekin.embed.devices import NumberType, linear, torch_type
from codekin.embed.pooling import pooling_module
from codekin.embed.qwen2 import Decoder, Pack, Prefix
from codekin.embed.tokens import TextTokenizer

# Tokens of one pass. On a CPU a layer's rows stay near its caches; a GPU wants more to do at once.
_CPU_TOKENS = 1024
_GPU_TOKENS = 16_384
# Attention works on a grid with a row a text; of its cells, at most this share may be filling.
_FILLING = 0.25
# A text is cut before it is tokenised, at this many characters a token: more than all but blank or broken text has.
_CHARACTERS = 32

Tokens = tuple[int, ...]


class TransformerModel:
    """A decoder or encoder and its pooling, which stand on one device, ready to encode."""

    def __init__(
        self,
        tokenizer: TextTokenizer,
        decoder: Decoder | Bert,
        pooling: nn.Module,
        device: torch.device,
        max_length: int,
    ) -> None:
        self._tokenizer = tokenizer
        self._device = device
        self._max_length = max_length
        self._pack_tokens = pack_tokens(device)
        self.dimensions = decoder.config.hidden_size
        self.decoder, self.pooling = decoder, pooling
        self._prefixes: dict[Tokens, Prefix] = {}

    @classmethod
    def load(
        cls,
        checkpoint: Checkpoint,
        device: torch.device,
        number: NumberType,
        pooling: Pooling,
        max_length: int,
    ) -> TransformerModel:
        """A checkpoint's model, its products those of inference.

        Raises ModelError where the checkpoint's tensors are not those of its configuration.
        """
        decoder, pool = empty_modules(checkpoint.config, pooling)
        _load(decoder, checkpoint, "", device, number)
        _load(pool, checkpoint, "pooling.", device, NumberType.FLOAT32)
        return cls(checkpoint.tokenizer, decoder, pool, device, max_length)

    @torch.inference_mode()
    def encode(
        self, texts: Sequence[str], instruction: str, progress: Callable[[int, int], None] | None = None
    ) -> tuple[NDArray[np.float32], int]:
        """The texts' vectors, (n, dimensions) float32 of unit length, and how many of the texts were cut at their end.

        Equal texts are computed once; a text of no token has the zero row. `progress` is called with the tokens done
        and those to do.
        """
        rows: dict[Tokens, list[int]] = defaultdict(list)
        cut = 0
        for row, (tokens, was_cut) in enumerate(self.tokenise(texts, instruction)):
            rows[tokens].append(row)
            cut += was_cut
        rows.pop((), None)
        vectors = np.zeros((len(texts), self.dimensions), np.float32)
        done, total = 0, sum(map(len, rows))
        for pack, prefix, packed in self._packs(list(rows), instruction):
            pooled = self.pooling(self.decoder, pack, prefix).float()
            unit = nn.functional.normalize(pooled, dim=1).cpu().numpy()
            for tokens, vector in zip(packed, unit, strict=True):
                vectors[rows[tokens]] = vector
            done += sum(map(len, packed))
            if progress:
                progress(done, total)
        return vectors, cut

    def tokenise(self, texts: Sequence[str], instruction: str) -> Iterator[tuple[Tokens, bool]]:
        """Each text's tokens behind the instruction, at most the longest text's number, and whether that cut it."""
        suffix = self._tokenizer.suffix
        kept = self._max_length - len(suffix)
        characters = _CHARACTERS * self._max_length
        encoded = self._tokenizer.encode([instruction + text[:characters] for text in texts])
        for text, tokens in zip(texts, encoded, strict=True):
            whole = tokens
            if len(text) > characters and len(tokens) <= self._max_length:
                [whole] = self._tokenizer.encode([instruction + text])
            was_cut = len(whole) > self._max_length
            yield (*whole[:kept], *suffix) if was_cut else tuple(whole), was_cut

    def _packs(
        self, texts: list[Tokens], instruction: str
    ) -> Iterator[tuple[Pack, Prefix | None, list[Tokens]]]:
        """All texts in packs, the longest first: what memory there is must do for those."""
        shared = self._shared(instruction)
        sharing = [
            text for text in texts if shared and len(text) > len(shared) and text[: len(shared)] == shared
        ]
        alone = set(texts).difference(sharing)
        prefix = self._prefix(shared) if len(sharing) > 1 or shared in self._prefixes else None
        start = len(shared) if prefix else 0
        for packed in split_packs([text[start:] for text in sharing], self._pack_tokens):
            yield Pack(packed, start, self._device), prefix, [shared[:start] + text for text in packed]
        for packed in split_packs(list(alone), self._pack_tokens):
            yield Pack(packed, 0, self._device), None, packed

    def _shared(self, instruction: str) -> Tokens:
        """The tokens whose state all texts behind an instruction share; none where a token sees those after it."""
        if isinstance(self.decoder, Bert):
            return ()
        [encoded] = self._tokenizer.encode([instruction])
        # The last token of the instruction may be another one where a text follows.
        return tuple(encoded[: len(encoded) - len(self._tokenizer.suffix)])[:-1]

    def _prefix(self, tokens: Tokens) -> Prefix:
        if tokens not in self._prefixes:
            assert isinstance(self.decoder, Decoder)
            self._prefixes[tokens] = self.decoder.prefix(tokens)
        return self._prefixes[tokens]


def empty_modules(config: DecoderConfig | BertConfig, pooling: Pooling) -> tuple[Decoder | Bert, nn.Module]:
    """The decoder or encoder, and its pooling, without any number, on the meta device."""
    with torch.device("meta"), _Uninitialised():
        model = Bert(config) if isinstance(config, BertConfig) else Decoder(config)
        return model, pooling_module(pooling, config.hidden_size)


def stored_tensors(checkpoint: Checkpoint, pooling: Pooling) -> Iterator[tuple[str, torch.Tensor]]:
    """What the decoder and its pooling are made of, by name, as the checkpoint stores it."""
    for within, module in zip(("", "pooling."), empty_modules(checkpoint.config, pooling), strict=True):
        for name, parameter in module.named_parameters():
            yield within + name, checkpoint.read(within + name, tuple(parameter.shape))


class _Uninitialised(TorchFunctionMode):
    """Leaves new parameters as they are: on the meta device, setting them first loads torch's compiler, for seconds."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def pack_tokens(device: torch.device) -> int:
    """How many tokens to compute at once."""
    return _CPU_TOKENS if device.type == "cpu" else _GPU_TOKENS


def split_packs(texts: list[Tokens], limit: int) -> Iterator[list[Tokens]]:
    """Texts of like length together, the longest first, `limit` tokens or one text at a time."""
    pack: list[Tokens] = []
    tokens = 0
    for text in sorted(texts, key=lambda text: (-len(text), text)):
        if pack:
            cells = (len(pack) + 1) * len(pack[0])
            filling = cells - tokens - len(text)
            if tokens + len(text) > limit or filling > _FILLING * max(cells, limit):
                yield pack
                pack, tokens = [], 0
        pack.append(text)
        tokens += len(text)
    if pack:
        yield pack


def _load(
    module: nn.Module, checkpoint: Checkpoint, within: str, device: torch.device, number: NumberType
) -> None:
    """Sets a module's parameters from a checkpoint, one at a time, and makes its products those of inference."""
    dtype = torch_type(number)

    def read(name: str, wanted: torch.Tensor, kind: torch.dtype | None) -> torch.Tensor:
        tensor = checkpoint.read(within + name, tuple(wanted.shape)).to(device, kind)
        # So that a few numbers keep no file mapped. The token table stays there: a text reads few of its rows.
        return tensor.clone() if tensor.ndim == 1 else tensor

    for path, child in list(module.named_modules()):
        own = dict(child.named_parameters(recurse=False))
        kind = None if isinstance(child, nn.Embedding) else dtype
        loaded = {name: read(f"{path}.{name}".lstrip("."), wanted, kind) for name, wanted in own.items()}
        if isinstance(child, nn.Linear):
            parent, _, name = path.rpartition(".")
            product = linear(loaded["weight"], loaded.get("bias"), number)
            setattr(module.get_submodule(parent), name, product)
        else:
            for name, tensor in loaded.items():
                setattr(child, name, nn.Parameter(tensor, requires_grad=False))
