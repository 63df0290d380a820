"""`codekin mcp` and `codekin mcp install` as commands; what agents are answered is tested beside the server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import COMMAND, Run


def test_install_puts_codekin_into_the_settings_of_this_project(run: Run, tree: Path) -> None:
    (tree / ".mcp.json").write_text('{\n  // ours\n  "mcpServers": {"other": {"command": "x"}},\n}\n')
    done = run("mcp", "install", "claude-code", "codex")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        f"Claude Code: added in {tree}/.mcp.json",
        f"Codex: added in {tree}/.codex/config.toml",
    ]
    text = (tree / ".mcp.json").read_text()
    assert "// ours" in text
    assert '"other": {"command": "x"},' in text
    command = (tree / ".codex" / "config.toml").read_text().split("\n")[1]
    assert command == f"command = {json.dumps(COMMAND)}"  # of an environment that an agent does not activate
    again = run("mcp", "install", "claude-code", "--repo", "net")
    assert again.stdout == f"Claude Code: changed in {tree}/.mcp.json\n"
    assert json.dumps(str(tree / "net")) in (tree / ".mcp.json").read_text()
    assert "unchanged" in run("mcp", "install", "codex").stdout


def test_what_is_written_starts_a_server(run: Run, tree: Path, environment: dict[str, str]) -> None:
    run("mcp", "install", "gemini")
    [server] = json.loads((tree / ".gemini" / "settings.json").read_text())["mcpServers"].values()
    ended = subprocess.run(
        [server["command"], *server["args"]],
        cwd=tree,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


def test_a_command_that_path_has_is_written_by_name(run: Run, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "codekin").symlink_to(COMMAND)
    run("mcp", "install", "zed", env={"PATH": f"{Path(COMMAND).parent}{os.pathsep}{tmp_path / 'bin'}"})
    assert '"command": "codekin"' in (tree / ".zed" / "settings.json").read_text()


def test_install_prints_instead_and_knows_the_users_own(run: Run, tree: Path, tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path / "home")}
    printed = run("mcp", "install", "zed", "--print", "--repo", ".", env=home)
    head, settings = printed.stdout.split("\n", 1)
    assert head == f"Zed, {tree}/.zed/settings.json:"
    assert json.loads(settings)["context_servers"]["codekin"]["args"] == ["mcp", "--repo", str(tree)]
    assert not (tree / ".zed").exists()
    reranked = run("mcp", "install", "zed", "--print", "--rerank", "--budget", "300ms", env=home)
    settings = reranked.stdout.split("\n", 1)[1]
    told = json.loads(settings)["context_servers"]["codekin"]["args"]
    assert told == ["mcp", "--rerank", "--budget=300ms"]
    named = run("mcp", "install", "--rerank=codekin-static", "zed", "--print", env=home)
    assert '"--rerank=codekin-static"' in named.stdout
    own = run("mcp", "install", "cursor", "--user", env=home)
    assert own.stdout == f"Cursor: added in {tmp_path}/home/.cursor/mcp.json\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["mcp", "install", "emacs"], "unknown agent 'emacs'; known are claude-code, cursor, vscode, codex"),
        (["mcp", "install", "zed", "--repo", "nowhere"], "no folder nowhere"),
        (["mcp", "install", "vscode"], "is left as it is: Expecting"),
        (["mcp", "--repo", "nowhere"], "no folder nowhere"),
        (["mcp", "--repo", ".", "install", "zed"], "options of install come after it"),
        (["mcp", "--budget", "1s"], "--budget is for --rerank"),
        (["mcp", "install", "zed", "--rerank", "--budget=soon"], "is no time"),
        (["mcp", "--port", "80"], "--host, --port and --api-key go with --http"),
        (["mcp", "--http", "--host", "0.0.0.0"], "takes an --api-key"),
    ],
)
def test_a_mistake_is_one_line(run: Run, tree: Path, arguments: list[str], told: str) -> None:
    (tree / ".vscode").mkdir()
    (tree / ".vscode" / "mcp.json").write_text("{ broken")
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_home_folder_is_indexed_only_by_name(run: Run, tree: Path) -> None:
    for home in (tree, tree / "net"):
        done = run("mcp", env={"HOME": str(home)})
        assert done.returncode == 2
        assert f"{tree} is no project" in done.stderr
    assert run("mcp", "--repo", ".", env={"HOME": str(tree)}).returncode == 0


def test_without_the_extra_a_sentence_says_what_installs_it(tree: Path) -> None:
    code = (
        "import sys; sys.modules['mcp'] = None; sys.argv[1:] = ['mcp']; from codekin.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "codekin: codekin mcp needs an extra: pip install 'codekin[serve]'\n"
