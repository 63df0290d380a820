"""The web page: its files, and what it asks for: results with their code coloured, whole files, the map."""

from __future__ import annotations

import json
import time
from asyncio import wrap_future
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from starlette.types import Scope

from codekin.errors import InputError
from codekin.search import Contents, snippet
from codekin.serve import projection
from codekin.serve.projection import Places
from codekin.serve.searching import Finder, RelatedQuery, SearchRequest, about
from codekin.serve.served import Answer, Hit, Served, SourceFile
from codekin.source.highlighting import Piece, highlighted_lines, mark

Lines = list[list[str | tuple[str, str] | tuple[str, str, int]]]
"""Lines as the page reads them: each a list of pieces that are text, (kind, text), or (kind, text, 1) for a mark."""

_SNIPPET_LINES = 8
_WIDEST = 1_000  # characters of a line that are shown
_COLOURED = 300_000  # characters of a file that is coloured; a larger one is shown plain
_GRID = 10_000  # places of the map along one side
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",  # asked for again each time: never old scripts with a new page
}


class PageSearch(SearchRequest):
    """A question, and the model whose vectors are to answer: that of the repositories, or one beside it."""

    model: Annotated[str, Field(max_length=1_000)] | None = None


class Place(BaseModel):
    """A file of a repository."""

    repository: str
    path: Annotated[str, Field(max_length=4_096)]


class WebFiles(StaticFiles):
    """The page's style and scripts."""

    def __init__(self) -> None:
        super().__init__(packages=[("codekin.serve", "web")])

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_HEADERS)
        return response


def router(finder: Finder, maps: Maps, beside: Mapping[str, Served]) -> APIRouter:
    """The page and its data; `beside` are the same folders indexed with other models, by the model's name."""
    routes = APIRouter(include_in_schema=False)
    page = files("codekin.serve").joinpath("web", "index.html").read_text("utf-8")
    repositories, threads = finder.repositories, finder.threads

    @routes.get("/")
    async def index() -> Response:
        return HTMLResponse(page, headers=_HEADERS)

    @routes.get("/page/models")
    async def models() -> dict[str, Any]:
        return {"beside": list(beside), "reranker": finder.stage and finder.stage.name.id}

    @routes.post("/page/search")
    async def search(asked: PageSearch, request: Request) -> Response:
        if asked.model is not None and asked.model not in beside:
            raise InputError(
                f"no model {asked.model!r} beside that of the index: {', '.join(beside) or 'none'}"
            )
        began = time.perf_counter()
        return await finder.find(
            asked,
            request.scope["log"],
            lambda answer: _answer(answer, asked.query, began),
            None if asked.model is None else beside[asked.model],
        )

    @routes.post("/page/related")
    async def related(asked: RelatedQuery, request: Request) -> Response:
        options = {**asked.__dict__}
        repository = options.pop("repository") or next(iter(repositories.places), "")
        began = time.perf_counter()
        return await finder.answer(
            lambda: repositories.related(repository, **options),
            lambda answer: _answer(answer, "", began),
            request.scope["log"],
        )

    @routes.post("/page/source")
    async def source(asked: Place) -> Response:
        body = await threads.run(
            lambda: _source(repositories.source(asked.repository, asked.path), asked.path)
        )
        return Response(body, media_type="application/json")

    @routes.get("/page/map")
    async def chart(repository: str) -> Response:
        contents = await threads.run(lambda: repositories.contents(repository))
        return Response(await maps.drawn(repository, contents), media_type="application/json")

    return routes


@dataclass(frozen=True, slots=True)
class _Map:
    """A repository's map as JSON, and the layout from which its later ones are continued."""

    generation: int
    body: str
    vectors: NDArray[np.int8]
    places: Places


class _EndedError(Exception):
    """Ends a map that is being drawn."""


