"""What is counted, for Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats/)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from codekin.errors import StoreError
from codekin.search import Reranked
from codekin.serve.batching import SharedEmbedder
from codekin.serve.second_stage import SharedStage
from codekin.serve.served import Served

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BATCH_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """The metrics of one server."""

    def __init__(
        self, embedder: SharedEmbedder, repositories: Served, stage: SharedStage | None = None
    ) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "codekin_requests", "Requests.", ("route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "codekin_request_seconds",
            "Time from a request's headers to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._tokens = Counter("codekin_tokens", "Tokens that the model has read.", registry=self._registry)
        self._batch_texts = Histogram(
            "codekin_batch_texts", "Texts of a batch.", buckets=_BATCH_TEXTS, registry=self._registry
        )
        self._batch_seconds = Histogram(
            "codekin_batch_seconds",
            "Time that a batch takes in the model.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        embedder.on_batch = self._count_batch
        if stage:
            self._reranked = Counter(
                "codekin_reranked",
                "Searches with a second stage: all candidates scored, some, or none.",
                ("scored",),
                registry=self._registry,
            )
            self._rerank_texts = Counter(
                "codekin_rerank_texts",
                "Candidates that the second stage has scored.",
                registry=self._registry,
            )
            self._rerank_seconds = Histogram(
                "codekin_rerank_seconds",
                "Time that a search's second stage takes.",
                buckets=_SECONDS,
                registry=self._registry,
            )
            stage.on_reranked = self._count_reranked
        self._registry.register(_Gauges(embedder, repositories))

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Counts an answered request; `route` is a path of the API, whatever its parameters, or "other"."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All metrics as Prometheus reads them."""
        return generate_latest(self._registry)

    def _count_batch(self, texts: int, tokens: int, seconds: float) -> None:
        self._tokens.inc(tokens)
        self._batch_texts.observe(texts)
        self._batch_seconds.observe(seconds)

    def _count_reranked(self, done: Reranked) -> None:
        scored = "all" if done.scored == done.candidates else "some" if done.scored else "none"
        self._reranked.labels(scored).inc()
        self._rerank_texts.inc(done.scored)
        self._rerank_seconds.observe(done.seconds)


class _Gauges:
    """What is looked up when it is asked for."""

    def __init__(self, embedder: SharedEmbedder, repositories: Served) -> None:
        self._embedder, self._repositories = embedder, repositories

    def collect(self) -> Iterator[Metric]:
        queued = GaugeMetricFamily("codekin_queued_tokens", "Tokens that wait for the model.")
        queued.add_metric([], self._embedder.queued)
        yield queued
        chunks = GaugeMetricFamily("codekin_index_chunks", "Chunks of an index.", labels=["repository"])
        with suppress(StoreError):
            for repository in self._repositories.status():
                chunks.add_metric([repository.name], repository.index.chunks)
        yield chunks
