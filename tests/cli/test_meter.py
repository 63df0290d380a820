"""What is said while long work is under way: rates and the time left, by a clock that the tests turn."""

from __future__ import annotations

import pytest

from codekin.cli import meter
from codekin.cli.meter import Counting, Meter


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(meter, "time", clock)
    return clock


def test_the_time_left_is_of_what_this_run_does(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Counting("training") as progress:
        clock.now += 100  # what is loaded before is no step
        progress(50, 100)
        clock.now += 10
        progress(60, 100, "loss 1.5")
    assert capsys.readouterr().err == "training: 60 of 100, 1 a second, loss 1.5, 40.0 s left\n"


def test_each_of_several_works_is_timed_by_itself(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Counting("training") as progress:
        for step in range(1, 11):
            clock.now += 1
            progress(step, 10)
        for step in range(1, 9):
            progress(step, 10)
            clock.now += 6
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "training: 8 of 10, 0.2 a second, 12.0 s left"


def test_a_new_title_begins_anew(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Counting("a set", lambda number: f"{number:.0f} B") as progress:
        progress(0, 0, title="one")
        clock.now += 100
        progress(500, 500, title="one")
        progress(600, 2000, title="two")
        clock.now += 10
        progress(1000, 2000, title="two")
    assert capsys.readouterr().err.splitlines() == [
        "one: 500 B of 500 B, 5 B a second, 0 ms left",
        "two: 1000 B of 2000 B, 40 B a second, 25.0 s left",
    ]


def test_little_is_shown_of_much(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Meter("work") as shown:
        for number in range(1000):
            clock.now += 0.01
            shown.show(None, str(number))
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_title_is_no_format(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with Meter("{model} [on] a set") as shown:
        clock.now += 1
        shown.show(0.5, "[1] {of} 2")
