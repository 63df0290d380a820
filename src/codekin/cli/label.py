"""`codekin label`: the nearest of some labels for each text."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from codekin.cli import options, texts
from codekin.cli.terminal import visible
from codekin.cli.texts import Texts
from codekin.errors import InputError
from codekin.tasks import Role, Task


@click.command()
@texts.inputs
@click.option("-e", "--label", "given", multiple=True, metavar="LABEL", help="One of the labels. Repeatable.")
@click.option(
    "--labels",
    "label_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="More labels, one a line.",
)
@texts.field
@texts.id_field
@texts.files
@options.model
@options.task(Task.CODE2NL)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a text.")
def label(
    inputs: tuple[Path, ...],
    given: tuple[str, ...],
    label_file: Path | None,
    field: str | None,
    id_field: str | None,
    files: bool,
    model: str | None,
    task: str,
    as_json: bool,
) -> None:
    """Give each text the label that is nearest in meaning.

    Texts are the lines of the INPUT files (default: stdin), their JSON lines or, with --files, whole files and the
    chunks of folders. A label may be a word or a sentence that says what the texts it is for have in common.

    Printed are the label, its score from -1 to 1, its lead over the second label and the text, or with --files its
    place, with tabs between them.
    """
    import numpy as np

    from codekin.cli.results import print_json
    from codekin.embed import DEFAULT_MODEL, Embedder, VectorCache

    labels = _labels(given, label_file)
    source = Texts(inputs, field, id_field, files)
    embedder = Embedder(model or DEFAULT_MODEL, cache=VectorCache())
    wanted = embedder.encode(labels, task, Role.DOCUMENT).astype(np.float64)
    blocks = source if source.is_stream else texts.batches(source, embedder)
    for batch in blocks:
        vectors = embedder.encode([text.text for text in batch], task, Role.QUERY)
        scores = vectors.astype(np.float64) @ wanted.T
        best = scores.argmax(axis=1)
        second, first = np.sort(scores, axis=1)[:, -2:].T
        for text, row, score, margin in zip(batch, best, first, first - second, strict=True):
            name = labels[int(row)]
            if as_json:
                told = {"label": name, "score": round(score, 4), "margin": round(margin, 4)}
                print_json({"id": text.id, **told, "text": text.text})
            else:
                shown = text.id if files else text.text.replace("\n", " ")
                print(f"{name}\t{score:.3f}\t{margin:.3f}\t{shown}")
        sys.stdout.flush()
    for path, reason in source.skipped:
        print(f"skipped {visible(path)}: {reason}", file=sys.stderr)


def _labels(given: tuple[str, ...], file: Path | None) -> list[str]:
    """The labels of the options and of the file; raises InputError where they are fewer than two."""
    listed = file.read_text(encoding="utf-8", errors="replace").splitlines() if file else []
    labels = list(dict.fromkeys(name.strip() for name in (*given, *listed) if name.strip()))
    if len(labels) < 2:
        raise InputError("give at least two labels to choose from: -e LABEL -e LABEL")
    return labels
