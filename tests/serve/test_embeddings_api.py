"""The embeddings API to the clients that people use, in OpenAI's and in Jina's form, and reranking."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from running import Server
from shop import DECODER

from codekin import Embedder
from codekin.embed.remote import RemoteModel
from codekin.tasks import Role, Task

openai = pytest.importorskip("openai")

MODEL = "codekin-static"
TEXTS = ["def add(a, b): return a + b", "sort a list of numbers", "open a file and read its lines"]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder(MODEL)


@pytest.fixture
def client(server: Server) -> Any:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as opened:
        yield opened


def _vectors(answer: Any) -> np.ndarray[Any, Any]:
    assert [one["index"] for one in answer["data"]] == list(range(len(answer["data"])))
    return np.array([one["embedding"] for one in answer["data"]])


@pytest.mark.parametrize("encoding", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}])
def test_openai_client(client: Any, embedder: Embedder, encoding: dict[str, str]):
    answer = client.embeddings.create(model=MODEL, input=TEXTS, **encoding)
    given = [one.embedding for one in answer.data]
    if encoding.get("encoding_format") == "base64":
        given = [np.frombuffer(base64.b64decode(one), "<f4") for one in given]  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.array(given, np.float32), embedder.encode(TEXTS))
    assert answer.model == MODEL and answer.object == "list"
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == sum(embedder.count_tokens(TEXTS))


def test_openai_client_with_one_text_and_fewer_dimensions(client: Any, embedder: Embedder):
    answer = client.embeddings.create(model=MODEL, input=TEXTS[0], dimensions=64)
    np.testing.assert_array_equal(
        np.array([answer.data[0].embedding], np.float32), embedder.encode(TEXTS[:1], dimensions=64)
    )


def test_token_lists_are_the_models_own(server: Server, decoder_server: Server, decoder: Path):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(decoder / "tokenizer.json"))
    ids = [tokenizer.encode(text).ids for text in TEXTS]
    of_texts = _vectors(decoder_server.post("/v1/embeddings", {"input": TEXTS}).json)
    of_tokens = _vectors(decoder_server.post("/v1/embeddings", {"input": ids}).json)
    of_one = _vectors(decoder_server.post("/v1/embeddings", {"input": ids[0]}).json)
    np.testing.assert_allclose(of_tokens, of_texts, atol=1e-6)
    np.testing.assert_allclose(of_one, of_texts[:1], atol=1e-6)
    answer = server.post("/v1/embeddings", {"input": [10**6]})
    assert answer.status == 400 and "1000000 is no token" in answer.json["error"]["message"]


def test_openai_errors(client: Any):
    with pytest.raises(openai.NotFoundError) as missing:
        client.embeddings.create(model="text-embedding-3-small", input="a")
    assert missing.value.code == "model_not_found" and missing.value.param == "model"
    assert "'codekin-static' is" in missing.value.message
    for wrong in (
        {"input": ""},
        {"input": []},
        {"input": ["a", ""]},
        {"input": "a", "dimensions": 100},
        {"input": ["a"] * 2049},
        {"input": [["a"]]},
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            client.embeddings.create(model=MODEL, **wrong)
        assert refused.value.type == "invalid_request_error"
        assert refused.value.param in ("input", "dimensions")
        assert "\n" not in refused.value.message


def test_openai_client_lists_models(client: Any):
    (model,) = client.models.list().data
    assert model.id == MODEL and model.owned_by == "codekin"
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4o")


async def _all(client: Any, texts: list[str]) -> list[Any]:
    import asyncio

    return list(await asyncio.gather(*(client.embeddings.create(model=MODEL, input=text) for text in texts)))


def test_openai_async_client(server: Server, embedder: Embedder):
    import asyncio

    async def run() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as opened:
            return await _all(opened, [f"{text} {number}" for text in TEXTS for number in range(10)])

    answers = asyncio.run(run())
    wanted = embedder.encode([f"{text} {number}" for text in TEXTS for number in range(10)])
    np.testing.assert_array_equal(np.array([one.data[0].embedding for one in answers], np.float32), wanted)


def test_langchain(server: Server, embedder: Embedder):
    langchain = pytest.importorskip("langchain_openai")
    # Else it sends tokens of OpenAI's tokenizer.
    model = langchain.OpenAIEmbeddings(
        model=MODEL, base_url=f"{server.url}/v1", api_key="none", check_embedding_ctx_length=False
    )
    np.testing.assert_array_equal(np.array(model.embed_documents(TEXTS), np.float32), embedder.encode(TEXTS))
    np.testing.assert_array_equal(
        np.array([model.embed_query(TEXTS[1])], np.float32), embedder.encode(TEXTS[1:2])
    )


def test_llama_index(server: Server, embedder: Embedder):
    llama_index = pytest.importorskip("llama_index.embeddings.openai")
    model = llama_index.OpenAIEmbedding(
        model_name=MODEL, api_base=f"{server.url}/v1", api_key="none", dimensions=128
    )
    wanted = embedder.encode(TEXTS, dimensions=128)
    np.testing.assert_array_equal(np.array(model.get_text_embedding_batch(TEXTS), np.float32), wanted)
    np.testing.assert_array_equal(np.array([model.get_query_embedding(TEXTS[0])], np.float32), wanted[:1])


def test_codekins_own_client(decoder_server: Server, decoder: Path):
    """What `codekin evaluate URL` asks."""
    model = RemoteModel(f"{decoder_server.url}/v1", DECODER, jina=True)
    here = Embedder(decoder)
    for task in Task:
        for role in Role:
            np.testing.assert_allclose(
                model.encode(TEXTS, task, role), here.encode(TEXTS, task, role), atol=1e-5
            )


# ---- Jina's form


def test_jina_tasks(decoder_server: Server, decoder: Path):
    here = Embedder(decoder)
    seen = []
    for task in Task:
        for name, role in (("query", Role.QUERY), ("passage", Role.DOCUMENT)):
            body = {"model": DECODER, "task": f"{task.value}.{name}", "input": TEXTS}
            answer = decoder_server.post("/v1/embeddings", body).json
            np.testing.assert_allclose(_vectors(answer), here.encode(TEXTS, task, role), atol=1e-5)
            assert answer["usage"]["total_tokens"] == sum(here.count_tokens(TEXTS, task, role))
            seen.append(answer["data"][0]["embedding"])
    # nl2code and code2code say the same of their passages (arXiv 2508.21290, Table 1).
    assert len({tuple(vector) for vector in seen}) == 9
    answer = decoder_server.post("/v1/embeddings", {"input": "a", "task": "retrieval.query"})
    assert answer.status == 400 and answer.json["error"]["param"] == "task"
    assert "nl2code.query, nl2code.passage" in answer.json["error"]["message"]


def test_jina_embedding_types(server: Server, embedder: Embedder):
    vectors = embedder.encode(TEXTS)

    def ask(kind: str) -> list[Any]:
        body = {"model": MODEL, "input": [{"text": text} for text in TEXTS], "embedding_type": kind}
        return [one["embedding"] for one in server.post("/v1/embeddings", body).json["data"]]

    np.testing.assert_array_equal(np.array(ask("float"), np.float32), vectors)
    decoded = [np.frombuffer(base64.b64decode(one), "<f4") for one in ask("base64")]
    np.testing.assert_array_equal(np.array(decoded), vectors)
    bits = np.packbits(vectors > 0, axis=1)
    np.testing.assert_array_equal(np.array(ask("ubinary")), bits)
    np.testing.assert_array_equal(np.array(ask("binary")), bits.astype(int) - 128)
    peaks = np.abs(vectors).max(axis=1, keepdims=True)
    np.testing.assert_array_equal(np.array(ask("int8")), np.rint(vectors * (127 / peaks)))


def test_jina_normalized(server: Server, embedder: Embedder):
    body = {"model": MODEL, "input": TEXTS, "dimensions": 64}
    of_unit_length = _vectors(server.post("/v1/embeddings", {**body, "normalized": True}).json)
    as_cut = _vectors(server.post("/v1/embeddings", {**body, "normalized": False}).json)
    np.testing.assert_allclose(np.linalg.norm(of_unit_length, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(as_cut.astype(np.float32), embedder.encode(TEXTS)[:, :64])


def test_texts_that_are_too_long(decoder_server: Server, decoder: Path):
    body = {"input": ["short", "x" * 5000]}
    answer = decoder_server.post("/v1/embeddings", body)
    assert answer.status == 400 and answer.json["error"]["code"] == "context_length_exceeded"
    assert answer.json["error"]["message"].startswith("input[1] has 50")
    cut = decoder_server.post("/v1/embeddings", {**body, "truncate": True}).json
    with pytest.warns(UserWarning, match="were cut"):
        wanted = Embedder(decoder).encode(body["input"])
    np.testing.assert_allclose(_vectors(cut), wanted, atol=1e-5)
    assert cut["usage"]["total_tokens"] < 2048 + 100


# ---- reranking


def test_rerank(server: Server, embedder: Embedder):
    documents = [TEXTS[0], {"text": TEXTS[1]}, TEXTS[2]]
    query = "how to sort numbers"
    answer = server.post(
        "/v1/rerank", {"model": MODEL, "query": query, "documents": documents, "top_n": 2}
    ).json
    scores = (embedder.encode(TEXTS) @ embedder.encode([query], role="query")[0]).clip(0)
    assert [one["index"] for one in answer["results"]] == np.argsort(-scores)[:2].tolist()
    assert answer["results"][0] == {
        "index": 1,
        "relevance_score": pytest.approx(float(scores[1]), abs=1e-6),
        "document": {"text": TEXTS[1]},
    }
    assert answer["usage"]["total_tokens"] > 0  # Jina
    assert answer["id"] and answer["meta"]["billed_units"]["search_units"] == 1  # Cohere
    bare = server.post("/v2/rerank", {"query": query, "documents": documents, "return_documents": False}).json
    assert [set(one) for one in bare["results"]] == [{"index", "relevance_score"}] * 3
    for wrong in ({"documents": []}, {"documents": [""]}, {"documents": [1]}, {"top_n": 0}, {"query": ""}):
        refused = server.post("/v1/rerank", {"query": query, "documents": documents, **wrong})
        assert refused.status == 400 and refused.json["error"]["param"] in wrong
