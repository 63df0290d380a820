"""The `codekin` command: one small module a command, no logic below it."""

from __future__ import annotations

import io
import sys

from codekin.errors import CodekinError


def main() -> None:
    """Run the command line and exit: 0 found or done, 1 nothing found, 2 error, 130 interrupted."""
    import click

    from codekin.cli.app import app

    # Source and file names go out byte for byte, whatever the locale: UTF-8, and what isn't as it was read.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")
    try:
        # Not standalone: click would make 1 of an interrupt. A closed pipe it ends quietly either way.
        sys.exit(app.main(prog_name="codekin", standalone_mode=False))
    except CodekinError as error:
        _fail(str(error))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except OSError as error:
        _fail(": ".join(str(part) for part in (error.filename, error.strerror or error) if part))


def _fail(message: str) -> None:
    print(f"codekin: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)
