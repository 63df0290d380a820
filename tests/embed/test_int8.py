"""Products in 8-bit integers: exact on every CPU, close to float32's where channels stand out, alone or in a batch."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from codekin.embed.config import DecoderConfig

torch = pytest.importorskip("torch")

from codekin.embed.devices import NumberType, linear  # noqa: E402
from codekin.embed.int8 import Int8Linear  # noqa: E402
from codekin.embed.qwen2 import Decoder, Pack  # noqa: E402

# Channels and the factors that a trained decoder's norms put on them.
LOUD = {3: 30.0, 17: 25.0, 62: 40.0, 100: 20.0, 127: 30.0}
READERS = ("q_proj.weight", "k_proj.weight", "v_proj.weight", "gate_proj.weight", "up_proj.weight")
TEXTS = [[(7 * start + 3 * step * step) % 512 for step in range(5 + start)] for start in range(40)]


def decoder() -> Decoder:
    """A random decoder of two layers; after its norms a few channels are loud, and read by small weights."""
    torch.manual_seed(1)
    config = DecoderConfig(
        vocab_size=512,
        hidden_size=128,
        intermediate_size=352,
        layers=2,
        heads=4,
        kv_heads=2,
        head_dim=32,
        rope_theta=1e6,
        norm_eps=1e-6,
        qkv_bias=True,
        qk_norm=False,
        tied=True,
        max_positions=512,
    )
    made = Decoder(config).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            for channel, factor in LOUD.items():
                if name.endswith("layernorm.weight"):
                    parameter[channel] *= factor
                elif name.endswith(READERS):
                    parameter[:, channel] /= factor
    return made


def in_int8(made: Decoder) -> Decoder:
    for layer in made.layers:
        for part in (layer.self_attn, layer.mlp):
            for name, child in list(part.named_children()):
                if isinstance(child, torch.nn.Linear):
                    setattr(part, name, linear(child.weight, child.bias, NumberType.INT8))
    return made


@torch.inference_mode()
def vectors(made: Decoder, texts: list[list[int]]) -> torch.Tensor:
    return torch.nn.functional.normalize(made(Pack(texts), ends_only=True), dim=1)


def test_vectors_are_close_to_float32() -> None:
    wide, narrow = vectors(decoder(), TEXTS), vectors(in_int8(decoder()), TEXTS)
    cosines = (wide * narrow).sum(1)
    assert cosines.min() > 0.9998  # 0.997 where loud channels take the range from the rest


def test_a_text_has_its_vector_in_any_batch() -> None:
    made = in_int8(decoder())
    together = vectors(made, TEXTS)
    alone = torch.cat([vectors(made, [text]) for text in TEXTS])
    assert (together * alone).sum(1).min() > 0.9999


@pytest.mark.parametrize(("rows", "depth", "columns"), [(1, 1, 1), (1, 33, 7), (5, 896, 130), (300, 127, 64)])
def test_rows_are_multiplied_one_by_one(rows: int, depth: int, columns: int) -> None:
    torch.manual_seed(rows)
    weight, bias = torch.randn(columns, depth), torch.randn(columns)
    left = torch.randn(rows, depth) * torch.logspace(-6, 6, rows)[:, None]
    left[0, 0] = 1.0
    product = Int8Linear(weight, bias)
    whole = product(left)
    expected = torch.nn.functional.linear(left.double(), weight.double())
    sizes = left.double().norm(dim=1, keepdim=True) * weight.double().norm(dim=1)
    assert ((whole - bias - expected).abs() / (sizes + bias.abs() / 1e3)).max() < 0.02
    assert torch.equal(whole, torch.cat([product(row) for row in left.split(1)]))


def test_zeros_stay_zero_and_nan_stays_nan() -> None:
    weight = torch.randn(6, 10)
    weight[:, 4], weight[2] = 0, 0
    rows = torch.randn(3, 10)
    rows[0], rows[1, 4] = 0, 1e6
    product = Int8Linear(weight, None)(rows)
    assert torch.equal(product[0], torch.zeros(6))
    assert torch.equal(product[:, 2], torch.zeros(3))
    assert torch.allclose(product[1:], rows[1:] @ weight.T, atol=0.1)
    rows[2, 0] = torch.nan
    assert Int8Linear(weight, None)(rows)[2].isnan().all()


EXTREMES = """
import torch
from codekin.embed.int8 import Int8Linear
signs = torch.randint(0, 2, (64, 4864), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
for weight in (torch.ones(64, 4864), -torch.ones(64, 4864), signs):
    for rows in (torch.ones(33, 4864), -torch.ones(33, 4864), signs[:33]):
        product = Int8Linear(weight, None)(rows)
        assert torch.allclose(product, rows @ weight.T, rtol=1e-5, atol=0.02), (product, rows @ weight.T)
"""


@pytest.mark.parametrize("instructions", ["AVX2", "AVX512_CORE", "DEFAULT"])
def test_no_sum_overflows_on_any_cpu(instructions: str) -> None:
    """All levels at their ends, on the instructions of older CPUs too: there, weights of 8 bits give wrong sums."""
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": instructions}
    subprocess.run([sys.executable, "-c", EXTREMES], env=environment, check=True)
