"""A shared store, served without a folder: answers are those of an index on this machine, and it can be away."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from commands import COMMAND
from milvus import milvus_server
from milvus_lite.db import MilvusLite
from running import Server, serving
from shop import CART, RETRY

from codekin import CodeIndex

TOKEN = "root:hunter2"


@pytest.fixture(scope="module")
def stored(store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(
        tmp_path_factory.mktemp("cache"),
        *("--store", store, "--rerank=codekin-static"),
        env={"CODEKIN_STORE_TOKEN": TOKEN},
    ) as running:
        yield running
        assert "hunter2" not in "".join(running.log)


def places(answer: dict[str, Any]) -> list[tuple[str, str, int]]:
    return [(one["repository"], one["path"], one["start_line"]) for one in answer["results"]]


def test_a_repository_of_a_store_is_searched_as_its_folder(stored: Server, tree: Path, tmp_path: Path):
    with CodeIndex(tree, index=tmp_path) as index:
        for query in ("retry a failed request", "localStorage", "zebra photosynthesis"):
            for options in (
                {},
                {"mode": "semantic"},
                {"mode": "lexical"},
                {"languages": ["javascript"]},
                {"include": ["/web/", "algo/"], "exclude": ["*.js"]},
            ):
                body = {"query": query, "repositories": ["acme/shop"], "anyway": True, **options}
                told = stored.post("/v1/search", body).json
                found = index.search(query, anyway=True, **options)
                assert [("acme/shop", one.path, one.start_line) for one in found] == places(told)
                assert [round(one.score, 4) for one in found] == pytest.approx(
                    [one["score"] for one in told["results"]], abs=1e-4
                )
                assert [one.text for one in found] == [one["text"] for one in told["results"]]
                assert told["answered"] is index.answered and told["indexing"] == []


def test_all_repositories_answer_together(stored: Server):
    told = stored.post("/v1/search", {"query": "retry a failed request"}).json
    assert told["answered"] and {place[:2] for place in places(told)[:2]} == {
        ("acme/shop", "net/retry.py"),
        ("acme/tools", "net/wait.py"),
    }
    both = stored.post(
        "/v1/search", {"query": "retry a failed request", "repositories": ["acme/tools", "acme/shop"]}
    )
    assert set(places(both.json)[:2]) == set(places(told)[:2])
    # Globs are from the top of each repository.
    told = stored.post("/v1/search", {"query": "retry a request", "include": ["/net/"], "anyway": True}).json
    assert {place[1] for place in places(told)} == {"net/retry.py", "net/wait.py"}
    reranked = stored.post("/v1/search", {"query": "retry a failed request", "rerank": True}).json
    assert reranked["rerank"]["problem"] == "" and reranked["rerank"]["scored"] == len(reranked["results"])


def test_related_code_and_status(stored: Server, store: str):
    query = {"repository": "acme/shop", "path": "algo/sorting.py", "line": 5, "top": 1}
    told = stored.get(f"/v1/related?{urlencode(query)}").json
    assert places(told) == [("acme/shop", "web/sort.js", 1)]
    held = {one["name"]: one for one in stored.get("/v1/status").json["repositories"]}
    shop, tools = held["acme/shop"], held["acme/tools"]
    assert (shop["root"], shop["files"]) == (f"{store}#acme/shop", 4)
    assert (tools["files"], tools["languages"]) == (1, {"python": tools["chunks"]})
    assert shop["bytes"] is None and shop["updated_at"] and shop["model"] == "codekin-static"
    assert not shop["indexing"] and not shop["problem"]
    assert (
        f'codekin_index_chunks{{repository="acme/shop"}} {float(shop["chunks"])}'
        in stored.get("/metrics").body.decode()
    )


def test_the_page_has_all_but_the_map(stored: Server):
    best = stored.post("/page/search", {"query": "send a request again", "repositories": ["acme/shop"]}).json
    assert best["results"][0]["path"] == "net/retry.py"
    source = stored.post("/page/source", {"repository": "acme/shop", "path": "net/retry.py"}).json
    lines = [
        "".join(piece if isinstance(piece, str) else piece[1] for piece in line) for line in source["lines"]
    ]
    assert "\n".join(lines) == RETRY.rstrip("\n") and source["language"] == "python"
    assert source["chunks"][0][0] == 1 and source["chunks"][-1][1] == len(lines)
    chart = stored.get("/page/map?repository=acme/shop")
    assert chart.status == 400 and "there is no map" in chart.json["error"]["message"]


@pytest.mark.parametrize(
    ("route", "body", "said"),
    [
        (
            "/v1/search",
            {"query": "x", "repositories": ["acme/none"]},
            "no repository 'acme/none' in milvus://",
        ),
        ("/v1/search", {"query": "x", "repositories": ["*"]}, "no repository '*'"),
        ("/v1/search", {"query": " "}, "the query is empty"),
        ("/v1/search", {"query": "x", "languages": ["klingon"]}, "unknown language 'klingon'"),
        ("/page/source", {"repository": "acme/shop", "path": "../net/retry.py"}, "not in the index"),
        ("/page/source", {"repository": "acme/shop", "path": "/etc/hostname"}, "not in the index"),
        (
            "/page/related",
            {"repository": "acme/shop", "path": "net/retry.py", "line": 900},
            "no code at line",
        ),
    ],
)
def test_mistakes_are_one_line(stored: Server, route: str, body: dict[str, Any], said: str):
    answer = stored.post(route, body)
    message = answer.json["error"]["message"]
    assert answer.status == 400 and said in message and "\n" not in message


def test_many_ask_at_once(stored: Server):
    bodies = [
        {"query": query, "repositories": names, "anyway": True}
        for query in ("retry a request", "sort numbers", "keep a cart")
        for names in ([], ["acme/shop"], ["acme/tools"], ["acme/shop", "acme/tools"])
    ]
    one_by_one = [places(stored.post("/v1/search", body).json) for body in bodies]
    with ThreadPoolExecutor(8) as threads:
        at_once = list(threads.map(lambda body: places(stored.post("/v1/search", body).json), 2 * bodies))
    assert at_once == 2 * one_by_one


def test_a_new_repository_is_there_at_once(stored: Server, store: str, tmp_path: Path):
    root = tmp_path / "new"
    root.mkdir()
    (root / "cart.js").write_text(CART)
    with CodeIndex(root, store=f"{store}#acme/new") as index:
        index.update()
    told = stored.post("/v1/search", {"query": "shopping cart", "repositories": ["acme/new"]}).json
    assert places(told) == [("acme/new", "cart.js", 1)]
    assert "acme/new" in [one["name"] for one in stored.get("/v1/status").json["repositories"]]


def test_a_store_that_is_away_and_back(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sooner = (
        "from codekin.search.cluster import milvus; from codekin.serve import stored; "
        "milvus._CONNECT_SECONDS = 0.5; stored._LOOK_SECONDS = 0.2; "
    )
    monkeypatch.setattr("running._SERVE", f"{sooner}from codekin.cli import main; main()")
    question = {"query": "retry a failed request"}

    def until(is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not is_so():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    with ExitStack() as ended:
        data = ended.enter_context(closing(MilvusLite(str(tmp_path / "milvus"))))
        with milvus_server(data) as address:
            with CodeIndex(tree, store=f"{address}#shop") as index:
                index.update()
            server = ended.enter_context(
                serving(tmp_path / "cache", "--store", address, env={"CODEKIN_STORE_TOKEN": TOKEN})
            )
            assert server.post("/v1/search", question).json["answered"]
        until(lambda: server.get("/ready").status == 503)
        for path in ("/v1/search", "/page/search"):
            answer = server.post(path, question)
            assert answer.status == 503
            assert answer.json["error"]["message"].endswith(f"the store: {address} cannot be reached")
        assert server.get("/v1/status").status == 503 and server.get("/metrics").status == 200
        with milvus_server(data, int(address.rpartition(":")[2])):
            until(lambda: server.get("/ready").status == 200)
            told = server.post("/v1/search", question).json
            assert places(told)[0][:2] == ("shop", "net/retry.py")
        assert "hunter2" not in "".join(server.log)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("serve", "--store", "milvus://host", "--repo", "."), "give --repo or --store"),
        (("serve", "--store", "milvus://host", "--beside", "x"), "a store has one"),
        (("serve", "--store", "milvus://me:hunter2@host"), "CODEKIN_STORE_TOKEN"),
        (("mcp", "--store", "http://host"), "is no store"),
        (("mcp", "install", "cursor", "--store", "milvus://host", "--repo", "."), "give --repo or --store"),
    ],
)
def test_what_cannot_be_served_is_told(arguments: tuple[str, ...], said: str):
    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode and said in done.stderr and done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr
