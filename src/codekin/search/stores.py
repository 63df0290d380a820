"""What an index asks of the store that keeps it, be it a database on this machine or a cluster's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from codekin.search.lexical import Postings
from codekin.search.model import ModelRecord
from codekin.search.ranking import Query, Signals
from codekin.search.results import Result
from codekin.search.store import FileChunks, StoredFile

Sizes = tuple[int, dict[str, int], int | None, float | None]
"""Files, chunks by language, bytes on disk (None: unknown), and when an index last changed (Unix seconds)."""


class IndexView(Protocol):
    """One state of an index: its chunks, by rows that the view alone knows, and their signals for a query."""

    @property
    def size(self) -> int:
        """How many chunks there are."""

    def kept(self, languages: Sequence[str], include: Sequence[str], exclude: Sequence[str]) -> Any:
        """What `candidates` takes to keep to the filters of `CodeIndex.search`, None where there are none."""

    def candidates(
        self, query: Query, vector: NDArray[np.int8] | None, pool: int, *, text: bool, kept: Any = None
    ) -> tuple[NDArray[np.int64], Signals]:
        """The rows that are among the best `pool` by some signal, in the order of their paths, and their signals.

        `vector` None leaves out the semantic one, `text` false the lexical one. Beside the best there is a row for
        each identifier of the query that any text has.
        """

    def files(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int32], list[str]]:
        """The files of some rows: (n,) int32, indexes into the paths that come with them."""

    def results(self, rows: Sequence[int], scores: Sequence[float], root: Path) -> list[Result]:
        """Some rows as results; `root` is where the folder is, for a view that holds no texts."""

    def holding(self, term: str) -> tuple[int, int]:
        """How many chunks hold a term, and how many define a name with it."""

    def file_cosines(self, vector: NDArray[np.int8], paths: Sequence[str]) -> NDArray[np.float32]:
        """(n,) float32: the cosines of n files to a vector (d,); a file's vector is the mean of its chunks'."""

    def file_rows(self, path: str) -> list[int]:
        """The rows of a file's chunks, in their order. Raises InputError for a file that is not in the index."""

    def row_at(self, path: str, line: int) -> int:
        """The row of the chunk that holds a line, or the nearest one before it. Raises InputError for no such place."""


class IndexStore(Protocol):
    """What keeps an index. Raises StoreError for whatever keeps it from being read or written."""

    is_shared: bool
    """Whether it is apart from the files: then it keeps their texts, and other machines write it too."""

    @property
    def location(self) -> Path | str:
        """Where it is."""

    @property
    def writable(self) -> bool:
        """Whether it can be written."""

    def close(self) -> None:
        """Ends its use; what was written stays."""

    def reading(self) -> AbstractContextManager[None]:
        """Inside, reads agree with one another as far as the store can see to that."""

    def writing(self) -> AbstractContextManager[None]:
        """Inside, it is written: all of it or nothing, or such that the next update makes it whole."""

    def model(self) -> ModelRecord | None:
        """The model that makes the vectors; None in a new index."""

    def start(self, model: ModelRecord) -> ModelRecord:
        """Removes every file: from here on vectors are those of the model. Returns its record as it is kept."""

    def files(self, paths: Sequence[str] | None = None) -> Mapping[str, StoredFile]:
        """Indexed files by their path: all of them, or those of `paths`."""

    def chunk_vectors(self, file: int) -> dict[bytes, NDArray[np.int8]]:
        """The vectors of a file's chunks by the chunks' digests, to be reused when the file has changed."""

    def sizes(self) -> Sizes:
        """The index in numbers."""

    def touch(self, path: str, size: int, mtime_ns: int) -> None:
        """Notes a new size and time of a file whose content is the same."""

    def remove(self, paths: Sequence[str]) -> None:
        """Removes files with their chunks."""

    def replace(self, files: Sequence[FileChunks], postings: Postings) -> None:
        """Puts files in the place of what was known of them; `postings` count their chunks from 0 in their order."""

    def set_meta(self, **settings: str | float | bytes) -> None:
        """Writes settings of the index."""
