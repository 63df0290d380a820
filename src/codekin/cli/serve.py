"""`codekin serve`: the embeddings APIs, search and its page, over HTTP."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from codekin.cli import options, second_stage
from codekin.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from codekin.serve import Served


@click.command()
@click.option(
    "--repo",
    "repositories",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Serve search in this folder. Repeatable.",
)
@options.served_store
@options.model
@click.option(
    "--beside",
    multiple=True,
    metavar="NAME",
    help="Index with this model, too, for the page to show its answers beside. Repeatable.",
)
@second_stage.served_reranker
@click.option(
    "--budget",
    metavar="TIME",
    help="For a second stage, where a search does not say: 300ms, 2s.  [default: half of --timeout]",
)
@options.host
@options.port
@options.api_keys
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="Give up on a request after this long.",
)
@click.option("--log-queries", is_flag=True, help="Write the text of queries into the log.")
def serve(
    repositories: tuple[Path, ...],
    store: str | None,
    model: str | None,
    beside: tuple[str, ...],
    reranker: str | None,
    budget: str | None,
    host: str,
    port: int,
    keys: tuple[str, ...],
    timeout: float,
    log_queries: bool,
) -> None:
    """Serve embeddings and search to programs, and a page to people.

    Speaks the embeddings APIs of OpenAI and Jina and the reranking APIs of Jina and Cohere; /docs describes them, and
    search. The page is at /. Every request is a line of JSON on stderr.
    """
    try:
        from codekin.serve.http import serve as serve_http
    except ImportError:
        raise MissingExtraError("codekin serve", "serve") from None
    from codekin.embed import DEFAULT_MODEL
    from codekin.serve import Limits, Repositories, SharedEmbedders, StoredRepositories

    code = options.read_code(repositories, store)
    if beside and store:
        raise InputError("--beside indexes folders with a further model; a store has one")
    make_stage = second_stage.of_server(reranker, budget, most_seconds=timeout)
    stage = make_stage() if make_stage else None
    models = SharedEmbedders()
    try:
        embedder = models(model or DEFAULT_MODEL)
        with ExitStack() as opened:
            served: Served = (
                StoredRepositories(code, model=model, models=models)
                if isinstance(code, str)
                else Repositories(code, model=model, models=models)
            )
            opened.callback(served.close)
            others = {
                name: opened.enter_context(Repositories(repositories, model=name, models=models, beside=True))
                for name in beside
            }
            what = ", ".join([embedder.name, *([code] if isinstance(code, str) else served.places)])
            if stage:
                opened.callback(stage.close)
                what += f" with {stage.name.id} as second stage"
            serve_http(
                embedder,
                served,
                Limits(keys, timeout, log_queries),
                others,
                stage,
                host=host,
                port=port,
                started=lambda url: print(f"serving {what} at {url}; Ctrl-C ends it", flush=True),
            )
    finally:
        models.close()
