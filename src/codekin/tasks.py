"""The five retrieval tasks, their two roles, and the instruction prefix of each (arXiv 2508.21290, Table 1)."""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

from codekin.errors import InputError

_Choice = TypeVar("_Choice", bound="Choice")


class Choice(str, Enum):
    """A closed list of names that users write."""

    @classmethod
    def parse(cls: type[_Choice], name: str | _Choice) -> _Choice:
        """The member of that name; raises InputError that lists them."""
        try:
            return cls(name)
        except ValueError:
            kind = cls.__name__.lower()
            names = ", ".join(member.value for member in cls)
            raise InputError(f"unknown {kind} {name!r}; {kind}s: {names}") from None


class Task(Choice):
    """What a query asks for and what the documents are."""

    NL2CODE = "nl2code"
    QA = "qa"
    CODE2CODE = "code2code"
    CODE2NL = "code2nl"
    CODE2COMPLETION = "code2completion"


class Role(Choice):
    """Which side of a pair a text stands on."""

    QUERY = "query"
    DOCUMENT = "document"


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
