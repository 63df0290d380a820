"""Files of vectors: JSON lines, NumPy's .npy and Parquet, written as a stream and taken up again where it broke off."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from codekin.embed.vectors import Precision, Quantised
from codekin.errors import InputError, MissingExtraError

Settings = Mapping[str, str | int | None]

_NPY_HEADER_BYTES = 128
_ROW_GROUP_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Written:
    """What a file that is not finished holds for certain."""

    rows: int = 0
    bytes: int = 0
    truncated: int = 0
    """How many of the texts were cut to the model's longest."""
    digest: str = ""
    """Of the texts that the rows belong to."""


class VectorWriter:
    """Writes the file `path`, in the format its suffix names: .jsonl or .ndjson, .npy, .parquet.

    Rows gather in PATH.part, beside PATH.part.json which says how many of them are certain; `finish` makes PATH of
    them, at once and whole. Where an earlier writer with equal `settings` left such files, this one goes on from
    what was `written`, and the file comes out as if nothing had happened: that is the caller's to check for the
    texts, by the digest.

    - JSON lines: `{"id": ..., "embedding": [...]}`, and `"scale"` for int8. Nine digits a number: reading them as
      float32 gives the same bits.
    - .npy: the rows alone, (n, d) float32 or int8, or (n, ceil(d / 8)) uint8; no row's length matters to a cosine,
      so int8 rows do without their scales.
    - Parquet: the columns `id` (string if `text_ids`, else int64), `embedding` and, for int8, `scale`.

    Raises InputError for another suffix or other settings, MissingExtraError where Parquet needs what is not
    installed, OSError.
    """

    def __init__(
        self, path: Path, settings: Settings, dimensions: int, precision: Precision, *, text_ids: bool
    ) -> None:
        self.path = path
        self.part = path.with_name(path.name + ".part")
        self._state = path.with_name(path.name + ".part.json")
        self._format = _format(path, dimensions, precision, text_ids)
        self._settings = dict(settings)
        self.written = self._held = self._begun()
        self._file = self.part.open("r+b" if self.written.rows else "w+b")
        if self.written.rows:
            self._file.truncate(self.written.bytes)
            self._file.seek(self.written.bytes)
        else:
            self._held = Written(bytes=self._file.write(self._format.header))

    def __enter__(self) -> VectorWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if not self.written.rows:
            self.part.unlink(missing_ok=True)
            self._state.unlink(missing_ok=True)

    def write(self, ids: Sequence[int | str], vectors: Quantised, digest: str, truncated: int = 0) -> None:
        """Adds the vectors of n texts with their n ids; they are certain from the next `commit` on.

        `digest` is that of all texts so far, `truncated` how many of these n were cut.
        """
        size = self._file.write(self._format.block(ids, vectors))
        held = self._held
        self._held = Written(held.rows + len(ids), held.bytes + size, held.truncated + truncated, digest)

    def commit(self) -> None:
        """Makes all rows so far certain: neither a kill nor a power cut takes them."""
        self._file.flush()
        os.fsync(self._file.fileno())
        fresh = self._state.with_name(self._state.name + ".new")
        fresh.write_text(json.dumps({"settings": self._settings, **asdict(self._held)}), encoding="utf-8")
        fresh.replace(self._state)
        self.written = self._held

    def finish(self) -> None:
        """Makes `path` of what was written, in place of what lay there."""
        self.commit()
        self._file.close()
        self._format.finish(self.part, self.written.rows)
        self.part.replace(self.path)
        self._state.unlink()

    def _begun(self) -> Written:
        """What an earlier writer left; raises InputError where it wrote something else."""
        try:
            state = json.loads(self._state.read_text(encoding="utf-8"))
            settings = state.pop("settings")
            written = Written(**state)
            if self.part.stat().st_size < written.bytes:
                return Written()
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return Written()
        for name, value in self._settings.items():
            if settings.get(name) != value:
                raise InputError(
                    f"{self.part} was begun with another {name} ({settings.get(name)}, now {value}): repeat that, or "
                    "delete the file to start anew"
                )
        return written


class _Format(Protocol):
    """One format: while it is written a file is a header and blocks, whatever it is in the end."""

    header: bytes

    def block(self, ids: Sequence[int | str], vectors: Quantised) -> bytes: ...

    def finish(self, part: Path, rows: int) -> None: ...


def _format(path: Path, dimensions: int, precision: Precision, text_ids: bool) -> _Format:
    if path.suffix in (".jsonl", ".ndjson"):
        return _JsonLines()
    if path.suffix == ".npy":
        return _Npy(dimensions, precision)
    if path.suffix == ".parquet":
        return _Parquet(dimensions, precision, text_ids)
    raise InputError(f"{path} has no suffix of a known format: .jsonl, .npy or .parquet")


