"""Code search as tools of coding agents, over the Model Context Protocol (https://modelcontextprotocol.io)."""

from __future__ import annotations

import inspect
import os
import posixpath
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from threading import Lock
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Annotated

from codekin import __version__
from codekin.errors import CodekinError, InputError, MissingExtraError
from codekin.tasks import Task

try:
    from anyio import to_thread
    from mcp.server.mcpserver import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
    from mcp.server.transport_security import TransportSecuritySettings
    from mcp.types import ToolAnnotations
    from pydantic import Field
except ModuleNotFoundError:
    raise MissingExtraError("codekin mcp", "serve") from None

if TYPE_CHECKING:
    from codekin.serve.guard import Limits
    from codekin.serve.second_stage import SharedStage
    from codekin.serve.served import Answer, RepositoryStatus, Served

Code = Sequence[Path] | str
"""What is served: folders, or the repositories of a shared store, by its address."""

_PATH = "/mcp"
_NEAREST = 3  # that are shown where nothing answers
_LANGUAGES = 8  # that index_status names

Query = Annotated[
    str, Field(description="What the code does, in plain words, or the name of a symbol. One thing a query.")
]
Names = Annotated[list[str], Field(description="Only these repositories, by the names of index_status.")]
Languages = Annotated[list[str], Field(description="Only these languages, as in python, typescript, go.")]
Paths = Annotated[
    list[str],
    Field(description='Globs as in .gitignore: "src/api/", "*.sql"; with a leading ! leaves out: "!tests/".'),
]
Place = Annotated[str, Field(description="A file, as the results name it, or its absolute path.")]
Line = Annotated[int, Field(ge=1, description="A line in the function or class, from 1.")]
Most = Annotated[int, Field(ge=1, le=50, description="At most so many results.")]
Budget = Annotated[
    int,
    Field(
        ge=100, le=25_000, description="Tokens to spend on the answer: more of them show more of the code."
    ),
]


def serve_stdio(code: Code, make_stage: Callable[[], SharedStage] | None = None) -> None:
    """Serves search in the code to the agent that has started this process, until it closes stdin.

    `make_stage` makes the second stage of its searches.
    """
    with _Tools(code, make_stage) as tools:

        def end(number: int, _: FrameType | None) -> None:
            tools.close()
            os._exit(128 + number)  # the SDK reads stdin in a thread that nothing else ends

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)
        _server(tools).run()


def serve_http(
    code: Code,
    limits: Limits,
    make_stage: Callable[[], SharedStage] | None = None,
    *,
    host: str,
    port: int,
    started: Callable[[str], None],
) -> None:
    """As `serve_stdio`, to agents over streamable HTTP at /mcp; see `codekin.serve.http.run`."""
    from starlette.responses import Response

    from codekin.serve.guard import Guard, Receive, Scope, Send
    from codekin.serve.http import run

    # The guard refuses other hosts, and this other pages, where nobody has to show a key.
    checks = TransportSecuritySettings(enable_dns_rebinding_protection=False) if limits.keys else None
    with _Tools(code, make_stage) as tools:
        # Every request stands for itself: the tools remember nothing of a client.
        app = _server(tools).streamable_http_app(
            streamable_http_path=_PATH, json_response=True, stateless_http=True, transport_security=checks
        )

        async def posts(scope: Scope, receive: Receive, send: Send) -> None:
            """The app without the stream of messages that a client may ask for by GET: none would ever come."""
            if scope["type"] == "http" and scope["path"] == _PATH and scope["method"] != "POST":
                await Response(status_code=405, headers={"Allow": "POST"})(scope, receive, send)
            else:
                await app(scope, receive, send)

        run(
            Guard(posts, limits),
            limits,
            host=host,
            port=port,
            started=lambda address: started(f"{address}{_PATH}"),
        )


def _server(tools: _Tools) -> MCPServer:
    server = MCPServer(
        "codekin",
        title="codekin",
        version=__version__,
        instructions=tools.instructions,
        log_level="WARNING",
        subscriptions=False,
    )
    reading = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
    for tool in (tools.search_code, tools.related_code, tools.index_status):
        server.add_tool(tool, description=inspect.getdoc(tool), annotations=reading, structured_output=False)
    return server


