"""Code search measured: figures by hand, benchmarks on disk, peers by command, the command itself."""

from __future__ import annotations

import json
import math
import sqlite3
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from codekin import CodeIndex
from codekin.errors import InputError, ModelError
from codekin.evaluate.repositories import Place, Question, Repository, read_repositories
from codekin.evaluate.search import (
    Answered,
    Codekin,
    Command,
    Measured,
    TwoStages,
    chance,
    gain,
    measure,
    summarise,
)
from codekin.search import Mode, SecondStage

COMMAND = str(Path(sysconfig.get_path("scripts")) / "codekin")
GREP = f"{sys.executable} {{repository}}/find.py {{query}}"
FILES = {
    "src/retry.py": '''def send_with_retries(request, attempts=3):
    """Send a request again when it fails, waiting longer each time."""
    for attempt in range(attempts):
        response = request.send()
        if response.ok:
            return response
        sleep(2**attempt)
    raise ConnectionError("gave up")
''',
    "src/config.py": '''def load_settings(path):
    """Read the configuration file and merge it with the defaults."""
    with open(path) as file:
        return {"timeout": 10, **json.load(file)}
''',
    "docs/guide.md": "# Guide\n\nRun the installer and follow the steps.\n",
}
QUESTIONS = [
    {
        "query": "where are failed requests sent again",
        "category": "meaning",
        "relevant": ["src/retry.py"],
        "secondary": [],
    },
    {
        "query": "load_settings",
        "category": "symbol",
        "relevant": [{"path": "src/config.py", "start_line": 1, "end_line": 4}],
        "secondary": [],
    },
]


def write(root: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def answered(figure: float, kind: str = "", seconds: tuple[float, ...] = (0.1,)) -> Answered:
    return Answered(Question("q", (Place("a"),), kind), figure, figure / 2, seconds, ())


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """A benchmark of one repository beside it, one in a mirror, one that is nowhere and one that is not ready."""
    folder = tmp_path / "bench"
    write(tmp_path / "beside", FILES)
    work = write(
        tmp_path / "work", {f"pkg/{path}": text for path, text in FILES.items()} | {"other.py": "x = 1\n"}
    )
    git = ["git", "-C", str(work), "-c", "user.name=n", "-c", "user.email=e@x"]
    for step in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *step], check=True)
    subprocess.run([*git, "clone", "-q", "--bare", ".", str(tmp_path / "mirror/o+n/repo")], check=True)
    revision = subprocess.run(
        [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    entries = [
        {"name": "beside", "language": "python", "path": "../beside", "benchmark_root": "src"},
        {
            "name": "mirrored",
            "git_dir": "o+n/repo",
            "revision_used": revision,
            "benchmark_root": "pkg",
            "status": "ok",
        },
        {"name": "nowhere", "git_dir": "o+x/repo", "revision_used": revision},
        {"name": "lost", "git_dir": "o+n/repo", "revision_used": "0" * 40},
        {"name": "broken", "status": "no labels"},
    ]
    write(folder, {f"annotations/{entry['name']}.json": json.dumps(QUESTIONS) for entry in entries})
    write(folder, {"repos_status.json": json.dumps(entries)})
    return folder


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Place("a/b.py"), Place("a/b.py"), True),
        (Place("b.py"), Place("a/b.py"), True),
        (Place("a/b.py"), Place("b.py"), True),
        (Place("ab.py"), Place("b.py"), False),
        (Place("b.py", 1, 5), Place("b.py", 5, 9), True),
        (Place("b.py", 1, 4), Place("b.py", 5, 9), False),
        (Place("b.py", 10, 12), Place("b.py", 5, 9), False),
        (Place("b.py", 1, 4), Place("b.py"), True),
    ],
)
def test_places_meet(one: Place, other: Place, expected: bool) -> None:
    assert one.meets(other) is expected
    assert other.meets(one) is expected


def figures(tmp_path: Path, printed: list[str], answers: list[Place], budget: int = 10**6) -> Answered:
    """What a peer that prints these lines gets for one question."""
    files = {f"{name}.py": "x" * 399 + "\n" + "y" * 399 + "\n" for name in "abcdefghijklmn"}
    root = write(tmp_path / "root", files)
    (root / "out.txt").write_text("\n".join(printed))
    repository = Repository("r", "", (Question("what", tuple(answers)),), lambda place: root)
    [one] = measure(repository, Command("cat", "sh -c 'cat out.txt' {query}"), budget=budget)
    return one.answers[0]


def test_ndcg_takes_each_answers_first_rank_and_counts_a_hit_once(tmp_path: Path) -> None:
    found = figures(
        tmp_path, ["c.py", "a.py:1", "a.py:2", "b.py"], [Place("a.py"), Place("b.py"), Place("z.py")]
    )
    ideal = 1 + 1 / math.log2(3) + 1 / 2
    assert found.ndcg == pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / ideal)


