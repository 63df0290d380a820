"""The page's files and data, without a browser."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import quote

import pytest
from running import Server, serving
from shop import RETRY, SORTING, write_tree

from codekin import CodeIndex


def text_of(line: list[object]) -> str:
    return "".join(piece if isinstance(piece, str) else str(piece[1]) for piece in line)  # type: ignore[index]


def test_the_page_loads_nothing_from_elsewhere(server: Server) -> None:
    page = server.get("/")
    assert page.status == 200 and page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert page.headers["cache-control"] == "no-cache"
    for name in ("style.css", "app.js", "map.js", "icon.svg"):
        answer = server.get(f"/web/{name}")
        assert answer.status == 200 and answer.body and answer.headers["cache-control"] == "no-cache"
        assert b"https://" not in answer.body
        unchanged = server.get(f"/web/{name}", **{"If-None-Match": answer.headers["etag"]})
        assert unchanged.status == 304


@pytest.mark.parametrize("path", ["/web/", "/web/none.js", "/web/../page.py", "/web/%2e%2e/page.py"])
def test_no_other_file_is_given(server: Server, path: str) -> None:
    answer = server.get(path)
    assert answer.status == 404 and answer.json["error"]["message"]


def test_results_have_their_code_in_pieces(server: Server) -> None:
    answer = server.post("/page/search", {"query": "quick sort around a pivot"}).json
    best = answer["results"][0]
    assert answer["answered"] and best["path"] == "algo/sorting.py" and best["repository"] == "shop"
    assert [text_of(line) for line in best["lines"]] == SORTING.rstrip("\n").split("\n")
    assert 0 <= best["first"] <= best["last"] < len(best["lines"])
    pieces = [piece for line in best["lines"] for piece in line if not isinstance(piece, str)]
    assert ["keyword", "def"] in pieces
    assert "pivot" in {text for _, text, *marked in pieces if marked} and best["lines"][best["definition"]]


def test_related_code(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "shop")
    (root / "net/again.py").write_text(RETRY.replace("send_with_retries", "post_again"))
    (root / "web/again.py").write_text(RETRY.replace("send_with_retries", "get_again"))
    with serving(tmp_path / "cache", "--repo", root) as server:
        asked = {"repository": "shop", "path": "net/retry.py", "line": 7, "top": 2}
        answer = server.post("/page/related", asked).json
        assert {one["path"] for one in answer["results"]} == {"net/again.py", "web/again.py"}
        kept = server.post("/page/related", {**asked, "include": ["web/"]}).json
        assert [one["path"] for one in kept["results"]] == ["web/again.py"]


def test_a_file_is_told_whole(server: Server) -> None:
    told = server.post("/page/source", {"repository": "shop", "path": "net/retry.py"}).json
    assert "\n".join(map(text_of, told["lines"])) == RETRY and told["language"] == "python"
    assert told["chunks"][0][0] == 1 and all(first <= last for first, last in told["chunks"])


@pytest.mark.parametrize("path", ["../outside.py", "/etc/hostname", "net", "", "none.py", "net/\0"])
def test_files_that_are_not_indexed_stay_unread(server: Server, tree: Path, path: str) -> None:
    (tree.parent / "outside.py").write_text("secret = 1\n")
    answer = server.post("/page/source", {"repository": "shop", "path": path})
    assert answer.status == 400 and "secret" not in answer.body.decode()


@pytest.mark.parametrize(
    ("route", "body", "said"),
    [
        ("search", {"query": " "}, "empty"),
        ("search", {"query": "x", "model": "other"}, "no model 'other'"),
        ("search", {"query": "x", "repositories": ["none"]}, "no repository 'none'"),
        ("related", {"repository": "shop", "path": "net/retry.py", "line": 900}, "no code at line 900"),
        ("source", {"repository": "none", "path": "net/retry.py"}, "no repository 'none'"),
    ],
)
def test_mistakes_are_one_line(server: Server, route: str, body: object, said: str) -> None:
    answer = server.post(f"/page/{route}", body)
    message = answer.json["error"]["message"]
    assert answer.status == 400 and said in message and "\n" not in message


def test_the_map_has_every_chunk(server: Server, tree: Path, tmp_path: Path) -> None:
    told = server.get("/page/map?repository=shop").json
    with CodeIndex(tree, index=tmp_path) as index:
        index.update()
        contents = index.contents()
    assert told["files"] == contents.paths and told["languages"] == contents.languages
    assert told["chunks"]["file"] == contents.file_of.tolist()
    assert told["chunks"]["first"] == contents.spans[:, 0].tolist()
    assert all(0 <= value <= told["size"] for side in "xy" for value in told["chunks"][side])
    assert server.get("/page/map?repository=none").status == 400


def test_the_map_follows_the_index(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "shop")
    for number in range(20):
        (root / f"part{number}.py").write_text(f"def part_{number}(items):\n    return items[{number}:]\n")

    def places(server: Server) -> dict[str, tuple[int, int]]:
        told = server.get("/page/map?repository=shop").json
        chunks = told["chunks"]
        return {
            told["files"][file]: (x, y)
            for file, x, y in zip(chunks["file"], chunks["x"], chunks["y"], strict=True)
        }

    with serving(tmp_path / "cache", "--repo", root) as server:
        before = places(server)
        (root / "late.py").write_text("def late(items):\n    return sorted(items)\n")
        (root / "part3.py").unlink()
        deadline = time.monotonic() + 20
        while "late.py" not in (after := places(server)):
            assert time.monotonic() < deadline
            server.post("/page/search", {"query": "late"})
        assert "part3.py" not in after
        assert {path: after[path] for path in after if path != "late.py"} == {
            path: before[path] for path in before if path != "part3.py"
        }


def test_names_and_texts_of_any_bytes(tmp_path: Path) -> None:
    root = tmp_path / "odd"
    root.mkdir()
    (root / "né & <b>.py").write_text("def flächenmaß():\n    return '😀'\n")
    (root / "wide.js").write_text("const table = [" + "1, " * 4_000 + "];\nexport default table;\n")
    (root / "none.py").write_bytes(b"")
    with serving(tmp_path / "cache", "--repo", root) as server:
        wide = server.post("/page/source", {"repository": "odd", "path": "wide.js"}).json
        assert len(text_of(wide["lines"][0])) < 1_100 and text_of(wide["lines"][0]).endswith("…")
        odd = server.post("/page/source", {"repository": "odd", "path": "né & <b>.py"}).json
        assert text_of(odd["lines"][1]) == "    return '😀'"
        told = server.get(f"/page/map?repository={quote('odd')}").json
        assert "né & <b>.py" in told["files"]


def test_nothing_is_served(tmp_path: Path) -> None:
    with serving(tmp_path / "cache") as server:
        assert server.get("/").status == 200 and server.get("/page/models").json == {
            "beside": [],
            "reranker": None,
        }
        assert server.post("/page/search", {"query": "anything"}).json["results"] == []
