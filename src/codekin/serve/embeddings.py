"""The embeddings API in OpenAI's and in Jina's form, reranking in Jina's and Cohere's, and the list of models.

OpenAI: https://platform.openai.com/docs/api-reference/embeddings; Jina: https://api.jina.ai/redoc;
Cohere: https://docs.cohere.com/reference/rerank.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray
from pydantic import BaseModel, Field, StrictInt, StrictStr

from codekin.embed import Precision, quantise
from codekin.errors import InputError
from codekin.serve.batching import SharedEmbedder
from codekin.serve.errors import UNICODE, ApiError, Text, check_served
from codekin.serve.names import ServedName
from codekin.serve.second_stage import SharedStage
from codekin.tasks import Role, Task

MOST_TEXTS = 2_048
_AT_ONCE = 20_000  # characters that are cut into tokens on the spot: in a thread it would take as long
_ROLES = {"query": Role.QUERY, "passage": Role.DOCUMENT}
TASKS = tuple(f"{task.value}.{role}" for task in Task for role in _ROLES)

Tokens = Annotated[list[StrictInt], Field(min_length=1)]


class TextObject(BaseModel):
    """A text as models of several media take it."""

    text: Text


class EmbeddingsRequest(BaseModel):
    """OpenAI's members and Jina's; others are ignored."""

    input: Annotated[
        Text
        | Annotated[list[Text], Field(min_length=1, max_length=MOST_TEXTS)]
        | Tokens
        | Annotated[list[Tokens], Field(min_length=1, max_length=MOST_TEXTS)]
        | Annotated[list[TextObject], Field(min_length=1, max_length=MOST_TEXTS)],
        Field(description="A text, texts, or the model's own tokens of one or of several."),
    ]
    model: str | None = Field(None, description="The model that is served; another is an error.")
    dimensions: StrictInt | None = Field(None, description="One of the model's Matryoshka sizes.")
    encoding_format: Literal["float", "base64"] = Field(
        "float", description="base64 is of little-endian float32."
    )
    task: str | None = Field(
        None,
        description=f"What the texts are (default: {TASKS[1]}).",
        json_schema_extra={"enum": [*TASKS, None]},
    )
    embedding_type: Literal["float", "base64", "binary", "ubinary", "int8"] | None = Field(
        None,
        description="binary is ubinary less 128; int8 stretches each vector so that its largest number is 127.",
    )
    normalized: bool = Field(
        True, description="Whether vectors of fewer dimensions are brought to unit length again."
    )
    truncate: bool = Field(
        False, description="Whether texts that are too long are cut at their end, or an error."
    )


class RerankRequest(BaseModel):
    """Jina's members, which Cohere's are too."""

    query: Annotated[StrictStr, Field(min_length=1), UNICODE]
    documents: list[Text | TextObject] = Field(min_length=1, max_length=MOST_TEXTS)
    model: str | None = Field(
        None,
        description="A model that is served (default: that of the second stage, else the embedding model).",
    )
    top_n: StrictInt | None = Field(None, ge=1)
    return_documents: bool = True
    task: Task = Task.NL2CODE


class Usage(BaseModel):
    prompt_tokens: int
    total_tokens: int


class Embedding(BaseModel):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingsAnswer(BaseModel):
    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage


class Reranked(BaseModel):
    """A document's place in the request, and its score.

    By the embedding model, its cosine to the query, from 0 to 1; by another, what that gives.
    """

    index: int
    relevance_score: float
    document: TextObject | None = None


class RerankAnswer(BaseModel):
    """The documents, the most relevant first."""

    id: str
    model: str
    results: list[Reranked]
    usage: Usage | None = None
    meta: dict[str, Any]


class ServedModel(BaseModel):
    """What is known of a model; of one that only reranks, no sizes of vectors."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    capabilities: list[Literal["embed", "rerank"]]
    dimensions: int | None = None
    sizes: list[int] = []
    max_length: int | None = None


class ServedModels(BaseModel):
    object: Literal["list"] = "list"
    data: list[ServedModel]


class Service:
    """The models that are served, and what clients call them."""

    def __init__(self, embedder: SharedEmbedder, stage: SharedStage | None) -> None:
        self.embedder, self.stage = embedder, stage
        self.name = ServedName(embedder.name)
        self.names = (self.name, stage.name) if stage else (self.name,)
        self._began = int(time.time())

    @property
    def models(self) -> list[ServedModel]:
        """The embedding model, and that of the second stage if there is one."""
        embedding = ServedModel(
            id=self.name.id,
            created=self._began,
            owned_by=self.name.owner,
            capabilities=["embed", "rerank"],
            dimensions=self.embedder.dimensions,
            sizes=list(self.embedder.sizes),
            max_length=self.embedder.max_length,
        )
        second = [
            ServedModel(id=one.id, created=self._began, owned_by=one.owner, capabilities=["rerank"])
            for one in self.names[1:]
            if one.id != self.name.id
        ]
        return [embedding, *second]

    async def rerank(
        self, query: str, documents: Sequence[str], task: Task, model: str | None
    ) -> tuple[ServedName, NDArray[np.float32], int | None]:
        """By which model (default: that of the second stage), the documents' scores, (n,), and the tokens read.

        The embedding model's scores are cosines, from 0 to 1. How many tokens a second stage reads, nobody knows.
        """
        check_served(model, *self.names)
        stage = self.stage
        if stage and (model is None or model not in self.name):
            return stage.name, await stage.score(query, documents, task), None
        (wanted, of_query), (vectors, of_documents) = await asyncio.gather(
            self.embed([query], task, Role.QUERY, truncate=True, param="query"),
            self.embed(documents, task, Role.DOCUMENT, truncate=True, param="documents"),
        )
        # Row by row, unlike a matrix product, so that a score depends on its document alone.
        return self.name, (vectors * wanted[0]).sum(axis=1).clip(0.0, 1.0), of_query + of_documents

    async def embed(
        self,
        texts: Sequence[str],
        task: Task,
        role: Role,
        dimensions: int | None = None,
        *,
        truncate: bool,
        param: str,
    ) -> tuple[NDArray[np.float32], int]:
        """The texts' vectors, (n, d) float32, and how many tokens they are to the model."""
        _check_texts(texts, param)
        if sum(map(len, texts)) > _AT_ONCE:
            lengths = await asyncio.to_thread(self.embedder.count_tokens, texts, task, role)
        else:
            lengths = self.embedder.count_tokens(texts, task, role)
        longest = self.embedder.max_length
        if longest is not None and max(lengths) > longest:
            if not truncate:
                row = next(row for row, length in enumerate(lengths) if length > longest)
                place = f"{param}[{row}]" if len(texts) > 1 else param
                raise ApiError(
                    400,
                    f"{place} has {lengths[row]} tokens, and the model reads {longest}; truncate cuts it",
                    code="context_length_exceeded",
                    param=param,
                )
            lengths = [min(length, longest) for length in lengths]
        future = self.embedder.submit(texts, task, role, dimensions, lengths)
        return await asyncio.wrap_future(future), sum(lengths)


