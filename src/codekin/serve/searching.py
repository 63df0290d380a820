"""Search, related code and status of the repositories."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field, StrictStr

from codekin import __version__
from codekin.errors import InputError
from codekin.search import CANDIDATES, Mode, snippet
from codekin.serve.errors import UNICODE, ApiError, check_served
from codekin.serve.second_stage import SharedStage
from codekin.serve.served import Answer, Hit, Served
from codekin.serve.threads import Threads
from codekin.tasks import Task

_OPTIONS = ("repositories", "mode", "task", "languages", "include", "exclude", "anyway")
_SNIPPET_LINES = 6

Names = Annotated[list[Annotated[StrictStr, Field(max_length=1_000), UNICODE]], Field(max_length=64)]
Top = Annotated[int, Field(ge=1, le=100)]


class Reranking(BaseModel):
    """How the second stage is to work; what is left out is the server's to choose."""

    model: Annotated[str, Field(max_length=1_000), UNICODE] | None = Field(
        default=None, description="The model that the server has for it; another is an error."
    )
    candidates: int = Field(default=CANDIDATES, ge=1, le=200, description="How many of the best are scored.")
    budget_ms: float | None = Field(
        default=None,
        gt=0,
        le=600_000,
        description="Time for it, in which as many are scored as it suffices for.",
    )


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
    rerank: bool | Reranking = Field(
        False, description="Whether the second stage's model scores the best again, and how."
    )


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
    """A chunk of code; `snippet` are those of its lines that say most about the query.

    The scores of both stages are there where a second one was asked for; what that had no time for has no second.
    """

    repository: str
    path: str
    start_line: int
    end_line: int
    symbol: str
    kind: str
    language: str
    score: float
    first_score: float | None = None
    second_score: float | None = None
    text: str
    snippet: Lines


class Rescored(BaseModel):
    """What a second stage did: how many of its candidates it has scored, in how many seconds.

    `problem` says why it failed, "" where it did not; then the results are those of the first stage.
    """

    model: str
    candidates: int
    scored: int
    seconds: float
    problem: str


class LeftOut(BaseModel):
    """A repository that could not be asked, and why."""

    repository: str
    problem: str


class SearchAnswer(BaseModel):
    """The best chunks; `indexing` names repositories whose index is still being made.

    `left_out` are those that could not be asked, such as one whose index is of a model that is not installed; `rerank`
    is there where a second stage was asked for.
    """

    object: Literal["list"]
    answered: bool
    indexing: list[str]
    left_out: list[LeftOut]
    elapsed_ms: float
    rerank: Rescored | None = None
    results: list[Found]


class Progress(BaseModel):
    """How far an update is, in files and in bytes of source."""

    files: int
    files_total: int
    size: int
    size_total: int


class RepositoryAnswer(BaseModel):
    """An index in numbers: `languages` counts chunks, `updated_at` is in Unix seconds.

    `root` is the folder, or where the repository is in a shared store.
    """

    name: str
    root: str
    files: int
    chunks: int
    languages: dict[str, int]
    model: str | None
    dimensions: int | None
    bytes: int | None
    updated_at: float | None
    indexing: bool
    progress: Progress | None
    problem: str | None


class StatusAnswer(BaseModel):
    version: str
    repositories: list[RepositoryAnswer]


