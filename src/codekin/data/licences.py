"""The licence of a source tree, from its licence files or the metadata of its package."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from codekin.data.pairs import UNKNOWN

_FILE = re.compile(r"^(?:licen[cs]es?|copying|unlicen[cs]e)(?:[-_.](?!third|3rd).*)?$", re.IGNORECASE)
_ALTERNATIVE = re.compile(r"^licen[cs]e[-_](?!\w*header)", re.IGNORECASE)

# What tells a licence's text (https://spdx.org/licenses/), the more particular first.
_TEXTS: tuple[tuple[str, str], ...] = (
    ("AGPL-3.0", r"GNU AFFERO GENERAL PUBLIC LICENSE\W+Version 3"),
    ("LGPL-3.0", r"GNU LESSER GENERAL PUBLIC LICENSE\W+Version 3"),
    ("LGPL-2.1", r"GNU LESSER GENERAL PUBLIC LICENSE\W+Version 2\.1"),
    ("GPL-3.0", r"GNU GENERAL PUBLIC LICENSE\W+Version 3"),
    ("GPL-2.0", r"GNU GENERAL PUBLIC LICENSE\W+Version 2"),
    ("Apache-2.0", r"Apache License,?\W+Version 2\.0"),
    ("MPL-2.0", r"Mozilla Public License,? (?:Version|v\.?) ?2\.0"),
    ("EPL-2.0", r"Eclipse Public License\W+v ?2\.0"),
    ("BSL-1.0", r"Boost Software License\W+Version 1\.0"),
    ("Unlicense", r"This is free and unencumbered software"),
    ("CC0-1.0", r"CC0 1\.0 Universal"),
    ("WTFPL", r"DO WHAT THE FUCK YOU WANT TO"),
    ("Zlib", r"origin of this software must not be misrepresented"),
    (
        "BSD-3-Clause",
        r"Redistribution and use in source and binary forms.*(?:endorse or promote|name of the)",
    ),
    ("BSD-2-Clause", r"Redistribution and use in source and binary forms"),
    (
        "ISC",
        r"Permission to use, copy, modify, and(?:/or)? distribute this software.*copyright notice and this",
    ),
    ("0BSD", r"Permission to use, copy, modify, and(?:/or)? distribute this software"),
    ("MIT", r"Permission is hereby granted, free of charge.*notice shall be included"),
    ("MIT-0", r"Permission is hereby granted, free of charge"),
)
_PATTERNS = tuple((name, re.compile(pattern, re.IGNORECASE | re.DOTALL)) for name, pattern in _TEXTS)
_SPDX = re.compile(r"SPDX-License-Identifier:\s*([\w.+()-]+(?: (?:OR|AND|WITH) [\w.+()-]+)*)")

# Where package metadata name a licence: files by the end of their name, and what stands in them.
_METADATA: tuple[tuple[str, str], ...] = (
    ("package.json", r'"license"\s*:\s*(?:\{[^}]*"type"\s*:\s*)?"([^"]+)"'),
    ("composer.json", r'"license"\s*:\s*\[?\s*"([^"]+)"'),
    ("Cargo.toml", r'^license\s*=\s*"([^"]+)"'),
    ("pyproject.toml", r'^license\s*=\s*(?:\{\s*text\s*=\s*)?["\']([^"\']+)["\']'),
    ("setup.cfg", r"^license\s*=\s*(\S.*)$"),
    ("PKG-INFO", r"^License(?:-Expression)?:[ \t]*(\S.*)$"),
    (".gemspec", r'\.licenses?\s*=\s*\[?\s*["\']([^"\']+)["\']'),
    (".cabal", r"^license:[ \t]*(\S.*)$"),
    ("DESCRIPTION", r"^License:[ \t]*(\S.*)$"),
)
_EXPRESSION = re.compile(r"[A-Za-z0-9.+-]+(?: (?:OR|AND|WITH) [A-Za-z0-9.+-]+)*")
_COMMON_NAMES = {"apache 2.0": "Apache-2.0", "apache license 2.0": "Apache-2.0", "mit license": "MIT"}
_LONGEST = 60  # characters of a name of a licence: more is its text


def licence_of(names: Iterable[str], read: Callable[[str], str | None]) -> str:
    """The SPDX expression of a tree's licence, "unknown" where nothing tells.

    `names` are the files at the tree's root, `read` gives the text of one. `LICENSE-MIT` beside
    `LICENSE-APACHE` is a choice between them.
    """
    files = sorted(names)
    found: dict[str, str] = {}
    for name in files:
        if _FILE.match(name) and (licence := _of_text(read(name) or "")):
            found[name] = licence
    alternatives = sorted({licence for name, licence in found.items() if _ALTERNATIVE.match(name)})
    if len(alternatives) > 1:
        return " OR ".join(alternatives)
    if found:
        return min(found.items(), key=lambda item: len(item[0]))[1]
    for ending, pattern in _METADATA:
        for name in files:
            if name.endswith(ending) and (match := re.search(pattern, read(name) or "", re.MULTILINE)):
                licence = match[1].strip().replace("/", " OR ")[:_LONGEST]
                licence = _COMMON_NAMES.get(licence.lower(), licence)
                if _EXPRESSION.fullmatch(licence):
                    return licence
    return UNKNOWN


def _of_text(text: str) -> str:
    if match := _SPDX.search(text):
        return match[1]
    # Licences are told by how they begin; what follows one may be another's.
    head = " ".join(text[:4000].split())
    return next((name for name, pattern in _PATTERNS if pattern.search(head)), "")
