"""`codekin mcp` as agents use it: the SDK's own client over both transports, on real processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import anyio
import httpx2
import pytest
from commands import COMMAND, FILES
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from scoring import scorer

from codekin import CodeIndex
from codekin.search import SecondStage, Status, UpdateProgress
from codekin.serve import RepositoryStatus
from codekin.serve.excerpts import tokens
from codekin.serve.mcp import _described

QUESTION = "how long to wait before the next attempt"


class Agent:
    """A client of one server, asked from ordinary code."""

    def __init__(self, connect: Callable[[], Any], mode: str) -> None:
        self._connect, self._mode = connect, mode

    def __call__(self, work: Callable[[Client], Awaitable[Any]]) -> Any:
        async def run() -> Any:
            async with Client(self._connect(), mode=self._mode, read_timeout_seconds=60) as client:
                return await work(client)

        return anyio.run(run)

    def text(self, tool: str, **arguments: Any) -> str:
        result = self(lambda client: client.call_tool(tool, arguments))
        assert not result.is_error, result.content
        return str(result.content[0].text)

    def refusal(self, tool: str, **arguments: Any) -> str:
        result = self(lambda client: client.call_tool(tool, arguments))
        assert result.is_error, result.content
        return str(result.content[0].text)


def grow(root: Path) -> Path:
    for name, text in FILES.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return grow(tmp_path / "tree")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path / "home")}


@contextmanager
def over_stdio(tree: Path, environment: dict[str, str], *arguments: str, mode: str) -> Iterator[Agent]:
    with (tree.parent / "stderr").open("w+") as told:
        server = StdioServerParameters(command=COMMAND, args=["mcp", *arguments], env=environment, cwd=tree)
        yield Agent(lambda: stdio_client(server, errlog=told), mode)
        told.seek(0)
        assert told.read() == ""


@contextmanager
def listening(tree: Path, environment: dict[str, str], *arguments: str) -> Iterator[str]:
    """The address of a server over HTTP."""
    with (tree.parent / "stderr").open("w+") as told:
        process = subprocess.Popen(
            [COMMAND, "mcp", "--http", "--port", "0", *arguments],
            cwd=tree,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=told,
            text=True,
        )
        try:
            assert process.stdout
            found = re.search(r"serving agents at (\S+);", process.stdout.readline())
            assert found
            yield found[1]
        finally:
            process.terminate()
            process.wait(20)
        told.seek(0)
        assert "Traceback" not in told.read()


@contextmanager
def over_http(tree: Path, environment: dict[str, str], *arguments: str, mode: str) -> Iterator[Agent]:
    with listening(tree, environment, *arguments) as url:
        yield Agent(lambda: streamable_http_client(url), mode)


Serve = Callable[..., Any]


@pytest.fixture(
    params=[(over_stdio, "auto"), (over_stdio, "legacy"), (over_http, "auto"), (over_http, "legacy")]
)
def serve(request: pytest.FixtureRequest, tree: Path, environment: dict[str, str]) -> Serve:
    """Both transports, with clients of the protocol's newest revision and of those that shake hands."""
    over, mode = request.param
    return lambda *arguments: over(tree, environment, *arguments, mode=mode)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Agent, Path]]:
    """A server that several tests ask, and its folder."""
    folder = tmp_path_factory.mktemp("shared")
    tree = grow(folder / "tree")
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "HOME": str(folder / "home")}
    with over_http(tree, environment, mode="auto") as agent:
        yield agent, tree


