"""Where a decoder computes and in which type of number: chosen by what the device does fast."""

from __future__ import annotations

import time
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from codekin.errors import ModelError
from codekin.tasks import Choice

# A smaller type costs some accuracy, so it has to pay. A GPU always has the room for it; on a CPU only one with
# matrix units for bfloat16 is that much faster, while emulation is a hundred times slower.
_WORTH_ON_GPU = 1.3
_WORTH_ON_CPU = 3.0
# What int8 takes less of in products, it partly loses again between them.
_WORTH_IN_INT8 = 1.2


class NumberType(Choice):
    """What a decoder computes in; int8 keeps weights and activations in 8 bits where a CPU multiplies those fast."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    INT8 = "int8"


def pick_device(name: str | None) -> torch.device:
    """The device of that name (as torch writes it: "cpu", "cuda:1", "mps"), or the best that is there.

    Raises ModelError for a device that this machine or this build of torch does not have.
    """
    if name is None:
        kinds = (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available()))
        return torch.device(next((kind for kind, there in kinds if there), "cpu"))
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"no device {name!r} here: {str(error).splitlines()[0]}") from None
    if device.type == "meta":
        raise ModelError("no device 'meta' here: it computes nothing")
    return device


@lru_cache
def fastest_type(device: torch.device) -> NumberType:
    """The type to compute in on a device: float32, or a 16-bit type that a measurement finds worth it (~10 ms)."""
    rows, size = (64, 512) if device.type == "cpu" else (2048, 4096)
    worth = _WORTH_ON_CPU if device.type == "cpu" else _WORTH_ON_GPU
    limit = _seconds(device, NumberType.FLOAT32, rows, size) / worth
    for candidate in (NumberType.BFLOAT16, NumberType.FLOAT16)[: 1 if device.type == "cpu" else 2]:
        if _seconds(device, candidate, rows, size) < limit:
            return candidate
    return NumberType.FLOAT32


@lru_cache
def int8_pays() -> bool:
    """Whether a measurement finds int8 faster than float32 on this CPU (~20 ms)."""
    cpu = torch.device("cpu")
    wide, narrow = (_seconds(cpu, number, 128, 1024) for number in (NumberType.FLOAT32, NumberType.INT8))
    return narrow < wide / _WORTH_IN_INT8


def torch_type(number: NumberType) -> torch.dtype:
    """The type of hidden states: that of int8 products is float32."""
    return {NumberType.BFLOAT16: torch.bfloat16, NumberType.FLOAT16: torch.float16}.get(number, torch.float32)


def linear(weight: Tensor, bias: Tensor | None, number: NumberType) -> nn.Module:
    """The product with a weight (out, in), for inference on the weight's device in a type of number."""
    if number is NumberType.INT8:
        from codekin.embed.int8 import Int8Linear

        return Int8Linear(weight, bias)
    if _can_pack(weight):
        return _PackedLinear(weight, bias)
    return _PlainLinear(weight, bias)


class _PlainLinear(nn.Module):
    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self._weight, self._bias = weight, bias

    def forward(self, rows: Tensor) -> Tensor:
        return functional.linear(rows, self._weight, self._bias)


class _PackedLinear(nn.Module):
    """A product whose weight is laid out once for oneDNN, as torch's compiler does it.

    torch.nn.Linear lays it out at every call, which costs most of the time where few rows are multiplied.
    """

    _ROWS = 512  # the layout serves any number; this one it is best for

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), self._ROWS)
        self._bias = bias

    def forward(self, rows: Tensor) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, self._weight, self._bias, "none", [], "")
        return product


def _can_pack(weight: Tensor) -> bool:
    there = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if weight.device.type != "cpu" or not there:
        return False
    if weight.dtype is torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if weight.dtype is torch.float16:
        return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    return weight.dtype is torch.float32


def _seconds(device: torch.device, number: NumberType, rows: int, size: int) -> float:
    """The best of five products of (rows, size) with (size, size), on a CPU by one thread.

    Of several threads, each waits for the one whose core another process has taken.
    """
    dtype = torch_type(number)
    left = torch.ones(rows, size, device=device, dtype=dtype)
    multiply = linear(torch.ones(size, size, device=device, dtype=dtype), None, number)
    seconds = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(6):  # the first one prepares
            started = time.perf_counter()
            float(multiply(left)[0, 0])  # waits for the device
            seconds.append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    return min(seconds[1:])