class _Tools:
    """What agents call. Answers are text for a language model: compact, and about as long as it asks for.

    The indexes are opened beside the handshake, for which an agent waits. Where one cannot be, a call says why, and the
    next one tries again.
    """

    def __init__(self, code: Code, make_stage: Callable[[], SharedStage] | None) -> None:
        self._code = code if isinstance(code, str) else [folder.resolve() for folder in code]
        self._make_stage = make_stage
        self._stage: SharedStage | None = None
        self._thread = ThreadPoolExecutor(1)
        self._turn = Lock()
        self._opening = self._thread.submit(self._open)

    def __enter__(self) -> _Tools:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if self._stage:
            self._stage.close()

    def close(self) -> None:
        """Ends updates at what they have committed."""
        self._thread.shutdown()
        if self._opening.exception() is None:
            self._opening.result().close()

    def _open(self) -> Served:
        from codekin.serve import Repositories, StoredRepositories

        repositories: Served = (
            StoredRepositories(self._code) if isinstance(self._code, str) else Repositories(self._code)
        )
        repositories.start()
        if self._make_stage and not self._stage:
            self._stage = self._make_stage()
            self._stage.start()
        return repositories

    @property
    def _repositories(self) -> Served:
        with self._turn:
            if self._opening.done() and self._opening.exception():
                self._opening = self._thread.submit(self._open)
            opening = self._opening
        return opening.result()

    @property
    def instructions(self) -> str:
        """What a client tells its model of this server."""
        is_shared = isinstance(self._code, str)
        fresh = "answers from what was indexed" if is_shared else "follows edits by itself"
        return (
            f"Searches code by meaning, in {self._where}. Use search_code first to find where something is done or "
            f"how it works: it needs no exact names, and {fresh}. Use related_code for other places like one that "
            "you know. For every occurrence of an exact string, grep is better."
        )

    @property
    def _where(self) -> str:
        return self._code if isinstance(self._code, str) else ", ".join(map(_shown, self._code))

    async def search_code(
        self,
        query: Query,
        repositories: Names = [],  # noqa: B006
        languages: Languages = [],  # noqa: B006
        paths: Paths = [],  # noqa: B006
        max_results: Most = 8,
        max_tokens: Budget = 2_000,
    ) -> str:
        """Find the code that does something, by what it means: no exact names are needed.

        Ask as you would ask a colleague ("where are failed requests retried"), or for a symbol by its name. The
        functions, classes, settings and docs that answer come best first, each with its path, lines, symbol and the
        lines that say most. Cheaper than reading files to find the place, and better than grep where you do not know
        how the code words it. Files of a folder that changed are read again by themselves. Says so where nothing
        answers.
        """

        def find(*, anyway: bool = False) -> Answer:
            served = self._repositories  # with which the second stage comes
            top = max(max_results, self._stage.candidates) if self._stage else max_results
            return served.search(
                query,
                top,
                repositories=repositories,
                languages=languages,
                include=[path for path in paths if not path.startswith("!")],
                exclude=[path[1:] for path in paths if path.startswith("!")],
                anyway=anyway,
            )

        def told(answer: Answer) -> str:
            return self._text(answer if answer.hits else find(anyway=True), query, max_tokens)

        with _told():
            answer = await to_thread.run_sync(find)
            if self._stage and answer.hits:
                answer = await self._stage.rerank(query, Task.NL2CODE, answer, top=max_results)
            return await to_thread.run_sync(told, answer)

    def related_code(self, path: Place, line: Line, max_results: Most = 5, max_tokens: Budget = 1_500) -> str:
        """Find code like the code at a line, in any language: copies, siblings, other implementations, its tests.

        For "what else does this", "where must this change too" and "how is this done elsewhere". The nearest come
        first, in the form of search_code.
        """
        with _told():
            repository, inside = self._place(path)
            return self._text(
                self._repositories.related(repository, inside, line, max_results), "", max_tokens
            )

    def index_status(self) -> str:
        """What search_code searches: the repositories, where they are, size, languages, and whether all is indexed.

        Not needed before a search.
        """
        with _told():
            lines = [_described(status) for status in self._repositories.status()]
            if self._stage:
                state = self._stage.problem or f"by {self._stage.name.id}"
                lines.append(f"second stage: {_shown(state)}")
            return "\n".join(lines)

    def _text(self, answer: Answer, query: str, max_tokens: int) -> str:
        """The hits, and why some may be missing."""
        from codekin.serve.excerpts import fitted

        notes = []
        if answer.indexing or not answer.hits:
            states = self._repositories.status()
            notes = [_described(state) for state in states if state.problem or not state.whole]
        notes += [f"{name} is left out: {_shown(problem)}" for name, problem in answer.left_out.items()]
        if not answer.hits:
            return "\n".join(["Nothing found.", *notes])
        hits = answer.hits
        if not answer.answered:
            hits, max_tokens = hits[:_NEAREST], max_tokens // 4
        roots = self._repositories.places
        is_one = len(roots) == 1
        names = dict.fromkeys(hit.repository for hit in hits)
        where = ", ".join(f"{'' if is_one else f'{name}/ = '}{_shown(roots[name])}" for name in names)
        head = (
            f"In {where}:" if answer.answered else f"Nothing seems to answer this. The nearest, in {where}:"
        )
        places = [hit.result.path if is_one else f"{hit.repository}/{hit.result.path}" for hit in hits]
        results = [hit.result for hit in hits]
        return fitted(
            list(zip(map(_shown, places), results, strict=True)),
            query,
            max_tokens,
            head="\n".join([*notes, head]),
        )

    def _place(self, path: str) -> tuple[str, str]:
        """The repository and the path in it that an agent means."""
        if "\0" in path:
            raise InputError("a NUL is in no path")
        roots = self._repositories.places
        if Path(path).is_absolute():
            for place in (Path(os.path.normpath(path)), Path(path).resolve()):
                for name, root in roots.items():
                    if isinstance(root, Path) and place.is_relative_to(root):
                        return name, place.relative_to(root).as_posix()
            raise InputError(f"{path} is not below {self._where}")
        inside = posixpath.normpath(path.replace("\\", "/"))
        if len(roots) == 1:
            return next(iter(roots)), inside
        name = max((name for name in roots if inside.startswith(f"{name}/")), key=len, default="")
        if not name:
            raise InputError(f"begin the path with the name of its repository: {', '.join(roots)}")
        return name, inside[len(name) + 1 :]


