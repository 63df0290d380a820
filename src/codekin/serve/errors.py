"""Errors in OpenAI's form, which its clients turn into exceptions (https://platform.openai.com/docs/guides/error-codes).

`{"error": {"message", "type", "param", "code"}}`; no message holds what a file says.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, BeforeValidator, StrictStr
from starlette.exceptions import HTTPException

from codekin.errors import CodekinError, InputError
from codekin.serve.batching import BusyError
from codekin.serve.names import ServedName

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}


def _check_unicode(value: object) -> object:
    try:
        if isinstance(value, str):
            value.encode()
    except UnicodeEncodeError:
        raise ValueError("text has half of a surrogate pair, which is no Unicode") from None
    return value


UNICODE = BeforeValidator(_check_unicode)
"""Of a text of a request: JSON can hold halves of surrogate pairs, which answers in UTF-8 cannot."""
Text = Annotated[StrictStr, UNICODE]


class ErrorDetail(BaseModel):
    """What is wrong, in one line; `param` is the member of the request that is at fault."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(BaseModel):
    """Every answer of a status from 400 on."""

    error: ErrorDetail


class ApiError(CodekinError):
    """An answer that is an error: its status, and the code and parameter that programs read."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param
        self.headers = dict(headers or {})

    @property
    def content(self) -> dict[str, Any]:
        """The answer's JSON."""
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


def check_served(name: str | None, *served: ServedName, param: str = "model") -> None:
    """Raises ApiError where a client names another model than these: none is loaded for a request."""
    if name is not None and not any(name in one for one in served):
        offered = [repr(name) for name in dict.fromkeys(one.id for one in served)]
        raise ApiError(
            404,
            f"the model {name!r} is not served here; {' and '.join(offered)} {'are' if offered[1:] else 'is'}",
            code="model_not_found",
            param=param,
        )


def as_api_error(error: Exception) -> ApiError:
    """What a client is told of an error; of one that nobody foresaw, nothing but that."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, BusyError):
        headers = {"Retry-After": str(error.retry_after)}
        return ApiError(429, str(error), code="busy", headers=headers)
    if isinstance(error, InputError):
        return ApiError(400, str(error))
    if isinstance(error, CodekinError):  # a model or an index that has become unusable
        return ApiError(503, str(error))
    if isinstance(error, RequestValidationError):
        return _of_validation(error)
    if isinstance(error, HTTPException):
        message = error.detail if error.detail else HTTPStatus(error.status_code).phrase
        return ApiError(error.status_code, message, headers=error.headers)
    return ApiError(500, "an error inside the server; its log says which", code="internal_error")


def install(app: FastAPI) -> None:
    """Answers every error of the app in this form."""

    async def answer(_: Request, error: Exception) -> JSONResponse:
        told = as_api_error(error)
        return JSONResponse(told.content, told.status, told.headers)

    for kind in (CodekinError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, answer)


def _of_validation(error: RequestValidationError) -> ApiError:
    """The first thing that is wrong with a request."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return ApiError(400, "the body is not valid JSON", code="invalid_json")
    place = [str(part) for part in first["loc"][1:]]
    if not place and first["type"] != "missing":
        return ApiError(400, "the body must be a JSON object, sent as application/json")
    # Pydantic names a branch of a union as if it were a member: input.list[str].0
    param = place[0] if place else None
    name = param or "the body"
    told = {
        "input": "input must be a text, a list of texts, a list of tokens or a list of such lists",
        "documents": "documents must be a list of texts, or of objects with a text",
        "rerank": "rerank must be true, false, or an object of model, candidates (1 to 200) and budget_ms (above 0)",
    }
    message = told.get(name) if first["type"] != "missing" else None
    if not message:
        said = first["msg"]
        message = f"{'.'.join(place) or name}: {said[0].lower()}{said[1:]}"
    return ApiError(400, message, param=param)