def test_an_agent_finds_code_over_either_transport(serve: Serve, tree: Path) -> None:
    async def work(client: Client) -> None:
        assert str(tree) in (client.instructions or "")
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert list(tools) == ["search_code", "related_code", "index_status"]
        for tool in tools.values():
            assert tool.annotations and tool.annotations.read_only_hint
            assert tool.description and not re.search(r"\n +", tool.description)
        assert tools["search_code"].input_schema["required"] == ["query"]
        for name in tools["search_code"].input_schema["properties"]:
            assert tools["search_code"].input_schema["properties"][name]["description"]

        found = (await client.call_tool("search_code", {"query": QUESTION})).content[0].text
        code = "\n".join(FILES["net/retry.py"].split("\n")[5:24])
        assert found.startswith(f"In {tree}:\n\nnet/retry.py:1-24 RetryPolicy, lines 6-24\n{code}\n\n")
        like = await client.call_tool("related_code", {"path": "net/retry.py", "line": 20, "max_results": 2})
        assert "web/store.js" in like.content[0].text
        state = (await client.call_tool("index_status")).content[0].text
        assert re.fullmatch(
            rf"tree: {re.escape(str(tree))}; 4 files, \d+ chunks \(python, javascript, markdown\); up to date",
            state,
        )

    with serve() as agent:
        agent(work)


def test_answers_keep_to_their_budget(shared: tuple[Agent, Path]) -> None:
    agent, _ = shared
    budgets = (100, 200, 25_000)
    answers = [agent.text("search_code", query=QUESTION, max_tokens=budget) for budget in budgets]
    for budget, answer in zip(budgets, answers, strict=True):
        assert tokens(answer) <= budget
        assert answer.split("\n\n")[1].startswith("net/retry.py:1-24 RetryPolicy")
    assert len(answers[0]) < len(answers[1]) < len(answers[2])
    assert FILES["docs/guide.md"].rstrip() in answers[2]
    one = agent.text("search_code", query=QUESTION, max_results=1)
    assert len(re.findall(r"^\S+:\d+-\d+ ", one, re.MULTILINE)) == 1


def test_filters_are_those_of_search(shared: tuple[Agent, Path]) -> None:
    agent, _ = shared
    assert paths(agent.text("search_code", query="retry a request", languages=["javascript"])) == {
        "web/store.js"
    }
    assert paths(agent.text("search_code", query="retry a request", paths=["net/"])) <= {
        "net/retry.py",
        "net/headers.py",
    }
    assert "net/retry.py" not in paths(
        agent.text("search_code", query="retry a request", paths=["!net/retry*"])
    )
    assert agent.text("search_code", query="retry", paths=["nowhere/"]) == "Nothing found."


def test_what_nothing_answers_is_said(shared: tuple[Agent, Path]) -> None:
    agent, tree = shared
    answer = agent.text("search_code", query="quarterly revenue forecast of the sales department")
    assert answer.startswith(f"Nothing seems to answer this. The nearest, in {tree}:\n\n")


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        ("search_code", {"query": " "}, "the query is empty"),
        (
            "search_code",
            {"query": "x", "languages": ["klingon"]},
            "unknown language 'klingon'; indexed here: java",
        ),
        (
            "search_code",
            {"query": "x", "repositories": ["other"]},
            "no repository 'other'; served here: tree",
        ),
        ("search_code", {"query": "x", "max_tokens": 1}, "greater than or equal to 100"),
        ("related_code", {"path": "net/none.py", "line": 1}, "net/none.py is not in the index"),
        ("related_code", {"path": "net/retry.py", "line": 999}, "net/retry.py has no code at line 999"),
        ("related_code", {"path": "../../etc/passwd", "line": 1}, "is not in the index"),
        ("related_code", {"path": "/etc/passwd", "line": 1}, "/etc/passwd is not below"),
        ("related_code", {"path": "net/retry.py\0", "line": 1}, "a NUL is in no path"),
    ],
)
def test_a_mistake_is_one_that_the_model_can_read(
    shared: tuple[Agent, Path], tool: str, arguments: dict[str, Any], told: str
) -> None:
    agent, _ = shared
    assert told in agent.refusal(tool, **arguments)


def test_places_are_named_in_any_way(shared: tuple[Agent, Path]) -> None:
    agent, tree = shared
    answers = {
        agent.text("related_code", path=path, line=20)
        for path in ("net/retry.py", "./net/retry.py", str(tree / "net" / "retry.py"), "net/../net/retry.py")
    }
    assert len(answers) == 1


