"""`codekin search`, `related`, `index` and `status`."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import COMMAND, FILES, Run

QUESTION = "where are failed requests retried"
NOTHING = "codekin: nothing here answers this; --anyway shows what comes nearest\n"


def first_line(text: str) -> str:
    return text.split("\n", 1)[0]


def found_paths(output: str) -> list[str]:
    return [result["path"] for result in json.loads(output)["results"]]


def test_the_best_answer_comes_first_with_place_symbol_score_and_code(run: Run) -> None:
    result = run("search", QUESTION)
    assert result.returncode == 0
    header = re.fullmatch(r"(\S+):(\d+)-(\d+)  (\S+)  \d+\.\d\d", first_line(result.stdout))
    assert header, result.stdout
    assert header[1] == "net/retry.py"
    start, end = int(header[2]), int(header[3])
    rows = re.findall(r"^ *(\d+) │ (.*)$", result.stdout.split("\n\n")[0], re.MULTILINE)
    source = FILES["net/retry.py"].split("\n")
    assert rows
    for number, text in rows:
        assert start <= int(number) <= end
        assert source[int(number) - 1] == text


def test_nothing_is_written_into_the_tree(run: Run, tree: Path) -> None:
    run("search", QUESTION)
    assert {str(p.relative_to(tree)) for p in tree.rglob("*") if p.is_file()} == set(FILES)


def test_json_has_the_documented_members(run: Run, tree: Path) -> None:
    result = run("search", QUESTION, "--json", "-n", "2")
    answer = json.loads(result.stdout)
    assert result.stdout.count("\n") == 1
    assert list(answer) == ["query", "root", "mode", "task", "elapsed_ms", "answered", "results"]
    assert answer["answered"] is True
    assert (answer["query"], answer["root"], answer["mode"], answer["task"]) == (
        QUESTION,
        str(tree.resolve()),
        "hybrid",
        "nl2code",
    )
    assert len(answer["results"]) == 2
    for found in answer["results"]:
        assert list(found) == [
            "path",
            "start_line",
            "end_line",
            "symbol",
            "kind",
            "language",
            "score",
            "text",
            "snippet",
        ]
        lines = FILES[found["path"]].split("\n")
        assert found["text"] == "\n".join(lines[found["start_line"] - 1 : found["end_line"]])
        shown = found["snippet"]
        assert shown["text"] == "\n".join(lines[shown["start_line"] - 1 : shown["end_line"]])
        assert found["start_line"] <= shown["start_line"] <= shown["end_line"] <= found["end_line"]
    scores = [found["score"] for found in answer["results"]]
    assert scores == sorted(scores, reverse=True)


def test_top_limits_the_answers(run: Run) -> None:
    assert len(found_paths(run("search", QUESTION, "--json", "--top", "1").stdout)) == 1


def test_language_and_globs_filter(run: Run) -> None:
    assert set(found_paths(run("search", QUESTION, "--json", "-l", "javascript").stdout)) == {"web/store.js"}
    both = run("search", QUESTION, "--json", "-l", "javascript", "-l", "markdown", "-n", "50").stdout
    assert set(found_paths(both)) <= {"web/store.js", "docs/guide.md"}
    assert set(found_paths(run("search", QUESTION, "--json", "--path", "net/").stdout)) <= {
        "net/retry.py",
        "net/headers.py",
    }
    without = found_paths(run("search", QUESTION, "--json", "--path", "!net/", "-n", "50").stdout)
    assert without
    assert not any(path.startswith("net/") for path in without)


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "lexical"])
def test_every_mode_answers(run: Run, mode: str) -> None:
    assert found_paths(run("search", "parse headers", "--json", "--mode", mode).stdout)[0] == "net/headers.py"


@pytest.mark.parametrize("task", ["nl2code", "qa", "code2code", "code2nl", "code2completion"])
def test_every_task_answers(run: Run, task: str) -> None:
    answer = json.loads(run("search", "parse headers", "--json", "--task", task).stdout)
    assert answer["task"] == task
    assert answer["results"]


def test_context_widens_the_snippet_beyond_the_chunk(run: Run) -> None:
    def shown(*options: str) -> dict[str, int]:
        answer = run("search", "seconds to wait: exponential backoff", "--json", "-n1", *options).stdout
        return json.loads(answer)["results"][0]["snippet"]

    narrow, wide = shown(), shown("-C", "2")
    assert wide["start_line"] == max(1, narrow["start_line"] - 2)
    assert wide["end_line"] == min(len(FILES["net/retry.py"].split("\n")), narrow["end_line"] + 2)


def test_the_query_may_come_from_stdin(run: Run) -> None:
    piped = json.loads(run("search", "-", "--json", stdin=QUESTION + "\n").stdout)
    assert piped["query"] == QUESTION
    assert piped["results"] == json.loads(run("search", QUESTION, "--json").stdout)["results"]


def test_paths_are_shown_from_where_the_user_stands(run: Run, tree: Path) -> None:
    result = run("search", QUESTION, tree.name, cwd=tree.parent)
    assert first_line(result.stdout).startswith("tree/net/retry.py:")


def test_changes_are_seen_unless_told_not_to_look(run: Run, tree: Path) -> None:
    run("index")
    (tree / "new.py").write_text("def frobnicate_widget():\n    return 1\n")
    assert "new.py" not in found_paths(run("search", "frobnicate_widget", "--json", "--no-update").stdout)
    assert found_paths(run("search", "frobnicate_widget", "--json").stdout)[0] == "new.py"
    (tree / "new.py").unlink()
    assert "new.py" not in found_paths(run("search", "frobnicate_widget", "--json").stdout)


def test_the_index_can_be_kept_elsewhere(run: Run, tmp_path: Path) -> None:
    run("search", QUESTION, "--index", str(tmp_path / "one"))
    run("search", QUESTION, env={"CODEKIN_INDEX": str(tmp_path / "two")})
    assert any((tmp_path / "one").iterdir())
    assert any((tmp_path / "two").iterdir())
    assert not list((tmp_path / "cache").rglob("*.sqlite"))


def test_larger_files_are_skipped_and_said_so_once(run: Run, tree: Path) -> None:
    (tree / "large.py").write_text("def large():\n    pass\n" + "# filler\n" * 500)
    first = run("search", "large", "--max-size", "2K", "--json")
    assert "large.py" not in found_paths(first.stdout)
    assert re.fullmatch(r"skipped 1 file: .+ 1; codekin index -v lists them\n", first.stderr)
    assert run("search", "large", "--max-size", "2K", "--json").stderr == ""
    assert "large.py" in run("index", "-v", "--max-size", "2K").stderr
    assert "large.py" in found_paths(run("search", "large", "--json").stdout)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", ""], "the query is empty"),
        (["search", " \n "], "the query is empty"),
        (["search", "x", "missing"], "no folder missing"),
        (["search", "x", "net/retry.py"], "is a file"),
        (["search", "x", "--max-size", "many"], "--max-size"),
        (["search", "x", "-l", "klingon"], "klingon"),
        (["related", "net/retry.py"], "PATH:LINE"),
        (["related", "net/retry.py:9999"], "9999"),
        (["related", "missing.py:1"], "no file missing.py"),
        (["index", "missing"], "no folder missing"),
        (["status", "net/retry.py"], "is a file"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(run: Run, arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("codekin: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


@pytest.mark.parametrize("option", [["--mode", "psychic"], ["--top", "0"], ["--task", "x"], ["--nonsense"]])
def test_a_wrong_option_is_status_2(run: Run, option: list[str]) -> None:
    result = run("search", "x", *option)
    assert result.returncode == 2
    assert "Error: " in result.stderr


@pytest.mark.parametrize(
    "query",
    [
        "?!… --- (((",
        "🚀🔥",
        " ".join(f"word{i}" for i in range(10_000)),
        "\0".join("ab")[:1] * 3,
        "größe 解析 設定",
    ],
    ids=["punctuation", "emoji", "10,000 words", "letters", "scripts"],
)
def test_odd_queries_end_well(run: Run, query: str) -> None:
    result = run("search", "-", stdin=query)
    assert (result.returncode, result.stderr) in ((0, ""), (1, NOTHING))


def test_a_query_that_is_not_utf_8_ends_well(run: Run) -> None:
    assert run("search", b"retry \xff\xfe requests").returncode == 0


@pytest.mark.parametrize("options", [(), ("--mode", "lexical"), ("--no-update",)])
def test_where_nothing_is_indexed_that_is_said(run: Run, tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "a b").mkdir()
    result = run("search", "x", "a b", *options, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert (
        result.stderr == "codekin: nothing is indexed in a b; codekin index -v 'a b' says what is left out\n"
    )


def test_colours_are_for_terminals_and_those_who_ask(run: Run) -> None:
    assert "\x1b" not in run("search", QUESTION).stdout
    always = run("search", QUESTION, "--color", "always").stdout
    assert "\x1b[" in always
    assert "\x1b]8;;file://" in always
    assert re.sub(r"\x1b\[[\d;]*m|\x1b\]8;;[^\x1b]*\x1b\\", "", always) == run("search", QUESTION).stdout
    assert run("search", QUESTION, env={"FORCE_COLOR": "1"}).stdout == always
    assert "\x1b" not in run("search", QUESTION, env={"FORCE_COLOR": "1", "NO_COLOR": "1"}).stdout
    assert "\x1b" not in run("search", QUESTION, "--color", "never", env={"FORCE_COLOR": "1"}).stdout


def test_escape_sequences_in_code_do_not_reach_the_terminal(run: Run, tree: Path) -> None:
    (tree / "evil.py").write_text("def clear_screen_evil():\n    return '\x1b[2J\x07'\n")
    for color in ("always", "never"):
        output = run("search", "clear_screen_evil", "--color", color, "-n1").stdout
        assert "clear_screen_evil" in re.sub(r"\x1b\[[\d;]*m", "", output)
        assert "\x1b[2J" not in output
        assert "\x07" not in output


def test_names_that_are_not_utf_8_come_out_as_they_are(run: Run, tree: Path) -> None:
    name = os.fsdecode(b"caf\xe9_menu.py")
    (tree / name).write_text("def todays_menu_dishes():\n    return ['soup']\n")
    assert first_line(run("search", "todays_menu_dishes").stdout).startswith(f"{name}:1-")
    assert found_paths(run("search", "todays_menu_dishes", "--json").stdout)[0] == name


def test_a_closed_pipe_is_no_error(run: Run, tree: Path, environment: dict[str, str]) -> None:
    run("index")
    for _ in range(3):
        command = [COMMAND, "search", "retry", "-n", "50", "-C", "500", "--color", "always"]
        process = subprocess.Popen(
            command, cwd=tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
        process.wait()


def test_related_finds_the_like_in_another_language_and_not_itself(run: Run) -> None:
    line = FILES["net/retry.py"].split("\n").index("def send_with_retries(send, request, policy):") + 1
    result = run("related", f"net/retry.py:{line}", "--json", "-n", "20")
    answer = json.loads(result.stdout)
    assert (answer["path"], answer["line"], answer["task"]) == ("net/retry.py", line, "code2code")
    places = [(found["path"], found["start_line"], found["end_line"]) for found in answer["results"]]
    assert any(path == "web/store.js" for path, _, _ in places)
    assert not any(path == "net/retry.py" and start <= line <= end for path, start, end in places)


def test_related_understands_places_as_tools_print_them(run: Run, tree: Path) -> None:
    plain = json.loads(run("related", "net/headers.py:1", "--json").stdout)["results"]
    for place in ("net/headers.py:1-7", "net/headers.py:1:5", f"{tree}/net/headers.py:1:"):
        assert json.loads(run("related", place, "--json").stdout)["results"] == plain
    away = run("related", "net/headers.py:1", str(tree), "--json", cwd=tree.parent)
    assert json.loads(away.stdout)["results"] == plain
    outside = run("related", str(tree / "net/headers.py") + ":1", "docs")
    assert outside.returncode == 2
    assert "outside docs" in outside.stderr


def test_index_says_what_it_did(run: Run, tree: Path) -> None:
    assert re.match(r"4 files \(4 added\), \d+ chunks? embedded in ", run("index").stdout)
    assert re.match(r"4 files \(nothing changed\), 0 chunks embedded in ", run("index").stdout)
    (tree / "net/headers.py").write_text("def other():\n    return 2\n")
    (tree / "docs/guide.md").unlink()
    assert re.match(r"3 files \(1 changed, 1 removed\), \d+ chunks? embedded in ", run("index").stdout)
    assert re.match(r"3 files \(3 added\), ", run("index", "--rebuild").stdout)


def test_index_watch_follows_changes(run: Run, tree: Path, environment: dict[str, str]) -> None:
    pytest.importorskip("watchfiles")
    process = subprocess.Popen(
        [COMMAND, "index", "--watch"], cwd=tree, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    try:
        assert process.stdout.readline().startswith("4 files (4 added)")
        assert process.stdout.readline().startswith("watching .")
        time.sleep(1)
        (tree / "new.py").write_text("def watched_addition():\n    return 1\n")
        assert "5 files (1 added)" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) in (0, 130)
    finally:
        process.kill()
        process.wait()
    assert found_paths(run("search", "watched_addition", "--json", "--no-update").stdout)[0] == "new.py"


def test_status_before_and_after_indexing(run: Run, tree: Path) -> None:
    before = run("status")
    assert before.returncode == 1
    assert "is not indexed" in before.stdout
    run("index")
    after = run("status")
    assert after.returncode == 0
    assert "4 files" in after.stdout
    held = json.loads(run("status", "--json").stdout)
    assert held["root"] == str(tree.resolve())
    assert held["files"] == 4
    assert held["chunks"] == sum(held["languages"].values()) > 0
    assert set(held["languages"]) == {"python", "javascript", "markdown"}
    assert held["bytes"] > 0
    assert Path(held["location"]).exists()
    assert 0 <= held["age_seconds"] < 60
    assert held["model"] == "codekin-static"


def test_models_lists_the_default(run: Run) -> None:
    assert "codekin-static" in run("models").stdout
    listed = json.loads(run("models", "--json").stdout)["models"]
    assert [model["name"] for model in listed if model["default"]] == ["codekin-static"]
    assert all(model["installed"] and model["bytes"] > 0 for model in listed if model["default"])


def test_help_and_version(run: Run) -> None:
    assert re.fullmatch(r"codekin \d+\.\d+\.\d+\n", run("--version").stdout)
    overview = run("--help").stdout
    for command in ("search", "related", "index", "status", "rank", "models"):
        assert re.search(rf"^  {command} ", overview, re.MULTILINE)
        assert run(command, "-h").stdout.startswith(f"Usage: codekin {command}")


def test_a_cold_search_imports_nothing_heavy(tree: Path, environment: dict[str, str]) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['codekin', 'search', {QUESTION!r}, '--json', '--no-update']\n"
        "from codekin.cli import main\n"
        "try:\n    main()\nfinally:\n"
        "    print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)\n"
    )
    subprocess.run([COMMAND, "index"], cwd=tree, env=environment, check=True, capture_output=True)
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tree, env=environment, capture_output=True, text=True, check=True
    )
    loaded = set(result.stderr.split())
    assert "numpy" in loaded
    heavy = {
        "torch",
        "transformers",
        "huggingface_hub",
        "fastapi",
        "requests",
        "httpx",
        "rich",
        "pygments",
        "scipy",
    }
    assert not loaded & heavy


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals here")
def test_a_terminal_gets_colours_and_lines_cut_to_its_width(tree: Path, environment: dict[str, str]) -> None:
    (tree / "wide.py").write_text("def very_wide_definition():\n    return '" + "x" * 500 + "'\n")
    environment["COLUMNS"] = "60"
    script = shutil.which("script")
    if script is None:
        pytest.skip("no script command to make a terminal")
    result = subprocess.run(
        [script, "-qec", f"{COMMAND} search very_wide_definition -n1", "/dev/null"],
        cwd=tree,
        env=environment,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    assert "\x1b[" in result.stdout
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]|\x1b\]8;;[^\x1b]*\x1b\\", "", result.stdout)
    rows = [row.rstrip("\r") for row in plain.split("\n") if "│" in row]
    assert rows
    assert max(map(len, rows)) == 60
    assert any(row.endswith("…") for row in rows)
