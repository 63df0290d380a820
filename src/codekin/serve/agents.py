"""Where coding agents keep their MCP servers, and codekin put there."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from platformdirs import user_config_path

from codekin.errors import InputError
from codekin.replacing import replacing
from codekin.serve.settings import Form, Json, Toml, put

_NAME = "codekin"
_WORKSPACE = "${workspaceFolder}"

Entry = dict[str, Any]
"""What an agent's settings say of one server."""


class Outcome(Enum):
    """What became of an agent's settings."""

    ADDED = "added"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Agent:
    """A coding agent: where its settings are, and how they name a server that it starts."""

    name: str
    title: str
    servers: str
    """The member of its settings that holds the servers by name."""
    shared: str
    """Its file in a project's folder."""
    own: Callable[[], Path]
    """Its file of the user's, for all projects."""
    form: Form = Json
    typed: bool = False
    """Whether an entry says that it is of type stdio."""
    starts_elsewhere: bool = False
    """Whether it starts servers in another folder than the project's, which it then fills in."""

    def settings(self, project: Path | None) -> Path:
        """The file with its settings for a project, or the user's for all."""
        return project / self.shared if project else self.own()

    def entry(self, command: str, code: Sequence[Path] | str, options: Sequence[str] = ()) -> Entry:
        """What its settings are to say: `command` serves folders or a store, or else the project that is open.

        `options` are further ones of `codekin mcp`.
        """
        if isinstance(code, str):
            arguments = ["--store", code]
        else:
            served = [str(path) for path in code] or [_WORKSPACE] * self.starts_elsewhere
            arguments = [part for path in served for part in ("--repo", path)]
        kind = {"type": "stdio"} if self.typed else {}
        return {**kind, "command": command, "args": ["mcp", *arguments, *options]}

    def show(self, entry: Entry) -> str:
        """A settings file of the entry alone."""
        return self.form.show([self.servers, _NAME], entry)

    def install(self, entry: Entry, file: Path) -> Outcome:
        """Puts the entry into its settings file, all else in which stays as it is.

        Raises InputError where the file cannot be read, changed for sure or written, and where it has another
        server of this name, or one that was changed by hand.
        """
        advice = f"codekin mcp install {self.name} --print shows what to add"
        try:
            before = file.read_bytes().decode() if file.exists() else ""
            servers = self.form.read(before).get(self.servers)
            present = servers if isinstance(servers, dict) and _NAME in servers else None
            if present and present[_NAME] == entry:
                return Outcome.UNCHANGED
            if present and not _is_ours(present[_NAME]):
                raise InputError(
                    f"{file} has another server {_NAME}: remove that first, or change it; {advice}"
                )
            _write(file, put(self.form, before, [self.servers, _NAME], entry).encode())
        except OSError as error:
            raise InputError(f"{file}: {error.strerror or error}; {advice}") from None
        except ValueError as error:
            raise InputError(f"{file} is left as it is: {error}; {advice}") from None
        return Outcome.CHANGED if present else Outcome.ADDED


def _is_ours(entry: Any) -> bool:
    """Whether an entry is one that `install` has made, and nobody has added to."""
    match entry:
        case {"command": str(command), "args": ["mcp", *_]}:
            return Path(command).stem == _NAME and entry.keys() <= {"type", "command", "args"}
    return False


def _write(file: Path, content: bytes) -> None:
    """Writes the file whole, through a link to it, with the permissions that it has."""
    place = file.resolve()
    with replacing(place) as partial:
        if place.exists():
            mode = stat.S_IMODE(place.stat().st_mode)
            partial.touch(mode)
            partial.chmod(mode)
        partial.write_bytes(content)


def _folder(variable: str, default: str) -> Path:
    """The folder that an environment variable names, or one in the user's home."""
    return Path(os.environ.get(variable) or Path.home() / default)


def _zed() -> Path:
    if sys.platform == "win32":
        return user_config_path("Zed", appauthor=False, roaming=True)
    return _folder("XDG_CONFIG_HOME", ".config") / "zed"


AGENTS = {
    agent.name: agent
    for agent in (
        # https://code.claude.com/docs/en/mcp
        Agent(
            "claude-code",
            "Claude Code",
            "mcpServers",
            ".mcp.json",
            lambda: _folder("CLAUDE_CONFIG_DIR", "") / ".claude.json",
            typed=True,
        ),
        # https://cursor.com/docs/context/mcp
        Agent(
            "cursor",
            "Cursor",
            "mcpServers",
            ".cursor/mcp.json",
            lambda: Path.home() / ".cursor/mcp.json",
            typed=True,
            starts_elsewhere=True,
        ),
        # https://code.visualstudio.com/docs/copilot/reference/mcp-configuration
        Agent(
            "vscode",
            "VS Code",
            "servers",
            ".vscode/mcp.json",
            lambda: user_config_path("Code", appauthor=False, roaming=True) / "User/mcp.json",
            typed=True,
            starts_elsewhere=True,
        ),
        # https://developers.openai.com/codex/mcp
        Agent(
            "codex",
            "Codex",
            "mcp_servers",
            ".codex/config.toml",
            lambda: _folder("CODEX_HOME", ".codex") / "config.toml",
            form=Toml,
        ),
        # https://github.com/google-gemini/gemini-cli/blob/main/docs/tools/mcp-server.md
        Agent(
            "gemini",
            "Gemini CLI",
            "mcpServers",
            ".gemini/settings.json",
            lambda: Path.home() / ".gemini/settings.json",
        ),
        # https://zed.dev/docs/ai/mcp
        Agent(
            "zed",
            "Zed",
            "context_servers",
            ".zed/settings.json",
            lambda: _zed() / "settings.json",
        ),
    )
}
"""The agents by name."""
