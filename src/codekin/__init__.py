"""codekin finds code by meaning.

>>> from codekin import CodeIndex
>>> CodeIndex("path/to/repository").search("where are failed requests retried", top=5)  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codekin.embed import Embedder
    from codekin.search import CodeIndex
    from codekin.tasks import Role, Task

__all__ = ["CodeIndex", "Embedder", "Role", "Task", "__version__"]
__version__ = "0.1.0"

_HOMES = {
    "CodeIndex": "codekin.search",
    "Embedder": "codekin.embed",
    "Role": "codekin.tasks",
    "Task": "codekin.tasks",
}


def __getattr__(name: str) -> Any:
    if home := _HOMES.get(name):
        return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
