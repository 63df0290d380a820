"""The five retrieval tasks, their two roles, and the instruction prefix of each (arXiv 2508.21290, Table 1)."""

from __future__ import annotations

from enum import Enum

from codekin.errors import InputError


class Task(str, Enum):
    """What a query asks for and what the documents are."""

    NL2CODE = "nl2code"
    QA = "qa"
    CODE2CODE = "code2code"
    CODE2NL = "code2nl"
    CODE2COMPLETION = "code2completion"

    @classmethod
    def parse(cls, name: str | Task) -> Task:
        """The task of that name; raises InputError listing the five."""
        try:
            return cls(name)
        except ValueError:
            raise InputError(f"unknown task {name!r}; tasks: {', '.join(t.value for t in cls)}") from None


class Role(str, Enum):
    """Which side of a pair a text stands on."""

    QUERY = "query"
    DOCUMENT = "document"

    @classmethod
    def parse(cls, name: str | Role) -> Role:
        """The role of that name; raises InputError listing both."""
        try:
            return cls(name)
        except ValueError:
            raise InputError(f"unknown role {name!r}; roles: {', '.join(r.value for r in cls)}") from None


_PREFIXES: dict[Task, tuple[str, str]] = {
    Task.NL2CODE: (
        "Find the most relevant code snippet given the following query:\n",
        "Candidate code snippet:\n",
    ),
    Task.QA: ("Find the most relevant answer given the following question:\n", "Candidate answer:\n"),
    Task.CODE2CODE: (
        "Find an equivalent code snippet given the following code snippet:\n",
        "Candidate code snippet:\n",
    ),
    Task.CODE2NL: (
        "Find the most relevant comment given the following code snippet:\n",
        "Candidate comment:\n",
    ),
    Task.CODE2COMPLETION: (
        "Find the most relevant completion given the following start of code snippet:\n",
        "Candidate completion:\n",
    ),
}


def instruction(task: Task, role: Role) -> str:
    """The prefix that is put before the raw text of `role` in `task`."""
    query, document = _PREFIXES[task]
    return query if role is Role.QUERY else document
