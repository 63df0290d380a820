"""The safetensors format in numpy alone, for the static model: reading by memory map, and writing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codekin.errors import ModelError

_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
# The reference implementation refuses larger headers; so a wrong file is not read as a giant one.
_MAX_HEADER_BYTES = 100_000_000


def read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a safetensors file by name, as read-only views of the memory-mapped file.

    Format: 8 bytes little-endian header length, a JSON header of dtype, shape and data_offsets by tensor, then
    the raw bytes (https://github.com/huggingface/safetensors#format). Raises ModelError that names the file,
    and the tensor where one is at fault.
    """
    try:
        raw = np.memmap(path, dtype=np.uint8, mode="r")
    except (OSError, ValueError) as error:  # numpy refuses to map an empty file by a ValueError
        raise ModelError(f"{path}: cannot be read: {error}") from None
    header_bytes = int.from_bytes(raw[:8].tobytes(), "little")
    if raw.size < 8 or header_bytes > min(raw.size - 8, _MAX_HEADER_BYTES):
        raise ModelError(f"{path}: not a safetensors file, or cut off within its header")
    try:
        header = json.loads(raw[8 : 8 + header_bytes].tobytes())
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    except (ValueError, AttributeError):
        raise ModelError(f"{path}: not a safetensors file: its header is not a JSON object") from None
    data = raw[8 + header_bytes :]
    return {name: _tensor(data, name, entry, path) for name, entry in entries.items()}


def _tensor(data: NDArray[np.uint8], name: str, entry: Any, path: Path) -> NDArray[Any]:
    try:
        code, shape = entry["dtype"], tuple(int(n) for n in entry["shape"])
        start, end = (int(n) for n in entry["data_offsets"])
    except (KeyError, TypeError, ValueError):
        raise ModelError(f"{path}: tensor {name!r} has a malformed header entry") from None
    if code not in _DTYPES:
        raise ModelError(f"{path}: tensor {name!r} has type {code}, which codekin does not read")
    dtype = _DTYPES[code]
    if min(shape, default=0) < 0 or end - start != dtype.itemsize * int(np.prod(shape, dtype=object)):
        raise ModelError(f"{path}: tensor {name!r}: {end - start} bytes do not hold {code} of shape {shape}")
    if not 0 <= start <= end <= data.size:
        raise ModelError(f"{path}: tensor {name!r} ends at byte {end} of {data.size}: the file is cut off")
    # A tensor need not start at a multiple of its item size; numpy reads such views, only slower.
    return np.ndarray(shape, dtype, buffer=data, offset=start) if end > start else np.empty(shape, dtype)


def write_safetensors(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write `tensors` as a safetensors file, largest item size first so that every tensor is aligned."""
    header: dict[str, Any] = {}
    blobs: list[bytes] = []
    offset = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])):
        dtype = tensor.dtype.newbyteorder("<")
        blob = np.ascontiguousarray(tensor, dtype=dtype).tobytes()
        end = offset + len(blob)
        header[name] = {
            "dtype": _NAMES[dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        blobs.append(blob)
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blobs))
