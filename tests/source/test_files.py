"""Which files a walk finds, in trees as odd as they come."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from codekin.errors import InputError
from codekin.source import DEFAULT_MAX_BYTES, decode, walk


def make(root: Path, *paths: str, text: str = "x\n") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def found(root: Path, **options: int) -> tuple[list[str], dict[str, str]]:
    skipped: dict[str, str] = {}
    return [f.path for f in walk(root, on_skip=skipped.__setitem__, **options)], skipped


def test_files_come_sorted_by_whole_path(tmp_path: Path):
    paths = ["a/z.py", "a-b/c.py", "a.py", "a/b/c.py", "B.py", "é/x.py", "a/b.py"]
    make(tmp_path, *paths)
    assert found(tmp_path) == (sorted(paths), {})


def test_a_file_is_described(tmp_path: Path):
    make(tmp_path, "lib/tool.rb", text="puts 1\n")
    (file,) = walk(tmp_path)
    status = (tmp_path / "lib/tool.rb").stat()
    assert (file.path, file.language) == ("lib/tool.rb", "ruby")
    assert (file.size, file.mtime_ns) == (7, status.st_mtime_ns)


def test_what_nobody_wrote_by_hand_is_left_out(tmp_path: Path):
    kept = [
        "src/app.js", ".github/workflows/ci.yml", ".eslintrc.json", "lib/build/plan.py", "bin/run.py",
        "docs/guide.md", "target/points.py", "out/of/place.py",
    ]  # fmt: skip
    make(
        tmp_path, *kept,
        "node_modules/x/index.js", "vendor/x.go", "third_party/x.c", "dist/x.js", "__pycache__/x.py",
        ".venv/lib/x.py", "venv/x.py", ".tox/x.py", ".git/config", ".idea/x.xml", "js/a.min.js", "js/a.js.map",
        "package-lock.json", "Cargo.lock", "yarn.lock", "go.sum", "pb/x_pb2.py", "pb/x.pb.go", "a.PNG", "x.pyc",
        "data.csv", "pkg.egg-info/PKG-INFO", ".env", "web/package.json", "web/build/x.js", "rs/Cargo.toml",
        "rs/target/debug/x.rs", "my-env/pyvenv.cfg", "my-env/x.py", "cache/CACHEDIR.TAG", "cache/x.py",
    )  # fmt: skip
    assert found(tmp_path) == (sorted([*kept, "web/package.json", "rs/Cargo.toml"]), {})


def test_large_files_are_reported(tmp_path: Path):
    make(tmp_path, "small.py", "large.py")
    (tmp_path / "large.py").write_text("x" * 101)
    assert found(tmp_path, max_bytes=100) == (["small.py"], {"large.py": "larger than 100 bytes (101)"})
    (tmp_path / "large.py").write_text("x" * DEFAULT_MAX_BYTES)
    assert found(tmp_path)[0] == ["large.py", "small.py"]


def test_links(tmp_path: Path):
    root = tmp_path / "root"
    make(tmp_path, "root/real.py", "root/sub/a.py", "outside.py", "elsewhere/b.py")
    (root / "inside.py").symlink_to("real.py")
    (root / "shared.py").symlink_to(tmp_path / "outside.py")
    (root / "gone.py").symlink_to("nowhere.py")
    (root / "loop").symlink_to(root)
    (root / "sub/up").symlink_to("..")
    (root / "folder").symlink_to(tmp_path / "elsewhere")
    (root / "me.py").symlink_to("me.py")
    files, skipped = found(root)
    assert files == ["real.py", "shared.py", "sub/a.py"]
    assert skipped == {"gone.py": "link to nothing", "me.py": "link to nothing"}


def test_the_root_may_be_a_link(tmp_path: Path):
    make(tmp_path, "real/a.py")
    (tmp_path / "link").symlink_to("real")
    assert found(tmp_path / "link") == (["a.py"], {})


def test_pipes_are_not_opened(tmp_path: Path):
    make(tmp_path, "a.py")
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.py")
    assert found(tmp_path) == (["a.py"], {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_reported(tmp_path: Path):
    make(tmp_path, "a.py", "closed/b.py", "script")
    (tmp_path / "closed").chmod(0)
    (tmp_path / "script").chmod(0)
    try:
        files, skipped = found(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert files == ["a.py"]
    assert skipped == {
        "closed": "folder cannot be read: Permission denied",
        "script": "cannot be read: Permission denied",
    }


def test_what_vanishes_during_the_walk_is_reported(tmp_path: Path):
    make(tmp_path, "a.py", "b.py", "c/d.py")
    skipped: dict[str, str] = {}
    files = walk(tmp_path, on_skip=skipped.__setitem__)
    assert next(files).path == "a.py"
    (tmp_path / "b.py").unlink()
    (tmp_path / "c/d.py").unlink()
    (tmp_path / "c").rmdir()
    assert list(files) == []
    assert skipped == {
        "b.py": "cannot be read: No such file or directory",
        "c": "folder cannot be read: No such file or directory",
    }


def test_names_that_are_not_utf8(tmp_path: Path):
    folder = os.fsencode(tmp_path) + b"/d\xff"
    Path(os.fsdecode(folder)).mkdir()
    with open(folder + b"/caf\xe9.py", "wb") as file:
        file.write(b"x = 1\n")
    (file_found,) = walk(tmp_path)
    assert os.fsencode(file_found.path) == b"d\xff/caf\xe9.py"
    assert (tmp_path / file_found.path).read_bytes() == b"x = 1\n"


def test_a_root_that_is_no_folder(tmp_path: Path):
    make(tmp_path, "a.py")
    with pytest.raises(InputError, match="is a file"):
        walk(tmp_path / "a.py")
    with pytest.raises(InputError, match="does not exist"):
        walk(tmp_path / "b")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"a\nb\n", "a\nb\n"),
        ("é😀\n".encode(), "é😀\n"),
        (b"\xef\xbb\xbfx\n", "x\n"),
        ("é\n".encode("utf-16"), "é\n"),
        (b"\xfe\xff" + "é\n".encode("utf-16-be"), "é\n"),
        ("é\n".encode("utf-32"), "é\n"),
        (b"caf\xe9\n", "café\n"),
        (b"a\r\nb\rc", "a\r\nb\rc"),
        (b"\x1b[31mred\x1b[0m\n", "\x1b[31mred\x1b[0m\n"),
        (b"a\0b", None),
        (b"\x89PNG\r\n\x1a\n\0\0", None),
        (bytes(range(1, 32)) * 20, None),
        (b"x" * 9000 + b"\0", "x" * 9000 + "\0"),
    ],
)
def test_decoding(data: bytes, text: str | None):
    assert decode(data) == text


def test_a_line_of_100_mb_is_decoded():
    assert decode(b"x" * 100_000_000) == "x" * 100_000_000
