"""Hugging Face data sets by name, streamed by the `datasets` library: nothing is downloaded ahead of its use."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from codekin.data.beir import Retrieval
from codekin.data.records import Located
from codekin.errors import InputError, MissingExtraError

PREFIX = "hf:"
_NAME = re.compile(r"hf:(?P<repository>[\w.-]+/[\w.-]+)(?::(?P<configuration>[^@]+))?(?:@(?P<revision>\S+))?")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class HubSet:
    """A data set of the hub: its repository, one of its configurations, a branch, tag or commit of it."""

    repository: str
    configuration: str | None = None
    revision: str | None = None

    @classmethod
    def parse(cls, name: str) -> HubSet:
        """`hf:owner/name[:configuration][@revision]`; raises InputError for another form."""
        match = _NAME.fullmatch(name)
        if not match:
            raise InputError(f"{name!r} is not of the form hf:owner/name[:configuration][@revision]")
        return cls(**match.groupdict())

    def __str__(self) -> str:
        configuration = f":{self.configuration}" if self.configuration else ""
        return f"hf:{self.repository}{configuration}" + (f"@{self.revision}" if self.revision else "")

    def records(self, split: str) -> Iterator[Located]:
        """The records of `split` in order, each with `hf:owner/name: record N`.

        Raises InputError in one line where the set, its configuration or split does not exist or the hub cannot
        be reached, MissingExtraError without the `datasets` library.
        """
        library = _datasets()
        stream = iter(
            self._ask(
                lambda: library.load_dataset(
                    self.repository, self.configuration, split=split, revision=self.revision, streaming=True
                )
            )
        )
        number = 0
        while (record := self._ask(lambda: next(stream, None))) is not None:
            number += 1
            yield f"{self}: record {number}", record

    def retrievals(self, split: str) -> list[Retrieval]:
        """Its parts where the set is in BEIR's layout, of which corpus and queries are configurations; else none."""
        library = _datasets()
        names = self._ask(lambda: library.get_dataset_config_names(self.repository, revision=self.revision))
        parts = []
        for corpus in sorted(name for name in names if re.fullmatch(r"(?:.+-)?corpus", name)):
            part = corpus.removesuffix("corpus")
            queries = [name for name in (f"{part}queries", f"{part}query") if name in names]
            qrels = [name for name in (f"{part}qrels", f"{part}default") if name in names]
            if queries and qrels:
                streams = (self._stream(name, split) for name in (corpus, queries[0], qrels[0]))
                parts.append(Retrieval(part.removesuffix("-"), *streams))
        return parts

    def _stream(self, configuration: str, split: str) -> Callable[[], Iterator[Located]]:
        one = HubSet(self.repository, configuration, self.revision)

        def start() -> Iterator[Located]:
            library = _datasets()
            splits = self._ask(
                lambda: library.get_dataset_split_names(
                    self.repository, configuration, revision=self.revision
                )
            )
            # A corpus often has one split for all, of its own name.
            return one.records(splits[0] if split not in splits and len(splits) == 1 else split)

        return start

    def _ask(self, question: Callable[[], _Result]) -> _Result:
        try:
            return question()
        # The library's errors, the hub client's, the network's, the parsers': none is of ours, each is the user's.
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise InputError(f"cannot read {self}: {lines[0]}") from None


def _datasets() -> Any:
    try:
        import datasets
    except ImportError:
        raise MissingExtraError("reading data sets by name from Hugging Face", "data") from None
    return datasets