def test_every_one_of_many_agents_gets_its_own_answer(shared: tuple[Agent, Path]) -> None:
    agent, _ = shared
    questions = {
        "split bytes into HTTP header names": "net/headers.py",
        "keep a shopping cart in the browser": "web/store.js",
        QUESTION: "net/retry.py",
        "run the installer": "docs/guide.md",
    }

    async def ask(client: Client, query: str, place: str) -> None:
        answer = await client.call_tool("search_code", {"query": query, "max_results": 1})
        assert paths(answer.content[0].text) == {place}

    async def work(client: Client) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(10):
                for query, place in questions.items():
                    group.start_soon(ask, client, query, place)

    agent(work)


def test_what_has_just_changed_is_found(tree: Path, environment: dict[str, str]) -> None:
    async def until(client: Client, query: str, check: Callable[[str], bool]) -> None:
        deadline = time.monotonic() + 60
        while not check((await client.call_tool("search_code", {"query": query})).content[0].text):
            assert time.monotonic() < deadline
            await anyio.sleep(0.05)

    async def work(client: Client) -> None:
        await client.call_tool("search_code", {"query": QUESTION})
        (tree / "net" / "proxy.py").write_text("def tunnel_through_proxy(host):\n    return connect(host)\n")
        await until(
            client, "tunnel_through_proxy", lambda text: "net/proxy.py:1-2 tunnel_through_proxy" in text
        )
        (tree / "net" / "proxy.py").unlink()
        await until(client, "tunnel_through_proxy", lambda text: "net/proxy.py" not in text)

    with over_stdio(tree, environment, mode="auto") as agent:
        agent(work)


def test_an_index_that_is_damaged_is_said_and_used_once_it_is_made_anew(
    tree: Path, environment: dict[str, str]
) -> None:
    def command(*arguments: str) -> str:
        done = subprocess.run(
            [COMMAND, *arguments], cwd=tree, env=environment, capture_output=True, check=True
        )
        return done.stdout.decode()

    command("index")
    database = Path(json.loads(command("status", "--json"))["location"])
    database.write_bytes(b"no database" * 1_000)

    async def work(client: Client) -> None:
        broken = await client.call_tool("search_code", {"query": QUESTION})
        assert broken.is_error
        assert "--rebuild" in broken.content[0].text
        command("index", "--rebuild")
        assert "net/retry.py" in (await client.call_tool("search_code", {"query": QUESTION})).content[0].text

    with over_stdio(tree, environment, mode="auto") as agent:
        agent(work)


def test_several_repositories_are_told_apart(tmp_path: Path, environment: dict[str, str]) -> None:
    first, second = grow(tmp_path / "tree"), tmp_path / "other" / "tree"
    second.mkdir(parents=True)
    (second / "wait.py").write_text("def wait_before_attempt(seconds):\n    time.sleep(seconds)\n")

    async def work(client: Client) -> None:
        async def text(tool: str, **arguments: Any) -> str:
            return str((await client.call_tool(tool, arguments)).content[0].text)

        found = await text("search_code", query=QUESTION)
        assert paths(found) > {"tree/net/retry.py", "tree-2/wait.py"}
        assert found.startswith("In ")
        assert f"tree/ = {first}" in found.split("\n")[0]
        assert f"tree-2/ = {second}" in found.split("\n")[0]
        only = await text("search_code", query=QUESTION, repositories=["tree-2"])
        assert paths(only) == {"tree-2/wait.py"}
        assert only.startswith(f"In tree-2/ = {second}:")
        like = [
            await text("related_code", path=path, line=20)
            for path in ("tree/net/retry.py", f"{first}/net/retry.py")
        ]
        assert like[0] == like[1]
        assert "begin the path with the name of its repository: tree, tree-2" in await text(
            "related_code", path="net/retry.py", line=20
        )
        assert [line.split(":")[0] for line in (await text("index_status")).split("\n")] == ["tree", "tree-2"]

    with over_stdio(first, environment, "--repo", str(first), "--repo", str(second), mode="auto") as agent:
        agent(work)


