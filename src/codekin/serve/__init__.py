"""The embedder and the index for programs, people and agents."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codekin.serve.repositories import Answer, Hit, Repositories

_HOMES = {
    "Answer": "repositories",
    "Hit": "repositories",
    "Repositories": "repositories",
}
__all__ = ["Answer", "Hit", "Repositories"]


def __getattr__(name: str) -> Any:
    if home := _HOMES.get(name):
        return getattr(import_module(f"codekin.serve.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