def test_ndcg_of_two_answers_in_one_hit(tmp_path: Path) -> None:
    found = figures(tmp_path, ["a.py"], [Place("a.py", 1, 1), Place("a.py", 2, 2)])
    assert found.ndcg == pytest.approx(1 / (1 + 1 / math.log2(3)))


def test_ndcg_ends_at_ten(tmp_path: Path) -> None:
    found = figures(tmp_path, [f"{name}.py" for name in "abcdefghijk"], [Place("k.py")])
    assert found.ndcg == 0
    assert found.recall == 1
    assert [hit.path for hit in found.hits] == [f"{name}.py" for name in "abcdefghij"]


@pytest.mark.parametrize(
    ("printed", "budget", "recall"),
    [
        (["a.py", "b.py"], 399, 0.5),  # a file of 800 characters is 200 tokens
        (["a.py", "b.py"], 400, 1.0),
        (["a.py", "b.py"], 199, 0.0),
        (["a.py:1", "b.py:2-2"], 200, 1.0),  # a line of 399 is 100
        (["a.py:1", "b.py:2-2"], 199, 0.5),
        (["c.py", "a.py", "b.py"], 400, 0.5),
    ],
)
def test_recall_counts_what_can_be_read_within_the_budget(
    tmp_path: Path, printed: list[str], budget: int, recall: float
) -> None:
    assert figures(tmp_path, printed, [Place("a.py"), Place("b.py")], budget).recall == recall


def test_what_a_peer_prints_besides_places_is_passed_over(tmp_path: Path) -> None:
    root = tmp_path / "root"
    printed = [
        "a.py:1-2  symbol  1.93",
        "   1 │ xxx",
        "",
        str(root / "b.py"),
        f"{root}/c.py:2:the line itself",
        "../elsewhere.py",
        "gone.py:3",
    ]
    (tmp_path / "elsewhere.py").write_text("outside\n")
    found = figures(tmp_path, printed, [Place("a.py")])
    assert found.hits == (Place("a.py", 1, 2), Place("b.py"), Place("c.py", 2, 2))


def test_the_question_is_one_word_of_the_command_whatever_is_in_it(tmp_path: Path) -> None:
    root = write(
        tmp_path / "root",
        {"a.py": "", "find.py": "import sys; print('a.py' if sys.argv[1:] == WANTED else '')"},
    )
    text = 'what\'s {repository} "here" $HOME; {query}'
    (root / "find.py").write_text((root / "find.py").read_text().replace("WANTED", repr([text])))
    repository = Repository("r", "", (Question(text, (Place("a.py"),)),), lambda place: root)
    [one] = measure(repository, Command("p", GREP), budget=100)
    assert one.answers[0].ndcg == 1
    assert one.index_seconds is None
    assert len(one.answers[0].seconds) == 1


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("no-such-command-anywhere {query}", "cannot be run"),
        ("sh -c 'echo it broke >&2; exit 3' {query}", "ended with status 3: it broke"),
        ("grep -r something", "no {query}"),
        ("grep 'unbalanced {query}", "No closing quotation"),
    ],
)
def test_a_peer_at_fault_is_one_line(tmp_path: Path, template: str, reason: str) -> None:
    repository = Repository("r", "", (Question("q", ()),), lambda place: tmp_path)
    with pytest.raises(InputError, match=reason) as caught:
        measure(repository, Command("p", template), budget=1)
    assert "\n" not in str(caught.value)


def test_a_benchmark_is_read_from_folders_and_bare_repositories(bench: Path, tmp_path: Path) -> None:
    skipped: dict[str, str] = {}
    found = read_repositories(bench, mirror=tmp_path / "mirror", on_skip=skipped.__setitem__)
    assert [repository.name for repository in found] == ["beside", "mirrored"]
    assert set(skipped) == {"nowhere", "lost"}
    assert found[0].questions[1] == Question("load_settings", (Place("src/config.py", 1, 4),), "symbol")
    roots = [repository.checkout(tmp_path / repository.name) for repository in found]
    assert roots[0] == bench / "../beside/src"
    written = {path.relative_to(roots[1]).as_posix() for path in roots[1].rglob("*") if path.is_file()}
    assert written == set(FILES)  # what lies beside the benchmark's root is not written
    assert (roots[1] / "src/retry.py").read_text() == FILES["src/retry.py"]


