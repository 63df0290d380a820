"""What a plan computes, on figures of the test's own and on those that come with codekin."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codekin import CodeIndex
from codekin.embed import DEFAULT_MODEL, available_models
from codekin.errors import InputError
from codekin.search.sizing import (
    Figure,
    Figures,
    Machine,
    Model,
    Need,
    Sizing,
    find_model,
    measure,
    plan,
    read_figures,
)

VALUES = {
    "chunk_bytes": 1_000,
    "chunk_lines": 25,
    "chunk_tokens": 200,
    "query_tokens": 10,
    "index_rate": 1_000,
    "write_rate": 10_000,
    "disk": 500,
    "memory": 300,
    "memory_base": 100,
    "cpu_gflops": 50,
    "int8_gain": 2,
    "gpu_share": 0.5,
    "busy": 0.5,
    "usable": 0.8,
    "most_times": 4,
    "cluster_memory": 3_000,
    "cluster_disk": 4_000,
    "cluster_search": 20,
}
FIGURES = Figures(
    "a machine",
    "2026-01-01",
    ((100_000, 0.01), (1_000_000, 0.04)),
    {name: Figure(value, "", "measured", "") for name, value in VALUES.items()},
    {"fast": 100_000},
    {},
)
SHIPPED = read_figures()
STATIC = Model("static", 256, 256, 0.0)
DECODER = Model("decoder", 896, 896, 0.5)
MACHINE = Machine(16, 64e9)


def amounts(sizing: Sizing) -> dict[str, float]:
    return {need.what: need.amount for need in sizing.needs}


def need(sizing: Sizing, what: str) -> Need:
    return next(need for need in sizing.needs if need.what == what)


def test_an_index_of_one_machine() -> None:
    found = plan(1_000_000, STATIC, FIGURES, queries=1_000, machine=MACHINE)
    assert not found.is_cluster
    assert amounts(found) == pytest.approx(
        {
            "source": 1e9,
            "lines of source": 25e6,
            "index on disk": 756e6,
            "memory of a process that searches": 100e6 + 588e6,
            "a search, on one core": 0.04,
            "machines that search, each all of it": 5,  # 40 cores at work, 8 of 16 to be
            "to index it, on one machine": 100,  # its one writer; 16 cores cut it in 62.5
        }
    )
    assert need(found, "index on disk").certainty == "measured"
    assert need(plan(1_000_001, STATIC, FIGURES), "index on disk").certainty == "extrapolated"


def test_a_transformer_takes_its_time() -> None:
    found = amounts(plan(1_000_000, DECODER, FIGURES, queries=100, machine=MACHINE))
    # A chunk: 200 tokens of 0.5 GFLOP, 2 s of a core, and 1 ms to cut it; a query: 0.1 s, and a wider search.
    assert found["to index it, on one machine"] == pytest.approx(1e6 * 2.001 / 16)
    assert found["with --dtype int8"] == pytest.approx(1e6 * 1.001 / 16)
    assert found["to embed it, on one fast"] == pytest.approx(1e6 * 100 / 50_000)
    assert found["a search, on one core"] == pytest.approx(0.04 * 896 / 256 + 0.1)
    assert found["machines that search, each all of it"] == 3  # 24 cores at work
    assert found["index on disk"] == pytest.approx(1e6 * (500 + 896))


def test_a_store_of_many_machines() -> None:
    found = plan(1_000_000_000, STATIC, FIGURES, queries=1_000, machine=MACHINE)
    assert found.is_cluster
    assert amounts(found) == pytest.approx(
        {
            "source": 1e12,
            "lines of source": 25e9,
            "store on disk": 1e9 * (4_000 + 2 * 4 * 256),
            "memory of the store": 1e9 * (3_000 + 4 * 256),
            "machines for that": 79,  # 4,024 GB by 51.2
            "copies, for the queries": 3,  # 20 cores at work in each
            "machines of the store": 237,
            "machines that take the queries": 1,
            "to index it, on one machine": 62_500,
        }
    )
    assert all("milvus://" in command for command in found.commands)
    assert {need.certainty for need in found.needs} == {"measured", "estimated", "extrapolated"}


def test_where_one_machine_ends() -> None:
    assert not plan(4_000_000, STATIC, FIGURES).is_cluster
    assert plan(4_000_001, STATIC, FIGURES).is_cluster
    # 688 MB of memory, of which four fifths may be the index.
    assert not plan(1_000_000, STATIC, FIGURES, machine=Machine(2, 861e6)).is_cluster
    assert plan(1_000_000, STATIC, FIGURES, machine=Machine(2, 859e6)).is_cluster


def test_a_search_takes_longer_among_more() -> None:
    assert FIGURES.search_seconds(100_000) == pytest.approx(0.01)
    assert FIGURES.search_seconds(316_228) == pytest.approx(
        0.02, rel=1e-4
    )  # a power law: half way in both logarithms
    assert FIGURES.search_seconds(1_000_000) == pytest.approx(0.04)
    assert FIGURES.search_seconds(3_000_000) == pytest.approx(0.12)
    assert FIGURES.search_seconds(1) == pytest.approx(0.01)


@given(
    st.integers(1, 10**11),
    st.integers(1, 10**11),
    st.floats(0.1, 1e4),
    st.sampled_from([STATIC, DECODER]),
)
def test_more_takes_no_less(one: int, other: int, queries: float, model: Model) -> None:
    fewer, more = (plan(chunks, model, SHIPPED, queries=queries) for chunks in sorted((one, other)))
    assert fewer.is_cluster <= more.is_cluster
    if fewer.is_cluster == more.is_cluster:
        smaller, larger = amounts(fewer), amounts(more)
        assert all(smaller[what] <= larger[what] * (1 + 1e-9) for what in smaller)
    assert all(value >= 0 for value in amounts(fewer).values())


def test_every_figure_says_where_it_is_from() -> None:
    figures = read_figures()
    for figure in figures.named.values():
        assert figure.value > 0
        assert figure.how in ("measured", "published", "assumed")
        assert figure.source
        assert figure.unit
    for model in (STATIC, DECODER):
        for chunks in (10_000, 10**10):
            for part in plan(chunks, model, figures).needs:
                assert part.figures
                assert all(name == "search" or name in figures.named for name in part.figures)
                assumed = any(
                    name != "search" and figures.named[name].how == "assumed" for name in part.figures
                )
                assert (part.certainty == "estimated") >= assumed
    assert list(figures.search) == sorted(figures.search)


def test_known_models_are_not_looked_into() -> None:
    figures = read_figures()
    known = {model.name: model for model in available_models()}
    for name, model in known.items():
        found = find_model(name, None, figures)
        assert (found.dimensions, found.full) == (model.dimensions, model.dimensions)
        assert (found.gflop > 0) == (model.kind == "transformer")
    assert find_model("jinaai/jina-code-embeddings-0.5b", 256, figures).dimensions == 256
    with pytest.raises(InputError, match="no vectors of 65 dimensions; sizes: 64, 128, 256"):
        find_model(DEFAULT_MODEL, 65, figures)


def test_a_folder_gives_its_own_figures(tmp_path: Path, decoder: Path) -> None:
    source = "".join(
        f"def retry_{number}(send, request):\n"
        f'    """Send a request again, number {number}."""\n'
        "    for attempt in range(3):\n        send(request)\n\n\n"
        for number in range(60)
    )
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "net.py").write_text(source)
    with CodeIndex(tmp_path / "tree", index=tmp_path / "index") as index:
        index.update()
        chunks = index.status().chunks
    model = find_model(str(decoder), None, read_figures())
    assert model.gflop > 0
    counted, figures = measure(tmp_path / "tree", model, read_figures())
    assert counted == chunks
    assert figures["chunk_bytes"] == pytest.approx(len(source) / chunks)
    assert figures["chunk_lines"] == pytest.approx(360 / chunks)
    assert figures["chunk_tokens"] > 50  # a token a byte
    assert figures.named["cpu_gflops"].source == f"{tmp_path / 'tree'}, on this machine"
    assert figures["memory"] == read_figures()["memory"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no source to measure"):
        measure(tmp_path / "empty", STATIC, read_figures())
