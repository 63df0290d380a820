"""What `search` and `related` have in common: their options, and how answers are found and shown."""

from __future__ import annotations

import functools
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codekin.cli import options
from codekin.cli.terminal import count, duration, visible, wants_color
from codekin.tasks import Task

if TYPE_CHECKING:
    from codekin.search import CodeIndex, Reranked, Result


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the options say."""

    top: int
    languages: tuple[str, ...]
    globs: tuple[str, ...]
    task: str
    context: int
    as_json: bool
    wait: bool
    no_update: bool
    folder: Path | None
    store: str | None
    model: str | None
    max_size: str | None
    color: str

    @property
    def filters(self) -> dict[str, Any]:
        """Arguments that `CodeIndex.search` and `related` share."""
        return {
            "top": self.top,
            "task": self.task,
            "languages": self.languages,
            "wait": self.wait,
            **options.split_globs(self.globs),
        }


def answering(default: Task) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command the options of `Wanted`, and their values as its argument `wanted`."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def call(**values: Any) -> None:
            wanted = Wanted(**{field.name: values.pop(field.name) for field in fields(Wanted)})
            command(**values, wanted=wanted)

        for option in (
            options.color,
            options.max_size,
            options.model,
            options.store,
            options.index_folder,
            options.no_update,
            options.wait,
            options.as_json,
            options.context,
            options.task(default),
            options.globs,
            options.languages,
            options.top,
        ):
            call = option(call)
        return call

    return decorate


def answer(
    wanted: Wanted,
    root: Path,
    about: dict[str, object],
    find: Callable[[CodeIndex], list[Result]],
    *,
    query: str = "",
    lexical: bool = False,
    advice: str = "",
) -> None:
    """Finds in the index of `root`, shows what is found, and exits.

    `about` says in JSON what was asked for, `query` is what snippets are chosen by; `lexical` that no model is needed;
    `advice` what to do where nothing answers.
    """
    from codekin.cli.progress import freshen_index
    from codekin.cli.results import as_json, print_json, print_results

    started = time.perf_counter()
    colored = wants_color(wanted.color)
    with options.open_index(
        root, wanted.folder, wanted.max_size, model=wanted.model, store=wanted.store
    ) as index:
        if not (wanted.no_update or wanted.store):
            freshen_index(index, lexical=lexical)
        results = find(index)
        is_empty = not results and not index.status().chunks
    elapsed = time.perf_counter() - started
    tell(index.reranked)
    if wanted.as_json:
        print_json(
            {
                **about,
                "task": wanted.task,
                "elapsed_ms": round(1000 * elapsed, 1),
                "answered": index.answered,
                **as_member(index.reranked),
                "results": as_json(results, query, root.resolve(), wanted.context),
            }
        )
    elif is_empty:
        where = ["--store", wanted.store] if wanted.store else []
        why = shlex.join(["codekin", "index", "-v", str(root), *where])
        print(
            f"codekin: nothing is indexed in {visible(str(root))}; {why} says what is left out",
            file=sys.stderr,
        )
    elif not results:
        print(f"codekin: nothing here answers this{advice}", file=sys.stderr)
    else:
        print_results(results, query, root.resolve(), root, wanted.context, color=colored)
        if sys.stderr.isatty():
            more = f"; --wait asks {visible(index.did_without)} as well" if index.did_without else ""
            print(f"{count(len(results), 'result')} in {duration(elapsed)}{more}", file=sys.stderr)
    raise SystemExit(0 if results else 1)


def as_member(done: Reranked | None) -> dict[str, object]:
    """What JSON says of the second stage, if there was one."""
    return {"rerank": asdict(done)} if done else {}


def tell(done: Reranked | None) -> None:
    """Says on stderr what kept the second stage from its work, where something did."""
    if done is None:
        return
    if done.problem:
        print(f"codekin: not reranked, this is the first stage's answer: {done.problem}", file=sys.stderr)
    elif done.scored < done.candidates:
        print(
            f"codekin: reranked {done.scored} of {done.candidates} in {duration(done.seconds)}, "
            "all that --budget has time for",
            file=sys.stderr,
        )
