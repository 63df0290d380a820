#!/usr/bin/env python3
"""Our products in int8 against those of ONNX Runtime, OpenVINO and llama.cpp: rate, memory, and cosine to float32.

    python benchmarks/int8.py --model FOLDER [--llama GGUF] [--exported FOLDER] [--functions 128] [--queries 64]

The decoder of a Hugging Face folder is exported to ONNX by torch and quantised by each library's own tool: ONNX
Runtime's dynamic quantisation by channel, OpenVINO's of weights (its CPU plugin quantises activations by itself) and
of weights and activations (SmoothQuant, calibrated on 60 texts of the same kind). Blocks, texts and workers are those
of embedder.py, as are its columns: texts a second, float32's time as a multiple, cosine to float32. Needs
codekin[dev], onnx, onnxscript, onnxruntime, openvino and nncf; llama.cpp is measured where llama-cpp-python is.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from embedder import (
    DOCUMENT,
    QUERY,
    Encode,
    Engine,
    compare,
    int8,
    llama_cpp,
    ours,
    real_texts,
    serve,
    without_chat,
)

_BATCH = 32
_CALIBRATION = 60


def export(model: Path, folder: Path) -> None:
    """`folder`/model.onnx: ids and mask (n, t) in, the last tokens' unit vectors (n, hidden) out."""
    import torch
    from transformers import AutoModel

    class LastToken(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.decoder = AutoModel.from_pretrained(model, dtype=torch.float32).eval()

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            hidden = self.decoder(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            pooled = hidden[torch.arange(len(hidden)), mask.sum(1) - 1]
            return torch.nn.functional.normalize(pooled, dim=1)

    shape = {0: torch.export.Dim("texts", max=512), 1: torch.export.Dim("tokens", min=2, max=8192)}
    example = torch.ones(3, 17, dtype=torch.long)
    with torch.no_grad():
        program = torch.onnx.export(
            LastToken(),
            (example, example.clone()),
            dynamo=True,
            dynamic_shapes={"ids": shape, "mask": shape},
            input_names=["ids", "mask"],
        )
    assert program is not None
    program.save(folder / "model.onnx", external_data=True)


def quantise(model: Path, folder: Path) -> None:
    """Each library's own files beside model.onnx."""
    import nncf
    import openvino
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        folder / "model.onnx",
        folder / "onnxruntime.onnx",
        weight_type=QuantType.QInt8,
        per_channel=True,
        op_types_to_quantize=["MatMul"],
        use_external_data_format=True,
    )
    core = openvino.Core()
    weights = nncf.compress_weights(
        core.read_model(folder / "model.onnx"), mode=nncf.CompressWeightsMode.INT8_SYM
    )
    openvino.save_model(weights, folder / "weights.xml", compress_to_fp16=False)
    tokenise = tokeniser(model)
    functions, queries = real_texts(_CALIBRATION - 20, 20)
    texts = [DOCUMENT + text for text in functions] + [QUERY + text for text in queries]
    data = nncf.Dataset(texts, lambda text: tokenise([text]))
    both = nncf.quantize(
        core.read_model(folder / "model.onnx"),
        data,
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(texts),
    )
    openvino.save_model(both, folder / "both.xml", compress_to_fp16=False)


def tokeniser(model: Path) -> Callable[[list[str]], dict[str, NDArray[np.int64]]]:
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.enable_padding()

    def tokenise(texts: list[str]) -> dict[str, NDArray[np.int64]]:
        encodings = tokenizer.encode_batch(texts)
        return {
            "ids": np.array([encoding.ids for encoding in encodings]),
            "mask": np.array([encoding.attention_mask for encoding in encodings]),
        }

    return tokenise


def batched(model: Path, run: Callable[[dict[str, NDArray[np.int64]]], Any]) -> Encode:
    """Texts in padded batches by length."""
    tokenise = tokeniser(model)

    def encode(texts: list[str], prefix: str) -> NDArray[np.float32]:
        order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
        batches = [order[start : start + _BATCH] for start in range(0, len(order), _BATCH)]
        vectors = [np.asarray(run(tokenise([prefix + texts[row] for row in rows]))) for rows in batches]
        return np.concatenate(vectors)[np.argsort(order)]

    return encode


def onnxruntime(place: str) -> Encode:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(Path(place, "onnxruntime.onnx"), options)
    return batched(Path(place), lambda batch: session.run(None, batch)[0])


def openvino(name: str) -> Callable[[str], Encode]:
    def load(place: str) -> Encode:
        import openvino

        compiled = openvino.Core().compile_model(Path(place, f"{name}.xml"), "CPU")
        return batched(Path(place), lambda batch: compiled(list(batch.values()))[0])

    return load


ENGINES: dict[str, Callable[[str], Encode]] = {
    "codekin": ours,
    "codekin int8": int8,
    "onnxruntime int8": onnxruntime,
    "openvino int8 weights": openvino("weights"),
    "openvino int8": openvino("both"),
    "llama.cpp": llama_cpp,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--llama", type=Path, help="the GGUF file for llama.cpp, such as one of Q8_0")
    parser.add_argument("--exported", type=Path, help="where exported models are kept for another run")
    parser.add_argument("--functions", type=int, default=128)
    parser.add_argument("--queries", type=int, default=64)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.exported or Path(scratch)
        if not (folder / "both.xml").exists():
            folder.mkdir(parents=True, exist_ok=True)
            without_chat(args.model, folder)
            export(folder, folder)
            quantise(folder, folder)
        functions, queries = real_texts(args.functions, args.queries)
        for name in ENGINES:
            if name == "codekin" or (name == "llama.cpp" and not args.llama):
                continue
            # Two models at a time: six do not fit in every memory.
            place = str(args.llama) if name == "llama.cpp" else str(folder)
            engines = [Engine("codekin", str(folder), __file__), Engine(name, place, __file__)]
            compare(engines, "functions", functions, DOCUMENT)
            compare(engines, "queries", queries, QUERY)
            print(f"  peak {engines[1].peak:,.0f} MB", flush=True)
            for engine in engines:
                engine.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(*sys.argv[2:], engines=ENGINES)
    else:
        main()
