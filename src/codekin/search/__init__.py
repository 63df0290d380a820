"""A folder of code, an index, ranked results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codekin.search.contents import Contents
from codekin.search.index import CodeIndex, default_location
from codekin.search.known import KnownIndex, forget_index, known_indexes
from codekin.search.levels import Level, Place, places
from codekin.search.model import Load
from codekin.search.results import (
    Mode,
    Result,
    Skipped,
    Status,
    UpdateProgress,
    UpdateReport,
    UpgradeProgress,
    UpgradeReport,
    UpgradeStatus,
)
from codekin.search.second_stage import CANDIDATES, WEIGHT, Reranked, SecondStage
from codekin.search.snippets import Snippet, snippet
from codekin.search.together import FirstStage, count_shown, first_stage, search_together

if TYPE_CHECKING:
    from codekin.search.everywhere import Everywhere

__all__ = [
    "CANDIDATES",
    "WEIGHT",
    "CodeIndex",
    "Contents",
    "Everywhere",
    "FirstStage",
    "KnownIndex",
    "Level",
    "Load",
    "Mode",
    "Place",
    "Reranked",
    "Result",
    "SecondStage",
    "Skipped",
    "Snippet",
    "Status",
    "UpdateProgress",
    "UpdateReport",
    "UpgradeProgress",
    "UpgradeReport",
    "UpgradeStatus",
    "count_shown",
    "default_location",
    "first_stage",
    "forget_index",
    "known_indexes",
    "places",
    "search_together",
    "snippet",
]


def __getattr__(name: str) -> Any:
    if name != "Everywhere":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from codekin.search.everywhere import Everywhere  # which a search of one folder never needs

    return Everywhere
