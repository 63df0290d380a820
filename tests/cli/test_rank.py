"""`codekin rank`, and the reading of lines that other tools print."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest
from commands import COMMAND, Run
from hypothesis import given
from hypothesis import strategies as st

from codekin import Embedder
from codekin.cli.streams import read_blocks
from codekin.errors import InputError
from codekin.search.lines import LineParts, LineScorer, parse_line, rank_lines

GREP = [
    "src/net/headers.py:40:def parse_headers(data):",
    'src/net/http.py:12:    raise RetryError("gave up after %d attempts")',
    "src/ui/theme.py:7:    colours = load_palette(name)",
    "src/net/retry.py:3:def retry_failed_request(request, attempts):",
]
QUESTION = "where failed requests are retried"


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder()


@pytest.mark.parametrize(
    ("line", "path", "number", "text"),
    [
        ("src/a.py:12:def f():", "src/a.py", 12, "def f():"),
        ("src/a.py:12:7:def f():", "src/a.py", 12, "def f():"),
        ("src/a.py-13-    return 1", "src/a.py", 13, "    return 1"),
        ("a-b/c-d.py:3:x = y", "a-b/c-d.py", 3, "x = y"),
        ("src/a.py\x0012:def f():", "src/a.py", 12, "def f():"),
        ("C:\\code\\a.cs:4:int x;", "C:\\code\\a.cs", 4, "int x;"),
        ("src/a.py:def f():", "src/a.py", None, "def f():"),
        ("12:def f():", "", 12, "def f():"),
        ("\x1b[35msrc/a.py\x1b[0m:\x1b[32m12\x1b[0m:def \x1b[1;31mf\x1b[0m():", "src/a.py", 12, "def f():"),
        ("\x1b[0m\x1b[35ma.py\x1b[m\x1b[36m:\x1b[m\x1b[K7\x1b[36m:\x1b[m\x1b[Kx", "a.py", 7, "x"),
        ("\x1b]8;;file:///a.py\x1b\\a.py\x1b]8;;\x1b\\:7:x", "a.py", 7, "x"),
        ("a1b2c3d Retry failed uploads", "", None, "Retry failed uploads"),
        ("* a1b2c3d Retry failed uploads", "", None, "Retry failed uploads"),
        ("| * a1b2c3d Retry failed uploads", "", None, "Retry failed uploads"),
        ("\x1b[33ma1b2c3d\x1b[m Fix: it", "", None, "Fix: it"),
        ("./src/net/retry.py", "./src/net/retry.py", None, "./src/net/retry.py"),
        ("README.md", "README.md", None, "README.md"),
        ("just some words: nothing else", "", None, "just some words: nothing else"),
        ("std::vector<int> v;", "", None, "std::vector<int> v;"),
        ("", "", None, ""),
        ("--", "", None, "--"),
    ],
)
def test_lines_are_read_as_their_tools_print_them(
    line: str, path: str, number: int | None, text: str
) -> None:
    assert parse_line(line) == LineParts(path, number, text)


def test_the_line_that_answers_comes_first(run: Run) -> None:
    result = run("rank", QUESTION, stdin="\n".join(GREP) + "\n")
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert lines[0] == GREP[3]
    assert lines[1] == GREP[1]
    assert sorted(lines) == sorted(GREP)


def test_top_and_scores(run: Run) -> None:
    lines = run("rank", QUESTION, "-n", "2", "--scores", stdin="\n".join(GREP)).stdout.splitlines()
    assert [line.split("\t", 1)[1] for line in lines] == [GREP[3], GREP[1]]
    scores = [float(line.split("\t", 1)[0]) for line in lines]
    assert 1 >= scores[0] > scores[1] > 0


def test_a_threshold_keeps_the_order_of_the_input(run: Run) -> None:
    result = run("rank", QUESTION, "--threshold", "0.2", stdin="\n".join(GREP) + "\n")
    assert result.stdout.splitlines() == [GREP[1], GREP[3]]
    both = run("rank", QUESTION, "--threshold", "0.2", "--top", "9", stdin="\n".join(GREP) + "\n")
    assert both.stdout.splitlines() == [GREP[3], GREP[1]]
    none = run("rank", QUESTION, "--threshold", "0.99", stdin="\n".join(GREP) + "\n")
    assert (none.returncode, none.stdout) == (1, "")


def test_json_lines(run: Run) -> None:
    result = run("rank", QUESTION, "--json", "-n", "2", stdin="\n".join([*GREP, "plain words"]))
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [item["line"] for item in found] == [GREP[3], GREP[1]]
    assert [(item["number"], item["path"], item["line_number"]) for item in found] == [
        (4, "src/net/retry.py", 3),
        (2, "src/net/http.py", 12),
    ]
    assert found[0]["score"] > found[1]["score"]


def test_colours_stay_and_do_not_count(run: Run) -> None:
    colored = [
        line.replace("src/", "\x1b[35msrc/\x1b[0m").replace("def", "\x1b[1;31mdef\x1b[m") for line in GREP
    ]
    plain = run("rank", QUESTION, "--scores", stdin="\n".join(GREP)).stdout.splitlines()
    result = run("rank", QUESTION, "--scores", stdin="\n".join(colored)).stdout.splitlines()
    assert [line.split("\t")[0] for line in result] == [line.split("\t")[0] for line in plain]
    assert sorted(line.split("\t", 1)[1] for line in result) == sorted(colored)


def test_bytes_of_any_kind_survive(run: Run) -> None:
    lines = [
        b"caf\xe9.py:1:retry the failed request",
        b"\xff\xfe\x00junk\x00\x07",
        b"carriage return\r",
        b"",
        "解析:設定".encode(),
        b"last without newline",
    ]
    result = run("rank", "retry failed requests", stdin=b"\n".join(lines))
    out = result.stdout.encode("utf-8", "surrogateescape")
    assert sorted(out.removesuffix(b"\n").split(b"\n")) == sorted(lines)
    assert out.startswith(lines[0])


def test_empty_input_is_nothing_found(run: Run) -> None:
    result = run("rank", "x", stdin=b"")
    assert (result.returncode, result.stdout, result.stderr) == (1, "", "")


@pytest.mark.parametrize("arguments", [["rank", ""], ["rank", "-"], ["rank", "x", "--threshold", "2"]])
def test_mistakes_are_status_2(run: Run, arguments: list[str]) -> None:
    assert run(*arguments, stdin="a\n").returncode == 2


def test_a_threshold_filters_endless_input_as_it_flows(environment: dict[str, str]) -> None:
    process = subprocess.Popen(
        [COMMAND, "rank", QUESTION, "--threshold", "0.2"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    # The test hangs into this, not for ever, if lines are held back.
    guard = threading.Timer(60, process.kill)
    guard.start()
    try:
        for _ in range(3):
            process.stdin.write("\n".join(GREP) + "\n")
            process.stdin.flush()
            assert process.stdout.readline().rstrip("\n") == GREP[1]
            assert process.stdout.readline().rstrip("\n") == GREP[3]
        process.stdin.close()
        assert process.wait() == 0
    finally:
        guard.cancel()
        process.kill()
        process.wait()


def test_a_closed_pipe_ends_an_endless_ranking_quietly(environment: dict[str, str]) -> None:
    pipeline = f"yes 'retry the failed request' | '{COMMAND}' rank retry --threshold 0.1 | head -n 1"
    result = subprocess.run(
        ["sh", "-c", pipeline], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout == "retry the failed request\n"
    assert result.stderr == ""


@pytest.mark.skipif(sys.platform != "linux", reason="reads peak memory as Linux reports it")
def test_top_holds_no_more_than_it_prints(environment: dict[str, str]) -> None:
    code = (
        "import re, sys\n"
        "from codekin import Embedder\n"
        "from codekin.cli.streams import read_blocks\n"
        "from codekin.search.lines import rank_lines\n"
        "found = list(rank_lines(read_blocks(sys.stdin.buffer), 'retry', Embedder(), top=3))\n"
        "peak = re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]\n"
        "print(len(found), found[0].line, peak)\n"
    )
    lines = 40_000
    peaks = []
    for repeated in (1, 4):
        data = ("x" * 1_000 + "\n") * lines * repeated + "retry\n"
        result = subprocess.run(
            [sys.executable, "-c", code],
            input=data,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        count, best, peak = result.stdout.split()
        assert (count, best) == ("3", "retry")
        peaks.append(int(peak))
    # 120 MB more of input cost next to none of memory, in kilobytes.
    assert peaks[1] - peaks[0] < 30_000


def test_scores_depend_on_the_line_alone(embedder: Embedder) -> None:
    scorer = LineScorer(QUESTION, embedder)
    together = scorer.score(GREP)
    assert together == [scorer.score([line])[0] for line in GREP]
    assert all(0 <= score <= 1 for score in together)


def test_equal_lines_keep_their_order_and_top_takes_the_first(embedder: Embedder) -> None:
    blocks = [["b retry", "x", "a retry"], ["b retry", "a retry"]]
    everything = [ranked.number for ranked in rank_lines(blocks, "retry", embedder)]
    best = [ranked.number for ranked in rank_lines(blocks, "retry", embedder, top=3)]
    assert best == everything[:3]
    assert everything[-1] == 2


def test_an_empty_query_is_refused(embedder: Embedder) -> None:
    with pytest.raises(InputError, match="empty"):
        LineScorer("  ", embedder)


@given(st.binary(max_size=400))
def test_blocks_are_the_lines_of_the_stream(data: bytes) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream:
        os.write(writing, data)
        os.close(writing)
        lines = [line for block in read_blocks(stream) for line in block]
    expected = data.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    assert [line.encode("utf-8", "surrogateescape") for line in lines] == expected


@given(st.text(max_size=200))
def test_any_line_can_be_read(line: str) -> None:
    parts = parse_line(line)
    if "\x1b" not in line:
        assert parts.text in line
        assert parts.path in line
