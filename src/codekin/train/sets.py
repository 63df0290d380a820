"""What a recipe trains on: catalogue sets become files of pairs, and pairs that answer each other are labelled."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from codekin.data import PairFiles, Use, answer_labels, find_set, write_pairs
from codekin.data.sampling import Rows
from codekin.errors import InputError


def pair_files(names: Sequence[str], work: Path) -> list[Path]:
    """A `.jsonl` for each: the file of that name, or made in `work` of the set that the catalogue has under it.

    Raises InputError for a name that is neither, and for a set that cannot be fetched.
    """
    return [Path(name) if name.endswith(".jsonl") else _of_catalogue(name, work / "sets") for name in names]


def _of_catalogue(name: str, folder: Path) -> Path:
    entry = find_set(name, Use.TRAINING)
    path = folder / f"{entry.name}.jsonl"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        entry.fetch()
        if not write_pairs(path, entry.pairs()):
            path.unlink()
            raise InputError(f"set {entry.name} has no pairs in {entry.folder}")
    return path


def answer_labels_of(files: Sequence[Path], work: Path) -> Rows:
    """`answer_labels` of the files' pairs; of the same files they are worked out once and kept in `work`."""
    digest = hashlib.blake2b(digest_size=8)
    for file in files:
        try:
            status = file.stat()
        except OSError as error:
            raise InputError(f"cannot read pairs from {file}: {error.strerror}") from None
        digest.update(f"{file.resolve()}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    path = work / f"labels-{digest.hexdigest()}.npy"
    if path.is_file():
        labels: Rows = np.load(path)
        return labels
    labels = answer_labels(PairFiles(files))
    partial = path.with_suffix(".partial.npy")
    np.save(partial, labels)
    partial.replace(path)
    return labels
