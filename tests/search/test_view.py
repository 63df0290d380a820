"""The candidates of a view against signals of every chunk, computed one by one."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from codekin.search import CodeIndex, ranking, view
from codekin.search.lexical import Field
from codekin.search.ranking import Query
from codekin.search.store import Store
from codekin.search.vectors import largest
from codekin.search.view import View

QUESTIONS = (
    "open the cache and retry",
    "write",
    "parse_request",
    "session session user path of a nothing here",
)


def scores(found: View, store: Store, query: Query) -> np.ndarray:
    """(n,) float64: BM25 as it is defined, a chunk at a time."""
    n = len(found.contents.file_of)
    lengths = found.contents.spans[:, 2]
    total = np.zeros(n)
    for term in query.terms:
        [(chunks, counts)] = store.matches(found.contents, term, [Field.TEXT])
        live = [
            (row, count) for row, count in zip(found.contents.row_of[chunks], counts, strict=True) if row >= 0
        ]
        idf = math.log(1 + (n - len(live) + 0.5) / (len(live) + 0.5))
        for row, count in live:
            norm = 1.2 * (0.25 + 0.75 * lengths[row] / lengths.mean())
            total[row] += idf * 2.2 * count / (count + norm)
    return total


@pytest.mark.parametrize("frequent", [0, 20_000])
@pytest.mark.parametrize("share", [None, 0.3])
def test_the_best_by_bm25_are_among_the_candidates_with_their_scores(
    large_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frequent: int, share: float | None
):
    monkeypatch.setattr(view, "_FREQUENT", frequent)
    monkeypatch.setattr(view, "_LOOKUP", min(frequent, 16))
    with CodeIndex(large_tree, index=tmp_path / "index") as index:
        index.update()
        for path in sorted(large_tree.rglob("*.py"))[::3]:
            path.write_text(path.read_text() + "\n\ndef retry_queue():\n    return cache\n")
        index.update()  # chunks that are no longer in use stay in the postings
    store = Store(tmp_path / "index")
    with store.reading():
        found = View(store)
        kept = None if share is None else np.random.default_rng(1).random(len(found.contents.file_of)) < share
        for question in QUESTIONS:
            query = ranking.parse(question)
            expected = scores(found, store, query)
            rows, signals = found.candidates(query, None, 10, text=True, kept=kept)
            assert signals.lexical == pytest.approx(expected[rows], rel=1e-5)
            wanted = expected if kept is None else expected * kept
            assert kept is None or kept[rows].all()
            best = np.sort(wanted)[::-1][:10]
            by_score = np.sort(signals.lexical)[::-1][:10]
            assert by_score == pytest.approx(best[best > 0], rel=1e-5)
    store.close()


def test_a_view_takes_over_what_an_earlier_one_knew(large_tree: Path, tmp_path: Path):
    with CodeIndex(large_tree, index=tmp_path / "index") as index:
        index.update()
        store = Store(tmp_path / "index")
        with store.reading():
            before = View(store)
        paths = sorted(large_tree.rglob("*.py"))
        paths[0].unlink()
        paths[5].write_text("def replaced():\n    return 5\n")
        paths[9].write_text("")
        index.update()
    with store.reading():
        after, fresh = View(store, before), View(store)
    store.close()
    assert after.contents.generation > before.contents.generation
    assert np.array_equal(after.contents.vectors, fresh.contents.vectors)
    assert not np.array_equal(after.contents.vectors[:50], before.contents.vectors[:50])
    query = fresh.contents.vectors[3]
    assert np.array_equal(
        largest(after.vectors.cosines(query), 10), largest(fresh.vectors.cosines(query), 10)
    )
