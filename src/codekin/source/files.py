"""Which files of a folder are source, and what text they hold."""

from __future__ import annotations

import codecs
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from codekin.errors import InputError
from codekin.source.ignores import IgnoreFile, Rules, inherited_rules
from codekin.source.languages import language_of, needs_head, words

DEFAULT_MAX_BYTES = 1_000_000

# Dependencies, build products and tool state under their customary names. `build`, `target`, `bin`, `lib`
# and their like are also names people give to source folders: only the marker beside them tells.
_SKIPPED_FOLDERS = words(
    "node_modules bower_components jspm_packages vendor third_party thirdparty Pods Carthage __pycache__ "
    "__pypackages__ venv site-packages dist _build DerivedData elm-stuff htmlcov nbproject "
    "dist-newstyle zig-out zig-cache"
)
_BUILD_FOLDERS = {
    "build": words(
        "build.gradle build.gradle.kts CMakeLists.txt setup.py pyproject.toml package.json meson.build"
    ),
    "target": frozenset({"Cargo.toml", "pom.xml", "build.sbt"}),
    "out": frozenset({"build.gradle", "build.gradle.kts", "package.json", "foundry.toml"}),
    "obj": frozenset({".csproj", ".vbproj", ".fsproj"}),
    "bin": frozenset({".csproj", ".vbproj", ".fsproj"}),
    "deps": frozenset({"mix.exs", "rebar.config"}),
    "coverage": frozenset({"package.json", "Gemfile", "composer.json"}),
}
_KEPT_HIDDEN_FOLDERS = frozenset({".github", ".gitlab", ".circleci", ".storybook", ".ci"})
# A folder with one of these inside is a virtual environment or a cache (https://bford.info/cachedir/).
_FOLDER_MARKERS = frozenset({"pyvenv.cfg", "CACHEDIR.TAG"})