def test_stdout_holds_nothing_but_the_protocol(tree: Path, environment: dict[str, str]) -> None:
    """What is no request is answered as one that is wrong; the end of stdin ends the process."""
    asked = [
        b"{ not json",
        {"id": 1, "method": "initialize", "params": HELLO},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "no/such/method"},
        {"id": 3, "method": "tools/call", "params": {"name": "no_such_tool", "arguments": {}}},
        {
            "id": 4,
            "method": "tools/call",
            "params": {"name": "search_code", "arguments": {"query": QUESTION}},
        },
    ]
    lines = [
        line if isinstance(line, bytes) else json.dumps({"jsonrpc": "2.0", **line}).encode() for line in asked
    ]
    with running(tree, environment) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(b"\n".join(lines) + b"\n")
        process.stdin.flush()
        answers = {}
        while 4 not in answers:
            answer = json.loads(process.stdout.readline())
            assert answer["jsonrpc"] == "2.0"
            answers[answer.get("id")] = answer
        process.stdin.close()
        assert process.stdout.read() == b""
        assert process.wait(20) == 0
        assert b"Traceback" not in process.stderr.read()
    assert "retry.py" in answers[4]["result"]["content"][0]["text"]
    assert answers[2]["error"]["code"] == -32601


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(number: int, tree: Path, environment: dict[str, str]) -> None:
    with running(tree, environment) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(
            json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO}).encode() + b"\n"
        )
        process.stdin.flush()
        assert process.stdout.readline()
        process.send_signal(number)
        assert process.wait(20) == 128 + number
        assert process.stderr.read() == b""


HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


@contextmanager
def running(tree: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [COMMAND, "mcp"], cwd=tree, env=environment, stdin=pipe, stdout=pipe, stderr=pipe
    )
    try:
        with process:
            yield process
    finally:
        process.kill()


def test_an_agent_waits_for_the_sdk_alone() -> None:
    """The handshake needs neither the index nor a model, and no test of time would fail as surely."""
    code = "import sys, codekin.serve.mcp; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "mcp" in loaded
    assert not {
        "torch",
        "transformers",
        "fastapi",
        "numpy",
        "tokenizers",
        "codekin.search",
        "codekin.embed",
    } & {*loaded}


def test_http_answers_this_machine_or_who_has_a_key(tree: Path, environment: dict[str, str]) -> None:
    hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO}
    accept = {"Accept": "application/json, text/event-stream"}

    def status(url: str, **headers: str) -> int:
        return httpx2.post(url, json=hello, headers={**accept, **headers}).status_code

    with listening(tree, environment) as url:
        assert status(url) == 200
        assert status(url, Host="example.com") == 403
        assert status(url, Origin="https://example.com") == 403
        assert httpx2.get(url.removesuffix("/mcp"), headers=accept).status_code == 404
        assert httpx2.get(url, headers=accept).status_code == 405
    with listening(tree, environment, "--api-key", "one", "--api-key", "two") as url:
        assert status(url) == 401
        assert status(url, Authorization="Bearer three") == 401
        assert status(url, Authorization="Bearer two", Host="code.example.com") == 200
        client = httpx2.AsyncClient(headers={"Authorization": "Bearer one"})
        agent = Agent(lambda: streamable_http_client(url, http_client=client), "auto")
        assert "net/retry.py" in agent.text("search_code", query=QUESTION)


def test_what_may_be_missing_is_said(tmp_path: Path) -> None:
    index = Status(tmp_path, tmp_path, 1_200, 9_000, {"python": 8_000, "go": 1_000}, "m", 64, 1, 1.0)
    progress = UpdateProgress(300, 1_500, 1, 2, 100, "a.py")
    size = f"code: {tmp_path}; 1,200 files, 9,000 chunks (python, go)"
    for status, told in (
        (RepositoryStatus("code", index, True, progress, None), "up to date"),
        (
            RepositoryStatus("code", index, False, progress, None),
            "being indexed, 300 of 1,500 files done; ask again for the rest",
        ),
        (RepositoryStatus("code", index, False, None, None), "being indexed; ask again for the rest"),
        (RepositoryStatus("code", index, False, None, "no room"), "cannot be brought up to date: no room"),
    ):
        assert _described(status) == f"{size}; {told}"


