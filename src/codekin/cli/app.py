"""The commands, put together."""

from __future__ import annotations

from importlib import import_module

import click

from codekin import __version__

_COMMANDS = (
    "search related index status repos rank embed label models plan data train evaluate calibrate serve mcp"
).split()


class _Commands(click.Group):
    """Each command is the one of the module of its name, imported when it is asked for: a search waits for no other."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return _COMMANDS

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"codekin.cli.{cmd_name}"), cmd_name)
        return command


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 found or done, 1 nothing found, 2 error.",
)
@click.version_option(__version__, message="codekin %(version)s")
def app() -> None:
    """Find code by meaning: ask a codebase a question, offline and at once."""
