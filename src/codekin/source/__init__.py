"""Source text: which files, which language, which definitions, which chunks."""

from __future__ import annotations

from codekin.source.chunks import Chunk, chunk
from codekin.source.definitions import Definition, definitions
from codekin.source.files import DEFAULT_MAX_BYTES, SourceFile, decode, walk
from codekin.source.languages import LANGUAGES, language_of
from codekin.source.syntax import parses

__all__ = [
    "DEFAULT_MAX_BYTES",
    "LANGUAGES",
    "Chunk",
    "Definition",
    "SourceFile",
    "chunk",
    "decode",
    "definitions",
    "language_of",
    "parses",
    "walk",
]
