"""What codekin writes into the settings of agents, and what it leaves alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from codekin.errors import InputError
from codekin.serve.agents import AGENTS, Outcome
from codekin.serve.settings import Json, Toml

STDIO = {"type": "stdio"}
PLAIN = {"command": "codekin", "args": ["mcp"]}
HERE = {"command": "codekin", "args": ["mcp", "--repo", "${workspaceFolder}"]}

# As the agents' own documentation and commands write them.
WANTED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "claude-code": (".mcp.json", ".claude.json", {"mcpServers": {"codekin": STDIO | PLAIN}}),
    "cursor": (".cursor/mcp.json", ".cursor/mcp.json", {"mcpServers": {"codekin": STDIO | HERE}}),
    "vscode": (".vscode/mcp.json", ".config/Code/User/mcp.json", {"servers": {"codekin": STDIO | HERE}}),
    "codex": (".codex/config.toml", ".codex/config.toml", {"mcp_servers": {"codekin": PLAIN}}),
    "gemini": (".gemini/settings.json", ".gemini/settings.json", {"mcpServers": {"codekin": PLAIN}}),
    "zed": (".zed/settings.json", ".config/zed/settings.json", {"context_servers": {"codekin": PLAIN}}),
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR", "CODEX_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("sys.platform", "linux")
    return tmp_path / "home"


def settings(file: Path) -> dict[str, Any]:
    return (Toml if file.suffix == ".toml" else Json).read(file.read_text(encoding="utf-8"))


def test_every_agent_is_known() -> None:
    assert AGENTS.keys() == WANTED.keys()


@pytest.mark.parametrize("name", WANTED)
def test_settings_are_those_that_the_agent_reads(name: str, home: Path, tmp_path: Path) -> None:
    shared, own, wanted = WANTED[name]
    agent = AGENTS[name]
    entry = agent.entry("codekin", [])
    for file, place in (
        (agent.settings(tmp_path), tmp_path / shared),
        (agent.settings(None), home / own),
    ):
        assert file == place
        assert agent.install(entry, file) is Outcome.ADDED
        assert settings(file) == wanted
        assert agent.install(entry, file) is Outcome.UNCHANGED
    assert agent.form.read(agent.show(entry)) == wanted


@pytest.mark.parametrize("name", WANTED)
def test_other_repositories_take_the_place_of_an_entry_of_ours(name: str, tmp_path: Path) -> None:
    agent = AGENTS[name]
    file = agent.settings(tmp_path)
    agent.install(agent.entry("/old/bin/codekin", []), file)
    entry = agent.entry("codekin", [Path("/a b"), Path("/c")])
    assert entry["args"] == ["mcp", "--repo", "/a b", "--repo", "/c"]
    assert agent.install(entry, file) is Outcome.CHANGED
    assert settings(file) == {agent.servers: {"codekin": entry}}


@pytest.mark.parametrize(
    "present",
    [
        {"url": "http://localhost/mcp"},
        {"command": "other", "args": ["mcp"]},
        {**PLAIN, "env": {"KEY": "secret"}},
        {"command": "codekin", "args": ["search"]},
        "codekin",
        None,
    ],
)
def test_an_entry_of_another_kind_is_left_alone(present: Any, tmp_path: Path) -> None:
    agent = AGENTS["gemini"]
    file = agent.settings(tmp_path)
    file.parent.mkdir()
    text = json.dumps({"mcpServers": {"codekin": present}})
    file.write_text(text)
    with pytest.raises(InputError, match="has another server codekin: remove that first") as raised:
        agent.install(agent.entry("codekin", []), file)
    assert "secret" not in str(raised.value)
    assert file.read_text() == text
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(
    "content", [b"{ broken", b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}", b'{"mcpServers": 1}']
)
def test_a_file_that_is_not_understood_is_left_alone(content: bytes, tmp_path: Path) -> None:
    agent = AGENTS["claude-code"]
    file = agent.settings(tmp_path)
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"is left as it is: .+; codekin mcp install claude-code --print"):
        agent.install(agent.entry("codekin", []), file)
    assert file.read_bytes() == content


def test_a_link_stays_one_and_what_is_private_stays_private(tmp_path: Path) -> None:
    agent = AGENTS["claude-code"]
    dotfile = tmp_path / "dotfiles.json"
    dotfile.write_text('{"token": "secret"}')
    dotfile.chmod(0o600)
    file = tmp_path / "project" / ".mcp.json"
    file.parent.mkdir()
    file.symlink_to(dotfile)
    agent.install(agent.entry("codekin", []), file)
    assert file.is_symlink()
    assert settings(dotfile)["token"] == "secret"
    assert dotfile.stat().st_mode & 0o777 == 0o600


def test_the_users_settings_are_where_the_environment_says(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "codex"))
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert AGENTS["codex"].settings(None) == tmp_path / "codex" / "config.toml"
    assert AGENTS["claude-code"].settings(None) == tmp_path / "claude" / ".claude.json"
    assert AGENTS["zed"].settings(None) == tmp_path / "config" / "zed" / "settings.json"


@pytest.mark.parametrize("name", AGENTS)
def test_a_store_is_served_in_the_place_of_the_project(name: str):
    entry = AGENTS[name].entry("codekin", "milvus://host", ["--rerank"])
    assert entry["args"] == ["mcp", "--store", "milvus://host", "--rerank"]
