"""Ranking: two lists fused, then what an engineer knows about code.

Every signal is a small function with its reason. Weights stand in `WEIGHTS`; they were chosen on the 19
repositories of the semble benchmark, and `benchmarks/repo_search.py --ablation` prints what each is worth.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from codekin.embed import TaskCalibration
from codekin.search import lexical
from codekin.search.vectors import largest

Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Weights:
    """What each signal counts. 0 (1 for a factor) switches it off."""

    semantic: float = 1.0
    lexical: float = 0.7
    defines: float = 0.4
    stem: float = 2.5
    folder: float = 0.6
    symbol: float = 1.5
    support: float = 0.3
    unasked: bool = True
    repeat: float = 0.4


WEIGHTS = Weights()
POOL = 100
"""Candidates that each list sends into the ranking. Scores are scaled over them, so it weighs as well: 100 was the
best of 25 to 400."""

_IDENTIFIER = re.compile(
    r"[A-Za-z_$][\w$]*(?:(?:::|\\|->|\.|#|/)[A-Za-z_$][\w$]*[!?]?)+"  # qualified: Session.send, std::vector
    r"|[A-Za-z]*[a-z0-9][A-Z]\w*"  # camelCase and PascalCase
    r"|\w*[A-Za-z0-9]_\w+|_\w+"  # snake_case, _private
    r"|[A-Z]\w*"  # Capitalised
)
_QUALIFIER = re.compile(r"::|\\|->|\.|#|/")


@dataclass(frozen=True, slots=True)
class Query:
    """A query as the lexical signals see it."""

    terms: tuple[str, ...]
    """Distinct terms without stop words, in the order of the text."""
    identifiers: frozenset[str]
    """Those of the terms that are identifiers of several parts, whole: nothing that English would hold by chance."""
    names: tuple[str, ...]
    """Identifiers in the query, in lower case; of a query that is one as a whole the last part, `send` of
    `Session.send`: the name to look up."""
    rarity: tuple[float, ...] | None = None
    """BM25's inverse document frequency of each term among the chunks of several folders, where several are asked; None
    where each folder weighs them by its own."""


NO_QUERY = Query((), frozenset(), ())


def parse(text: str) -> Query:
    """Reads a query: its terms, and the names that it spells out."""
    words = lexical.words(text)
    kept = [word for word in words if word.lower() not in lexical.FUNCTION_WORDS] or words
    split = {word: lexical.terms(word) for word in kept}
    terms = tuple(dict.fromkeys(term for parts in split.values() for term in parts))
    identifiers = frozenset(parts[0] for parts in split.values() if len(parts) > 1)
    stripped = text.strip().removesuffix("()")
    if _IDENTIFIER.fullmatch(stripped):
        symbol = _QUALIFIER.split(stripped)[-1]
        return Query(terms, identifiers, (symbol.lower(),))
    names = dict.fromkeys(word.lower() for word, parts in split.items() if len(parts) > 1)
    return Query(terms, identifiers, tuple(names))


def rarity(holding: float, total: float) -> float:
    """BM25's inverse document frequency of a term that so many of all chunks hold."""
    return math.log(1 + (total - holding + 0.5) / (holding + 0.5))