class Finder:
    """Searches of the repositories for clients, by the threads that they take and the second stage, if there is one."""

    def __init__(self, repositories: Served, threads: Threads, stage: SharedStage | None) -> None:
        self.repositories, self.threads, self.stage = repositories, threads, stage

    async def find(
        self,
        asked: SearchRequest,
        log: dict[str, Any],
        tell: Callable[[Answer], str],
        repositories: Served | None = None,
    ) -> Response:
        """The answer to a question (in other `repositories`: to be compared) as JSON; `log` is told of it."""
        log.update(query=asked.query)
        options = {name: getattr(asked, name) for name in _OPTIONS}
        search = partial((repositories or self.repositories).search, asked.query, **options)
        wanted = self._wanted(asked.rerank)
        if wanted is None:
            return await self.answer(partial(search, asked.top), tell, log)
        stage, how = wanted
        answer = await self.threads.run(partial(search, max(asked.top, how.candidates)))
        answer = await stage.rerank(
            asked.query,
            asked.task,
            answer,
            top=asked.top,
            candidates=how.candidates,
            budget=None if how.budget_ms is None else how.budget_ms / 1000,
        )
        if done := answer.reranked:
            log.update(
                reranked=done.scored, rerank_ms=round(1000 * done.seconds, 2), problem=done.problem or None
            )
        return await self.answer(lambda: answer, tell, log)

    async def answer(
        self, ask: Callable[[], Answer], tell: Callable[[Answer], str], log: dict[str, Any]
    ) -> Response:
        """What `ask` finds, as JSON."""

        def work() -> tuple[str, int]:
            answer = ask()
            return tell(answer), len(answer.hits)

        body, log["results"] = await self.threads.run(work)
        return Response(body, media_type="application/json")

    def _wanted(self, asked: bool | Reranking) -> tuple[SharedStage, Reranking] | None:
        """The second stage and how it is to work, None where it is not asked for."""
        if asked is False:
            return None
        if self.stage is None:
            raise ApiError(
                400, "this server has no second stage: codekin serve --rerank starts one", param="rerank"
            )
        how = Reranking() if asked is True else asked
        check_served(how.model, self.stage.name, param="rerank")
        return self.stage, how


def router(finder: Finder) -> APIRouter:
    """The routes of the repositories."""
    routes = APIRouter(tags=["search"])
    repositories = finder.repositories

    @routes.post("/v1/search", response_model=SearchAnswer)
    async def search(asked: SearchRequest, request: Request) -> Response:
        """The chunks of code that answer a question, best first."""
        began = time.perf_counter()
        return await finder.find(
            asked, request.scope["log"], lambda answer: _told(answer, asked.query, began)
        )

    @routes.get("/v1/related", response_model=SearchAnswer)
    async def related(asked: Annotated[RelatedQuery, Query()], request: Request) -> Response:
        """The chunks most like the one at a line of a file, in any language."""
        options = {**asked.__dict__}
        repository = options.pop("repository")
        names = list(repositories.places)
        if repository is None and len(names) != 1:
            raise InputError(f"name the repository; served here: {', '.join(names) or 'none'}")
        began = time.perf_counter()
        return await finder.answer(
            lambda: repositories.related(repository or names[0], **options),
            lambda answer: _told(answer, "", began),
            request.scope["log"],
        )

    @routes.get("/v1/status")
    async def status() -> StatusAnswer:
        """What is served: each index in numbers."""
        served = await finder.threads.run(repositories.status)
        answers = [
            RepositoryAnswer(
                name=one.name,
                root=os.fsencode(one.place).decode("utf-8", "replace"),
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


def _told(answer: Answer, query: str, began: float) -> str:
    """An answer as JSON.

    In ASCII: a byte of a path that is not UTF-8 is the escape of its surrogate (PEP 383).
    """
    told = {
        "object": "list",
        **about(answer),
        "elapsed_ms": 0.0,
        "results": [_found(hit, query) for hit in answer.hits],
    }
    told["elapsed_ms"] = round(1000 * (time.perf_counter() - began), 2)
    return json.dumps(told)


def about(answer: Answer) -> dict[str, Any]:
    """What is to be known of an answer's results; of the second stage, where there was one."""
    left_out = [{"repository": name, "problem": problem} for name, problem in answer.left_out.items()]
    return {
        "answered": answer.answered,
        "indexing": answer.indexing,
        "left_out": left_out,
        **({"rerank": asdict(answer.reranked)} if answer.reranked else {}),
    }


def _found(hit: Hit, query: str) -> dict[str, Any]:
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
