"""Products in 8-bit integers, for CPUs that multiply those faster than float32."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# CPUs without VNNI add two products of a byte and a signed byte within 16 bits, and cut what does not fit: two times
# 255 x 64 does. So weights have 7 bits and the same vectors come out of every CPU.
_WEIGHT_LEVELS = 64
_ACTIVATION_LEVELS = 127
# Instead of dividing by the scale of a row of zeros.
_SMALLEST = 1e-12


class Int8Linear(nn.Module):
    """The product with a weight (out, in) and the sum with a bias (out,), for inference on a CPU.

    Weights have a scale an output channel, activations a scale a row, taken from that row alone (W8A8, dynamic): what
    else is in the batch changes nothing. Few channels of a decoder's activations are many times larger than the rest
    and would set the scale for all. As in SmoothQuant (arXiv 2211.10438, equation 3), each input channel is multiplied
    by a factor and its weights are divided by it; here it is the root of the norm of these weights, so that channels
    that matter little get little of the range, and no text is needed to calibrate.

    Of a Qwen2.5-Coder-0.5B with last-token pooling, on 500 functions and queries, the cosine to float32's vectors is
    0.996 at the median, 0.994 at the 1st percentile and never below 0.99; on 84 of them without the factors it was
    0.994 and 0.985.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        weight = weight.float()
        self._factors = weight.norm(dim=0).clamp_min_(_SMALLEST).sqrt_()
        smoothed = weight / self._factors
        scales = smoothed.abs().amax(1, keepdim=True).div_(_WEIGHT_LEVELS).clamp_min_(_SMALLEST)
        self._weight = smoothed.div_(scales).round_().to(torch.int8).t()
        self._scales = scales.squeeze(1)
        self._bias = bias

    def forward(self, rows: Tensor) -> Tensor:
        """(t, in) float32 -> (t, out) float32."""
        smoothed = rows * self._factors
        scales = smoothed.abs().amax(1, keepdim=True).div_(_ACTIVATION_LEVELS).clamp_min_(_SMALLEST)
        levels = smoothed.div_(scales).round_().to(torch.int8)
        product = torch.mul(torch._int_mm(levels, self._weight), scales).mul_(self._scales)
        return product if self._bias is None else product.add_(self._bias)
