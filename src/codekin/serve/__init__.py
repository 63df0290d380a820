"""The embedder and the index for programs, people and agents."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codekin.serve.batching import BusyError, SharedEmbedder, SharedEmbedders
    from codekin.serve.guard import Limits
    from codekin.serve.repositories import IndexedFile, Repositories
    from codekin.serve.second_stage import SharedStage
    from codekin.serve.served import Answer, Hit, RepositoryStatus, Served, SourceFile
    from codekin.serve.stored import StoredRepositories

_HOMES = {
    "Answer": "served",
    "BusyError": "batching",
    "Hit": "served",
    "IndexedFile": "repositories",
    "Limits": "guard",
    "Repositories": "repositories",
    "RepositoryStatus": "served",
    "Served": "served",
    "SharedEmbedder": "batching",
    "SharedEmbedders": "batching",
    "SharedStage": "second_stage",
    "SourceFile": "served",
    "StoredRepositories": "stored",
}
__all__ = [
    "Answer",
    "BusyError",
    "Hit",
    "IndexedFile",
    "Limits",
    "Repositories",
    "RepositoryStatus",
    "Served",
    "SharedEmbedder",
    "SharedEmbedders",
    "SharedStage",
    "SourceFile",
    "StoredRepositories",
]


def __getattr__(name: str) -> Any:
    if home := _HOMES.get(name):
        return getattr(import_module(f"codekin.serve.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