_SKIPPED_NAMES = words(
    "package-lock.json npm-shrinkwrap.json pnpm-lock.yaml bun.lockb go.sum composer.lock packages.lock.json "
    "Package.resolved gradle.lockfile flake.lock MODULE.bazel.lock deno.lock mix.lock"
)
# Binary, generated, or data rather than source; matched against the end of the lower-case name.
_SKIPPED_SUFFIXES = words(
    "7z a aac ai apk avi avif bin bmp bz2 class crt cur dat db deb der dll dmg doc docx dylib ear eot "
    "eps exe flac gif gz h5 hdf5 heic icns ico iso jar jks jpeg jpg key keystore lib lz4 lzma map mat "
    "mkv mo mov mp3 mp4 mpeg msi nib node npy npz nupkg o obj odt ogg onnx otf p12 parquet pb pdb pdf "
    "pem pfx pickle pkl png ppt pptx psd pt pth pyc pyd pyo rar rlib rpm safetensors so sqlite sqlite3 "
    "svg svgz swf tar tflite tgz tif tiff ttf wasm wav webm webp whl wmv woff woff2 xcuserstate xls "
    "xlsx xz zip zst csv tsv jsonl ndjson arrow feather log lock snap sum po pot diff patch orig rej"
)
_GENERATED = re.compile(
    r"[.-]min\.(?:js|css|mjs|cjs)$|[.-]bundle\.(?:js|css)$|\.chunk\.(?:js|css)$"
    r"|_pb2(?:_grpc)?\.pyi?$|\.pb\.(?:go|cc|h|dart|swift)$|\.pb\.gw\.go$|_grpc\.pb\.go$|_pb\.(?:js|ts|d\.ts|rb)$"
    r"|\.g\.(?:cs|dart)$|\.(?:freezed|designer)\.(?:dart|cs)$|\.g\.i\.cs$|\.generated\.\w+$|\.tsbuildinfo$"
)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file worth reading.

    `path` is relative to the walked root, with forward slashes; bytes that are no UTF-8 stand in it as
    surrogate escapes (`os.fsdecode`). `size` is in bytes, `mtime_ns` in nanoseconds since 1970.
    """

    path: str
    size: int
    mtime_ns: int
    language: str


def walk(
    root: Path,
    *,
    max_bytes: int = DEFAULT_MAX_BYTES,
    on_skip: Callable[[str, str], None] | None = None,
) -> Iterator[SourceFile]:
    """The source files under the folder `root`, sorted by path.

    Left out without a word: what .gitignore, .ignore and .git/info/exclude name (with git's semantics, those
    of the folders above `root` in the same work tree included), hidden files and folders of no known
    language, dependencies, build products, binary and generated files by name, links to files within `root`,
    and links to folders. Told to `on_skip` as (path, one-line reason): files over `max_bytes`, folders and
    files that cannot be read or vanish meanwhile, links to nothing.

    Raises InputError if `root` is no readable folder. What the files hold is not looked at, save the first
    bytes of those whose name leaves the language open: see `decode` for the rest.
    """
    try:
        os.scandir(root).close()
    except NotADirectoryError:
        raise InputError(f"{root} is a file; give the folder it is in") from None
    except FileNotFoundError:
        raise InputError(f"{root} does not exist") from None
    except OSError as error:
        raise InputError(f"{root} cannot be read: {error.strerror}") from None
    return _walk(os.path.realpath(root), max_bytes, on_skip or (lambda path, reason: None))


def _walk(root: str, max_bytes: int, on_skip: Callable[[str, str], None]) -> Iterator[SourceFile]:
    # Folders still to visit and files still to hand out, nearest last. A folder sorts as "name/", so that
    # taking them in turn gives the order of whole paths.
    stack: list[tuple[str, os.DirEntry[str] | None, Rules]] = [("", None, inherited_rules(root))]
    while stack:
        path, entry, rules = stack.pop()
        if entry is not None and not path.endswith("/"):
            if found := _source_file(root, path, entry, max_bytes, on_skip):
                yield found
            continue
        try:
            with os.scandir(f"{root}/{path}") as listing:
                entries = list(listing)
        except OSError as error:
            on_skip(path.rstrip("/"), f"folder cannot be read: {error.strerror}")
            continue
        names = {e.name for e in entries}
        if path and not names.isdisjoint(_FOLDER_MARKERS):
            continue
        if not names.isdisjoint((".gitignore", ".ignore")):
            rules = rules.below(IgnoreFile.read(f"{root}/{path}", path, names))
        found_here: list[tuple[str, os.DirEntry[str] | None, Rules]] = []
        for e in entries:
            name = e.name
            if e.is_dir(follow_symlinks=False):
                if not _skips_folder(name, names) and not rules.ignores(path + name, name, True):
                    found_here.append((f"{path}{name}/", e, rules))
            elif not _skips_file(name) and not rules.ignores(path + name, name, False):
                found_here.append((path + name, e, rules))
        found_here.sort(key=_by_path, reverse=True)
        stack += found_here


def _by_path(item: tuple[str, os.DirEntry[str] | None, Rules]) -> str:
    return item[0]


def _skips_folder(name: str, siblings: set[str]) -> bool:
    if name in _SKIPPED_FOLDERS or (name[0] == "." and name not in _KEPT_HIDDEN_FOLDERS):
        return True
    if markers := _BUILD_FOLDERS.get(name):
        return any(s in markers or s[s.rfind(".") :] in markers for s in siblings)
    return name.endswith((".egg-info", ".xcassets", ".xcodeproj", ".dSYM"))


def _skips_file(name: str) -> bool:
    lower = name.lower()
    if lower[lower.rfind(".") + 1 :] in _SKIPPED_SUFFIXES and "." in lower:
        return True
    if name in _SKIPPED_NAMES or _GENERATED.search(lower):
        return True
    return name[0] == "." and language_of(name) == "text"


def _source_file(
    root: str, path: str, entry: os.DirEntry[str], max_bytes: int, on_skip: Callable[[str, str], None]
) -> SourceFile | None:
    try:
        if entry.is_symlink():
            target = os.path.realpath(entry.path)
            if not Path(target).exists():
                on_skip(path, "link to nothing")
                return None
            if target.startswith(root + "/") or not Path(target).is_file():
                return None
        status = entry.stat()
        if not stat.S_ISREG(status.st_mode):
            return None
        if status.st_size > max_bytes:
            on_skip(path, f"larger than {max_bytes} bytes ({status.st_size})")
            return None
        head = b""
        if needs_head(path):
            with open(entry.path, "rb") as file:
                head = file.read(512)
    except OSError as error:
        on_skip(path, f"cannot be read: {error.strerror}")
        return None
    return SourceFile(path, status.st_size, status.st_mtime_ns, language_of(path, head))


_BINARY_SAMPLE = 8192
# Control characters other than tab, line feed, form feed, carriage return, backspace and escape.
_CONTROL = bytes(b for b in range(32) if b not in b"\t\n\f\r\b\x1b") + b"\x7f"


def decode(data: bytes) -> str | None:
    """The text of a file, or None if it is binary.

    UTF-8 (a byte order mark is dropped), UTF-16 and UTF-32 with a byte order mark, Latin-1 otherwise. Binary
    is what holds a NUL byte, or control characters for more than a tenth, in its first 8 KB. Line ends stay
    as they are; lines are counted by "\\n" throughout codekin, as editors and compilers do, so a lone "\\r"
    ends no line.
    """
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, errors="replace")
    sample = data[:_BINARY_SAMPLE]
    if b"\0" in sample or 10 * (len(sample) - len(sample.translate(None, _CONTROL))) > len(sample):
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")
