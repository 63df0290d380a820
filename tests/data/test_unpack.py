import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from codekin.data.unpack import unpack
from codekin.errors import InputError
from codekin.source import DEFAULT_MAX_BYTES

_HOSTILE = [
    "../out.py",
    "/abs.py",
    "a/../../out.py",
    "C:/x.py",
    "a\\..\\b.py",
    "./../out.py",
    "x" * 300 + ".py",
]


def _tar(path: Path, entries: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:
        for info, data in entries:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def _files(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def _everything(path: str) -> bool:
    return True


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2", "w"])
def test_tar_gives_wanted_regular_files(tmp_path: Path, mode: str):
    entries = [(tarfile.TarInfo("p-1/a.py"), b"a = 1\n"), (tarfile.TarInfo("p-1/b.png"), b"\x89PNG")]
    archive = _tar(tmp_path / "p.tar", entries, mode)
    assert unpack(archive, tmp_path / "out", lambda path: path.endswith(".py")) == 1
    assert _files(tmp_path / "out") == {"p-1/a.py": b"a = 1\n"}


def test_nothing_of_a_hostile_tar_leaves_the_destination(tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim.py").write_bytes(b"safe")
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, str(outside)
    hard = tarfile.TarInfo("hard.py")
    hard.type, hard.linkname = tarfile.LNKTYPE, "../outside/victim.py"
    fifo = tarfile.TarInfo("fifo.py")
    fifo.type = tarfile.FIFOTYPE
    device = tarfile.TarInfo("device.py")
    device.type = tarfile.CHRTYPE
    entries = [(tarfile.TarInfo(name), b"evil") for name in _HOSTILE]
    entries += [
        (link, b""),
        (tarfile.TarInfo("link/victim.py"), b"evil"),
        (hard, b""),
        (fifo, b""),
        (device, b""),
    ]
    entries += [(tarfile.TarInfo("good.py"), b"good")]
    archive = _tar(tmp_path / "hostile.tar.gz", entries)
    unpack(archive, tmp_path / "in" / "out", _everything)
    # The link itself is left out, so the member "below" it is an ordinary file in a folder of that name.
    assert _files(tmp_path / "in") == {"out/good.py": b"good", "out/link/victim.py": b"evil"}
    assert _files(outside) == {"victim.py": b"safe"}
    assert {p.name for p in tmp_path.iterdir()} == {"outside", "hostile.tar.gz", "in"}


def test_nothing_of_a_hostile_zip_leaves_the_destination(tmp_path: Path):
    archive = tmp_path / "hostile.whl"
    with zipfile.ZipFile(archive, "w") as bundle:
        for name in _HOSTILE:
            bundle.writestr(name, "evil")
        link = zipfile.ZipInfo("link.py")
        link.external_attr = 0o120777 << 16
        bundle.writestr(link, "/etc/passwd")
        bundle.writestr("good.py", "good")
    unpack(archive, tmp_path / "in" / "out", _everything)
    # zipfile itself writes "\" and drive letters as they are; both names are refused here.
    assert _files(tmp_path / "in") == {"out/good.py": b"good"}
    assert {p.name for p in tmp_path.iterdir()} == {"hostile.whl", "in"}


def test_debian_package(tmp_path: Path):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as tar:
        info = tarfile.TarInfo("./usr/share/x/x.rb")
        info.size = 5
        tar.addfile(info, io.BytesIO(b"x = 1"))
    deb = b"!<arch>\n"
    for name, content in (
        ("debian-binary", b"2.0\n"),
        ("control.tar.xz", b"odd"),
        ("data.tar.xz", data.getvalue()),
    ):
        deb += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content
        deb += b"\n" * (len(content) % 2)
    (tmp_path / "x.deb").write_bytes(deb)
    assert unpack(tmp_path / "x.deb", tmp_path / "out", _everything) == 1
    assert _files(tmp_path / "out") == {"usr/share/x/x.rb": b"x = 1"}
    (tmp_path / "cut.deb").write_bytes(deb[:90])
    with pytest.raises(InputError, match="damaged"):
        unpack(tmp_path / "cut.deb", tmp_path / "cut", _everything)


def test_large_files_are_left_out_and_the_first_of_two_namesakes_stands(tmp_path: Path):
    entries = [
        (tarfile.TarInfo("large.py"), b" " * (DEFAULT_MAX_BYTES + 1)),
        (tarfile.TarInfo("a.py"), b"first"),
        (tarfile.TarInfo("a.py"), b"second"),
        (tarfile.TarInfo("a.py/b.py"), b"below a file"),
    ]
    unpack(_tar(tmp_path / "p.tgz", entries), tmp_path / "out", _everything)
    assert _files(tmp_path / "out") == {"a.py": b"first"}


@pytest.mark.parametrize("keep", [0, 1, 100, -50])
def test_damaged_archive_leaves_nothing_behind(tmp_path: Path, keep: int):
    entries = [(tarfile.TarInfo(f"{n}.py"), bytes(range(256)) * 40) for n in range(40)]
    whole = _tar(tmp_path / "whole.tgz", entries).read_bytes()
    archive = tmp_path / "cut.tgz"
    archive.write_bytes(whole[:keep])
    with pytest.raises(InputError, match=r"cut\.tgz"):
        unpack(archive, tmp_path / "out", _everything)
    assert {p.name for p in tmp_path.iterdir()} == {"whole.tgz", "cut.tgz"}
