"""The errors a user can meet. Each carries one line: what is wrong, where, and what to do."""

from __future__ import annotations


class CodekinError(Exception):
    """Root of every error codekin raises on purpose; its text is the one line a user sees."""


class InputError(CodekinError):
    """An argument, path, query or file that the caller has to correct."""


class ModelError(CodekinError):
    """A model that cannot be found, or whose files are incomplete or inconsistent."""


class StoreError(CodekinError):
    """An index that cannot be opened, read or written."""


class MissingExtraError(CodekinError):
    """An optional dependency that is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an extra: pip install 'codekin[{extra}]'")
