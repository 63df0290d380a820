"""Takes the source files out of a package archive: wheel or zip, tarball, Debian binary package."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO

from codekin.errors import InputError
from codekin.source import DEFAULT_MAX_BYTES

_AR_MAGIC = b"!<arch>\n"
_MAX_MEMBERS = 400_000


def unpack(archive: Path, destination: Path, wanted: Callable[[str], bool]) -> int:
    """Write the regular files of `archive` whose path is `wanted` below `destination`; returns how many.

    `destination` appears whole or not at all. Links, devices, files over `DEFAULT_MAX_BYTES` and paths that
    would leave `destination` are left out; nothing is executable and nothing is run. Raises InputError if
    the archive is damaged or of no known kind.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".unpack-", dir=destination.parent))
    try:
        count = 0
        for name, size, stream in _members(archive):
            relative = _safe(name)
            if relative is None or size > DEFAULT_MAX_BYTES or not wanted(str(relative)):
                continue
            target = staging / relative
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                with open(target, "xb") as out, stream() as data:
                    # The header's size is a claim; the limit must hold for what is written.
                    out.write(data.read(DEFAULT_MAX_BYTES))
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                continue  # two members of one name: the first stands
            count += 1
        staging.chmod(0o755)
        staging.rename(destination)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise InputError(f"{archive} is damaged: {error}") from None
    except OSError as error:
        raise InputError(f"cannot unpack {archive}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return count


def _safe(name: str) -> PurePosixPath | None:
    """The member's path relative to the destination, or None if it is absolute, climbs out or is odd."""
    if "\\" in name or "\0" in name or ":" in name:
        return None
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        return None
    if any(len(part.encode("utf-8", "surrogateescape")) > 255 for part in path.parts):
        return None
    return path


_Member = tuple[str, int, Callable[[], IO[bytes]]]


def _members(archive: Path) -> Iterator[_Member]:
    with open(archive, "rb") as head:
        magic = head.read(len(_AR_MAGIC))
    if magic == _AR_MAGIC:
        yield from _deb(archive)
    elif zipfile.is_zipfile(archive):
        yield from _zip(archive)
    else:
        with tarfile.open(archive) as tar:
            yield from _tar(tar)


def _zip(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as bundle:
        for info in bundle.infolist()[:_MAX_MEMBERS]:
            kind = info.external_attr >> 28  # the Unix file type, 0 where the archiver wrote none
            if not info.is_dir() and kind in (0, 0o10) and not info.flag_bits & 1:
                yield info.filename, info.file_size, lambda info=info: bundle.open(info)  # type: ignore[misc]


def _tar(tar: tarfile.TarFile) -> Iterator[_Member]:
    for number, member in enumerate(tar):
        if number >= _MAX_MEMBERS:
            return
        if member.isreg():
            yield member.name, member.size, lambda member=member: _file(tar, member)  # type: ignore[misc]


def _file(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    stream = tar.extractfile(member)
    if stream is None:
        raise tarfile.ReadError(f"{member.name} has no content")
    return stream


def _deb(archive: Path) -> Iterator[_Member]:
    """deb(5): an ar archive with members debian-binary, control.tar.*, data.tar.*; headers of 60 bytes."""
    with open(archive, "rb") as stream:
        stream.seek(len(_AR_MAGIC))
        while header := stream.read(60):
            if len(header) < 60 or header[58:] != b"`\n":
                raise tarfile.ReadError("bad ar header")
            name = header[:16].decode("ascii", "replace").strip().rstrip("/")
            try:
                size = int(header[48:58])
            except ValueError:
                raise tarfile.ReadError("bad ar header") from None
            if name.startswith("data.tar"):
                with tarfile.open(fileobj=BytesIO(stream.read(size))) as tar:
                    yield from _tar(tar)
                return
            stream.seek(size + size % 2, 1)
    raise tarfile.ReadError("no data.tar in the package")
