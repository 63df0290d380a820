"""`codekin search --all` and `--level`, and `codekin repos`, as commands in processes of their own."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from commands import FILES, Run

QUESTION = "where are failed requests retried"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another folder, in which nothing of the first one's is."""
    root = tmp_path / "billing service"
    (root / "invoices").mkdir(parents=True)
    (root / "invoices" / "send.py").write_text(
        'def send_invoice(customer):\n    """Send an invoice to a customer by mail."""\n    return mail(customer)\n'
    )
    (root / "invoices" / "total.py").write_text(
        'def invoice_total(lines):\n    """The sum of the lines of an invoice."""\n    return sum(lines)\n'
    )
    return root


@pytest.fixture
def indexed(run: Run, tree: Path, other: Path) -> Run:
    assert run("index").returncode == 0
    assert run("index", str(other)).returncode == 0
    return run


def test_all_folders_are_asked_at_once(indexed: Run, tree: Path, other: Path):
    done = indexed("search", "--all", "--json", "send an invoice to a customer")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["root"] is None
    assert found["results"][0]["path"] == str(other / "invoices" / "send.py")
    assert found["results"][0]["symbol"] == "send_invoice"
    shown = indexed("search", "--all", "send an invoice to a customer").stdout
    assert shown.startswith(f"{other / 'invoices' / 'send.py'}:1-3  send_invoice")
    assert "Send an invoice to a customer by mail" in shown


@pytest.mark.parametrize(
    ("level", "path"), [("file", "invoices/send.py"), ("folder", "invoices"), ("repo", ".")]
)
def test_an_answer_at_each_level(indexed: Run, other: Path, level: str, path: str):
    done = indexed("search", "--all", "--level", level, "--json", "send an invoice to a customer")
    best = json.loads(done.stdout)["results"][0]
    assert (best["root"], best["path"], best["level"]) == (str(other), path, level)
    assert best["best"]["symbol"] == "send_invoice"
    [line, *_] = indexed(
        "search", "--all", "--level", level, "send an invoice to a customer"
    ).stdout.splitlines()
    assert line.startswith(str((other / path).resolve()))
    assert line.endswith("invoices/send.py:1  send_invoice")


def test_a_level_of_one_folder_indexes_it_first(run: Run, tree: Path):
    done = run("search", "--level", "folder", QUESTION, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["root"] == str(tree)
    folders = {str(Path(name).parent) for name in FILES}
    assert {result["path"] for result in json.loads(done.stdout)["results"]} <= folders


def test_repos_lists_what_is_indexed_and_what_is_gone(indexed: Run, tree: Path, other: Path):
    held = json.loads(indexed("repos", "--json").stdout)["repositories"]
    assert [(entry["root"], entry["files"], entry["exists"]) for entry in held] == sorted(
        [(str(tree), len(FILES), True), (str(other), 2, True)]
    )
    shutil.rmtree(other)
    lines = indexed("repos").stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == sorted([str(tree), str(other)])
    assert next(line for line in lines if line.startswith(str(other))).endswith("gone")
    found = json.loads(indexed("search", "--all", "--json", "--anyway", "invoice").stdout)["results"]
    assert found
    assert all(result["path"].startswith(str(tree)) for result in found)


def test_a_folder_without_code_is_not_gone(indexed: Run, tmp_path: Path):
    (tmp_path / "bare").mkdir()
    indexed("search", "invoice", str(tmp_path / "bare"))
    lines = indexed("repos").stdout.splitlines()
    assert next(line for line in lines if line.startswith(str(tmp_path / "bare"))).endswith("empty")


def test_the_indexes_of_folders_that_are_gone_can_be_forgotten(indexed: Run, tree: Path, other: Path):
    locations = {entry["root"]: entry["location"] for entry in listed(indexed)}
    shutil.rmtree(other)
    done = indexed("repos", "--forget")
    assert "1 folder forgotten" in done.stderr
    assert done.stdout.startswith(f"{tree}  codekin-static  {len(FILES)} files")
    assert [entry["root"] for entry in listed(indexed)] == [str(tree)]
    assert not Path(locations[str(other)]).exists()
    assert Path(locations[str(tree)]).exists()


def listed(run: Run) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(run("repos", "--json").stdout)["repositories"]
    return found


@pytest.mark.parametrize("harm", ["damaged", "model"])
def test_what_cannot_be_asked_is_left_out_in_one_line(indexed: Run, tree: Path, other: Path, harm: str):
    location = next(entry["location"] for entry in listed(indexed) if entry["root"] == str(tree))
    if harm == "damaged":
        Path(location).write_bytes(b"no database" * 1000)
    else:
        with sqlite3.connect(location) as db:
            db.execute("UPDATE model SET name = '/gone/model'")
        db.close()
    done = indexed("search", "--all", "--json", "send an invoice to a customer")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["results"][0]["path"] == str(other / "invoices" / "send.py")
    [line] = done.stderr.splitlines()
    assert line.startswith("codekin: left out: ")
    assert tree.name in line


def test_where_nothing_is_indexed(run: Run):
    assert run("repos").returncode == 1
    done = run("search", "--all", "anything")
    assert done.returncode == 2
    assert "no folder is indexed here" in done.stderr


def test_all_takes_no_folder(run: Run, tree: Path):
    done = run("search", "--all", QUESTION, str(tree))
    assert done.returncode == 2
    assert "leave out PATH" in done.stderr
