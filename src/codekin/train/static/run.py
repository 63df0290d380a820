"""A recipe, pairs and a teacher in, a static model's folder out."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray

from codekin.data import Pair, Sampler, answer_labels, read_pairs
from codekin.errors import InputError
from codekin.tasks import Task
from codekin.train.recipe import StaticRecipe
from codekin.train.static.sources import pairs_file, teacher_folder
from codekin.train.static.stages import contrast, distil, ndcg_at_10
from codekin.train.static.student import Bags, StaticStudent, write_model
from codekin.train.static.teacher import Teacher, VectorCache
from codekin.train.static.vocabulary import UNKNOWN, build_tokenizer

# Enough held-out pairs to tell half a point of nDCG, few enough to rank in a second.
_MAX_HELD_OUT = 4000
# Whose queries are prose; the other way round is learned with them, and starts of functions say little of their rests.
_TASKS = (Task.NL2CODE, Task.QA)
# The words of this many pairs, a random part of all, make the same vocabulary as those of millions.
_VOCABULARY_PAIRS = 150_000
# How questions to a search engine name a language; "python ..." is the form of most, so it stands twice.
_TYPED = (
    "{language} {query}",
    "{language} {query}",
    "{query} {language}",
    "how to {query} in {language}",
    "{query} in {language}",
)
_SPOKEN = {"cpp": "c++", "csharp": "c#", "go": "golang", "tsx": "typescript"}
_PROSE = ("markdown", "rst", "text")


@dataclass(frozen=True)
class StaticReport:
    """What a run did; `pairs` trained on by language, held-out nDCG@10 at its start and after each stage."""

    pairs: dict[str, int]
    held_out: int
    vocabulary: int
    start_ndcg: float
    distilled_ndcg: float
    epoch_ndcg: tuple[float, ...]
    seconds: float

    @property
    def best_ndcg(self) -> float:
        """The figure of the model that was written."""
        return max(self.distilled_ndcg, *self.epoch_ndcg)


def train_static(choices: StaticRecipe, *, output: Path, log: Callable[[str], None] = print) -> StaticReport:
    """Train the static model of a recipe and write it to `model/` in `output`, which codekin.Embedder loads.

    What it takes to get there stays in `output` for the next run: the corpus and its pairs, the teacher's vectors.
    The same recipe, files and machine give the same model. Raises InputError for pairs that cannot be used,
    ModelError for a teacher that cannot.
    """
    began = time.monotonic()
    sizes, limit = choices.model.sizes, choices.data.max_tokens
    torch.manual_seed(choices.seed)
    rng = np.random.default_rng(choices.seed)

    pairs = pairs_file(choices.data.source, output, log)
    training, held_out = split(distinct(pairs), choices.data.held_out)
    training = training[: choices.data.pairs]
    log(f"{len(training)} pairs to train on, {len(held_out)} held out")
    guide = Teacher(teacher_folder(choices.teacher.model), max_tokens=choices.teacher.max_tokens)
    tokenizer = build_tokenizer(
        guide.vocabulary,
        (text for pair in training[:_VOCABULARY_PAIRS] for text in (pair.query, pair.document)),
        size=choices.vocabulary.size,
        min_texts=choices.vocabulary.min_texts,
    )
    log(f"vocabulary: {tokenizer.get_vocab_size()} tokens")

    taught_texts = [pair.query for pair in training[: choices.teacher.queries]]
    taught_texts += [pair.document for pair in training[: choices.teacher.documents]]
    ids = tokenizer.get_vocab()
    words = [token.removeprefix("##") for token in sorted(ids, key=lambda token: ids[token])]
    cache = VectorCache(guide, output / "teacher")
    cache.fill(words + taught_texts, lambda done, total: log(f"teacher: {done} of {total} texts"))
    matrix = cache.matrix()
    project = Projection(matrix[cache.rows(taught_texts)], choices.model.dimensions)

    def bags(texts: Sequence[str], max_tokens: int) -> Bags:
        return Bags.of(tokenizer, texts, max_tokens, choices.model.count_exponent)

    queries = bags(typed(training, choices.data.named, choices.seed), limit)
    documents = bags([pair.document for pair in training], limit)
    unseen_queries = bags([pair.query for pair in held_out], limit)
    unseen_documents = bags([pair.document for pair in held_out], limit)

    def judge(student: StaticStudent) -> float:
        return ndcg_at_10(student.embed(unseen_queries), student.embed(unseen_documents))

    weights = _inverse_frequency(documents, tokenizer.get_vocab_size(), choices.model.frequency)
    weights[tokenizer.token_to_id(UNKNOWN)] = 0.0
    student = StaticStudent(project(matrix[cache.rows(words)]), weights)
    start_ndcg = judge(student)
    log(f"start: held-out nDCG@10 {start_ndcg:.4f}")

    targets = project(matrix[cache.rows(taught_texts)])
    taught_bags = bags(taught_texts, choices.distil.max_tokens)
    for epoch, loss in enumerate(distil(student, taught_bags, targets, sizes, choices.distil, rng), 1):
        log(f"distil: epoch {epoch}, loss {loss:.4f}")
    distilled_ndcg = judge(student)
    log(f"distilled: held-out nDCG@10 {distilled_ndcg:.4f}")

    # Documents of one language are harder to tell apart.
    languages = [pair.language for pair in training]
    sampler = Sampler(languages, answer_labels(training), choices.contrast.batch, seed=choices.seed)
    epochs = []
    stage = contrast(student, queries, documents, sampler, sizes, choices.contrast, judge, rng)
    # Adam's moments of tokens not seen for some hundred steps fade into denormal numbers, which are slow. The mode
    # is the whole thread's, so the caller gets its own back.
    torch.set_flush_denormal(True)
    try:
        for loss, figure in stage:
            epochs.append(figure)
            elapsed = time.monotonic() - began
            log(
                f"contrast: epoch {len(epochs)}, loss {loss:.4f}, held-out nDCG@10 {figure:.4f}, {elapsed:.0f} s"
            )
    finally:
        torch.set_flush_denormal(False)
    write_model(
        output / "model",
        student,
        tokenizer,
        sizes=sizes,
        count_exponent=choices.model.count_exponent,
        licence=choices.licence,
    )
    return StaticReport(
        pairs=dict(Counter(languages).most_common()),
        held_out=len(held_out),
        vocabulary=tokenizer.get_vocab_size(),
        start_ndcg=start_ndcg,
        distilled_ndcg=distilled_ndcg,
        epoch_ndcg=tuple(epochs),
        seconds=time.monotonic() - began,
    )


def distinct(path: Path) -> list[Pair]:
    """The pairs of a file that ask in prose, no query or document twice: in one batch it would be a false negative.

    In the order of a hash of their texts: random, but a file that has grown keeps its old pairs' order, so that
    the teacher's vectors computed for it serve again.
    """
    asked = (pair for pair in read_pairs(path) if pair.task in _TASKS)
    found = sorted(asked, key=lambda pair: _hash(pair.query + "\0" + pair.document))
    queries: set[str] = set()
    documents: set[str] = set()
    kept = []
    for pair in found:
        if pair.query not in queries and pair.document not in documents:
            queries.add(pair.query)
            documents.add(pair.document)
            kept.append(pair)
    return kept


def split(pairs: list[Pair], share: float) -> tuple[list[Pair], list[Pair]]:
    """Pairs to train on and about `share` of them held out, by whole sources: a package is on one side alone."""
    sizes = Counter(pair.source for pair in pairs)
    wanted = min(int(len(pairs) * share), _MAX_HELD_OUT)
    chosen: set[str] = set()
    total = 0
    for source in sorted(sizes, key=_hash):
        if total + sizes[source] <= wanted:
            chosen.add(source)
            total += sizes[source]
    if not chosen:
        raise InputError(f"no source of the pairs is small enough to hold {share:g} of them out")
    return [p for p in pairs if p.source not in chosen], [p for p in pairs if p.source in chosen]


def typed(pairs: Sequence[Pair], share: float, seed: int) -> list[str]:
    """The pairs' queries, about `share` of them naming the language of what they look for, as people type them."""
    random = Random(seed)
    queries = []
    for pair in pairs:
        query = pair.query
        if random.random() < share and pair.language not in _PROSE:
            form = random.choice(_TYPED)
            query = form.format(query=query, language=_SPOKEN.get(pair.language, pair.language))
        queries.append(query)
    return queries


class Projection:
    """Teacher vectors to their first principal components, fitted on `vectors` (n, d)."""

    def __init__(self, vectors: NDArray[np.float16], dimensions: int) -> None:
        sample = vectors.astype(np.float32)
        self._mean = sample.mean(axis=0)
        centred = sample - self._mean
        _, axes = np.linalg.eigh(centred.T @ centred)
        self._axes = np.ascontiguousarray(axes[:, ::-1][:, :dimensions])

    def __call__(self, vectors: NDArray[np.float16]) -> NDArray[np.float32]:
        """(n, d) to (n, dimensions) float32, unit length."""
        projected = (vectors.astype(np.float32) - self._mean) @ self._axes
        length = np.linalg.norm(projected, axis=1, keepdims=True)
        return np.asarray(projected / np.maximum(length, 1e-12), dtype=np.float32)


def _inverse_frequency(bags: Bags, tokens: int, a: float) -> NDArray[np.float32]:
    """SIF weights, a / (a + p(token)) (Arora et al., ICLR 2017), (tokens,)."""
    frequencies = np.bincount(bags.tokens, bags.counts, minlength=tokens)
    return np.asarray(a / (a + frequencies / frequencies.sum()), dtype=np.float32)


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
