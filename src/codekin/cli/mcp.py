"""`codekin mcp`: code search as tools of coding agents."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from codekin.cli import options, second_stage
from codekin.errors import InputError

if TYPE_CHECKING:
    from codekin.serve import SharedStage

_repositories = click.option(
    "--repo",
    "repositories",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="A folder of code to search, instead of the one the agent stands in. Repeatable.",
)
_BUDGET = "1s"  # that an agent waits for a second stage
_budget = click.option(
    "--budget",
    metavar="TIME",
    help=f"Time that an agent waits for the second stage: 300ms, 2s.  [default: {_BUDGET}]",
)


@click.group(invoke_without_command=True)
@_repositories
@options.served_store
@second_stage.served_reranker
@_budget
@click.option("--http", is_flag=True, help="Serve agents over HTTP, at /mcp, not the one on stdin.")
@options.host
@options.port
@options.api_keys
@click.pass_context
def mcp(
    context: click.Context,
    repositories: tuple[Path, ...],
    store: str | None,
    reranker: str | None,
    budget: str | None,
    http: bool,
    host: str,
    port: int,
    keys: tuple[str, ...],
) -> None:
    """Serve code search to coding agents.

    Over MCP, on stdin and stdout: an agent starts this command itself. `codekin mcp install` tells it to.
    """
    asked = [
        name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if context.invoked_subcommand:
        if asked:
            raise InputError(f"options of {context.invoked_subcommand} come after it")
        return
    if not http and {"host", "port", "keys"} & {*asked}:
        raise InputError("--host, --port and --api-key go with --http")
    make_stage = _stage(reranker, budget)
    code = options.read_code(_checked(repositories), store) or [_here()]
    from codekin.serve.mcp import serve_http, serve_stdio

    if http:
        from codekin.serve import Limits

        serve_http(
            code,
            Limits(keys),
            make_stage,
            host=host,
            port=port,
            started=lambda url: print(f"serving agents at {url}; Ctrl-C ends it", flush=True),
        )
        return
    if sys.stdin.isatty():
        print("codekin: an agent starts this and speaks on stdin; Ctrl-C ends it", file=sys.stderr)
    serve_stdio(code, make_stage)


@mcp.command(cls=second_stage.ByEquals)
@click.argument("agents", nargs=-1, required=True, metavar="AGENT...")
@_repositories
@options.served_store
@click.option(
    "--rerank", "reranker", metavar="[=MODEL]", help="Have a second stage, as `codekin mcp` takes it."
)
@_budget
@click.option("--user", is_flag=True, help="In your own settings, for all projects, not in this folder's.")
@click.option("--print", "only_print", is_flag=True, help="Print what to add, and where; write nothing.")
def install(
    agents: tuple[str, ...],
    repositories: tuple[Path, ...],
    store: str | None,
    reranker: str | None,
    budget: str | None,
    user: bool,
    only_print: bool,
) -> None:
    """Add codekin to the settings of agents.

    AGENT is claude-code, cursor, vscode, codex, gemini or zed. Settings are those of the project in this folder; all
    else in them stays as it is, and a file that cannot be changed for sure is left alone.
    """
    from codekin.serve.agents import AGENTS

    if unknown := [name for name in agents if name not in AGENTS]:
        raise InputError(f"unknown agent {unknown[0]!r}; known are {', '.join(AGENTS)}")
    code = options.read_code([path.resolve() for path in _checked(repositories)], store)
    _stage(reranker, budget)
    model = "--rerank" if reranker == "" else f"--rerank={reranker}"
    arguments = [model] * (reranker is not None) + [f"--budget={budget}"] * (budget is not None)
    for agent in (AGENTS[name] for name in agents):
        entry = agent.entry(_own_command(), code, arguments)
        file = agent.settings(None if user else Path.cwd())
        if only_print:
            print(f"{agent.title}, {file}:\n\n{agent.show(entry)}")
        else:
            print(f"{agent.title}: {agent.install(entry, file).value} in {file}")


def _stage(reranker: str | None, budget: str | None) -> Callable[[], SharedStage] | None:
    return second_stage.of_server(reranker, _BUDGET if reranker is not None and budget is None else budget)


def _checked(folders: Sequence[Path]) -> Sequence[Path]:
    for path in folders:
        if not path.is_dir():
            raise InputError(f"no folder {path}")
    return folders


def _here() -> Path:
    """The folder in which an agent starts this."""
    here = Path.cwd()
    if Path.home().resolve().is_relative_to(here):
        raise InputError(f"{here} is no project, and would be indexed whole: name its folder with --repo")
    return here


def _own_command() -> str:
    """How another program starts codekin: by name where PATH has it without an activated environment, else by path."""
    own = Path(sys.argv[0]).absolute()
    environment = Path(sys.prefix) / ("Scripts" if sys.platform == "win32" else "bin")
    folders = os.get_exec_path()
    if sys.prefix != sys.base_prefix:
        folders = [folder for folder in folders if Path(folder) != environment]
    found = shutil.which("codekin", path=os.pathsep.join(folders))
    return "codekin" if found and own.exists() and own.samefile(found) else str(own)