def paths(answer: str) -> set[str]:
    """The files that an answer names."""
    return set(re.findall(r"^(\S+):\d+-\d+", answer, re.MULTILINE))


def test_a_second_stage_ranks_what_agents_are_shown(serve: Serve, tree: Path, tmp_path: Path) -> None:
    """The server's own affair: tools and the form of answers stay as they are."""
    for number in range(4):
        (tree / f"attempt{number}.py").write_text(
            f"def attempt_{number}(wait):\n" + "    wait(next_attempt)\n" * (2 + number)
        )
    release = Event()
    release.set()
    with scorer(release) as (url, asked), CodeIndex(tree, index=tmp_path / "index") as index:

        def places(**options: Any) -> list[str]:
            found = index.search(QUESTION, 5, **options)
            return [f"{one.path}:{one.start_line}-{one.end_line}" for one in found]

        expected = places(rerank=SecondStage(url))
        assert expected != places()
        asked.clear()
        with serve("--rerank", url, "--budget", "20s") as agent:

            async def work(client: Client) -> None:
                state = ""
                while "second stage: by " not in state:  # it is loaded beside
                    state = (await client.call_tool("index_status")).content[0].text
                found = (await client.call_tool("search_code", {"query": QUESTION, "max_results": 5})).content
                assert found[0].text.startswith(f"In {tree}:\n\n{expected[0]} ")
                assert re.findall(r"^\S+:\d+-\d+", found[0].text, re.MULTILINE) == expected
                assert len(asked) == 1 and len(asked[0]) > 5
                nothing = await client.call_tool("search_code", {"query": "quarterly revenue forecast"})
                assert nothing.content[0].text.startswith("Nothing seems to answer this.")

            agent(work)


def test_an_agent_never_waits_for_a_second_stage(tree: Path, environment: dict[str, str]) -> None:
    with scorer(Event()) as (url, asked):  # that never answers
        with over_http(tree, environment, mode="auto") as agent:
            first = agent.text("search_code", query=QUESTION)
        with over_http(tree, environment, "--rerank", url, "--budget", "300ms", mode="auto") as agent:
            while "second stage: by " not in agent.text("index_status"):
                pass
            began = time.monotonic()
            assert agent.text("search_code", query=QUESTION) == first
            assert asked and time.monotonic() - began < 3
    with over_http(tree, environment, "--rerank=nowhere", mode="auto") as agent:
        while "no model 'nowhere'" not in agent.text("index_status"):
            pass
        assert agent.text("search_code", query=QUESTION) == first


def test_agents_ask_a_store_without_a_folder(store: str, tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "elsewhere").mkdir()
    asked = tmp_path / "elsewhere", environment, "--store", store
    with over_stdio(*asked, mode="auto") as agent:
        assert "acme/shop/net/retry.py:" in agent.text("search_code", query="send a request again")
    with over_http(*asked, mode="auto") as agent:

        async def instructions(client: Client) -> str:
            return client.instructions or ""

        assert f"{store}. " in agent(instructions) and "answers from what was indexed" in agent(instructions)
        found = agent.text("search_code", query="send a request again after a failure")
        assert f"acme/shop/ = {store}#acme/shop" in found and "acme/shop/net/retry.py:" in found
        assert "acme/tools/net/wait.py:" in found
        related = agent.text("related_code", path="acme/shop/algo/sorting.py", line=5, max_results=1)
        assert "acme/shop/web/sort.js:" in related
        status = agent.text("index_status")
        assert f"acme/shop: {store}#acme/shop; 4 files" in status and "as it was at 20" in status
        refusal = agent.refusal("related_code", path="net/retry.py", line=5)
        assert "begin the path with the name of its repository: acme/" in refusal
        assert "not below" in agent.refusal("related_code", path="/etc/hostname", line=1)
