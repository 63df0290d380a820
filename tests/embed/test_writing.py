"""Files of vectors: what is read from them, and that an interruption leaves no trace."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_st
from numpy.typing import NDArray

from codekin.embed import Precision, Quantised, VectorWriter, json_lines, quantise
from codekin.errors import InputError

SETTINGS = {"model": "a", "dimensions": 24}
FLOATS = st.floats(-(2**60), 2**60, width=32, allow_nan=False)


def read(path: Path) -> tuple[list[int | str] | None, NDArray, NDArray | None]:
    """The ids, rows and scales of a finished file, as other programs read them."""
    if path.suffix == ".npy":
        return None, np.load(path), None
    if path.suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        table = parquet.read_table(path)
        rows = np.array(table["embedding"].to_pylist())
        return (
            table["id"].to_pylist(),
            rows,
            table["scale"].to_numpy() if "scale" in table.column_names else None,
        )
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    scales = np.array([line["scale"] for line in lines]) if lines and "scale" in lines[0] else None
    return [line["id"] for line in lines], np.array([line["embedding"] for line in lines]), scales


def write(path: Path, parts: Iterable[Quantised], dimensions: int = 24, *, text_ids: bool = False) -> None:
    with VectorWriter(path, SETTINGS, dimensions, Precision.FLOAT32, text_ids=text_ids) as writer:
        for part in parts:
            writer.write(range(len(part)), part, "")
        writer.finish()


@pytest.mark.parametrize("suffix", [".jsonl", ".npy", ".parquet"])
@pytest.mark.parametrize("precision", list(Precision))
def test_what_is_written_is_read(tmp_path: Path, suffix: str, precision: Precision):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    vectors = quantise(np.random.default_rng(0).standard_normal((700, 20)).astype(np.float32), precision)
    path = tmp_path / f"out{suffix}"
    names = [f"naïve.py:{row}" for row in range(len(vectors))]
    with VectorWriter(path, {}, 20, precision, text_ids=True) as writer:
        for start in range(0, len(vectors), 300):
            part = slice(start, start + 300)
            writer.write(names[part], vectors[part], "")
        writer.finish()
    ids, rows, scales = read(path)
    assert ids in (names, None)
    assert np.array_equal(rows.astype(vectors.rows.dtype), vectors.rows)
    if precision is Precision.INT8 and suffix != ".npy":
        assert scales is not None
        assert np.array_equal(scales.astype(np.float32), vectors.scales)
    else:
        assert scales is None
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@given(numpy_st.arrays(np.float32, (3, 5), elements=FLOATS))
def test_json_keeps_every_bit(matrix: NDArray[np.float32]):
    lines = json_lines(["a", 'b"\n', 3], quantise(matrix, "float32")).splitlines()
    found = np.array([json.loads(line)["embedding"] for line in lines], np.float32)
    assert np.array_equal(found, matrix)
    assert [json.loads(line)["id"] for line in lines] == ["a", 'b"\n', 3]


@pytest.mark.parametrize("suffix", [".jsonl", ".npy", ".parquet"])
def test_no_rows_make_a_sound_file(tmp_path: Path, suffix: str):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    write(tmp_path / f"none{suffix}", [])
    _, rows, _ = read(tmp_path / f"none{suffix}")
    assert len(rows) == 0
    assert suffix != ".npy" or rows.shape == (0, 24)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.binary(max_size=40)), max_size=4),
    st.sampled_from([".jsonl", ".npy", ".parquet"]),
)
def test_interruptions_leave_no_trace(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    interruptions: list[tuple[int, bool, bytes]],
    suffix: str,
):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    folder = tmp_path_factory.mktemp("written")
    rows = quantise(np.random.default_rng(0).standard_normal((sum(sizes), 24)).astype(np.float32), "float32")
    ends = np.cumsum([0, *sizes]).tolist()
    parts = [rows[start:end] for start, end in pairwise(ends)]
    write(folder / f"whole{suffix}", [])  # what lies there is replaced
    with VectorWriter(folder / f"whole{suffix}", SETTINGS, 24, Precision.FLOAT32, text_ids=False) as writer:
        for start, part in zip(ends, parts, strict=False):
            writer.write(range(start, start + len(part)), part, str(start + len(part)))
        writer.finish()

    path = folder / f"broken{suffix}"
    for reached, commits, torn in [*interruptions, (len(parts), True, b"")]:
        with VectorWriter(path, SETTINGS, 24, Precision.FLOAT32, text_ids=False) as writer:
            assert writer.written.rows in ends
            assert writer.written.digest in ("", str(writer.written.rows))
            done = ends.index(writer.written.rows)
            for start, part in list(zip(ends, parts, strict=False))[done:reached]:
                writer.write(range(start, start + len(part)), part, str(start + len(part)))
                if commits:
                    writer.commit()
            if reached == len(parts) and not torn:
                writer.finish()
        if torn and writer.part.exists():
            # What a killed process may have written beyond what is certain.
            with writer.part.open("ab") as file:
                file.write(torn)
    assert path.read_bytes() == (folder / f"whole{suffix}").read_bytes()


def test_other_settings_do_not_go_on(tmp_path: Path):
    path = tmp_path / "out.npy"
    rows = quantise(np.ones((2, 24), np.float32), "float32")
    with VectorWriter(path, SETTINGS, 24, Precision.FLOAT32, text_ids=False) as writer:
        writer.write([1, 2], rows, "x", 1)
        writer.commit()
    with pytest.raises(InputError, match=r"out\.npy\.part was begun with another model \(a, now b\)"):
        VectorWriter(path, {**SETTINGS, "model": "b"}, 24, Precision.FLOAT32, text_ids=False)
    with VectorWriter(path, SETTINGS, 24, Precision.FLOAT32, text_ids=False) as writer:
        assert (writer.written.rows, writer.written.digest, writer.written.truncated) == (2, "x", 1)


def test_a_part_that_lost_its_end_starts_anew(tmp_path: Path):
    path = tmp_path / "out.npy"
    with VectorWriter(path, SETTINGS, 24, Precision.FLOAT32, text_ids=False) as writer:
        writer.write([1, 2], quantise(np.ones((2, 24), np.float32), "float32"), "x")
        writer.commit()
    writer.part.write_bytes(writer.part.read_bytes()[:-1])
    with VectorWriter(path, SETTINGS, 24, Precision.FLOAT32, text_ids=False) as writer:
        assert writer.written.rows == 0


def test_an_unknown_suffix_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"\.jsonl, \.npy or \.parquet"):
        VectorWriter(tmp_path / "out.csv", {}, 24, Precision.FLOAT32, text_ids=False)
    assert not list(tmp_path.iterdir())
