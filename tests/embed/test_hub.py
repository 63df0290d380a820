"""Models of the hub, from a server on this machine that speaks its API; with and without network, cache and token."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from codekin import embed
from codekin.embed import DEFAULT_MODEL
from codekin.embed.hub import HubName

pytest.importorskip("huggingface_hub")

COMMITS = {"main": "1" * 40, "v2": "2" * 40}


class Hub:
    """A hub with one model, which answers what snapshot_download asks; it keeps what was asked of the model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if "/owner/" in self.path:
                    hub.asked.append(f"{self.command} {self.path}")
                hub.tokens.add(self.headers.get("authorization"))
                status, headers, body = hub.answer(unquote(self.path).partition("?")[0])
                self.send_response(status)
                for name, value in {"content-length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        parts = path.strip("/").split("/")
        if parts[:4] == ["api", "models", "owner", "gated"]:
            return 403, {"x-error-code": "GatedRepo"}, b"{}"
        if parts[:4] == ["api", "models", "owner", "broken"]:
            return 418, {}, b"{}"
        if parts[:4] == ["api", "models", "owner", "model"]:
            wanted = COMMITS.get(parts[5], parts[5])
            if wanted not in COMMITS.values():
                return 404, {"x-error-code": "RevisionNotFound"}, b"{}"
            if parts[4] == "tree":
                return 200, {"content-type": "application/json"}, json.dumps(self.files()).encode()
            siblings = [{"rfilename": file["path"]} for file in self.files()]
            body = {"id": "owner/model", "modelId": "owner/model", "sha": wanted, "siblings": siblings}
            return 200, {"content-type": "application/json"}, json.dumps(body).encode()
        if parts[:3] == ["owner", "model", "resolve"]:
            content = (self.folder / "/".join(parts[4:])).read_bytes()
            tag = hashlib.sha256(content).hexdigest()
            return 200, {"etag": f'"{tag}"', "x-repo-commit": parts[3]}, content
        return 404, {"x-error-code": "RepoNotFound"}, b"{}"

    def files(self) -> list[dict[str, object]]:
        return [
            {
                "type": "file",
                "path": path.relative_to(self.folder).as_posix(),
                "size": path.stat().st_size,
                "oid": hashlib.sha1(path.read_bytes()).hexdigest(),
            }
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        ]


@pytest.fixture
def serve() -> Iterator[Callable[[Path], Hub]]:
    """Serves a folder as owner/model."""
    hubs = []

    def start(folder: Path) -> Hub:
        hubs.append(Hub(folder))
        return hubs[-1]

    yield start
    for hub in hubs:
        hub.server.shutdown()
        hub.server.server_close()


@pytest.fixture
def hub(serve: Callable[[Path], Hub], tmp_path: Path) -> Hub:
    """A static model's hub, with files beside it that are no part of it."""
    folder = shutil.copytree(Path(embed.__file__).parent / "models" / DEFAULT_MODEL, tmp_path / "hub")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    (folder / "modules.json").write_text('[{"type": "StaticEmbedding", "path": "."}]')
    for other in ("pytorch_model.bin", "model.onnx", "model.gguf", "code.py", "model.safetensors.bak"):
        (folder / other).write_bytes(b"large")
    return serve(folder)


@pytest.fixture
def find(tmp_path: Path) -> Callable[..., str]:
    """Opens a model in a process of its own; what that prints of it, or the error."""

    def run(name: str, **environment: str) -> str:
        code = (
            "import sys\n"
            "from codekin import Embedder\n"
            "from codekin.errors import CodekinError\n"
            "try:\n"
            "    model = Embedder(sys.argv[1])\n"
            "    print(model.kind, model.sizes, model.fingerprint)\n"
            "except CodekinError as error:\n"
            "    print(type(error).__name__, error)\n"
        )
        own = {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_TELEMETRY": "1", **environment}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        done = subprocess.run(
            [sys.executable, "-c", code, name],
            env=kept | own,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


def test_a_model_is_fetched_once(hub: Hub, find: Callable[..., str]) -> None:
    first = find("owner/model", HF_ENDPOINT=hub.address, HF_TOKEN="hf_secret")
    assert first.startswith("static (64, 128, 256) ")
    assert "Bearer hf_secret" in hub.tokens
    fetched = {path.rpartition("/")[2] for path in hub.asked if path.startswith("GET /owner/model/resolve/")}
    assert {"model.safetensors", "config.json", "tokenizer.json", "modules.json", "README.md"} <= fetched
    assert not fetched & {"pytorch_model.bin", "model.onnx", "model.gguf", "code.py", "model.safetensors.bak"}
    asked = len(hub.asked)
    assert find("owner/model", HF_ENDPOINT=hub.address) == first
    assert find("owner/model", HF_ENDPOINT="http://127.0.0.1:9") == first
    assert find("owner/model", HF_HUB_OFFLINE="1") == first
    assert len(hub.asked) == asked
    assert find("owner/model@v2", HF_ENDPOINT=hub.address) == first
    assert any(COMMITS["v2"] in path for path in hub.asked[asked:])


def test_an_incomplete_model_in_the_cache_is_completed(
    hub: Hub, find: Callable[..., str], tmp_path: Path
) -> None:
    first = find("owner/model", HF_ENDPOINT=hub.address)
    [folder] = (tmp_path / "cache" / "hub" / "models--owner--model" / "snapshots").iterdir()
    # As libraries leave it that read neither of these.
    (folder / "README.md").unlink()
    (folder / "modules.json").unlink()
    assert find("owner/model", HF_ENDPOINT=hub.address) == first
    (folder / "model.safetensors").unlink()
    assert find("owner/model", HF_ENDPOINT=hub.address) == first


def test_a_decoder_in_shards(
    serve: Callable[[Path], Hub], make_checkpoint: Callable[..., Path], find: Callable[..., str]
) -> None:
    folder = make_checkpoint(shards="50KB")
    (folder / "README.md").touch()
    hub = serve(folder)
    first = find("owner/model", HF_ENDPOINT=hub.address)
    assert first.startswith("transformer (32,) ")
    assert sum(path.startswith("GET ") and path.endswith(".safetensors") for path in hub.asked) > 2
    assert find("owner/model", HF_HUB_OFFLINE="1") == first


def test_a_gguf_file_of_a_model(hub: Hub, find: Callable[..., str]) -> None:
    answer = find("owner/model/model.gguf", HF_ENDPOINT=hub.address)
    assert answer.startswith("ModelError ")
    assert answer.endswith("model.gguf: not a GGUF file")
    fetched = {path.rpartition("/")[2] for path in hub.asked if path.startswith("GET /owner/model/resolve/")}
    assert fetched == {"model.gguf"}
    answer = find("owner/model/other.gguf", HF_ENDPOINT=hub.address)
    assert answer == "ModelError owner/model has no file other.gguf on the hub"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("owner/none", "the hub has no model owner/none; where it is a private one: hf auth login"),
        ("owner/gated", "owner/gated is gated: accept its terms at {hub}/owner/gated, then: hf auth login"),
        ("owner/model@v3", "owner/model has no revision v3 on the hub"),
        ("owner/broken", "owner/broken cannot be fetched: Client error '418"),
        ("owner/bad name", "no model 'owner/bad name': "),
    ],
)
def test_what_the_hub_refuses_is_one_line(
    hub: Hub, find: Callable[..., str], name: str, message: str
) -> None:
    answer = find(name, HF_ENDPOINT=hub.address)
    assert answer.startswith("ModelError " + message.format(hub=hub.address))
    assert "\n" not in answer


