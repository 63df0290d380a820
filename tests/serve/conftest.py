"""Servers that the tests of a module share: one of the bundled model and a small tree, one of a random decoder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from milvus import milvus_server
from running import Server, serving
from shop import DECODER, RETRY, write_tree

from codekin import CodeIndex


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four files in two languages; not to be changed."""
    return write_tree(tmp_path_factory.mktemp("served") / "shop")


@pytest.fixture(scope="session")
def server(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The bundled model, and search in `tree`."""
    with serving(tmp_path_factory.mktemp("cache"), "--repo", tree) as running:
        yield running


@pytest.fixture(scope="session")
def decoder_server(decoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A decoder of random weights, which reads 2,048 tokens: bytes, and those of its instructions."""
    folder = tmp_path_factory.mktemp("served")
    (folder / DECODER).symlink_to(decoder)
    with serving(folder / "cache", "--model", folder / DECODER) as running:
        yield running


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexes of this process lie in the test's own folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a store that holds what is in `tree` as acme/shop, and one more file as acme/tools."""
    shop = write_tree(tmp_path_factory.mktemp("shop"))
    tools = tmp_path_factory.mktemp("tools")
    (tools / "net").mkdir()
    (tools / "net/wait.py").write_text(RETRY.replace("send_with_retries", "wait_and_send"))
    with milvus_server(tmp_path_factory.mktemp("milvus")) as address:
        for name, root in (("shop", shop), ("tools", tools)):
            with CodeIndex(root, store=f"{address}#acme/{name}") as index:
                index.update()
        yield address
