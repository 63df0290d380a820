"""Downloads against a real server that cuts connections, refuses, forgets and lies."""

import hashlib
from pathlib import Path

import pytest
from hub_server import Site, git_id, serve

from codekin.data import downloads
from codekin.data.downloads import RemoteFile, download, hub_files
from codekin.errors import InputError

CONTENT = bytes(range(256)) * 4000


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(downloads, "_PAUSE", 0.0)


def _ranges(site: Site) -> list[str]:
    return [span for method, _, span in site.requests if method == "GET"]


def test_a_file_is_brought_once(tmp_path: Path):
    seen: list[tuple[int, int, str]] = []
    with serve(Site({"/a.bin": CONTENT})) as site:
        file = RemoteFile(f"{site.url}/a.bin", "deep/a.bin", len(CONTENT), f"git:{git_id(CONTENT)}")
        path = download(file, tmp_path, lambda *call: seen.append(call))
        assert path == tmp_path / "deep" / "a.bin"
        assert path.read_bytes() == CONTENT
        assert download(file, tmp_path) == path
    assert _ranges(site) == [""]
    assert seen[-1] == (len(CONTENT), len(CONTENT), "deep/a.bin")
    assert [p.name for p in path.parent.iterdir()] == ["a.bin"]


def test_a_cut_download_goes_on_where_it_stopped(tmp_path: Path):
    with serve(Site({"/a.bin": CONTENT}, cuts=[300_000, 500_000])) as site:
        path = download(RemoteFile(f"{site.url}/a.bin", "a.bin"), tmp_path)
    assert path.read_bytes() == CONTENT
    assert _ranges(site) == ["", "bytes=300000-", "bytes=800000-"]


def test_an_interrupted_run_is_taken_up_by_the_next(tmp_path: Path):
    def interrupted(done: int, total: int, path: str) -> None:
        raise KeyboardInterrupt

    with serve(Site({"/a.bin": CONTENT}, cuts=[200_000])) as site:
        file = RemoteFile(f"{site.url}/a.bin", "a.bin", len(CONTENT))
        with pytest.raises(KeyboardInterrupt):
            download(file, tmp_path, interrupted)
        assert not (tmp_path / "a.bin").exists()
        arrived = (tmp_path / "a.bin.part").stat().st_size
        assert download(file, tmp_path).read_bytes() == CONTENT
    assert _ranges(site) == ["", f"bytes={arrived}-"]


def test_content_that_changed_meanwhile_is_not_mixed(tmp_path: Path):
    site = Site({"/a.bin": CONTENT})
    with serve(site):
        file = RemoteFile(f"{site.url}/a.bin", "a.bin")
        (tmp_path / "a.bin.part").write_bytes(b"\xff" * 1000)
        (tmp_path / "a.bin.etag").write_text('"the old one"')
        assert download(file, tmp_path).read_bytes() == CONTENT
    assert _ranges(site) == ["bytes=1000-"]  # asked for the rest, given the whole


def test_without_a_validator_or_digest_nothing_is_resumed(tmp_path: Path):
    with serve(Site({"/a.bin": CONTENT}, cuts=[300_000], etag="")) as site:
        assert download(RemoteFile(f"{site.url}/a.bin", "a.bin"), tmp_path).read_bytes() == CONTENT
    assert _ranges(site) == ["", ""]
    digest = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    with serve(Site({"/b.bin": CONTENT}, cuts=[300_000], etag="")) as site:
        assert download(RemoteFile(f"{site.url}/b.bin", "b.bin", digest=digest), tmp_path).exists()
    assert _ranges(site) == ["", "bytes=300000-"]


def test_a_server_without_ranges_starts_anew(tmp_path: Path):
    with serve(Site({"/a.bin": CONTENT}, cuts=[300_000], resumes=False)) as site:
        assert download(RemoteFile(f"{site.url}/a.bin", "a.bin"), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("size", "digest", "reason"),
    [
        (len(CONTENT) + 1, "", f"{len(CONTENT)} bytes arrived instead of {len(CONTENT) + 1}"),
        (len(CONTENT) - 1, "", f"{len(CONTENT)} bytes arrived instead of {len(CONTENT) - 1}"),
        (None, "sha256:" + "0" * 64, "its content differs"),
        (len(CONTENT), "git:" + "0" * 40, "its content differs"),
    ],
)
def test_what_was_not_expected_is_deleted(tmp_path: Path, size: int | None, digest: str, reason: str):
    with serve(Site({"/a.bin": CONTENT})) as site:
        file = RemoteFile(f"{site.url}/a.bin", "a.bin", size, digest)
        for _ in range(2):
            with pytest.raises(InputError, match=reason) as caught:
                download(file, tmp_path)
            assert "\n" not in str(caught.value)
            assert not list(tmp_path.glob("a.bin*")) or [p.name for p in tmp_path.iterdir()] == ["a.bin.etag"]