def test_what_cannot_be_had_is_refused(bench: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no repository 'x'; repositories: beside, mirrored, nowhere, lost"):
        read_repositories(bench, names=["x"])
    with pytest.raises(InputError, match=r"no repository can be had: .*the mirror"):
        read_repositories(bench, names=["mirrored"])
    with pytest.raises(InputError, match=r"repos_status.json cannot be read"):
        read_repositories(tmp_path)
    (bench / "annotations/beside.json").write_text('[{"relevant": []}]')
    with pytest.raises(InputError, match=r"beside.json: .* has no query"):
        read_repositories(bench, names=["beside"])
    (bench / "annotations/beside.json").write_text('{"query": 1}')
    with pytest.raises(InputError, match="expected a list of objects"):
        read_repositories(bench, names=["beside"])


@pytest.mark.parametrize(
    ("questions", "said"),
    [
        ([{"query": "q", "relevant": "a.py"}], "beside.json: relevant is no list in"),
        ([{"query": "q", "relevant": [3]}], "beside.json: .* has no path"),
        ([{"query": "q", "relevant": [{"path": "a.py", "start_line": "1"}]}], "lines that are no numbers in"),
        ([{"query": "q", "relevant": None, "secondary": []}], "beside.json: nothing answers"),
        ([{"query": "q", "relevant": ["a.py"], "category": 1}], "has no category"),
    ],
)
def test_questions_that_are_none_are_refused(bench: Path, questions: list[object], said: str) -> None:
    (bench / "annotations/beside.json").write_text(json.dumps(questions))
    with pytest.raises(InputError, match=said):
        read_repositories(bench, names=["beside"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"path": 3}, "has no path"),
        ({"path": "../beside", "benchmark_root": 7}, "has no benchmark_root"),
        ({"git_dir": "o+n/repo", "revision_used": None}, "has no revision_used"),
        (
            {"git_dir": "o+n/repo", "revision_used": "HEAD", "benchmark_root": "lib"},
            "no files in lib at HEAD",
        ),
    ],
)
def test_trees_that_cannot_be_are_refused(bench: Path, tmp_path: Path, change: object, said: str) -> None:
    (bench / "repos_status.json").write_text(json.dumps([{"name": "beside", **change}]))  # type: ignore[dict-item]
    with pytest.raises(InputError, match=said):
        read_repositories(bench, mirror=tmp_path / "mirror")


def test_our_search_is_measured_in_every_mode(bench: Path, tmp_path: Path) -> None:
    [repository] = read_repositories(bench, names=["beside"])
    told: list[tuple[int, int]] = []
    found = measure(repository, Codekin(), budget=2000, progress=lambda *at: told.append(at))
    assert [one.search for one in found] == ["codekin-static hybrid", "codekin-static semantic", "lexical"]
    assert told[-1] == (6, 6)
    for one in found:
        assert one.index_seconds and one.index_seconds > 0
        assert [len(answer.seconds) for answer in one.answers] == [5, 5]
        assert [answer.ndcg for answer in one.answers] == [1.0, 1.0]
        assert [answer.recall for answer in one.answers] == [1.0, 1.0]
    [only] = measure(repository, Codekin(modes=[Mode.LEXICAL]), budget=10)
    assert only.answers[0].recall == 0  # the function takes 80 tokens


def test_both_stages_stand_beside_the_first(bench: Path, tmp_path: Path) -> None:
    [repository] = read_repositories(bench, names=["beside"])
    both = TwoStages("codekin-static", modes=[Mode.LEXICAL])
    [only] = measure(repository, both, budget=2000)
    assert only.search == both.name(Mode.LEXICAL) == "lexical + codekin-static"
    assert both.first(Mode.LEXICAL) == "lexical"
    with CodeIndex(repository.checkout(tmp_path), index=tmp_path / "index") as index:
        for answer in only.answers:
            assert len(answer.seconds) == 1
            stage = SecondStage("codekin-static")
            expected = index.search(answer.question.text, 10, mode="lexical", rerank=stage)
            assert answer.hits == tuple(Place(one.path, one.start_line, one.end_line) for one in expected)
    with pytest.raises(ModelError, match="cannot be reached"):
        measure(repository, TwoStages("http://127.0.0.1:9/v1#m"), budget=2000)


def test_a_gain_is_the_difference_of_both_stages_and_its_chance() -> None:
    rng = np.random.default_rng(3)
    base = rng.random(40) * 0.8
    measured = [
        Measured(name, "r", "", None, tuple(answered(float(value), seconds=(time,)) for value in values))
        for name, values, time in (("f", base, 0.01), ("f + m", base + 0.1, 0.51), ("other", base + 0.2, 9.0))
    ]
    found = gain(measured, "f", "f + m")
    assert (found.first, found.both) == ("f", "f + m")
    assert found.ndcg == pytest.approx(0.1) and found.p < 0.01 and found.seconds == pytest.approx(0.5)


