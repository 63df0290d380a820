"""Records of files, of archives and of damaged ones."""

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codekin.data import records
from codekin.data.records import Files
from codekin.errors import InputError

_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_record = st.dictionaries(st.text(), _value, max_size=4)


def _records(path: Path, name: str | None = None) -> list[dict[str, object]]:
    with Files(path) as files:
        return [record for _, record in files.records(name or path.name)]


@settings(deadline=None)
@given(
    expected=st.lists(_record, max_size=5),
    size=st.integers(1, 40),
    indent=st.sampled_from([None, 1]),
    lines=st.booleans(),
    ascii_only=st.booleans(),
)
def test_json_in_blocks_of_any_size(
    tmp_path_factory,
    expected: list[dict[str, object]],
    size: int,
    indent: int | None,
    lines: bool,
    ascii_only: bool,
):
    """An array, or one value after another: what sets on the hub call .json."""
    path = tmp_path_factory.mktemp("json") / "data.json"
    one_by_one = "\n".join(json.dumps(record, ensure_ascii=ascii_only) for record in expected)
    array = json.dumps(expected, indent=indent, ensure_ascii=ascii_only)
    path.write_text(one_by_one if lines else array, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "_CHUNK", size)
        assert _records(path) == expected


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.json", b'[{"a": 1}, {"b": ]', "a.json: record 2: not JSON"),
        ("a.json", b'[{"a": 1}, 2]', "a.json: record 2: expected an object, found int"),
        ("a.json", b'[{"a": "\xff"}]', "a.json: record 1: not UTF-8"),
        ("a.jsonl", b'{"a": 1}\n\xff\n', "a.jsonl:2: not UTF-8"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 1000)[:-8], "a.jsonl.gz:1001: the file ends early"),
        ("a.json.gz", gzip.compress(b'{"a": 1}' * 1000)[:-9], "a.json.gz ends early"),
        ("a.jsonl.gz", b"\x1f\x8b\x08\x00" + b"\xff" * 100, "a.jsonl.gz is damaged"),
        ("a.csv", b"a,b\n1,2\n\xff,3\n", "a.csv:"),
        ("a.parquet", b"PAR1 and no more", "a.parquet: not Parquet"),
        ("a.zip", b"PK and no more", "cannot read the archive"),
        ("a.tar.bz2", b"BZh9 and no more", "cannot read the archive"),
    ],
)
def test_damage_is_named(tmp_path: Path, name: str, content: bytes, reason: str):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        _records(path)
    assert reason in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tables_with_quotes_line_ends_and_long_cells(tmp_path: Path):
    cell = 'a "quoted"\nline, ' + "x" * 200_000
    (tmp_path / "t.csv").write_text('id,text\n1,"' + cell.replace('"', '""') + '"\n2,b\n')
    assert _records(tmp_path / "t.csv") == [{"id": "1", "text": cell}, {"id": "2", "text": "b"}]
    with Files(tmp_path / "t.csv") as files:
        assert [where.rpartition(":")[2] for where, _ in files.records("t.csv")] == ["3", "4"]


def test_archives_read_as_folders(tmp_path: Path):
    inner = {"x/a.jsonl": b'{"a": 1}\n', "x/b.jsonl.gz": gzip.compress(b'{"b": 2}\n')}
    with (
        zipfile.ZipFile(tmp_path / "one.zip", "w") as bundle,
        tarfile.open(tmp_path / "two.tar.gz", "w:gz") as tar,
    ):
        for name, content in inner.items():
            bundle.writestr(name, content)
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "a.jsonl").write_bytes(inner["x/a.jsonl"])
    with Files(tmp_path) as files:
        assert files.names == [
            "one.zip/x/a.jsonl",
            "one.zip/x/b.jsonl.gz",
            "plain/a.jsonl",
            "two.tar.gz/x/a.jsonl",
            "two.tar.gz/x/b.jsonl.gz",
        ]
        found = [
            record
            for match in files.matching(r"[ab]\.jsonl(?:\.gz)?")
            for _, record in files.records(match.string)
        ]
        assert found == [{"a": 1}, {"b": 2}, {"a": 1}, {"a": 1}, {"b": 2}]
        assert [match["folder"] for match in files.matching(r"(?P<folder>x)/a\.jsonl")] == ["x", "x"]
        with pytest.raises(InputError, match="holds no file of the form"):
            files.matching("jsonl")  # a whole name, not a part
