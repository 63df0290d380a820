"""Search, related code and status over HTTP: what is found, how fresh it is, and what can never be read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from running import Server, serving
from shop import FILES, SORTING, write_tree

from codekin import CodeIndex
from codekin.errors import InputError, StoreError
from codekin.serve import Repositories

SECRET = "def secret_of_the_machine():\n    return 'hunter2'\n"


def test_search(server: Server):
    answer = server.post("/v1/search", {"query": "split numbers around a pivot", "top": 2})
    assert answer.status == 200
    told = answer.json
    assert told["answered"] and told["indexing"] == [] and told["elapsed_ms"] > 0
    best = told["results"][0]
    assert (best["repository"], best["path"], best["symbol"]) == ("shop", "algo/sorting.py", "quick_sort")
    assert best["text"] == SORTING.rstrip("\n") and best["language"] == "python"
    shown = best["snippet"]
    assert best["start_line"] <= shown["start_line"] <= shown["end_line"] <= best["end_line"]
    lines = SORTING.split("\n")
    assert shown["text"] == "\n".join(lines[shown["start_line"] - 1 : shown["end_line"]])


def test_search_is_that_of_the_index(server: Server, tree: Path, tmp_path: Path):
    with CodeIndex(tree, index=tmp_path) as index:
        for query in ("retry a failed request", "localStorage", "sorting numbers"):
            for mode in ("hybrid", "semantic", "lexical"):
                told = server.post("/v1/search", {"query": query, "mode": mode, "anyway": True}).json
                assert [(one["path"], one["start_line"], one["score"]) for one in told["results"]] == [
                    (one.path, one.start_line, round(one.score, 4))
                    for one in index.search(query, mode=mode, anyway=True)
                ]
                assert told["answered"] is index.answered


def test_filters(server: Server):
    def paths(**options: Any) -> set[str]:
        body = {"query": "numbers, requests and carts", "anyway": True, **options}
        return {one["path"] for one in server.post("/v1/search", body).json["results"]}

    assert paths() == set(FILES)
    assert paths(languages=["javascript"]) == {"web/cart.js", "web/sort.js"}
    assert paths(include=["net/"]) == {"net/retry.py"}
    assert paths(exclude=["*.py"]) == {"web/cart.js", "web/sort.js"}
    assert paths(repositories=["shop"]) == paths()


def test_nothing_answers(server: Server):
    body = {"query": "zebra photosynthesis"}
    told = server.post("/v1/search", body).json
    assert told["answered"] is False and told["results"] == []
    assert server.post("/v1/search", {**body, "anyway": True}).json["results"]


def test_related(server: Server):
    query = urlencode({"path": "algo/sorting.py", "line": 5, "top": 1})
    told = server.get(f"/v1/related?{query}").json
    assert [one["path"] for one in told["results"]] == ["web/sort.js"]
    query = urlencode({"path": "web/sort.js", "line": 5, "languages": "python", "repository": "shop"})
    told = server.get(f"/v1/related?{query}").json
    assert told["results"][0]["path"] == "algo/sorting.py"


def test_status(server: Server, tree: Path):
    (told,) = server.get("/v1/status").json["repositories"]
    assert told["name"] == "shop" and told["root"] == str(tree) and told["files"] == 4
    assert told["languages"]["python"] >= 2 and told["model"] == "codekin-static"
    assert told["indexing"] is False and told["problem"] is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "query: field required"),
        ({"query": ""}, "query: string should have at least 1 character"),
        ({"query": " "}, "the query is empty"),
        ({"query": "a", "top": 0}, "top: input should be greater than or equal to 1"),
        ({"query": "a", "mode": "psychic"}, "mode: input should be 'hybrid', 'semantic' or 'lexical'"),
        ({"query": "a", "repositories": ["x"]}, "no repository 'x'; served here: shop"),
        ({"query": "a", "languages": ["klingon"]}, "unknown language 'klingon'"),
        ({"query": "a", "include": ["["]}, ""),
    ],
)
def test_wrong_requests_are_told_in_a_line(server: Server, body: dict[str, Any], said: str):
    answer = server.post("/v1/search", body)
    if not said:
        assert answer.status in (200, 400)
        return
    assert answer.status == 400
    error = answer.json["error"]
    assert error["message"].startswith(said) and "\n" not in error["message"]
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "path",
    [
        "../../../../etc/passwd",
        "/etc/passwd",
        "net/../../outside.py",
        "outside.py",
        "net",
        "",
        "net/retry.py\0",
    ],
)
def test_no_path_outside_the_index_is_readable(server: Server, tree: Path, path: str):
    (tree.parent / "outside.py").write_text(SECRET)
    answer = server.get("/v1/related?" + urlencode({"path": path, "line": 1}))
    assert answer.status == 400
    assert "not in the index" in answer.json["error"]["message"] and "hunter2" not in answer.body.decode()


def test_changes_are_seen_by_the_next_query(tmp_path: Path):
    root = write_tree(tmp_path / "changing")
    with serving(tmp_path / "cache", "--repo", root) as server:

        def found(query: str) -> list[str]:
            told = server.post("/v1/search", {"query": query, "mode": "lexical"}).json
            return [one["path"] for one in told["results"]]

        assert found("flamingo_counter") == []
        for number in range(3):
            (root / "zoo.py").write_text(f"def flamingo_counter():\n    return {number}\n")
            time.sleep(0.2)  # ten times what looking at three files takes
            assert found("flamingo_counter") == ["zoo.py"]
            told = server.post("/v1/search", {"query": "flamingo_counter"}).json
            assert f"return {number}" in told["results"][0]["text"]
            (root / "zoo.py").unlink()
            time.sleep(0.2)
            assert found("flamingo_counter") == []


def test_links_out_of_a_folder_lead_nowhere(tmp_path: Path):
    root = write_tree(tmp_path / "linked")
    (tmp_path / "secret.py").write_text(SECRET)
    (root / "secret.py").symlink_to(tmp_path / "secret.py")
    with Repositories([root]) as repositories:
        for query in ("secret_of_the_machine", "hunter2", "sort numbers"):
            answer = repositories.search(query, 3, anyway=True)
            assert answer.hits and "secret.py" not in {hit.result.path for hit in answer.hits}
        assert "secret.py" not in [file.path for file in repositories.files("linked")]
        for ask in (
            lambda: repositories.lines("linked", "secret.py"),
            lambda: repositories.related("linked", "secret.py", 1),
            lambda: repositories.lines("linked", "../secret.py"),
        ):
            with pytest.raises(InputError, match="not in the index"):
                ask()
        # A file that becomes a link, or a folder that does, after it has been indexed.
        (root / "algo/sorting.py").unlink()
        (root / "algo/sorting.py").symlink_to(tmp_path / "secret.py")
        with pytest.raises(InputError, match="not in the index"):
            repositories.lines("linked", "algo/sorting.py")
        (root / "web").rename(tmp_path / "elsewhere")
        (root / "web").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(InputError, match="not in the index"):
            repositories.lines("linked", "web/cart.js")


def test_a_pipe_in_the_place_of_a_file_is_no_file(tmp_path: Path):
    root = write_tree(tmp_path / "piped")
    with Repositories([root]) as repositories:
        repositories.search("sort numbers")
        (root / "web/cart.js").unlink()
        os.mkfifo(root / "web/cart.js")
        with pytest.raises(InputError, match="can no longer be read"):
            repositories.lines("piped", "web/cart.js")


def test_lines_and_files(tree: Path):
    with Repositories([tree]) as repositories:
        repositories.search("sort numbers")
        lines = SORTING.split("\n")
        assert repositories.lines("shop", "algo/sorting.py", 4, 6) == "\n".join(lines[3:6])
        assert repositories.lines("shop", "algo/sorting.py") == SORTING
        files = repositories.files("shop")
        assert [(file.path, file.language) for file in files] == [
            ("algo/sorting.py", "python"),
            ("net/retry.py", "python"),
            ("web/cart.js", "javascript"),
            ("web/sort.js", "javascript"),
        ]
        assert sum(file.chunks for file in files) == len(repositories.contents("shop").file_of)
        with pytest.raises(InputError, match="no repository 'x'; served here: shop"):
            repositories.lines("x", "algo/sorting.py")


def test_several_repositories_are_ranked_as_one(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name / "app").mkdir(parents=True)
    (tmp_path / "a/app/sorting.py").write_text(SORTING)
    (tmp_path / "b/app/paint.py").write_text("def paint(wall, colour):\n    wall.colour = colour\n")
    write_tree(tmp_path / "a/app/deep/app")
    folders = [tmp_path / "a/app", tmp_path / "b/app", tmp_path / "a/app/deep/app", tmp_path / "b/app/."]
    with Repositories(folders) as repositories:
        assert list(repositories.places) == ["app", "app-2", "app-3"]
        answer = repositories.search("quick_sort", 3)
        assert answer.answered and answer.hits[0].result.symbol == "quick_sort"
        assert {hit.repository for hit in answer.hits} == {"app", "app-3"}
        answer = repositories.search("paint a wall in a colour", 3)
        assert (answer.hits[0].repository, answer.hits[0].result.path) == ("app-2", "paint.py")
        assert repositories.search("paint a wall", repositories=["app-3"]).answered is False
        scores = [hit.result.score for hit in repositories.search("sort numbers", 10, anyway=True).hits]
        assert scores == sorted(scores, reverse=True)


def test_a_repository_alone_is_found_as_by_its_index(tree: Path, tmp_path: Path):
    with Repositories([tree]) as repositories, CodeIndex(tree, index=tmp_path) as index:
        hits = repositories.search("send a request again", 10).hits
        assert [hit.result for hit in hits] == index.search("send a request again", 10)


def test_an_index_of_another_model_is_refused_at_once(tree: Path, turned_model: Any, tmp_path: Path):
    root = write_tree(tmp_path / "made")
    CodeIndex(root).update()
    with pytest.raises(StoreError, match=r"is made with codekin-static, not .*--rebuild makes it anew"):
        Repositories([root], model=str(turned_model()))
    with pytest.raises(InputError, match="does not exist"):
        Repositories([tmp_path / "nowhere"])


def test_a_folder_that_cannot_be_indexed_is_told(tmp_path: Path):
    root = write_tree(tmp_path / "made")
    with Repositories([root], model=str(tmp_path / "nowhere")) as repositories:
        for _ in range(2):
            with pytest.raises(StoreError, match="no model"):
                repositories.search("sort numbers")
        (status,) = repositories.status()
        assert status.problem and "no model" in status.problem and not status.whole
        assert not repositories.ready


def test_a_model_that_is_gone_is_told(tmp_path: Path, turned_model: Any):
    root = write_tree(tmp_path / "made")
    folder = turned_model()
    CodeIndex(root, model=str(folder)).update()
    folder.rename(tmp_path / "away")
    with serving(tmp_path, "--repo", root, env={"XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"]}) as server:
        answer = server.post("/v1/search", {"query": "sort numbers"})
        assert answer.status == 503 and "no model" in answer.json["error"]["message"]
        told = server.post("/v1/search", {"query": "sort numbers", "mode": "lexical"}).json
        assert told["results"][0]["path"] == "algo/sorting.py"
        (root / "new.py").write_text("def new_arrival():\n    pass\n")
        time.sleep(0.3)
        server.post("/v1/search", {"query": "new_arrival", "mode": "lexical"})
        assert "no model" in server.get("/v1/status").json["repositories"][0]["problem"]


def test_what_cannot_be_asked_is_left_out_of_many(
    tree: Path, tmp_path: Path, turned_model: Callable[..., Path]
) -> None:
    """A folder whose index is made with a model that is no longer there."""
    other = write_tree(tmp_path / "other")
    model = turned_model()
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    index = ["-c", "from codekin.cli import main; main()", "index", str(other), "--model", str(model)]
    subprocess.run([sys.executable, *index], env=environment, check=True, capture_output=True)
    shutil.rmtree(model)
    with serving(tmp_path / "cache", "--repo", tree, "--repo", other, "--rerank=codekin-static") as server:
        for route, more in (("/v1/search", {}), ("/page/search", {}), ("/v1/search", {"rerank": True})):
            answer = server.post(route, {"query": "split numbers around a pivot", **more})
            assert answer.status == 200 and answer.json["answered"]
            assert {one["repository"] for one in answer.json["results"]} == {"shop"}
            [left_out] = answer.json["left_out"]
            assert left_out["repository"] == "other" and str(model) in left_out["problem"]
            assert "\n" not in left_out["problem"]
            assert answer.json.get("rerank", {"problem": ""})["problem"] == ""
        # Words need no model.
        told = server.post("/v1/search", {"query": "quick_sort", "mode": "lexical"}).json
        assert told["left_out"] == [] and {one["repository"] for one in told["results"]} == {"shop", "other"}
        alone = server.post("/v1/search", {"query": "pivot", "repositories": ["other"]})
        assert alone.status == 503 and str(model) in alone.json["error"]["message"]