@contextmanager
def _told() -> Iterator[None]:
    """Makes an error of ours one that the model reads."""
    try:
        yield
    except CodekinError as error:
        raise ToolError(str(error).encode("utf-8", "replace").decode()) from None


def _shown(path: str | Path) -> str:
    """A path as JSON can hold it: of a byte that is not UTF-8, a mark."""
    return os.fsencode(path).decode("utf-8", "replace")


def _described(status: RepositoryStatus) -> str:
    """A repository in one line."""
    index, progress, updated_at = status.index, status.progress, status.index.updated_at
    by_chunks = sorted(index.languages, key=lambda name: (-index.languages[name], name))
    languages = by_chunks[:_LANGUAGES] + ["..."] * (len(by_chunks) > _LANGUAGES)
    if status.problem:
        state = f"cannot be brought up to date: {status.problem}"
    elif isinstance(status.place, str):
        state = f"as it was at {datetime.fromtimestamp(updated_at or 0.0, timezone.utc):%Y-%m-%d %H:%M} UTC"
    elif status.whole:
        state = "up to date"
    elif progress:
        state = f"being indexed, {progress.files:,} of {progress.files_total:,} files done; ask again for the rest"
    else:
        state = "being indexed; ask again for the rest"
    size = f"{index.files:,} files, {index.chunks:,} chunks"
    return f"{status.name}: {_shown(status.place)}; {size} ({', '.join(languages) or 'nothing'}); {state}"
