"""A Milvus server for tests: milvus-lite's, as it makes one but for clients that ping often."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
from milvus_lite.adapter.grpc.servicer import MilvusServicer
from milvus_lite.db import MilvusLite
from pymilvus.grpc_gen import milvus_pb2_grpc


@contextmanager
def milvus_server(data: MilvusLite | Path, port: int = 0) -> Iterator[str]:
    """The address of a server at this port of the machine, or a free one; its data are open or lie in a folder.

    Collections stay loaded as long as the data are open, which with Milvus they do anyway.
    """
    database = MilvusLite(str(data)) if isinstance(data, Path) else data
    running = grpc.server(ThreadPoolExecutor(8), options=[("grpc.http2.max_ping_strikes", 0)])
    milvus_pb2_grpc.add_MilvusServiceServicer_to_server(MilvusServicer(database), running)
    bound = running.add_insecure_port(f"127.0.0.1:{port}")
    running.start()
    try:
        yield f"milvus://127.0.0.1:{bound}"
    finally:
        running.stop(grace=2).wait()
        if isinstance(data, Path):
            database.close()
