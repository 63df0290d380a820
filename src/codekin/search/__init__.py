"""A folder of code, an index, ranked results."""

from __future__ import annotations

from codekin.search.index import CodeIndex
from codekin.search.results import Mode, Result, Skipped, Status, UpdateProgress, UpdateReport

__all__ = ["CodeIndex", "Mode", "Result", "Skipped", "Status", "UpdateProgress", "UpdateReport"]
