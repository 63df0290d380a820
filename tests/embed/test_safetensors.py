"""The safetensors reader and writer against the reference library, and files that are cut off or wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from codekin.embed.folders import static_files
from codekin.embed.safetensors import read_safetensors, write_safetensors
from codekin.errors import ModelError

reference = pytest.importorskip("safetensors.numpy")

_TENSORS = {
    "table": np.arange(12, dtype=np.int8).reshape(3, 4),
    "weights": np.array([0.5, 1.5, -2.0], dtype=np.float32),
    "half": np.array([[1.0], [2.0]], dtype=np.float16),
    "ids": np.array([7, 8], dtype=np.int64),
    "empty": np.empty((0, 4), dtype=np.float32),
    "scalar": np.array(3.0, dtype=np.float64),
    "mask": np.array([True, False, True]),
}


def _same(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype
        np.testing.assert_array_equal(ours[name], tensor)


def test_reads_what_the_reference_writes(tmp_path: Path) -> None:
    reference.save_file(_TENSORS, tmp_path / "m.safetensors", metadata={"format": "np"})
    _same(read_safetensors(tmp_path / "m.safetensors"), _TENSORS)


def test_reference_reads_what_we_write(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "m.safetensors", _TENSORS)
    _same(reference.load_file(tmp_path / "m.safetensors"), _TENSORS)


@given(
    hnp.arrays(
        st.sampled_from([np.int8, np.int32, np.float16, np.float32, np.float64]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5),
    )
)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, tensor: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("tensors") / "m.safetensors"
    write_safetensors(path, {"one": tensor, "two": np.arange(3, dtype=np.int8)})
    read = read_safetensors(path)
    assert read["one"].dtype == tensor.dtype
    np.testing.assert_array_equal(read["one"], tensor)
    np.testing.assert_array_equal(read["two"], [0, 1, 2])


def test_every_cut_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    whole = tmp_path / "whole.safetensors"
    write_safetensors(whole, {"table": np.ones((4, 8), dtype=np.float32)})
    content = whole.read_bytes()
    cut = tmp_path / "cut.safetensors"
    for length in range(len(content)):
        cut.write_bytes(content[:length])
        with pytest.raises(ModelError, match=r"cut\.safetensors"):
            read_safetensors(cut)


def test_a_cut_tensor_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    write_safetensors(path, {"table": np.ones((4, 8), dtype=np.float32)})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"'table'.*cut off"):
        read_safetensors(path)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}, "'t' has type F8_E4M3"),
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}, "'t': 4 bytes do not hold F32"),
        ({"dtype": "I8", "shape": [-4, -1], "data_offsets": [0, 4]}, "'t': 4 bytes do not hold"),
        ({"dtype": "I8", "shape": [4], "data_offsets": [-4, 0]}, "'t' ends at byte 0 of 4"),
        ({"dtype": "I8", "shape": [4]}, "'t' has a malformed"),
        ([], "'t' has a malformed"),
    ],
)
def test_wrong_headers(tmp_path: Path, entry: object, message: str) -> None:
    header = json.dumps({"t": entry}).encode()
    path = tmp_path / "m.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(ModelError, match=message):
        read_safetensors(path)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"not a model, just some longer text that goes on")
    with pytest.raises(ModelError, match="not a safetensors file"):
        read_safetensors(path)


def test_missing_files_are_listed(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"tokenizer\.json, model\.safetensors missing"):
        static_files(tmp_path)
