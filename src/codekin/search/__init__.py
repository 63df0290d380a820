"""A folder of code, an index, ranked results."""

from __future__ import annotations

from codekin.search.index import CodeIndex, default_location, search_together
from codekin.search.model import Load
from codekin.search.results import Mode, Result, Skipped, Status, UpdateProgress, UpdateReport
from codekin.search.second_stage import Reranked, SecondStage
from codekin.search.snippets import Snippet, snippet
from codekin.search.store import Contents

__all__ = [
    "CodeIndex",
    "Contents",
    "Load",
    "Mode",
    "Reranked",
    "Result",
    "SecondStage",
    "Skipped",
    "Snippet",
    "Status",
    "UpdateProgress",
    "UpdateReport",
    "default_location",
    "search_together",
    "snippet",
]
