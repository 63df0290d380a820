"""`codekin evaluate search`: code search on repositories with questions, or on one's own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codekin.cli import options
from codekin.cli.meter import Meter
from codekin.cli.terminal import aligned, count, duration, visible
from codekin.errors import InputError

if TYPE_CHECKING:
    from codekin.evaluate.own_code import OwnCode
    from codekin.evaluate.repositories import Repository
    from codekin.evaluate.search import Gain, Measured, Summary, System

_SOURCES = {"documentation": "comments", "commit": "commits"}


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option(
    "--self",
    "own",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Make the benchmark of the code in PATH: what comments and commits say is asked, the functions that they "
    "are about are the answers, and the comments are hidden from the search.",
)
@click.option(
    "--mirror",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Bare git repositories, from which the trees of FOLDER come.",
)
@click.option(
    "--repository", "names", multiple=True, metavar="NAME", help="Only this repository of FOLDER. Repeatable."
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="Search with this model, as `codekin index --model` takes it. Repeatable.  [default: the bundled one]",
)
@click.option(
    "--mode",
    "modes",
    multiple=True,
    type=click.Choice(["hybrid", "semantic", "lexical"]),
    help="Only this mode. Repeatable.",
)
@click.option(
    "--rerank",
    "rerankers",
    multiple=True,
    metavar="MODEL",
    help="Beside each search, the same with a second stage by this model, as `codekin search --rerank` takes it: what "
    "it adds, and what it costs. Repeatable.",
)
@click.option("--rerank-budget", metavar="TIME", help="Time for a question's second stage: 300ms, 2s.")
@click.option(
    "--peer",
    "peers",
    multiple=True,
    metavar="NAME=COMMAND",
    help="Another search beside ours: a command with {query} and, unless it searches the folder it runs in, "
    "{repository}, that prints a path, path:line or path:first-last a line, best first. Its times are those of whole "
    "processes. Repeatable.",
)
@click.option(
    "--budget",
    type=click.IntRange(min=1),
    default=2000,
    show_default=True,
    metavar="TOKENS",
    help="Tokens that may be read to find the answer, four characters each.",
)
@click.option(
    "--questions",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    metavar="N",
    help="Ask at most N questions to one's own code.",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, metavar="N", help="Chooses those questions among all."
)
@options.as_json
def search(
    folder: Path | None,
    own: Path | None,
    mirror: Path | None,
    names: tuple[str, ...],
    models: tuple[str, ...],
    modes: tuple[str, ...],
    rerankers: tuple[str, ...],
    rerank_budget: str | None,
    peers: tuple[str, ...],
    budget: int,
    questions: int,
    seed: int,
    as_json: bool,
) -> None:
    """Measure code search: nDCG@10, recall within a budget of tokens, time to index and to answer.

    FOLDER holds repositories with questions, in the layout of semble's benchmark: repos_status.json lists them,
    annotations/NAME.json has each one's questions and the files that answer. With --self there is none: the
    questions come from your own code. A transformer's vectors of code are kept in the user's cache: its first time to
    index counts.
    """
    from codekin.cli.results import print_json
    from codekin.evaluate.own_code import own_code
    from codekin.evaluate.repositories import read_repositories
    from codekin.evaluate.search import summarise

    if (folder is None) == (own is None):
        raise InputError("give a folder of repositories with questions, or --self PATH for your own code")
    if rerank_budget is not None and not rerankers:
        raise InputError("--rerank-budget is for --rerank")
    seconds = None if rerank_budget is None else options.read_duration(rerank_budget)
    systems = _systems(models, modes, rerankers, seconds, peers)
    skipped: list[tuple[str, str]] = []
    made: OwnCode | None = None
    if own is not None:
        with Meter("reading") as meter:
            made = own_code(
                own,
                questions=questions,
                seed=seed,
                progress=lambda done, total: meter.show(
                    done / total if total else None, count(done, "file" if total else "commit")
                ),
            )
        repositories = [made.repository]
    else:
        assert folder is not None
        repositories = read_repositories(
            folder, mirror=mirror, names=names, on_skip=lambda *what: skipped.append(what)
        )
    for name, reason in skipped:
        print(f"left out {name}: {reason}", file=sys.stderr)
    measured = _measure(repositories, systems, budget)
    summaries = summarise(measured)
    gains = _gains(systems, measured)
    if as_json:
        print_json(_described(measured, summaries, gains, budget, skipped, made))
        return
    _print(summaries, budget)
    _tell_gains(gains)
    if made is not None:
        _tell(made)
        _compare(measured, summaries)
    else:
        missing = f" of {len(repositories) + len(skipped)}" if skipped else ""
        print(
            f"\nmeans over {len(repositories)}{missing} repositories, {count(summaries[0].questions, 'question')}"
        )


def _systems(
    models: Sequence[str],
    modes: Sequence[str],
    rerankers: Sequence[str],
    seconds: float | None,
    peers: Sequence[str],
) -> list[System]:
    from codekin.embed import DEFAULT_MODEL
    from codekin.evaluate.search import Codekin, Command, TwoStages
    from codekin.search import Mode

    wanted = [mode for mode in Mode if not modes or mode.value in modes]
    found: list[System] = []
    for number, model in enumerate(dict.fromkeys(models or [DEFAULT_MODEL])):
        # Without vectors all models are one.
        own = [mode for mode in wanted if not number or mode is not Mode.LEXICAL]
        if own:
            found.append(Codekin(model, own))
            found += [TwoStages(name, model, own, seconds=seconds) for name in dict.fromkeys(rerankers)]
    for peer in peers:
        name, equals, command = peer.partition("=")
        if not (name and equals and command.strip()):
            raise InputError(
                f"--peer {peer!r} is no NAME=COMMAND, like 'ripgrep=rg -l {{query}} {{repository}}'"
            )
        found.append(Command(name, command))
    return found


def _measure(repositories: Sequence[Repository], systems: Sequence[System], budget: int) -> list[Measured]:
    from codekin.evaluate.search import measure

    measured: list[Measured] = []
    steps = len(repositories) * len(systems)
    with Meter("measuring") as meter:
        for number, repository in enumerate(repositories):
            for which, system in enumerate(systems):
                before = number * len(systems) + which

                def tell(done: int, total: int, before: int = before, name: str = repository.name) -> None:
                    meter.show((before + done / total) / steps, visible(name))

                measured += measure(repository, system, budget=budget, progress=tell)
    return measured


def _print(summaries: Sequence[Summary], budget: int) -> None:
    kinds = list(summaries[0].kinds) if len(summaries[0].kinds) > 1 else []
    rows = [
        ["", "nDCG@10", "95% interval", *kinds, f"recall in {budget:,} tokens", "index", "query (median)"],
        *(
            [
                summary.search,
                f"{summary.ndcg:.3f}",
                "{:.3f} to {:.3f}".format(*summary.interval),
                *(f"{summary.kinds[kind]:.3f}" for kind in kinds),
                f"{summary.recall:.3f}",
                "" if summary.index_seconds is None else duration(summary.index_seconds),
                _milliseconds(summary.query_seconds),
            ]
            for summary in summaries
        ),
    ]
    print("\n".join(aligned(rows)))


def _gains(systems: Sequence[System], measured: Sequence[Measured]) -> list[Gain]:
    """What the second stages add."""
    from codekin.evaluate.search import TwoStages, gain

    names = {one.search for one in measured}
    pairs = [
        (system.first(mode), system.name(mode))
        for system in systems
        if isinstance(system, TwoStages)
        for mode in system.modes
    ]
    return [gain(measured, first, both) for first, both in pairs if {first, both} <= names]


def _tell_gains(gains: Sequence[Gain]) -> None:
    """Each second stage beside its first, and whether that is more than chance."""
    rows = [
        [one.both, f"{one.ndcg:+.3f}", _verdict(one.p), f"{_milliseconds(max(one.seconds, 0))} more"]
        for one in gains
    ]
    if rows:
        print("\n" + "\n".join(aligned([["second stage", "nDCG@10", "", "query (median)"], *rows])))


def _verdict(p: float) -> str:
    return f"{'more than chance' if p < 0.05 else 'no more than chance would do'} (p = {p:.2g})"


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms" if seconds < 0.1 else duration(seconds)


def _tell(made: OwnCode) -> None:
    """What was asked, and what could not be."""
    kinds = [question.kind for question in made.repository.questions]
    asked = ", ".join(f"{kinds.count(kind)} from {_SOURCES[kind]}" for kind in dict.fromkeys(kinds))
    print(f"\n{count(len(kinds), 'question')} ({asked})")
    for kind, source in _SOURCES.items():
        reasons = [f"{number:,} {reason}" for (of, reason), number in made.left_out.items() if of == kind]
        if reasons:
            print(f"left out of {source}: {', '.join(reasons)}")


def _compare(measured: Sequence[Measured], summaries: Sequence[Summary]) -> None:
    """Which is best, and whether that is more than chance."""
    from codekin.evaluate.search import chance

    best, *others = sorted(summaries, key=lambda summary: -summary.ndcg)
    if not others:
        return
    p = chance(measured, best.search, others[0].search)
    lead = best.ndcg - others[0].ndcg
    print(f"best: {best.search}, {lead:.3f} ahead of {others[0].search}, {_verdict(p)}")


def _described(
    measured: Sequence[Measured],
    summaries: Sequence[Summary],
    gains: Sequence[Gain],
    budget: int,
    skipped: Sequence[tuple[str, str]],
    made: OwnCode | None,
) -> dict[str, Any]:
    left_out = made.left_out.items() if made else ()
    return {
        "budget": budget,
        "summaries": [asdict(summary) for summary in summaries],
        "second_stages": [asdict(one) for one in gains],
        "repositories": [asdict(one) for one in measured],
        "skipped": [{"repository": name, "reason": reason} for name, reason in skipped],
        "left_out": [{"kind": kind, "reason": reason, "number": n} for (kind, reason), n in left_out],
    }