def router(service: Service) -> APIRouter:
    """The routes of one model."""
    routes = APIRouter()

    @routes.post("/v1/embeddings", response_model=EmbeddingsAnswer, tags=["embeddings"])
    async def create_embeddings(asked: EmbeddingsRequest, request: Request) -> Response:
        """Vectors of texts."""
        check_served(asked.model, service.name)
        task, role = read_task(asked.task)
        texts = _texts(asked.input, service.embedder)
        sizes = service.embedder.sizes
        if asked.dimensions not in (None, *sizes):
            known = ", ".join(map(str, sizes))
            raise ApiError(
                400, f"no vectors of {asked.dimensions} dimensions; sizes: {known}", param="dimensions"
            )
        # Not brought to unit length again, it is the leading numbers of the whole vector.
        size = asked.dimensions if asked.normalized else None
        vectors, tokens = await service.embed(texts, task, role, size, truncate=asked.truncate, param="input")
        request.scope["log"].update(texts=len(texts), tokens=tokens)
        rows = _ENCODINGS[asked.embedding_type or asked.encoding_format](vectors[:, : asked.dimensions])
        data = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
        return _json({"object": "list", "data": data, "model": service.name.id, "usage": _usage(tokens)})

    @routes.post("/v2/rerank", include_in_schema=False)
    @routes.post("/v1/rerank", response_model=RerankAnswer, tags=["embeddings"])
    async def rerank(asked: RerankRequest, request: Request) -> Response:
        """Documents by how well they answer a query."""
        documents = [document if isinstance(document, str) else document.text for document in asked.documents]
        _check_texts(documents, "documents")
        name, scores, tokens = await service.rerank(asked.query, documents, asked.task, asked.model)
        request.scope["log"].update(
            texts=1 + len(documents), **({} if tokens is None else {"tokens": tokens})
        )
        results = [
            {"index": index, "relevance_score": float(scores[index])}
            | ({"document": {"text": documents[index]}} if asked.return_documents else {})
            for index in np.argsort(-scores, kind="stable")[: asked.top_n].tolist()
        ]
        return _json(
            {
                "id": request.scope["request_id"],
                "model": name.id,
                "results": results,
                **({} if tokens is None else {"usage": _usage(tokens)}),
                "meta": {"api_version": {"version": "1"}, "billed_units": {"search_units": 1}},
            }
        )

    @routes.get("/v1/models", tags=["embeddings"])
    async def list_models() -> ServedModels:
        """The models that are served."""
        return ServedModels(data=service.models)

    @routes.get("/v1/models/{name:path}", tags=["embeddings"])
    async def retrieve_model(name: str) -> ServedModel:
        """The model of a name."""
        check_served(name, *service.names)
        return service.models[0 if name in service.name else -1]

    return routes


def read_task(name: str | None) -> tuple[Task, Role]:
    """Jina's name of a task and role, "nl2code.query"; by default documents of nl2code, as `Embedder.encode` has it."""
    if name is None:
        return Task.NL2CODE, Role.DOCUMENT
    task, _, role = name.partition(".")
    if name not in TASKS:
        raise ApiError(400, f"unknown task {name!r}; tasks: {', '.join(TASKS)}", param="task")
    return Task(task), _ROLES[role]


def _check_texts(texts: Sequence[str], param: str) -> None:
    if any(not text for text in texts):
        raise ApiError(400, f"{param} holds an empty text", param=param)


def _texts(given: Any, embedder: SharedEmbedder) -> list[str]:
    """The input as texts; tokens are the model's own, and read as what they stand for."""
    if isinstance(given, str):
        return [given]
    first = given[0]
    if isinstance(first, str):
        return list(given)
    if isinstance(first, TextObject):
        return [one.text for one in given]
    try:
        return [embedder.decode(tokens) for tokens in ([given] if isinstance(first, int) else given)]
    except InputError as error:
        raise ApiError(400, str(error), param="input") from None


def _base64(vectors: NDArray[np.float32]) -> list[str]:
    return [base64.b64encode(row.tobytes()).decode() for row in vectors.astype("<f4", copy=False)]


_ENCODINGS: dict[str, Callable[[NDArray[np.float32]], Sequence[Any]]] = {
    "float": lambda vectors: list(np.ascontiguousarray(vectors)),
    "base64": _base64,
    "ubinary": lambda vectors: list(quantise(vectors, Precision.BINARY).rows),
    "binary": lambda vectors: list((quantise(vectors, Precision.BINARY).rows - 128).view(np.int8)),
    "int8": lambda vectors: list(quantise(vectors, Precision.INT8).rows),
}


def _usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": tokens, "total_tokens": tokens}


def _json(answer: dict[str, Any]) -> Response:
    return Response(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")
