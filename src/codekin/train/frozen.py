"""What frozen lower layers make of a text, kept in a file: in both passes of a step and every epoch it is the same."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from codekin.embed.transformer import Tokens
from codekin.errors import InputError

# A record: the digest of a text's tokens and their number, then their states; or a mark: nothing, and a step.
_HEAD = struct.Struct("<16sQ")
_MARK = bytes(16)


class FrozenStates:
    """Hidden states of texts, (tokens, hidden) float32 each, in a file of at most `limit` bytes.

    The file goes on behind the mark of `step`: what a killed run has added later is taken out, so that the resumed
    run computes it again, in the same packs and so to the same bits. Raises InputError where it cannot be written.
    """

    def __init__(self, path: Path, hidden: int, limit: int, step: int) -> None:
        self._path, self._hidden, self._limit = path, hidden, limit
        self._places: dict[bytes, tuple[int, int]] = {}
        try:
            self._file = open(path, "r+b" if step and path.is_file() else "w+b")  # noqa: SIM115 (as long as this is)
            self._size = self._read_up_to(step)
            self._file.truncate(self._size)
        except OSError as error:
            raise self._unwritable(error) from None

    def states(self, texts: Sequence[Tokens], compute: Callable[[list[Tokens]], Tensor]) -> Tensor:
        """The texts' states one after another, (t, hidden); `compute` makes those of texts that are not there."""
        digests = [_digest(text) for text in texts]
        parts = {key: self._read(*self._places[key]) for key in digests if key in self._places}
        missing = {key: text for key, text in zip(digests, texts, strict=True) if key not in parts}
        if missing:
            made = compute(list(missing.values())).cpu()
            for key, part in zip(
                missing, torch.split(made, [len(text) for text in missing.values()]), strict=True
            ):
                parts[key] = part
                self._add(key, part)
        return torch.cat([parts[key] for key in digests])

    def mark(self, step: int) -> None:
        """What is there now belongs to the checkpoint of a step."""
        try:
            self._append(_HEAD.pack(_MARK, step))
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._unwritable(error) from None

    def _add(self, key: bytes, states: Tensor) -> None:
        record = _HEAD.pack(key, len(states)) + states.numpy().tobytes()
        if self._size + len(record) > self._limit:
            return
        try:
            self._append(record)
        except OSError as error:
            raise self._unwritable(error) from None
        self._places[key] = (self._size - len(record) + _HEAD.size, len(states))

    def _append(self, record: bytes) -> None:
        self._file.seek(self._size)
        self._file.write(record)
        self._file.flush()
        self._size += len(record)

    def _read(self, place: int, tokens: int) -> Tensor:
        states = np.empty((tokens, self._hidden), np.float32)
        self._file.seek(place)
        if self._file.readinto(states.data.cast("B")) < states.nbytes:
            raise InputError(f"{self._path} is shorter than it was: is another run writing it?")
        return torch.from_numpy(states)

    def _read_up_to(self, step: int) -> int:
        """Where the mark of the step ends; 0 where there is none."""
        place = 0
        while len(head := self._file.read(_HEAD.size)) == _HEAD.size:
            key, number = _HEAD.unpack(head)
            place += _HEAD.size
            if key != _MARK:
                self._places[key] = (place, number)
                place = self._file.seek(place + number * self._hidden * 4)
            elif number == step:
                return place
        self._places.clear()
        return 0

    def _unwritable(self, error: OSError) -> InputError:
        return InputError(f"{self._path} cannot be written: {error}; model.frozen_gb = 0 does without it")


def _digest(text: Tokens) -> bytes:
    return hashlib.blake2b(np.asarray(text, np.int64).tobytes(), digest_size=16).digest()
