"""A benchmark of one's own code: what is asked, what is hidden, what is left out."""

from __future__ import annotations

import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from codekin.errors import InputError
from codekin.evaluate.own_code import ELSEWHERE, GONE, NO_QUESTION, SEVERAL, TRIVIAL, own_code
from codekin.evaluate.repositories import Place, Question
from codekin.search import CodeIndex

COMMAND = str(Path(sysconfig.get_path("scripts")) / "codekin")

STORE = '''"""Keeps things."""


class Store:
    """Everything that was put away."""

    # Counts what the shelves can still take.
    # Never below zero.
    @property
    def room(self):
        taken = sum(len(shelf) for shelf in self.shelves)
        limit = self.limit * len(self.shelves)
        return max(0, limit - taken)

    def put(self, parcel, shelf):
        """Put a parcel away, on the given shelf if it has room.

        Raises KeyError otherwise.
        """
        if len(self.shelves[shelf]) >= self.limit:
            raise KeyError(shelf)
        self.shelves[shelf].append(parcel)
        self.log.append((parcel, shelf))

    def name(self):
        """The name of the store."""
        return self._name
'''
MAIL = """/**
 * Sends a letter to every subscriber that asked for one.
 * @param {string[]} subscribers
 */
export function sendLetters(subscribers, letter) {
  const wanted = subscribers.filter((one) => one.wants(letter));
  for (const one of wanted) {
    deliver(one.address, letter);
  }
  return wanted.length;
}

/** TODO */
export function deliver(address, letter) {
  const envelope = fold(letter);
  envelope.stamp = stampFor(address);
  return post(address, envelope);
}

// Folds a letter so that it fits an envelope.
export function fold(letter) {
  const halves = letter.split("\\n\\n");
  const folded = halves.map((half) => half.trim());
  return { folded, stamp: null };
}
"""
NOTES = "# Notes\n\nIt folds a letter, so that it fits an envelope: nothing more.\n"
WEIGH = """def weigh(parcel, scale):
    reading = scale.read(parcel)
    tare = scale.empty
    return reading - tare
"""
WEIGH_TWICE = WEIGH.replace(
    "reading = scale.read(parcel)", "reading = (scale.read(parcel) + scale.read(parcel)) / 2"
)

DOCUMENTATION = {
    "Counts what the shelves can still take. Never below zero.": ("store.py", 9, 13),
    "Put a parcel away, on the given shelf if it has room.": ("store.py", 15, 23),
    "Sends a letter to every subscriber that asked for one.": ("mail.js", 5, 11),
}


def asked(questions: tuple[Question, ...]) -> dict[str, tuple[str, int | None, int | None]]:
    return {q.text: (q.answers[0].path, q.answers[0].start_line, q.answers[0].end_line) for q in questions}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "post"
    root.mkdir()
    for name, text in (("store.py", STORE), ("mail.js", MAIL), ("NOTES.md", NOTES)):
        (root / name).write_text(text)
    return root


Commit = Callable[..., None]


