"""The installed command, run in processes of its own on small trees of real code."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from commands import COMMAND, FILES, Run


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Four files in three languages."""
    root = tmp_path / "tree"
    for name, text in FILES.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The process's own, with a cache folder of the test's and no wishes about colour."""
    unset = ("NO_COLOR", "FORCE_COLOR", "CODEKIN_INDEX")
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    return {**kept, "XDG_CACHE_HOME": str(tmp_path / "cache"), "TERM": "xterm-256color"}


@pytest.fixture
def run(tree: Path, environment: dict[str, str]) -> Run:
    """`run(*arguments)` in `tree`; stdin is text or bytes, `env` is added to the environment."""

    def call(
        *arguments: str | bytes,
        stdin: str | bytes = b"",
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [COMMAND, *arguments],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            env={**environment, **(env or {})},
            cwd=cwd or tree,
            timeout=120,
            check=False,
        )
        out, err = (text.decode("utf-8", "surrogateescape") for text in (result.stdout, result.stderr))
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(result.args, result.returncode, out, err)

    return call