def test_a_question_is_embedded_each_time_that_it_is_asked(
    bench: Path, tmp_path: Path, decoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    [repository] = read_repositories(bench, names=["beside"])
    [only] = measure(repository, Codekin(str(decoder), [Mode.SEMANTIC]), budget=2000)
    assert all(answer.hits for answer in only.answers)
    [cache] = (tmp_path / "cache").rglob("vectors-*.sqlite")
    with sqlite3.connect(cache) as db:
        assert db.execute("SELECT count(*) FROM vectors").fetchone() == (2,)  # a function in each file


def test_summaries_are_means_of_the_repositories_means() -> None:
    measured = [
        Measured("s", "one", "", 1.0, (answered(1.0, "a", (0.1, 0.2, 0.3)), answered(0.5, "b", (0.4,)))),
        Measured("s", "two", "", 3.0, (answered(0.0, "a", (0.5,)),)),
        Measured("t", "one", "", None, (answered(0.2), answered(0.2))),
        Measured("t", "two", "", None, (answered(0.2),)),
    ]
    first, second = summarise(measured)
    assert (first.search, first.repositories, first.questions) == ("s", 2, 3)
    assert first.ndcg == pytest.approx(0.375)
    assert first.recall == pytest.approx(0.1875)
    assert first.kinds == {"a": pytest.approx(0.5), "b": pytest.approx(0.5)}
    assert first.index_seconds == 2.0
    assert first.query_seconds == 0.3
    assert first.interval[0] <= first.ndcg <= first.interval[1]
    assert (second.ndcg, second.index_seconds) == (pytest.approx(0.2), None)


def test_chance_tells_a_steady_lead_from_noise() -> None:
    rng = np.random.default_rng(1)
    base = rng.random(60)
    noise = rng.normal(0, 0.2, 60)
    measured = [
        Measured(name, "r", "", None, tuple(answered(float(value)) for value in values))
        for name, values in (("base", base), ("better", base + 0.1), ("noisy", base + noise - noise.mean()))
    ]
    assert chance(measured, "better", "base") < 0.01
    assert chance(measured, "noisy", "base") > 0.5


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "evaluate", "search", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=120,
        check=False,
    )


def test_the_command_prints_a_table_and_what_was_left_out(bench: Path, tmp_path: Path) -> None:
    peer = f"find={sys.executable} -c \"import sys; print('src/retry.py')\" {{query}}"
    done = run(str(bench), "--mirror", str(tmp_path / "mirror"), "--peer", peer, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = done.stdout.splitlines()
    assert rows[0].split()[:2] == ["nDCG@10", "95%"]
    assert [row.split("  ")[0] for row in rows[1:5]] == [
        "codekin-static hybrid",
        "codekin-static semantic",
        "lexical",
        "find",
    ]
    assert "0.500" in rows[4]
    assert rows[-1] == "means over 2 of 4 repositories, 4 questions"
    assert "left out nowhere: no folder" in done.stderr


def test_the_command_tells_what_a_second_stage_adds(bench: Path, tmp_path: Path) -> None:
    chosen = (str(bench), "--repository", "beside", "--mode", "hybrid", "--rerank", "codekin-static")
    done = run(*chosen, "--rerank-budget", "20s", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    both = "codekin-static hybrid + codekin-static in 20 s"
    rows = done.stdout.splitlines()
    assert [row.split("  ")[0] for row in rows[1:3]] == ["codekin-static hybrid", both]
    told = next(row for row in rows[3:] if row.startswith(both))
    assert "+0.000  no more than chance would do (p = 1)" in told and told.endswith("ms more")
    [stage] = json.loads(run(*chosen, "--json", cwd=tmp_path).stdout)["second_stages"]
    assert (stage["first"], stage["both"]) == (
        "codekin-static hybrid",
        "codekin-static hybrid + codekin-static",
    )
    assert (stage["ndcg"], stage["p"]) == (0.0, 1.0)


def test_the_commands_json_has_every_question(bench: Path, tmp_path: Path) -> None:
    done = run(str(bench), "--repository", "beside", "--mode", "lexical", "--json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert [summary["search"] for summary in found["summaries"]] == ["lexical"]
    assert found["repositories"][0]["answers"][0]["question"]["text"] == QUESTIONS[0]["query"]
    assert found["repositories"][0]["answers"][0]["hits"][0]["path"] == "retry.py"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "give a folder of repositories with questions, or --self PATH"),
        ((".", "--self", "."), "give a folder of repositories with questions, or --self PATH"),
        ((".", "--peer", "grep"), "is no NAME=COMMAND"),
        ((".", "--rerank-budget", "1s"), "--rerank-budget is for --rerank"),
        ((".", "--rerank", "nowhere"), "no model 'nowhere'"),
        ((".",), "repos_status.json cannot be read"),
        (("--self", "missing"), "missing"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, arguments: tuple[str, ...], reason: str) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1