def test_a_complete_part_is_recognised(tmp_path: Path):
    with serve(Site({"/a.bin": CONTENT})) as site:
        etag = f'"{hashlib.md5(CONTENT).hexdigest()}"'
        (tmp_path / "a.bin.part").write_bytes(CONTENT)
        (tmp_path / "a.bin.etag").write_text(etag)
        assert download(RemoteFile(f"{site.url}/a.bin", "a.bin"), tmp_path).read_bytes() == CONTENT
        assert _ranges(site) == [f"bytes={len(CONTENT)}-"]  # answered 416: nothing is left
        (tmp_path / "a.bin").unlink()
        (tmp_path / "a.bin.part").write_bytes(CONTENT + b"more")
        (tmp_path / "a.bin.etag").write_text(etag)
        assert download(RemoteFile(f"{site.url}/a.bin", "a.bin"), tmp_path).read_bytes() == CONTENT


def test_failures_that_pass_are_tried_again_and_others_not(tmp_path: Path):
    with serve(Site({"/a.bin": CONTENT}, statuses=[503, 429, 500])) as site:
        assert download(RemoteFile(f"{site.url}/a.bin", "a.bin"), tmp_path).exists()
        assert len(site.requests) == 4
        site.statuses = [503] * 5
        with pytest.raises(InputError, match=r"answers 503.*5 times in a row; run it again"):
            download(RemoteFile(f"{site.url}/a.bin", "b.bin"), tmp_path)
        with pytest.raises(InputError, match="the server answers 404"):
            download(RemoteFile(f"{site.url}/missing", "c.bin"), tmp_path)
        unreachable = f"{site.url}/a.bin"
    with pytest.raises(InputError, match=r"^cannot reach 127\.0\.0\.1:\d+: ") as caught:
        download(RemoteFile(unreachable, "d.bin"), tmp_path)
    assert "\n" not in str(caught.value)


def test_where_nothing_can_be_written(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with serve(Site({"/a.bin": CONTENT})) as site, pytest.raises(InputError, match="cannot write"):
        download(RemoteFile(f"{site.url}/a.bin", "a.bin"), tmp_path / "file")


def test_a_hub_repository_is_listed_in_pages_and_filtered(monkeypatch: pytest.MonkeyPatch):
    files = {f"data/train-{n}.parquet": b"x" * n for n in range(5)} | {
        "README.md": b"",
        "data/test-0.parquet": b"t",
    }
    site = Site(
        repositories={"me/set": files}, large=frozenset({"data/train-3.parquet"}), page=3, statuses=[502]
    )
    with serve(site):
        monkeypatch.setenv("HF_ENDPOINT", site.url)
        found = hub_files("me/set", "refs/pr/1", ["data/train-*"])
        assert [file.path for file in found] == [f"data/train-{n}.parquet" for n in range(5)]
        assert [file.size for file in found] == [0, 1, 2, 3, 4]
        assert found[2].digest == f"git:{git_id(b'xx')}"
        assert found[3].digest == f"sha256:{hashlib.sha256(b'xxx').hexdigest()}"
        assert found[0].url == f"{site.url}/datasets/me/set/resolve/refs%2Fpr%2F1/data/train-0.parquet"
        with pytest.raises(InputError, match="me/set at main has no nothing"):
            hub_files("me/set", "main", ["nothing"])
        with pytest.raises(InputError, match="404"):
            hub_files("me/other", "main", ["*"])


def test_a_gated_set_needs_the_token_which_goes_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with serve(Site(repositories={"me/set": {"a.jsonl": b"{}"}}, token="secret")) as site:
        monkeypatch.setenv("HF_ENDPOINT", site.url)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        with pytest.raises(InputError, match=r"401.*HF_TOKEN"):
            hub_files("me/set", "main", ["*"])
        monkeypatch.setenv("HF_TOKEN", "secret")
        (file,) = hub_files("me/set", "main", ["*"])
        assert download(file, tmp_path).read_bytes() == b"{}"
        with serve(Site({"/a": b"a"})) as other:
            download(RemoteFile(f"{other.url}/a", "a"), tmp_path)
        assert other.authorizations == [""]
