"""The arguments and options that several commands share, and how their texts are read."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from codekin.errors import InputError
from codekin.tasks import Task

if TYPE_CHECKING:
    from codekin.search import CodeIndex

_Command = TypeVar("_Command", bound=Callable[..., Any])


def task(default: Task) -> Callable[[_Command], _Command]:
    """The `--task` option."""
    return click.option(
        "--task",
        type=click.Choice([task.value for task in Task]),
        default=default.value,
        show_default=True,
        help="What the query asks for.",
    )


query = click.argument("query")
root = click.argument("path", type=click.Path(path_type=Path), default=Path())
top = click.option(
    "-n",
    "--top",
    type=click.IntRange(min=1),
    default=5,
    metavar="N",
    show_default=True,
    help="Show the best N.",
)
languages = click.option(
    "-l", "--language", "languages", multiple=True, metavar="NAME", help="Only this language. Repeatable."
)
globs = click.option(
    "--path",
    "globs",
    multiple=True,
    metavar="GLOB",
    help="Only files that match; with a leading ! only files that don't. Repeatable.",
)
mode = click.option(
    "--mode",
    type=click.Choice(["hybrid", "semantic", "lexical"]),
    default="hybrid",
    show_default=True,
    help="What counts: meaning and words, meaning, or words.",
)
context = click.option(
    "-C",
    "--context",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Show N more lines around each snippet.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
wait = click.option(
    "--wait", is_flag=True, help="Wait until the model of an upgrade (codekin index --upgrade) is loaded."
)
no_update = click.option("--no-update", is_flag=True, help="Answer from the index as it stands.")
index_folder = click.option(
    "--index",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    envvar="CODEKIN_INDEX",
    help="Keep the index here, not in the user's cache folder. [env: CODEKIN_INDEX]",
)
store = click.option(
    "--store",
    metavar="URI",
    envvar="CODEKIN_STORE",
    help="Keep the index in a store that others share: milvus://HOST:PORT, #NAME for a repository, #* for all. "
    "[env: CODEKIN_STORE; the token in CODEKIN_STORE_TOKEN]",
)
served_store = click.option(
    "--store",
    metavar="URI",
    help="Serve the repositories of a store that others share, instead of folders: milvus://HOST:PORT, #NAME for one. "
    "[the token in CODEKIN_STORE_TOKEN]",
)
model = click.option(
    "--model",
    metavar="NAME",
    help="A bundled model, a folder, a .gguf file, or a name on the Hugging Face hub.",
)
device = click.option(
    "--device",
    metavar="NAME",
    help="Where a transformer runs: cpu, cuda, cuda:1, mps.  [default: a GPU where there is one]",
)
dtype = click.option(
    "--dtype",
    metavar="NAME",
    help="What a transformer computes in: float32, bfloat16, float16, int8.  [default: the fastest]",
)
no_cache = click.option(
    "--no-cache", is_flag=True, help="Neither read nor keep vectors in the user's cache folder."
)
max_size = click.option(
    "--max-size", metavar="SIZE", help="Skip larger files: bytes, or like 500K, 2M. [default: 1M]"
)
color = click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Colours and links.",
)
host = click.option("--host", default="127.0.0.1", show_default=True, help="Listen at this address.")
port = click.option(
    "--port", type=click.IntRange(0, 65_535), default=8_000, show_default=True, help="0 takes a free one."
)
api_keys = click.option(
    "--api-key",
    "keys",
    multiple=True,
    metavar="KEY",
    envvar="CODEKIN_API_KEY",
    help="Answer only who sends this key. Repeatable.  [env: CODEKIN_API_KEY, keys parted by spaces]",
)

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]?)b?", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s?)", re.IGNORECASE)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


def read_query(query: str) -> str:
    """The query itself, from stdin if it is "-"; bytes that aren't UTF-8 become replacement characters."""
    data = sys.stdin.buffer.read() if query == "-" else os.fsencode(query)
    text = data.decode("utf-8", "replace").strip()
    if not text:
        raise InputError("the query is empty")
    return text


def read_size(size: str, option: str = "--max-size") -> int:
    """The bytes that `size`, the value of `option`, says: "4096", "500K", "1.5M"."""
    match = _SIZE.fullmatch(size.strip())
    if not match:
        raise InputError(f"{option} {size!r} is no size; write bytes, or like 500K, 2M")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def read_duration(duration: str) -> float:
    """The seconds that `duration` says: "300ms", "1.5s", "2"."""
    match = _DURATION.fullmatch(duration.strip())
    if not match or not float(match[1]):
        raise InputError(f"--budget {duration!r} is no time; write like 300ms, 1.5s")
    return float(match[1]) / (1000 if match[2].lower() == "ms" else 1)


def split_globs(globs: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What `CodeIndex.search` takes as `include` and `exclude`."""
    return {
        "include": tuple(glob for glob in globs if not glob.startswith("!")),
        "exclude": tuple(glob[1:] for glob in globs if glob.startswith("!")),
    }


def read_code(folders: Sequence[Path], store: str | None) -> Sequence[Path] | str:
    """What to serve: folders, or a store by its address, which has to be one."""
    if store is None:
        return folders
    if folders:
        raise InputError("folders are served or a store: give --repo or --store")
    from codekin.search.cluster.address import parse_address

    parse_address(store)
    return store


def open_index(path: Path, folder: Path | None, max_size: str | None = None, **model: Any) -> CodeIndex:
    """The index of `path`, not yet brought up to date; `model` is what `CodeIndex` takes of it."""
    from codekin.search import CodeIndex

    if not path.is_dir():
        raise InputError(
            f"{path} is a file; give the folder it is in" if path.exists() else f"no folder {path}"
        )
    limit: dict[str, Any] = {} if max_size is None else {"max_bytes": read_size(max_size)}
    return CodeIndex(path, index=folder, update=False, **limit, **model)