@pytest.mark.parametrize("name", ["owner/model", "owner/model/model.gguf"])
def test_without_network_and_cache_one_line_says_so_at_once(find: Callable[..., str], name: str) -> None:
    start = time.monotonic()
    answer = find(name, HF_ENDPOINT="http://127.0.0.1:9")
    assert answer == (
        "ModelError owner/model is not in the hub's cache, and http://127.0.0.1:9 cannot be reached: "
        "connect once, or give a local folder"
    )
    assert (
        find(name, HF_HUB_OFFLINE="1")
        == "ModelError owner/model is not in the hub's cache, and HF_HUB_OFFLINE is set"
    )
    assert time.monotonic() - start < 20


def test_a_local_folder_goes_before_the_hub(find: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "owner" / "model").mkdir(parents=True)
    assert find("owner/model") == (
        "ModelError owner/model is no model: config.json, tokenizer.json, model.safetensors missing"
    )


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("owner/model", ("owner/model", None, None)),
        ("owner/model@refs/pr/1", ("owner/model", None, "refs/pr/1")),
        ("owner/model/q4.gguf", ("owner/model", "q4.gguf", None)),
        ("owner/model/folder/q4.gguf@v2", ("owner/model", "folder/q4.gguf", "v2")),
        ("owner/model/folder", None),
        ("model", None),
        ("/owner/model", None),
        ("./model", None),
        ("../model", None),
        ("~/model", None),
        ("owner/", None),
        ("", None),
    ],
)
def test_names(name: str, parts: tuple[str, str | None, str | None] | None) -> None:
    assert HubName.parse(name) == (HubName(*parts) if parts else None)