def json_lines(ids: Sequence[int | str], vectors: Quantised) -> str:
    """A line of JSON for each of n vectors and ids, as `VectorWriter` writes them."""
    number = "%.9g" if vectors.precision is Precision.FLOAT32 else "%d"
    line = f'{{"id":%s,"embedding":[{",".join([number] * vectors.rows.shape[1])}]'
    line += "}\n" if vectors.scales is None else ',"scale":%.9g}\n'
    scales = [()] * len(ids) if vectors.scales is None else vectors.scales[:, None].tolist()
    return "".join(
        line % (json.dumps(id_), *row, *scale)
        for id_, row, scale in zip(ids, vectors.rows.tolist(), scales, strict=True)
    )


class _JsonLines:
    header = b""

    def block(self, ids: Sequence[int | str], vectors: Quantised) -> bytes:
        return json_lines(ids, vectors).encode("ascii")

    def finish(self, part: Path, rows: int) -> None:
        pass


class _Npy:
    """https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, version 1.0."""

    def __init__(self, dimensions: int, precision: Precision) -> None:
        self._columns, self._type = _row_shape(dimensions, precision)
        self.header = self._header(0)

    def block(self, ids: Sequence[int | str], vectors: Quantised) -> bytes:
        return np.ascontiguousarray(vectors.rows, self._type).tobytes()

    def finish(self, part: Path, rows: int) -> None:
        with part.open("r+b") as file:
            file.write(self._header(rows))

    def _header(self, rows: int) -> bytes:
        """Of the same length for any number of rows, so that the last one can replace the first."""
        described = {"descr": self._type.str, "fortran_order": False, "shape": (rows, self._columns)}
        start = (
            b"\x93NUMPY\x01\x00" + (_NPY_HEADER_BYTES - 10).to_bytes(2, "little") + repr(described).encode()
        )
        return start.ljust(_NPY_HEADER_BYTES - 1) + b"\n"


class _Parquet:
    """Until it is finished a stream of Arrow record batches: a Parquet file cannot be added to once it is closed."""

    def __init__(self, dimensions: int, precision: Precision, text_ids: bool) -> None:
        try:
            import pyarrow
        except ImportError:
            raise MissingExtraError("Parquet files", "data") from None
        columns, kind = _row_shape(dimensions, precision)
        fields = [
            ("id", pyarrow.string() if text_ids else pyarrow.int64()),
            ("embedding", pyarrow.list_(pyarrow.from_numpy_dtype(kind), columns)),
        ]
        if precision is Precision.INT8:
            fields.append(("scale", pyarrow.float32()))
        self._schema = pyarrow.schema([pyarrow.field(name, kind, nullable=False) for name, kind in fields])
        self._text_ids = text_ids
        self.header = self._schema.serialize().to_pybytes()

    def block(self, ids: Sequence[int | str], vectors: Quantised) -> bytes:
        import pyarrow

        names = [_plain(id_) for id_ in ids] if self._text_ids else ids
        numbers = pyarrow.array(np.ascontiguousarray(vectors.rows).reshape(-1))
        columns = [
            pyarrow.array(names, self._schema.field("id").type),
            pyarrow.FixedSizeListArray.from_arrays(numbers, vectors.rows.shape[1]),
        ]
        if vectors.scales is not None:
            columns.append(pyarrow.array(vectors.scales))
        batch = pyarrow.RecordBatch.from_arrays(columns, schema=self._schema)
        content: bytes = batch.serialize().to_pybytes()
        return content

    def finish(self, part: Path, rows: int) -> None:
        import pyarrow
        from pyarrow import ipc, parquet

        whole = part.with_name(part.name + ".new")
        try:
            # Vectors repeat nothing that a dictionary could shorten.
            with (
                pyarrow.OSFile(str(part)) as source,
                parquet.ParquetWriter(whole, self._schema, use_dictionary=False) as writer,
            ):
                group: list[Any] = []
                for batch in ipc.open_stream(source):
                    group.append(batch)
                    if sum(held.nbytes for held in group) >= _ROW_GROUP_BYTES:
                        writer.write_table(pyarrow.Table.from_batches(group))
                        group.clear()
                if group:
                    writer.write_table(pyarrow.Table.from_batches(group))
            whole.replace(part)
        finally:
            with suppress(OSError):
                whole.unlink(missing_ok=True)


def _row_shape(dimensions: int, precision: Precision) -> tuple[int, np.dtype[Any]]:
    """How many numbers of which type a row has."""
    if precision is Precision.BINARY:
        return -(-dimensions // 8), np.dtype("u1")
    return dimensions, np.dtype("<f4" if precision is Precision.FLOAT32 else "i1")


def _plain(id_: int | str) -> str:
    """An id as UTF-8 can hold it: a byte of a file's name that is no UTF-8 becomes a replacement character."""
    return str(id_).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