@dataclass(frozen=True, slots=True)
class Signals:
    """What is known of n chunks for one query: (n,) float32 each, 0 where there is no match.

    `semantic` is a cosine and `lexical` a BM25 score; `text`, `defines`, `stem` and `folder` are the share of the
    query (weighted by how rare its terms are) found in the chunk's text, among the names that it defines, in its
    file's name and in its folders' names; `symbol` is 1 where the chunk defines a name that the query spells out,
    `spelt` where its text has one of the query's identifiers.
    """

    semantic: Scores
    lexical: Scores
    text: Scores
    defines: Scores
    stem: Scores
    folder: Scores
    symbol: Scores
    spelt: Scores

    @classmethod
    def joined(cls, parts: Sequence[Signals]) -> Signals:
        """The signals of several folders' chunks, one folder after the other."""
        names = cls.__dataclass_fields__
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def of(self, rows: NDArray[np.int64]) -> Signals:
        """The signals of some rows."""
        return Signals(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def pool(top: int) -> int:
    """How many candidates each list sends into the ranking of the best `top`."""
    return max(POOL, 2 * top)


class Ranking:
    """The candidates of one query in order, by the signals of n rows; with what a second stage says, in another."""

    def __init__(
        self,
        signals: Signals,
        file_of: NDArray[np.int32],
        paths: Sequence[str],
        query: Query,
        top: int,
        weights: Weights = WEIGHTS,
    ) -> None:
        """`top` is how many are wanted: of so many, each list sends its `pool`."""
        count = pool(top)
        self._rows = np.unique(
            np.concatenate(
                [
                    largest(signals.semantic, count),
                    largest(signals.lexical, count),
                    largest(signals.symbol + signals.defines * (signals.symbol > 0), count),
                ]
            )
        )
        self._files = file_of[self._rows]
        self._weights = weights
        candidates = signals.of(self._rows)
        self._scores = fuse(candidates, weights) if len(self._rows) else np.empty(0, np.float32)
        self._scores += weights.defines * candidates.defines
        self._scores += weights.stem * candidates.stem
        self._scores += weights.folder * candidates.folder
        self._scores += weights.symbol * candidates.symbol
        asked = frozenset(query.terms)
        self._factors = np.array(
            [unasked(paths[file], asked) if weights.unasked else 1.0 for file in self._files.tolist()],
            np.float32,
        )

    def best(self, top: int, further: Scores | None = None) -> tuple[NDArray[np.int64], Scores]:
        """The best `top` rows and their scores, best first; `further` (n,) is what one more list says of each row."""
        scores = self._scores if further is None else self._scores + further[self._rows]
        scores = support(scores * self._factors, self._files, self._weights.support)
        return spread(self._rows, scores, self._files, top, self._weights.repeat)


ENOUGH = 0.4
"""What `answers` asks of the best chunk: so little that hardly a question is refused whose answer a search would show.
More refuses more, rightly and wrongly; `benchmarks/refusals.py` counts both."""
_SURE = "0.001"
"""The false-positive rate whose cosine is counted as full nearness."""


def answers(signals: Signals, calibration: TaskCalibration | None) -> bool:
    """Whether any of the candidates answers, as far as a calibrated model can tell; true without a calibration.

    Cosines alone don't say: a rare word in common is worth as much as a near vector. So a chunk's nearness, 0 at the
    model's noise floor and 1 where one unrelated pair in a thousand comes, and the share of the query's words in its
    text have to be `ENOUGH` on average. An identifier of the query that occurs anywhere is an answer by itself.
    """
    if calibration is None or _SURE not in calibration.thresholds:
        return True
    floor = calibration.geometry.noise_floor
    nearness = (signals.semantic - floor) / max(calibration.thresholds[_SURE] - floor, 1e-6)
    support = (nearness + signals.text) / 2
    return bool(signals.spelt.any() or support.max(initial=0.0) >= ENOUGH)


def fuse(candidates: Signals, weights: Weights) -> Scores:
    """Both lists' scores, each scaled to 0..1 over the candidates, so that neither's unit counts."""
    return weights.semantic * _scaled(candidates.semantic) + weights.lexical * _scaled(candidates.lexical)


def _scaled(scores: Scores) -> Scores:
    peak = float(scores.max(initial=0.0))
    low = float(scores.min(initial=peak))
    if low == peak:  # one candidate, or equal ones: a match all the same
        return np.asarray(scores > 0, np.float32)
    return np.asarray((scores - low) / max(peak - low, 1e-9), np.float32)


def support(scores: Scores, files: NDArray[np.int32], weight: float) -> Scores:
    """Chunks of one file support its best chunk: a file that answers does so in several places."""
    total = np.bincount(files, weights=scores)
    best = np.zeros(len(total), np.float64)
    np.maximum.at(best, files, scores)
    peak = total.max(initial=0.0)
    if peak <= 0:
        return scores
    is_best = scores >= best[files]
    return np.asarray(scores + is_best * (weight * float(scores.max()) * total[files] / peak), np.float32)


def spread(
    rows: NDArray[np.int64], scores: Scores, files: NDArray[np.int32], top: int, factor: float
) -> tuple[NDArray[np.int64], Scores]:
    """Each further chunk of a file counts `factor` less than the one before: one file does not fill the list."""
    order = np.argsort(-scores, kind="stable")
    seen: dict[int, int] = {}
    shares = np.ones(len(rows), np.float32)
    for position in order.tolist():
        file = int(files[position])
        shares[position] = factor ** seen.get(file, 0)
        seen[file] = seen.get(file, 0) + 1
    scores = scores * shares
    order = np.argsort(-scores, kind="stable")[:top]
    return rows[order], scores[order]


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of file that repeats the words of a question and seldom answers it."""

    pattern: re.Pattern[str]
    factor: float
    asked: frozenset[str]
    """Terms that ask for this kind."""


def _kind(pattern: str, factor: float, asked: str) -> _Kind:
    return _Kind(re.compile(pattern), factor, frozenset(lexical.terms(word)[0] for word in asked.split()))


_UNASKED = (
    _kind(  # tests: by folder, and by the name customs of the languages' test runners
        r"(?:^|/)(?:tests?|testing|__tests__|specs?|fixtures?|mocks?|__mocks__|testdata|e2e)/"
        r"|(?:^|/)(?:test_[^/]*|[^/]*[_.-](?:tests?|specs?)|[^/]*[a-z0-9](?:Tests?|Spec|Suite)|conftest)\.\w+$",
        0.3,
        "test tests testing spec specs fixture mock e2e",
    ),
    _kind(r"(?:^|/)(?:bench|benches|benchmarks?|perf)/", 0.4, "bench benchmark performance speed"),
    _kind(
        r"(?:^|/)(?:_?examples?|samples?|demos?|docs?_src|tutorials?)/", 0.4, "example sample demo tutorial"
    ),
    _kind(
        r"\.(?:md|mdx|markdown|rst|txt|adoc|html?|in|tex)$|(?:^|/)(?:README|CHANGELOG|CONTRIBUTING|LICENSE)[^/]*$",
        0.5,
        "docs documentation readme changelog guide tutorial licence license contributing markdown html",
    ),
    _kind(
        r"\.(?:json5?|ya?ml|toml|ini|cfg|xml|properties|css|scss)$",
        0.5,
        "config configuration json yaml toml xml settings css style workflow ci package",
    ),
    _kind(
        r"(?:^|/)(?:_?compat|legacy|deprecated|vendor(?:ed)?|_vendor|third_party|generated)/",
        0.4,
        "compat compatibility legacy deprecated vendor generated",
    ),
    _kind(
        r"(?:^|/)(?:__init__\.py|package-info\.java|index\.[jt]sx?)$",
        0.7,
        "export module package index",
    ),
    _kind(r"\.d\.[cm]?ts$|\.pyi$", 0.7, "declaration type types typing stub"),
)


@lru_cache(maxsize=65_536)
def _kinds(path: str) -> tuple[_Kind, ...]:
    return tuple(kind for kind in _UNASKED if kind.pattern.search(path))


def unasked(path: str, terms: frozenset[str]) -> float:
    """Tests, documents, examples and the like count less, unless the query asks for them."""
    weight = 1.0
    for kind in _kinds(path):
        if kind.asked.isdisjoint(terms):
            weight *= kind.factor
    return weight
