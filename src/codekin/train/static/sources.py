"""What a static recipe names, made available: the pairs to train on, mined if need be, and the teacher."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from codekin.data import fetch, load_corpus, mine, write_pairs
from codekin.embed import hub
from codekin.errors import InputError, ModelError

CORPUS = "corpus"


def pairs_file(source: str, work: Path, log: Callable[[str], None]) -> Path:
    """The file of pairs of that name; of "corpus", the packages are fetched below `work` and mined, once.

    Packages that cannot be had are told and left out. Raises InputError where there is nothing to train on.
    """
    if source != CORPUS:
        return Path(source)
    path = work / "pairs.jsonl"
    if path.is_file():
        return path
    corpus = load_corpus()
    report = fetch(
        work / CORPUS, corpus, progress=lambda done, total, package: log(f"{done} of {total}: {package}")
    )
    for package, reason in report.skipped:
        log(f"left out {package}: {reason}")
    if not report.trees:
        raise InputError(f"none of the corpus's {len(corpus.packages)} packages can be had")
    log(f"mining {len(report.trees)} packages")
    write_pairs(path, mine(report.trees, held_out=corpus.held_out))
    return path


def teacher_folder(name: str) -> Path:
    """The folder of that name, or the model that the Hugging Face hub has under it; raises ModelError for neither."""
    if (folder := Path(name).expanduser()).is_dir():
        return folder
    on_hub = hub.HubName.parse(name)
    if on_hub is None:
        raise ModelError(
            f"no teacher {name!r}: give a folder, or a name on the Hugging Face hub (owner/name)"
        )
    return hub.fetch(on_hub)
