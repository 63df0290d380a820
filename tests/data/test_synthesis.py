"""Synthesis against a real server on localhost that speaks the chat-completions API and fails in all known ways."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sysconfig
import time
from collections import Counter
from email.utils import formatdate
from pathlib import Path

import pytest
from chat_server import PROGRAMS, serving, translate

from codekin.data import Endpoint, Pair, read_pairs, synthesize, write_pairs
from codekin.data.chat import AnswerError
from codekin.data.synthesis import Family, Template, _code, _question
from codekin.errors import InputError
from codekin.retries import retry_after
from codekin.tasks import Task

COMMAND = str(Path(sysconfig.get_path("scripts")) / "codekin")
KEY = "sk-secret-of-mine"
LANGUAGES = set(PROGRAMS)


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    """Six problems with a solution in Python or C++."""
    source = tmp_path / "problems.jsonl"
    languages = ["python", "cpp"] * 3
    pairs = [
        Pair(
            f"Problem {n}: add two numbers and multiply the sum by {n}.",
            PROGRAMS[language].format(n=f"{n}0"),
            Task.NL2CODE,
            language,
            "codechef",
            "MIT",
            f"p{n}",
        )
        for n, language in enumerate(languages)
    ]
    write_pairs(source, pairs)
    return source


def test_every_fault_and_still_each_row_once(
    problems: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    kinds = ["busy", "broken", "cut", "garbled", "empty", "slow", "long"]
    failed: dict[str, str] = {}

    def faults(number: int, prompt: str) -> str:
        if prompt in failed or len(failed) == 14:
            return ""
        failed[prompt] = kinds[len(failed) % 7]
        return failed[prompt]

    out = tmp_path / "out.jsonl"
    with serving(faults=faults) as server:
        endpoint = Endpoint(server.url + "/", "gpt-test", KEY, concurrency=7, timeout=1.0)
        calls: list[int] = []
        report = synthesize("solutions", problems, out, endpoint, progress=lambda done, _: calls.append(done))
    assert {body["path"] for body in server.bodies} == {"/v1/chat/completions"}
    assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
    rows = list(read_pairs(out))
    assert len(rows) == report.written == calls[-1] == 6 * 8
    assert report.set_aside == report.present == 0
    assert Counter(failed.values()) == dict.fromkeys(kinds, 2)
    assert report.usage.attempts >= len(server.prompts) == 48 + 14
    template = Template.load(Family.SOLUTIONS)
    assert {row.kind for row in rows} == {f"solutions@{template.digest}:gpt-test"}
    originals = {pair.query: pair for pair in read_pairs(problems)}
    for query, original in originals.items():
        mine = [row for row in rows if row.query == query]
        assert {row.language for row in mine} == LANGUAGES - {original.language}
        assert {(row.source, row.licence, row.task) for row in mine} == {("codechef", "MIT", Task.NL2CODE)}
        assert {row.path.partition("#")[0] for row in mine} == {original.path}
    # Seven solutions paired with the next translation each, and no pair within one language without a second one.
    assert report.derived == {"out.s2s.jsonl": 0, "out.xlang.jsonl": 48}
    across = list(read_pairs(tmp_path / "out.xlang.jsonl"))
    assert {pair.task for pair in across} == {Task.CODE2CODE}
    assert {pair.query for pair in across} >= {pair.document for pair in originals.values()}
    # A second run has nothing to do and asks nothing.
    with serving() as server:
        again = synthesize("solutions", problems, out, Endpoint(server.url, "gpt-test", KEY))
    assert (again.written, again.present, server.prompts) == (0, 48, [])
    assert list(read_pairs(out)) == rows
    texts = [path.read_text() for path in tmp_path.iterdir()] + [caplog.text, repr(endpoint)]
    assert not any(KEY in text for text in texts)
    assert not (tmp_path / "out.rejected.jsonl").exists()


def test_solutions_of_one_problem_in_one_language_are_pairs(tmp_path: Path):
    problem = "Problem 7: add two numbers."
    source = tmp_path / "two.jsonl"
    codes = [
        ("python", "def solve(a, b):\n    return sum([a, b])\n"),
        ("ruby", "def f(a, b)\n  a + b\nend\n"),
    ]
    write_pairs(source, [Pair(problem, code, Task.NL2CODE, language, "s") for language, code in codes])
    with serving() as server:
        report = synthesize("solutions", source, tmp_path / "out.jsonl", Endpoint(server.url, "m"))
    assert (report.written, report.derived["out.xlang.jsonl"]) == (16, 16)
    within = list(read_pairs(tmp_path / "out.s2s.jsonl"))
    # The server's programs are the same for both: only the original solutions differ from them.
    assert Counter(pair.language for pair in within) == {"python": 1, "ruby": 1}
    assert {pair.query for pair in within} <= {code for _, code in codes} | {
        PROGRAMS["ruby"].format(n=7).rstrip()
    }
    assert all(pair.kind.endswith(":m") for pair in within)


def test_killed_runs_lose_and_double_nothing(problems: Path, tmp_path: Path):
    out = tmp_path / "out.jsonl"
    with serving(seconds=0.05) as server:
        command = [COMMAND, "data", "synthesize", "solutions", problems, out, "--model", "m"]
        command += ["--url", server.url, "--concurrency", "2", "--key-variable", "MY_KEY"]
        environment = {**os.environ, "MY_KEY": KEY}
        for wanted in (5, 20):
            process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
            deadline = time.monotonic() + 30
            while not out.exists() or out.read_bytes().count(b"\n") < wanted:
                assert process.poll() is None, process.stderr and process.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            with open(out, "ab") as stream:
                stream.write(b'{"query":"half of a ro')
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=True
        )
    rows = list(read_pairs(out))
    assert len(rows) == len({row.path for row in rows}) == 48
    # Answers under way when the run was killed are asked for again, no others.
    assert 48 <= server.answered <= 48 + 2 * 2
    assert f"{out}: " in done.stdout and " there before\n" in done.stdout
    assert KEY not in done.stdout + done.stderr + out.read_text()


def test_the_budget_holds_and_a_larger_one_goes_on(problems: Path, tmp_path: Path):
    out = tmp_path / "out.jsonl"
    with serving() as server:
        few = synthesize(
            "solutions", problems, out, Endpoint(server.url, "m", max_tokens=3000, concurrency=16)
        )
        spent = few.usage.input_tokens + few.usage.output_tokens
        assert few.spent and 0 < few.written < 48
        assert spent <= 3000
        # Every answer is counted as the server counts it.
        assert few.usage.input_tokens == sum(len(prompt) // 4 for prompt in server.prompts)
        prices = {"input_price": 2.0, "output_price": 10.0}
        more = synthesize("solutions", problems, out, Endpoint(server.url, "m", max_cost=0.012, **prices))
        assert more.spent and more.present == few.written and more.written > 0
        assert more.usage.cost <= 0.012
        assert more.usage.cost == pytest.approx(
            (2 * more.usage.input_tokens + 10 * more.usage.output_tokens) / 1e6
        )
        rest = synthesize("solutions", problems, out, Endpoint(server.url, "m", max_tokens=10**6))
    assert not rest.spent
    assert few.written + more.written + rest.written == 48 == len(list(read_pairs(out)))


def test_the_command_ends_at_its_budget(problems: Path, tmp_path: Path):
    command = [COMMAND, "data", "synthesize", "solutions", problems, tmp_path / "o.jsonl", "--model", "m"]
    with serving() as server:
        command += ["--url", server.url, "--max-cost", "0.02", "--concurrency", "1"]
        prices = ["--input-price", "2", "--output-price", "10"]
        done = subprocess.run([*command, *prices], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2
        assert done.stderr == "codekin: the budget is used up; the same command with a larger one goes on\n"
        rows = len(list(read_pairs(tmp_path / "o.jsonl")))
        assert done.stdout.splitlines()[0] == f"{tmp_path}/o.jsonl: {rows} rows written, 0 there before"
        assert 0 < rows == len(server.prompts) < 48
        asked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (
        asked.stderr == "codekin: --max-cost needs --input-price and --output-price, for a million tokens\n"
    )


def test_tokens_that_the_server_does_not_count_are_counted_high(problems: Path, tmp_path: Path):
    with serving(usage=False) as server:
        report = synthesize("solutions", problems, tmp_path / "o.jsonl", Endpoint(server.url, "m"))
    assert report.usage.output_tokens >= 48 * 512


def test_rates_hold(problems: Path, tmp_path: Path):
    with serving() as server:
        endpoint = Endpoint(server.url, "m", requests_per_minute=1800, concurrency=16)
        synthesize("solutions", problems, tmp_path / "requests.jsonl", endpoint)
    gaps = [later - earlier for earlier, later in zip(server.times, server.times[10:], strict=False)]
    assert min(gaps) > 10 / 30 * 0.7  # 30 a second; a little less, for the clocks of threads
    with serving() as server:
        # A request counts for about a thousand tokens here.
        endpoint = Endpoint(server.url, "m", tokens_per_minute=2_000_000, concurrency=16)
        synthesize("solutions", problems, tmp_path / "tokens.jsonl", endpoint)
    assert server.times[-1] - server.times[0] > 48 * 700 / 2_000_000 * 60 * 0.9


def test_retry_after_holds_for_all(problems: Path, tmp_path: Path):
    with serving(faults=lambda number, _: "busy" if number == 0 else "", seconds=0.02) as server:
        synthesize("solutions", problems, tmp_path / "o.jsonl", Endpoint(server.url, "m", concurrency=1))
    assert server.times[1] - server.times[0] >= 1.0


def test_a_retry_after_is_seconds_or_a_date():
    assert retry_after("7") == 7
    assert retry_after(formatdate(time.time() + 30, usegmt=True)) == pytest.approx(30, abs=2)
    assert retry_after(formatdate(time.time() - 30, usegmt=True)) == 0
    assert retry_after("") == retry_after("soon") == retry_after("-3") == 0


def test_answers_of_no_use_are_asked_for_thrice_and_set_aside(problems: Path, tmp_path: Path):
    def answer(prompt: str) -> str:
        if "in rust" in prompt:
            return "```rust\nfn solve(a: i64, {\n    a + b + 1000000000000000000000000\n```"
        return "I cannot do that." if "in go" in prompt else translate(prompt)

    out = tmp_path / "out.jsonl"
    refuse = lambda number, prompt: "refused" if number > 60 and "in php" in prompt else ""  # noqa: E731
    with serving(answer, refuse) as server:
        report = synthesize("solutions", problems, out, Endpoint(server.url, "m", concurrency=1))
    aside = [json.loads(line) for line in (tmp_path / "out.rejected.jsonl").read_text().splitlines()]
    asked = Counter(server.prompts)
    reasons = Counter(record["reason"] for record in aside)
    assert reasons["0 fenced code blocks in the answer, not one"] == 6
    assert reasons["the code does not parse as rust"] == 6
    refused = reasons["HTTP 400: content policy"]
    assert refused > 0 and sum(reasons.values()) == report.set_aside == 12 + refused
    assert report.written == 48 - report.set_aside
    assert {asked[prompt] for prompt in asked if "in rust" in prompt or "in go" in prompt} == {3}
    assert {asked[prompt] for prompt in asked if "in php" in prompt} == {1}
    assert {record["answer"] for record in aside if record["target"] == "go"} == {"I cannot do that."}
    with serving() as server:
        again = synthesize("solutions", problems, out, Endpoint(server.url, "m"))
    assert (again.written, again.present, server.prompts) == (0, 48, [])


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("key", "refuses the key (HTTP 401)"),
        ("refused", "refuses the request (HTTP 400: content policy)"),
    ],
)
def test_a_server_that_wants_none_of_it(problems: Path, tmp_path: Path, fault: str, message: str):
    with serving(faults=lambda *_: fault) as server, pytest.raises(InputError) as caught:
        synthesize("solutions", problems, tmp_path / "o.jsonl", Endpoint(server.url, "m", "sk-secret"))
    assert message in str(caught.value)
    assert "sk-secret" not in str(caught.value)
    assert len(server.prompts) <= 8


def test_a_server_that_is_not_there(problems: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("codekin.retries._LONGEST_WAIT", 0.01)
    with pytest.raises(InputError, match="no answer in 8 attempts; the last: cannot connect"):
        synthesize("solutions", problems, tmp_path / "o.jsonl", Endpoint("http://127.0.0.1:9/v1", "m"))
    with pytest.raises(InputError, match="no URL"):
        synthesize("solutions", problems, tmp_path / "o.jsonl", Endpoint("api.example.org", "m"))


def test_frameworks(tmp_path: Path):
    torch = "import torch\n\ndef scale(x):\n    return torch.softmax(x, dim=-1) * 2\n"
    both = "import torch\nimport tensorflow as tf\n\ndef f(x):\n    return tf.constant(torch.tensor(x))\n"
    none = "def f(x):\n    return x\n"
    source = tmp_path / "code.jsonl"
    write_pairs(source, [Pair("q", code, Task.NL2CODE, "python", "s") for code in (torch, both, none)])
    answers = {
        "TensorFlow": "import tensorflow as tf\n\ndef scale(x):\n    return tf.nn.softmax(x, axis=-1) * 2",
        "JAX": "import jax\n\ndef scale(x):\n    return jax.nn.softmax(x, axis=-1) * 2",
        "MXNet": "import numpy as np\n\ndef scale(x):\n    return np.exp(x) / np.exp(x).sum(-1) * 2",
        "PaddlePaddle": "import paddle\nimport torch\n\ndef scale(x):\n    return paddle.softmax(torch.as_tensor(x))",
    }

    def answer(prompt: str) -> str:
        (name,) = [name for name in answers if f"Rewrite it with {name}" in prompt]
        return f"```python\n{answers[name]}\n```"

    with serving(answer) as server:
        report = synthesize("frameworks", source, tmp_path / "out.jsonl", Endpoint(server.url, "m"))
    assert (report.written, report.set_aside) == (2, 2)
    rows = list(read_pairs(tmp_path / "out.jsonl"))
    assert {(row.query, row.task, row.language) for row in rows} == {(torch, Task.CODE2CODE, "python")}
    assert {row.document for row in rows} == {answers["TensorFlow"], answers["JAX"]}
    reasons = {json.loads(x)["reason"] for x in (tmp_path / "out.rejected.jsonl").read_text().splitlines()}
    assert reasons == {"the code does not use MXNet", "the code still uses PyTorch"}


def test_questions_about_bare_functions_of_a_folder(tmp_path: Path):
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a.py").write_text(
        "def told(x):\n    '''Says it.'''\n    y = x\n    return y\n\n"
        "def bare(row_count):\n    total = row_count * 2\n    total += 1\n    return total\n\n"
        "def short(x):\n    return x\n"
    )
    with serving(lambda _: '"Double a number of rows and add one"\n') as server:
        report = synthesize("questions", tree, tmp_path / "q.jsonl", Endpoint(server.url, "m"))
    (row,) = read_pairs(tmp_path / "q.jsonl")
    assert report.written == 1
    assert row.query == "Double a number of rows and add one"
    assert row.document.startswith("def bare(row_count):")
    assert (row.task, row.language, row.source) == (Task.NL2CODE, "python", "tree")
    assert row.path.startswith("a.py#")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("Two lines\nof text here", "more than one line"),
        ("Yes", "no question"),
        ("word " * 50, "no question"),
        ("Return the row_count of a table", "names row_count"),
        ("{ return x; }", "no question"),
    ],
)
def test_no_questions(answer: str, reason: str):
    with pytest.raises(AnswerError, match=reason):
        _question(answer, "def f(row_count):\n    return row_count")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("def f(x): return x", "0 fenced"),
        ("```\na = 1\n```\nor\n```\nb = 2\n```", "2 fenced"),
        ("```python\nx\n```", "characters of code"),
        ("```python\n" + "x = 1\n" * 200 + "```", "characters of code"),
        ("```python\ndef mean(values:\n    return sum(values) / len(values\n```", "does not parse"),
        (
            "```python\ndef mean(values):\n\n    return sum( values ) / len( values )  \n```",
            "is a copy",
        ),
    ],
)
def test_no_code(answer: str, reason: str):
    with pytest.raises(AnswerError, match=reason):
        _code(answer, "def mean(values):\n    return sum(values) / len(values)\n", "python")


def test_templates_of_ones_own(problems: Path, tmp_path: Path):
    own = tmp_path / "mine.txt"
    own.write_text("Rewrite the solution in $language. $problem\n$code")
    with serving() as server:
        synthesize("solutions", problems, tmp_path / "o.jsonl", Endpoint(server.url, "m"), template=own)
    assert all(prompt.startswith("Rewrite the solution in ") for prompt in server.prompts)
    kinds = {pair.kind for pair in read_pairs(tmp_path / "o.jsonl")}
    assert kinds == {f"mine@{Template.load(own).digest}:m"}
    own.write_text("$code in $lingo")
    with serving() as server, pytest.raises(InputError, match="'lingo' is no placeholder"):
        synthesize("solutions", problems, tmp_path / "p.jsonl", Endpoint(server.url, "m"), template=own)
    with pytest.raises(InputError, match="cannot read the template"):
        synthesize("questions", problems, tmp_path / "p.jsonl", Endpoint("http://x", "m"), template="nowhere")
    with pytest.raises(InputError, match=r"appended to a \.jsonl file"):
        synthesize("questions", problems, tmp_path / "p.parquet", Endpoint("http://x", "m"))
