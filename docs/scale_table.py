#!/usr/bin/env python3
"""Writes the table of docs/scale.md anew, from what `codekin plan` says.

python docs/scale_table.py
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from codekin.cli.terminal import duration, size

COMMAND = f"{sysconfig.get_path('scripts')}/codekin"
PAGE = Path(__file__).with_name("scale.md")
TABLE = re.compile(r"(?<=<!-- by docs/scale_table.py -->\n).*?(?=<!-- end -->)", re.DOTALL)
WEEK = 7 * 86_400
DECODER = ["--model", "jinaai/jina-code-embeddings-0.5b", "--dimensions", "256"]
COLUMNS = {
    "10 thousand": ["--chunks", "10k", "--cores", "8", "--memory", "16G"],
    "1 million": ["--chunks", "1M", "--qps", "5"],
    "100 million": ["--chunks", "100M", "--qps", "50"],
    "10 billion": ["--chunks", "10e9", "--qps", "500", "--cores", "64", "--memory", "512G"],
}


def table() -> str:
    """The table, in Markdown: a column for each size, filled from two plans."""
    rows: dict[str, list[str]] = {}
    for arguments in COLUMNS.values():
        static, decoder = planned(arguments), planned([*arguments, *DECODER])
        needs = {need["what"]: need["amount"] for need in static["needs"]}
        slow = {need["what"]: need["amount"] for need in decoder["needs"]}
        many = static["is_cluster"]
        for row, cell in (
            ("`codekin plan`", f"`{' '.join(arguments)}`"),
            ("lines of source", rounded(needs["lines of source"])),
            ("queries a second", f"{static['queries']:g}"),
            ("run as", "a store" if many else "an index"),
            ("on disk", size(round(needs["store on disk" if many else "index on disk"]))),
            (
                "in memory",
                size(round(needs["memory of the store" if many else "memory of a process that searches"])),
            ),
            (
                "machines",
                rounded(needs["machines of the store" if many else "machines that search, each all of it"]),
            ),
            ("bundled model: to index it, on one machine", duration(needs["to index it, on one machine"])),
            ("0.5b: to index it, on one machine, int8", duration(slow["with --dtype int8"])),
            ("0.5b: to embed it, on one H100", duration(slow["to embed it, on one H100"])),
            ("0.5b: H100s to embed it in a week", f"{math.ceil(slow['to embed it, on one H100'] / WEEK):,}"),
        ):
            rows.setdefault(row, []).append(cell)
    lines = [f"| chunks | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    lines += [f"| {row} | {' | '.join(cells)} |" for row, cells in rows.items()]
    return "\n".join(lines) + "\n"


def planned(arguments: list[str]) -> Any:
    run = subprocess.run([COMMAND, "plan", *arguments, "--json"], capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def rounded(number: float) -> str:
    for unit, word in ((1e9, " billion"), (1e6, " million")):
        if number >= unit:
            return f"{number / unit:,.3g}{word}"
    return f"{number:,.0f}"


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(TABLE.sub(lambda _: table(), page), encoding="utf-8")
