"""The collections of a store on Milvus, and the calls that codekin makes of it."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from codekin.errors import MissingExtraError, StoreError
from codekin.search.cluster.address import Address

TOKEN_VARIABLE = "CODEKIN_STORE_TOKEN"
MOST_TERMS = 4096  # of a chunk: Milvus' limit for an array
MOST_BYTES = 65_535  # of a text: Milvus' limit for a VARCHAR

Row = dict[str, Any]
_Item = TypeVar("_Item")
_Found = TypeVar("_Found")

_STRONG, _BOUNDED = "Strong", "Bounded"
_CONNECT_SECONDS = 10.0
_CALL_SECONDS = 120.0
_AT_ONCE = 8  # requests
_WRITTEN_AT_ONCE = 256  # rows: about a megabyte
_READ_AT_ONCE = 1000
_NAMED_AT_ONCE = 500  # values of an `in` expression
_UNAVAILABLE = "cannot be reached"


class Milvus:
    """A store's three collections: `chunks`, `files` and `repositories`.

    A write is seen by whoever reads with `strong` consistency once it is acknowledged, by other readers after a few
    seconds at most (Milvus' "Bounded staleness"). A client that has written reads its own writes. Raises StoreError for
    a server that does not answer, and MissingExtraError where pymilvus is not installed.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._token = os.environ.get(TOKEN_VARIABLE, "")
        self._has_written = self._is_loaded = False
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="milvus")
        try:
            import pymilvus
        except ImportError:
            raise MissingExtraError(f"a store at {address.text}", "cluster") from None
        # What goes wrong is told in one line, by whoever called.
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        logging.getLogger("milvus_lite").setLevel(logging.CRITICAL)
        self._pymilvus: Any = pymilvus
        with self._errors("open"):
            self._client = pymilvus.MilvusClient(
                address.uri, token=self._token, db_name=address.database, timeout=_CONNECT_SECONDS
            )

    def close(self) -> None:
        """Ends the connection."""
        self._threads.shutdown()
        self._client.close()

    # ---- collections

    def exists(self) -> bool:
        """Whether anything is stored here."""
        with self._errors("read"):
            # Asked before all else: pymilvus goes on trying to reach a server that is away until the time is over.
            found = bool(self._client.has_collection(self._name("repositories"), timeout=_CONNECT_SECONDS))
            if found and self.address.is_lite and not self._is_loaded:  # a server keeps them loaded
                for kind in ("repositories", "files", "chunks"):
                    self._client.load_collection(self._name(kind), timeout=_CALL_SECONDS)
                self._is_loaded = True
            return found

    def create(self, dimensions: int) -> None:
        """Makes the collections, for vectors of so many numbers, where they are not there."""
        types = self._pymilvus.DataType
        self._create(
            "repositories",
            [("id", types.VARCHAR, {"max_length": 512, "is_primary": True}), ("about", types.JSON, {})],
        )
        shared = [
            ("id", types.VARCHAR, {"max_length": 32, "is_primary": True}),
            ("repository", types.VARCHAR, {"max_length": 512, "is_partition_key": True}),
            ("path", types.VARCHAR, {"max_length": MOST_BYTES}),
            ("language", types.VARCHAR, {"max_length": 64}),
            ("digest", types.VARCHAR, {"max_length": 32}),
        ]
        self._create(
            "files", [*shared, *((name, types.INT64, {}) for name in ("size", "mtime_ns", "chunks", "terms"))]
        )
        self._create(
            "chunks",
            [
                *shared,
                ("file", types.VARCHAR, {"max_length": 32}),
                *((name, types.INT64, {}) for name in ("number", "first", "last", "length")),
                ("symbol", types.VARCHAR, {"max_length": MOST_BYTES}),
                ("kind", types.VARCHAR, {"max_length": 64}),
                ("text", types.VARCHAR, {"max_length": MOST_BYTES}),
                ("terms", types.ARRAY, {"element_type": types.INT64, "max_capacity": MOST_TERMS}),
                ("counts", types.ARRAY, {"element_type": types.INT16, "max_capacity": MOST_TERMS}),
                ("words", types.SPARSE_FLOAT_VECTOR, {}),
                ("vector", types.FLOAT_VECTOR, {"dim": dimensions}),
            ],
            file={"index_type": "INVERTED"},
            words={"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "IP"},
            vector={"index_type": "AUTOINDEX", "metric_type": "COSINE"},
            terms={"index_type": "INVERTED"},
        )

    def drop(self) -> None:
        """Deletes the collections."""
        with self._errors("write"):
            for kind in ("chunks", "files", "repositories"):
                self._client.drop_collection(self._name(kind), timeout=_CALL_SECONDS)

    def _create(
        self, kind: str, columns: Sequence[tuple[str, Any, dict[str, Any]]], **indexes: dict[str, str]
    ) -> None:
        client, types = self._client, self._pymilvus.DataType
        name = self._name(kind)
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        for column, type_, options in columns:
            schema.add_field(column, type_, **options)
        if not indexes:  # Milvus wants a vector in every collection
            schema.add_field("vector", types.FLOAT_VECTOR, dim=2)
            indexes = {"vector": {"index_type": "FLAT", "metric_type": "L2"}}
        prepared = client.prepare_index_params()
        for column, options in indexes.items():
            prepared.add_index(column, **options)
        with self._errors("create"):
            if client.has_collection(name, timeout=_CALL_SECONDS):
                return
            try:
                client.create_collection(
                    name,
                    schema=schema,
                    index_params=prepared,
                    consistency_level=_STRONG,
                    timeout=_CALL_SECONDS,
                )
            except self._pymilvus.MilvusException:
                # Another client was first, or this is milvus-lite, which has no index of arrays (the last one).
                if not client.has_collection(name, timeout=_CALL_SECONDS):
                    raise
                client.load_collection(name, timeout=_CALL_SECONDS)

    # ---- reading

    def get(
        self, kind: str, ids: Sequence[str], columns: Sequence[str], *, strong: bool = False
    ) -> list[Row]:
        """The rows of these ids that there are."""
        return [
            row
            for part in _parts(ids, _NAMED_AT_ONCE)
            for row in self.query(kind, within("id", part), columns, len(part), strong=strong)
        ]

    def query(
        self, kind: str, where: str, columns: Sequence[str], limit: int, *, strong: bool = False
    ) -> list[Row]:
        """At most `limit` rows for which an expression holds, in no order."""
        with self._errors("read"):
            return list(
                self._client.query(
                    self._name(kind),
                    filter=where,
                    output_fields=list(columns),
                    limit=limit,
                    timeout=_CALL_SECONDS,
                    consistency_level=self._level(strong),
                )
            )

    def every(self, kind: str, where: str, columns: Sequence[str], *, strong: bool = False) -> Iterator[Row]:
        """All rows for which an expression holds, some at a time."""
        with self._errors("read"):
            rows = self._client.query_iterator(
                self._name(kind),
                batch_size=_READ_AT_ONCE,
                filter=where,
                output_fields=list(columns),
                timeout=_CALL_SECONDS,
                consistency_level=self._level(strong),
            )
            try:
                while batch := rows.next():
                    yield from batch
            finally:
                rows.close()

    def count(self, where: str, *, strong: bool = False) -> int:
        """The number of chunks for which an expression holds."""
        with self._errors("read"):
            found = self._client.query(
                self._name("chunks"),
                filter=where,
                output_fields=["count(*)"],
                timeout=_CALL_SECONDS,
                consistency_level=self._level(strong),
            )
            return int(found[0]["count(*)"])

    def nearest(
        self, column: str, query: Any, where: str, columns: Sequence[str], limit: int
    ) -> list[tuple[Row, float]]:
        """The `limit` chunks whose vector in `column` comes nearest, best first, with its cosine or inner product."""
        with self._errors("search"):
            hits = self._client.search(
                self._name("chunks"),
                data=[query],
                anns_field=column,
                filter=where,
                limit=limit,
                output_fields=list(columns),
                timeout=_CALL_SECONDS,
                consistency_level=self._level(False),
            )[0]
            return [({"id": hit["id"], **hit["entity"]}, float(hit["distance"])) for hit in hits]

    def at_once(self, call: Callable[[_Item], _Found], items: Sequence[_Item]) -> list[_Found]:
        """What a call gives for each item, asked in parallel."""
        return list(self._threads.map(call, items))

    # ---- writing

    def upsert(self, kind: str, rows: Sequence[Row]) -> None:
        """Writes rows in the place of those of the same ids."""
        self._has_written = True
        if kind != "chunks":
            rows = [{**row, "vector": [0.0, 0.0]} for row in rows]
        with self._errors("write"):
            for part in _parts(rows, _WRITTEN_AT_ONCE):
                self._client.upsert(self._name(kind), part, timeout=_CALL_SECONDS)

    def delete(self, kind: str, column: str, values: Sequence[str], also: str = "") -> None:
        """Deletes the rows with one of these values in a column, of those for which `also` holds."""
        self._has_written = True
        with self._errors("write"):
            for part in _parts(values, _NAMED_AT_ONCE):
                where = both(also, within(column, part))
                self._client.delete(self._name(kind), filter=where, timeout=_CALL_SECONDS)

    # ----

    def _name(self, kind: str) -> str:
        return f"{self.address.collection}_{kind}"

    def _level(self, strong: bool) -> str:
        return _STRONG if strong or self._has_written else _BOUNDED

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        """One line of what went wrong, without the token."""
        try:
            yield
        except (StoreError, GeneratorExit):
            raise
        except Exception as error:  # pymilvus raises its own, gRPC's and plain ones
            told = " ".join(str(getattr(error, "message", "") or error).split())
            if self._token:
                told = told.replace(self._token, "...")
            if any(sign in told.lower() for sign in ("unavailable", "failed to connect", "fail connecting")):
                reason = _UNAVAILABLE
            elif any(sign in told.lower() for sign in ("auth", "permission", "privilege")):
                reason = f"refuses: {told}; {TOKEN_VARIABLE} is the token, as user:password or a key"
            else:
                reason = f"says: {told}"
            raise StoreError(f"cannot {doing} the store: {self.address.text} {reason}") from error


def equal(column: str, value: str) -> str:
    """An expression: the column has this value."""
    return f"{column} == {json.dumps(value)}"


def within(column: str, values: Sequence[str]) -> str:
    """An expression: the column has one of these values."""
    return f"{column} in {json.dumps(list(values))}"


def holds(term: int) -> str:
    """An expression: the chunk holds a term, as `lexical.term_hash` numbers it."""
    return f"array_contains(terms, {term})"


def both(*expressions: str) -> str:
    """An expression: all of these that say something hold."""
    return " and ".join(expression for expression in expressions if expression)


def hashed(*parts: str) -> str:
    """The id that stands for some texts."""
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def file_id(repository: str, path: str) -> str:
    """The id of a repository's file."""
    return hashed(repository, path_text(path))


def path_text(path: str) -> str:
    """A path as a text that is UTF-8, whatever bytes it is made of."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return json.dumps(path)
    return json.dumps(path) if path.startswith('"') else path


def path_of(text: str) -> str:
    """The path that a text was made of."""
    return str(json.loads(text)) if text.startswith('"') else text


def _parts(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))
