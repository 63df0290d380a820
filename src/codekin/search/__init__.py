"""A folder of code, an index, ranked results."""

from __future__ import annotations

from codekin.search.contents import Contents
from codekin.search.index import CodeIndex, default_location, search_together
from codekin.search.known import KnownIndex, known_indexes
from codekin.search.levels import Level, Place, places
from codekin.search.model import Load
from codekin.search.results import Mode, Result, Skipped, Status, UpdateProgress, UpdateReport
from codekin.search.second_stage import CANDIDATES, Reranked, SecondStage
from codekin.search.snippets import Snippet, snippet

__all__ = [
    "CANDIDATES",
    "CodeIndex",
    "Contents",
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
    "default_location",
    "known_indexes",
    "places",
    "search_together",
    "snippet",
]
