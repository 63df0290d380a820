"""Search, related code and status of the repositories."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field, StrictStr

from codekin import __version__
from codekin.errors import InputError
from codekin.search import Mode, snippet
from codekin.serve.batching import BusyError
from codekin.serve.errors import UNICODE
from codekin.serve.repositories import Answer, Hit, Repositories
from codekin.tasks import Task

_THREADS = 16
_MOST_WAITING = 256
_SNIPPET_LINES = 6

Names = Annotated[list[Annotated[StrictStr, Field(max_length=1_000), UNICODE]], Field(max_length=64)]
Top = Annotated[int, Field(ge=1, le=100)]


class SearchRequest(BaseModel):
    """A question, and where and how to look."""

    query: Annotated[StrictStr, Field(min_length=1, max_length=20_000), UNICODE]
    top: Top = 10
    repositories: Names = Field(default=[], description="Names of those to search (default: all).")
    mode: Mode = Mode.HYBRID
    task: Task = Task.NL2CODE
    languages: Names = []
    include: Names = Field(default=[], description="Globs as in .gitignore: only files that match.")
    exclude: Names = []
    anyway: bool = Field(False, description="Whether to show what is nearest where nothing answers.")


class RelatedQuery(BaseModel):
    """A place in a repository, and which files to look in."""

    repository: str | None = Field(None, description="Needed where several are served.")
    path: Annotated[str, Field(max_length=4_096, description="Relative to the repository's root.")]
    line: Annotated[int, Field(ge=1, le=1 << 31)]
    top: Top = 10
    task: Task = Task.CODE2CODE
    languages: Names = []
    include: Names = []
    exclude: Names = []


class Lines(BaseModel):
    """Lines of a file, numbered from 1."""

    start_line: int
    end_line: int
    text: str


class Found(BaseModel):
    """A chunk of code; `snippet` are those of its lines that say most about the query."""

    repository: str
    path: str
    start_line: int
    end_line: int
    symbol: str
    kind: str
    language: str
    score: float
    text: str
    snippet: Lines


class SearchAnswer(BaseModel):
    """The best chunks; `indexing` names repositories whose index is still being made."""

    object: Literal["list"]
    answered: bool
    indexing: list[str]
    elapsed_ms: float
    results: list[Found]


class Progress(BaseModel):
    """How far an update is, in files and in bytes of source."""

    files: int
    files_total: int
    size: int
    size_total: int


class RepositoryAnswer(BaseModel):
    """An index in numbers: `languages` counts chunks, `updated_at` is in Unix seconds."""

    name: str
    root: str
    files: int
    chunks: int
    languages: dict[str, int]
    model: str | None
    dimensions: int | None
    bytes: int
    updated_at: float | None
    indexing: bool
    progress: Progress | None
    problem: str | None


class StatusAnswer(BaseModel):
    version: str
    repositories: list[RepositoryAnswer]


class Searches:
    """Threads for what takes a repository's time; BusyError where more waits for them than is worth it."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="search")
        self._free = BoundedSemaphore(_MOST_WAITING)

    async def run(self, ask: Callable[[], Any]) -> Any:
        """What `ask` returns; it is not begun once nobody waits for it any longer."""
        if not self._free.acquire(blocking=False):
            raise BusyError(1)
        future: Future[Any] = self._threads.submit(ask)
        future.add_done_callback(lambda _: self._free.release())
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)


def router(repositories: Repositories, searches: Searches) -> APIRouter:
    """The routes of the repositories."""
    routes = APIRouter(tags=["search"])

    @routes.post("/v1/search", response_model=SearchAnswer)
    async def search(asked: SearchRequest, request: Request) -> Response:
        """The chunks of code that answer a question, best first."""
        request.scope["log"].update(query=asked.query)
        options = {**asked.__dict__}
        query = options.pop("query")
        return await _answer(request, searches, lambda: repositories.search(query, **options), query)

    @routes.get("/v1/related", response_model=SearchAnswer)
    async def related(asked: Annotated[RelatedQuery, Query()], request: Request) -> Response:
        """The chunks most like the one at a line of a file, in any language."""
        options = {**asked.__dict__}
        repository = options.pop("repository")
        names = repositories.names
        if repository is None and len(names) != 1:
            raise InputError(f"name the repository; served here: {', '.join(names) or 'none'}")
        return await _answer(
            request, searches, lambda: repositories.related(repository or names[0], **options)
        )

    @routes.get("/v1/status")
    async def status() -> StatusAnswer:
        """What is served: each index in numbers."""
        served = await searches.run(repositories.status)
        answers = [
            RepositoryAnswer(
                name=one.name,
                root=os.fsencode(one.index.root).decode("utf-8", "replace"),
                files=one.index.files,
                chunks=one.index.chunks,
                languages=one.index.languages,
                model=one.index.model,
                dimensions=one.index.dimensions,
                bytes=one.index.bytes,
                updated_at=one.index.updated_at,
                indexing=not one.whole,
                progress=Progress.model_validate(one.progress, from_attributes=True)
                if one.progress
                else None,
                problem=one.problem,
            )
            for one in served
        ]
        return StatusAnswer(version=__version__, repositories=answers)

    return routes


async def _answer(
    request: Request, searches: Searches, ask: Callable[[], Answer], query: str = ""
) -> Response:
    began = time.perf_counter()
    body, count = await searches.run(lambda: _told(ask(), query, began))
    request.scope["log"].update(results=count)
    return Response(body, media_type="application/json")


def _told(answer: Answer, query: str, began: float) -> tuple[str, int]:
    """An answer as JSON, and its number of results.

    In ASCII: a byte of a path that is not UTF-8 is the escape of its surrogate (PEP 383).
    """
    told = {
        "object": "list",
        "answered": answer.answered,
        "indexing": answer.indexing,
        "elapsed_ms": 0.0,
        "results": [found(hit, query) for hit in answer.hits],
    }
    told["elapsed_ms"] = round(1000 * (time.perf_counter() - began), 2)
    return json.dumps(told), len(answer.hits)


def found(hit: Hit, query: str) -> dict[str, Any]:
    """A hit as the members of `Found`."""
    result = hit.result
    shown = snippet(result.text, query, _SNIPPET_LINES, symbol=result.symbol)
    return {
        "repository": hit.repository,
        **result.as_json(),
        "text": result.text,
        "snippet": {
            "start_line": result.start_line + shown.first,
            "end_line": result.start_line + shown.last,
            "text": "\n".join(result.text.split("\n")[shown.first : shown.last + 1]),
        },
    }