class Maps:
    """The maps of repositories, drawn one at a time on a thread of their own, and kept until the index changes."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="map")
        self._drawn: dict[str, _Map] = {}
        self._ended = False

    async def drawn(self, repository: str, contents: Contents) -> str:
        """The map of an index as JSON: its files, and of each chunk the file, the lines and the place."""
        return await wrap_future(self._thread.submit(self._draw, repository, contents))

    def close(self) -> None:
        self._ended = True
        self._thread.shutdown(cancel_futures=True)

    def _draw(self, repository: str, contents: Contents) -> str:
        before = self._drawn.get(repository)
        if before and before.generation == contents.generation:
            return before.body
        vectors, layout = contents.vectors, None
        if before:
            # What has not changed stays where it was.
            layout = projection.continued(vectors, before.vectors, before.places, self._check)
        if before and layout is not None:
            vectors, places = before.vectors, before.places
        else:
            layout = places = projection.project(vectors, self._check)
        made = _Map(contents.generation, _as_json(contents, layout), vectors, places)
        self._drawn[repository] = made
        return made.body

    def _check(self) -> None:
        if self._ended:
            raise _EndedError


def _as_json(contents: Contents, layout: Places) -> str:
    across, down = (layout * _GRID).astype(np.int64).T.tolist()
    return _json(
        {
            "files": contents.paths,
            "languages": contents.languages,
            "size": _GRID,
            "chunks": {
                "file": contents.file_of.tolist(),
                "first": contents.spans[:, 0].tolist(),
                "last": contents.spans[:, 1].tolist(),
                "x": across,
                "y": down,
            },
        }
    )


def _answer(answer: Answer, query: str, began: float) -> str:
    seconds = time.perf_counter() - began
    return _json(
        {
            **about(answer),
            "elapsed_ms": round(1000 * seconds, 1),
            "results": [_result(hit, query) for hit in answer.hits],
        }
    )


def _json(value: object) -> str:
    # In ASCII: a byte of a path that is not UTF-8 is the escape of its surrogate (PEP 383).
    return json.dumps(value, separators=(",", ":"))


def _result(hit: Hit, query: str) -> dict[str, Any]:
    """A hit with all its lines; `first` to `last` of them, from 0, say most about the query."""
    result = hit.result
    text = result.text.rstrip("\n")
    shown = snippet(text, query, _SNIPPET_LINES, symbol=result.symbol)
    lines = _coloured_chunk(text, result.language, result.path)
    return {
        "repository": hit.repository,
        **result.as_json(),
        "first": shown.first,
        "last": shown.last,
        "definition": shown.definition,
        "lines": _as_lines([mark(line, shown.marks.get(place, [])) for place, line in enumerate(lines)]),
    }


def _source(file: SourceFile, path: str) -> str:
    """A file with its code coloured, and the first and last lines of its chunks."""
    coloured = len(file.text) <= _COLOURED
    lines = highlighted_lines(file.text, file.language, path) if coloured else _plain(file.text)
    return _json({"language": file.language, "lines": _as_lines(lines), "chunks": file.spans})


@lru_cache(maxsize=256)
def _coloured_chunk(text: str, language: str, path: str) -> list[list[Piece]]:
    """The lines of a chunk: as someone types, most results are those of a letter before."""
    return highlighted_lines(text, language, path) if len(text) <= _COLOURED else _plain(text)


def _plain(text: str) -> list[list[Piece]]:
    return [[Piece("", line)] if line else [] for line in text.split("\n")]


def _as_lines(lines: Sequence[Sequence[Piece]]) -> Lines:
    told: Lines = []
    for line in lines:
        room = _WIDEST
        pieces: list[str | tuple[str, str] | tuple[str, str, int]] = []
        for kind, text, marked in line:
            if room <= 0:
                pieces.append(("comment", " …"))
                break
            text = text[:room].rstrip("\r") if "\r" in text else text[:room]
            room -= len(text)
            pieces.append((kind, text, 1) if marked else (kind, text) if kind else text)
        told.append(pieces)
    return told