@pytest.fixture
def commit(folder: Path) -> Commit:
    """Writes files of the folder and commits all of it."""
    git = ["git", "-C", str(folder), "-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)

    def make(message: str, files: dict[str, str]) -> None:
        for name, text in files.items():
            (folder / name).write_text(text)
        subprocess.run([*git, "add", "-A"], check=True)
        subprocess.run([*git, "commit", "-qm", message], check=True)

    return make


def test_comments_become_questions_and_their_functions_answers(folder: Path) -> None:
    made = own_code(folder)
    assert asked(made.repository.questions) == DOCUMENTATION
    assert {question.kind for question in made.repository.questions} == {"documentation"}


def test_what_is_asked_is_hidden_from_the_search_and_lines_stay(folder: Path, tmp_path: Path) -> None:
    made = own_code(folder)
    root = made.repository.checkout(tmp_path / "copy")
    store, mail = (root / "store.py").read_text(), (root / "mail.js").read_text()
    for hidden in ("Put a parcel away", "Raises KeyError", "shelves can still take", "Never below zero"):
        assert hidden not in store
    assert "Sends a letter" not in mail
    assert "@param" not in mail
    # What is not asked stays: it is what the search would have.
    assert '"""Everything that was put away."""' in store
    assert "/** TODO */" in mail
    for name, text in (("store.py", STORE), ("mail.js", MAIL)):
        kept = (root / name).read_text().split("\n")
        assert len(kept) == text.count("\n") + 1
        for before, after in zip(text.split("\n"), kept, strict=True):
            assert after.strip() in ("", before.strip())
    for question in made.repository.questions:
        [place] = question.answers
        original = (folder / place.path).read_text().split("\n")
        hidden_file = (root / place.path).read_text().split("\n")
        assert hidden_file[place.end_line - 1] == original[place.end_line - 1] != ""
    with CodeIndex(root, index=tmp_path / "index") as index:
        assert index.search("parcel away given room", mode="lexical")
        assert not any(
            "Raises KeyError" in found.text for found in index.search("raises otherwise", mode="lexical")
        )


def test_what_cannot_be_asked_is_counted(folder: Path) -> None:
    left_out = own_code(folder).left_out
    assert left_out == {
        ("documentation", TRIVIAL): 1,  # Store.name
        ("documentation", NO_QUESTION): 1,  # TODO
        ("documentation", ELSEWHERE): 1,  # the notes fold letters too
    }


def test_two_functions_with_one_comment_are_not_asked_for(folder: Path) -> None:
    (folder / "more.js").write_text(MAIL.replace("sendLetters", "sendCards").partition("/** TODO")[0])
    texts = [question.text for question in own_code(folder).repository.questions]
    assert not any(text.startswith("Sends a letter") for text in texts)


def test_commits_ask_for_the_function_that_they_change_where_it_is_now(folder: Path, commit: Commit) -> None:
    commit("Start", {"scale.py": WEIGH})
    commit("Read the scale twice and take the mean (#12)", {"scale.py": WEIGH_TWICE})
    commit("Put a licence on top", {"scale.py": "# Licence: ours\n\n" + WEIGH_TWICE})
    made = own_code(folder)
    found = {q.text: q.answers for q in made.repository.questions if q.kind == "commit"}
    assert found == {"Read the scale twice and take the mean": (Place("scale.py", 3, 6),)}
    assert made.left_out["commit", SEVERAL] == 1  # the licence changes no function


def test_commits_about_what_is_gone_are_left_out(folder: Path, commit: Commit) -> None:
    commit("Start", {"scale.py": WEIGH})
    commit("Read the scale twice and take the mean", {"scale.py": WEIGH_TWICE})
    commit("Call it by another name", {"scale.py": WEIGH_TWICE.replace("weigh", "measure")})
    made = own_code(folder)
    assert not any("twice" in question.text for question in made.repository.questions)
    assert made.left_out["commit", GONE] == 1


def test_a_commit_whose_words_are_in_the_changelog_is_left_out(folder: Path, commit: Commit) -> None:
    commit("Start", {"scale.py": WEIGH})
    commit(
        "Read the scale twice and take the mean",
        {"scale.py": WEIGH_TWICE, "CHANGELOG.md": "- read the scale twice,\n  and take the mean\n"},
    )
    made = own_code(folder)
    assert not any("twice" in question.text for question in made.repository.questions)


def test_code_under_any_licence_is_asked_about(folder: Path, commit: Commit) -> None:
    head = "# Proprietary and confidential. GNU General Public License.\n\n"
    commit("Start", {"scale.py": head + WEIGH})
    commit("Read the scale twice and take the mean", {"scale.py": head + WEIGH_TWICE})
    (folder / "store.py").write_text(head + STORE)
    kinds = [question.answers[0].path for question in own_code(folder).repository.questions]
    assert {"scale.py", "store.py"} <= set(kinds)


def many(count: int) -> str:
    words = (
        "amber basil cedar daisy ebony fern grape hazel iris jade kelp lilac maple nettle olive pine".split()
    )
    return "\n\n".join(
        f"def {words[i % 16]}_{words[i // 16]}(garden):\n"
        f'    """Plant the {words[i % 16]} beside the {words[i // 16]}."""\n'
        f"    bed = garden.find({i})\n    bed.dig(depth={i})\n    return bed.plant()\n"
        for i in range(count)
    )


def test_a_seed_chooses_the_same_questions_again_and_another_others(folder: Path) -> None:
    (folder / "garden.py").write_text(many(100))
    first, again, other = (
        own_code(folder, questions=20, seed=seed).repository.questions for seed in (1, 1, 2)
    )
    assert len(first) == 20
    assert first == again
    assert set(first) != set(other)


def test_questions_not_chosen_keep_their_comments(folder: Path, tmp_path: Path) -> None:
    (folder / "garden.py").write_text(many(100))
    made = own_code(folder, questions=10)
    text = (made.repository.checkout(tmp_path / "copy") / "garden.py").read_text()
    chosen = sum(question.answers[0].path == "garden.py" for question in made.repository.questions)
    assert text.count('"""Plant the') == 100 - chosen


def test_half_the_questions_come_from_commits(folder: Path, commit: Commit) -> None:
    commit("Start", {"garden.py": many(40), "scale.py": WEIGH})
    text = WEIGH
    for number, what in enumerate(["small", "large", "round", "square", "heavy", "fragile"]):
        text = text.replace("    return", f"    tare -= {number}\n    return")
        commit(f"Take {what} boxes off the weight as well", {"scale.py": text})
    kinds = [question.kind for question in own_code(folder, questions=8).repository.questions]
    assert (kinds.count("documentation"), kinds.count("commit")) == (4, 4)
    kinds = [question.kind for question in own_code(folder, questions=200).repository.questions]
    assert kinds.count("commit") == 6


def test_a_tree_without_anything_to_ask_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bare.py").write_text("x = 1\n")
    with pytest.raises(InputError, match="no documented functions and no commits"):
        own_code(tmp_path)
    with pytest.raises(InputError):
        own_code(tmp_path / "missing")


def test_the_command_says_what_works_best_and_what_was_left_out(folder: Path, commit: Commit) -> None:
    commit("Start", {"garden.py": many(20), "scale.py": WEIGH})
    commit("Read the scale twice and take the mean", {"scale.py": WEIGH_TWICE})
    done = subprocess.run(
        [COMMAND, "evaluate", "search", "--self", str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "documentation" in lines[0]
    assert "commit" in lines[0]
    assert lines[1].startswith("codekin-static hybrid")
    assert any(line.startswith("24 questions (23 from comments, 1 from commits)") for line in lines)
    assert any(line.startswith("best: ") for line in lines)
