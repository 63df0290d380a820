"""`codekin embed`, from stdin and files to stdout and files, whole and interrupted."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from commands import COMMAND, FILES, Run

from codekin import Embedder
from codekin.embed import VectorCache, quantise
from codekin.source import chunk

TEXTS = ["def parse(headers): ...", "", "ünï ☃", "retry the failed request", "x" * 3_000]


def lines_of(count: int) -> str:
    return "".join(f"request {number} is tried again by worker {number % 97}\n" for number in range(count))


def test_lines_become_json_lines(run: Run) -> None:
    result = run("embed", stdin="\n".join(TEXTS))
    assert (result.returncode, result.stderr) == (0, "")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [sorted(item) for item in found] == [["embedding", "id"]] * len(TEXTS)
    assert [item["id"] for item in found] == [1, 2, 3, 4, 5]
    assert np.array_equal(
        np.array([item["embedding"] for item in found], np.float32), Embedder().encode(TEXTS)
    )


@pytest.mark.parametrize("precision", ["float32", "int8", "binary"])
def test_every_precision_and_size(run: Run, tree: Path, precision: str) -> None:
    arguments = ["--dimensions", "64", "--precision", precision]
    expected = quantise(Embedder().encode(TEXTS, dimensions=64), precision)
    found = [
        json.loads(line) for line in run("embed", *arguments, stdin="\n".join(TEXTS)).stdout.splitlines()
    ]
    assert np.array_equal(np.array([item["embedding"] for item in found], expected.rows.dtype), expected.rows)
    if expected.scales is not None:
        assert np.array_equal(np.array([item["scale"] for item in found], np.float32), expected.scales)
    assert run("embed", *arguments, "-o", "v.npy", stdin="\n".join(TEXTS)).returncode == 0
    assert np.array_equal(np.load(tree / "v.npy"), expected.rows)


def test_json_lines_in(run: Run, tree: Path) -> None:
    items = [{"id": "a", "text": TEXTS[0]}, {"id": 7, "text": TEXTS[1]}, {"text": TEXTS[2]}]
    (tree / "in.jsonl").write_text("\n".join(map(json.dumps, items[:2])) + "\n\n" + json.dumps(items[2]))
    found = [json.loads(line) for line in run("embed", "in.jsonl").stdout.splitlines()]
    assert [item["id"] for item in found] == ["a", 7, 4]
    named = "".join(json.dumps({"body": text, "key": f"k{text}"}) + "\n" for text in TEXTS)
    found = [
        json.loads(line)
        for line in run("embed", "--field", "body", "--id", "key", stdin=named).stdout.splitlines()
    ]
    assert [item["id"] for item in found] == [f"k{text}" for text in TEXTS]
    assert np.array_equal(
        np.array([item["embedding"] for item in found], np.float32), Embedder().encode(TEXTS)
    )


def test_several_files_count_on(run: Run, tree: Path) -> None:
    (tree / "a.txt").write_text("one\ntwo\n")
    (tree / "b.txt").write_bytes(b"\xef\xbb\xbfthree\r\nfour")
    found = [json.loads(line) for line in run("embed", "a.txt", "b.txt").stdout.splitlines()]
    assert [item["id"] for item in found] == [1, 2, 3, 4]
    expected = Embedder().encode(["one", "two", "three", "four"])
    assert np.array_equal(np.array([item["embedding"] for item in found], np.float32), expected)


def test_files_are_texts_and_folders_are_chunks(run: Run, tree: Path) -> None:
    (tree / "blob.bin").write_bytes(b"\0\1\2" * 100)
    result = run("embed", "--files", "docs/guide.md", "net", "blob.bin")
    assert result.returncode == 0
    assert result.stderr == "skipped blob.bin: binary\n"
    found = {item["id"]: item["embedding"] for item in map(json.loads, result.stdout.splitlines())}
    expected = {"docs/guide.md": FILES["docs/guide.md"]}
    for name in ("net/headers.py", "net/retry.py"):
        for part in chunk(FILES[name], "python"):
            expected[f"{name}:{part.start_line}-{part.end_line}"] = part.text
    assert list(found) == list(expected)
    assert np.array_equal(np.array([*found.values()], np.float32), Embedder().encode([*expected.values()]))


def test_parquet_out(run: Run, tree: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert run("embed", "-o", "v.parquet", stdin="\n".join(TEXTS)).returncode == 0
    table = parquet.read_table(tree / "v.parquet")
    assert table["id"].to_pylist() == [1, 2, 3, 4, 5]
    assert np.array_equal(np.array(table["embedding"].to_pylist(), np.float32), Embedder().encode(TEXTS))


def test_bytes_of_any_kind_are_texts(run: Run) -> None:
    result = run("embed", "--dimensions", "64", stdin=b"caf\xe9\n\xff\xfe\0\n\xed\xa0\x80")
    assert (result.returncode, result.stderr) == (0, "")
    assert len(result.stdout.splitlines()) == 3


@pytest.mark.parametrize("arguments", [[], ["-o", "v.npy"], ["-o", "v.jsonl"]])
def test_no_texts_are_no_vectors(run: Run, tree: Path, arguments: list[str]) -> None:
    result = run("embed", *arguments)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert len(np.load(tree / "v.npy")) == 0 if "v.npy" in arguments else True


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (["--field", "text"], '{"text": "a"}\n{"text": \n', "stdin:2: not JSON"),
        (["--field", "text"], '{"text": "a"}\n\n[1]\n', 'stdin:3: no text in a field "text"'),
        (["--field", "code"], '{"text": "a"}\n', 'stdin:1: no text in a field "code"'),
        (
            ["--field", "t", "--id", "i"],
            '{"t": "a", "i": 1.5}\n',
            'stdin:1: no text or whole number in the field "i"',
        ),
        (["none.txt"], "", "no file none.txt"),
        (["net"], "", "net is a folder; --files reads its source"),
        (["--files"], "", "--files: name the files"),
        (["--files", "net", "--field", "x"], "", "--field and --id are for JSON lines"),
        (["--dimensions", "65"], "a\n", "no vectors of 65 dimensions; sizes: "),
        (["-o", "v.csv"], "a\n", "v.csv has no suffix of a known format: .jsonl, .npy or .parquet"),
        (["-o", "no/such/v.npy"], "a\n", "no/such/v.npy.part: No such file"),
        (["--device", "cpu"], "a\n", "device is for transformers"),
        (["--model", "no-such-model"], "a\n", "no model 'no-such-model'"),
    ],
)
def test_mistakes_are_one_line(run: Run, tree: Path, arguments: list[str], stdin: str, message: str) -> None:
    before = sorted(tree.rglob("*"))
    result = run("embed", *arguments, stdin=stdin)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert sorted(tree.rglob("*")) == before


def start(environment: dict[str, str], folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [COMMAND, "embed", *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize(
    ("suffix", "stop"), [("jsonl", signal.SIGINT), ("parquet", signal.SIGINT), ("npy", signal.SIGKILL)]
)
def test_an_interrupted_run_goes_on(
    run: Run, environment: dict[str, str], tree: Path, suffix: str, stop: signal.Signals
) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    data = lines_of(20_000)
    arguments = ("--dimensions", "64", "-o", f"v.{suffix}")
    process = start(environment, tree, *arguments)
    assert process.stdin
    state = tree / f"v.{suffix}.part.json"
    # A part of the input, then a pause: long enough for what has come to be committed while more comes.
    deadline = time.monotonic() + 60
    cut = len(data) // 2
    process.stdin.write(data[:cut].encode())
    process.stdin.flush()
    while stop == signal.SIGKILL and not state.exists() and time.monotonic() < deadline:
        time.sleep(0.5)
        process.stdin.write(data[cut : cut + 70_000].encode())
        process.stdin.flush()
        cut += 70_000
    time.sleep(0.5)
    process.send_signal(stop)
    _, err = process.communicate(timeout=60)
    kept = json.loads(state.read_text())["rows"]
    assert 0 < kept < 20_000
    assert not (tree / f"v.{suffix}").exists()
    if stop == signal.SIGINT:
        assert process.returncode == 130
        assert err.decode().rstrip() == (
            f"codekin: {kept:,} vectors are kept in v.{suffix}.part; the same command goes on from there"
        )

    other = run("embed", *arguments, stdin="another text\n" + data)
    assert other.returncode == 2
    assert f"v.{suffix}.part was begun with other texts" in other.stderr
    short = run("embed", *arguments, stdin=data[:1_000])
    assert f"v.{suffix}.part was begun with other texts" in short.stderr
    resized = run("embed", "--dimensions", "128", "-o", f"v.{suffix}", stdin=data)
    assert "begun with another dimensions (64, now 128)" in resized.stderr

    result = run("embed", *arguments, stdin=data)
    assert result.returncode == 0
    assert result.stderr == f"codekin: going on after {kept:,} texts of v.{suffix}.part\n"
    assert run("embed", "--dimensions", "64", "-o", f"once.{suffix}", stdin=data).returncode == 0
    assert (tree / f"v.{suffix}").read_bytes() == (tree / f"once.{suffix}").read_bytes()
    assert not [file.name for file in tree.iterdir() if ".part" in file.name]


def test_a_bad_line_loses_nothing(run: Run, tree: Path) -> None:
    items = [json.dumps({"text": line}) for line in lines_of(3_000).splitlines()]
    (tree / "in.jsonl").write_text("\n".join([*items[:2_500], "{", *items[2_501:]]))
    broken = run("embed", "in.jsonl", "-o", "v.npy")
    assert broken.returncode == 2
    kept, error = broken.stderr.splitlines()
    assert re.fullmatch(
        r"codekin: [\d,]+ vectors are kept in v\.npy\.part; the same command goes on from there", kept
    )
    assert error == "codekin: in.jsonl:2501: not JSON"
    (tree / "in.jsonl").write_text("\n".join(items))
    mended = run("embed", "in.jsonl", "-o", "v.npy")
    assert mended.stderr.startswith("codekin: going on after ")
    assert np.array_equal(np.load(tree / "v.npy"), Embedder().encode(lines_of(3_000).splitlines()))


def test_a_decoder_counts_what_it_cuts_and_keeps_what_it_made(
    run: Run, tree: Path, decoder: Path, environment: dict[str, str]
) -> None:
    arguments = ["--model", str(decoder), "--dtype", "float32", "--max-length", "100", "--task", "qa"]
    data = "\n".join([*TEXTS, "y" * 500])
    first = run("embed", *arguments, "-o", "v.npy", stdin=data)
    assert first.returncode == 0
    assert first.stderr == "codekin: 2 texts longer than 100 tokens were cut at the end\n"
    with pytest.warns(match="were cut"):
        expected = Embedder(decoder, dtype="float32", max_length=100).encode(data.split("\n"), "qa")
    assert np.abs(np.load(tree / "v.npy") - expected).max() < 1e-5
    cache = Path(environment["XDG_CACHE_HOME"]) / "codekin" / "vectors-1.sqlite"
    with closing(sqlite3.connect(cache)) as held:
        keys = [key for (key,) in held.execute("SELECT key FROM vectors")]
    assert len(keys) == len(data.split("\n"))
    others = np.eye(len(keys), 32, dtype=np.float32)
    VectorCache(cache.parent).put(keys, others)
    assert run("embed", *arguments, "-o", "again.npy", stdin=data).stderr == ""
    assert sorted(np.load(tree / "again.npy").tolist()) == sorted(others.tolist())
    assert run("embed", *arguments, "--no-cache", "-o", "again.npy", stdin=data).stderr == first.stderr
    assert (tree / "again.npy").read_bytes() == (tree / "v.npy").read_bytes()
    for file in cache.parent.glob("vectors*"):
        file.unlink()
    cache.write_bytes(b"damaged " * 1_000)
    damaged = run("embed", *arguments, "-o", "without.npy", stdin=data)
    assert damaged.returncode == 0
    assert damaged.stderr.startswith(f"codekin: the cache of vectors {cache} cannot be used")
    assert damaged.stderr.count("\n") == 2
    assert np.abs(np.load(tree / "without.npy") - expected).max() < 1e-5


def test_what_arrives_is_embedded_at_once(environment: dict[str, str], tree: Path) -> None:
    process = start(environment, tree)
    assert process.stdin
    assert process.stdout
    for text in TEXTS[:3]:
        process.stdin.write(text.encode() + b"\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["embedding"]
    process.stdin.close()
    assert process.wait(timeout=60) == 0
    process.stdout.close()
    assert process.stderr
    process.stderr.close()


def test_a_closed_pipe_ends_it_quietly(environment: dict[str, str]) -> None:
    pipeline = f"yes 'retry the failed request' | '{COMMAND}' embed --dimensions 64 | head -n 1"
    result = subprocess.run(
        ["sh", "-c", pipeline], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(result.stdout)["id"] == 1
    assert result.stderr == ""


@pytest.mark.skipif(sys.platform != "linux", reason="reads peak memory as Linux reports it")
@pytest.mark.parametrize("output", ["v.npy", "v.jsonl"])
def test_memory_does_not_grow_with_the_input(
    environment: dict[str, str], tmp_path: Path, output: str
) -> None:
    code = (
        "import re, sys; sys.argv[0] = 'codekin'\n"
        "from codekin.cli import main\n"
        "try: main()\n"
        "finally: print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
    )
    peaks = []
    for count in (20, 100):
        result = subprocess.run(
            [sys.executable, "-c", code, "embed", "--dimensions", "64", "-o", output],
            input=lines_of(1_000) * count,
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(result.stdout))
    # 4 MB more of input, 20 MB more of vectors: in kilobytes.
    assert peaks[1] - peaks[0] < 8_000
