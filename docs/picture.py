#!/usr/bin/env python3
"""Draws docs/search.svg: what a terminal shows for a search of the standard library.

python docs/picture.py
"""

from __future__ import annotations

import re
import subprocess
import sysconfig
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

COMMAND = 'codekin search -n 3 "where is the central directory of a zip file read"'


def main() -> None:
    stdlib = sysconfig.get_path("stdlib")
    scripts = sysconfig.get_path("scripts")
    output = subprocess.run(
        f"{scripts}/{COMMAND} --color always",
        shell=True,
        cwd=stdlib,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    console = Console(record=True, width=92, file=StringIO(), force_terminal=True)
    console.print(Text.from_ansi(f"\x1b[1;32m$\x1b[0m {COMMAND}\n\n{output}"), no_wrap=True, crop=True)
    picture = console.export_svg(title="codekin search")
    # The viewer's own monospaced font does: the picture fetches none.
    picture = re.sub(r"\s*@font-face \{.*?\}", "", picture, flags=re.DOTALL)
    Path(__file__).with_name("search.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
