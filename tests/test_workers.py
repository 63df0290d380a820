import os
from collections.abc import Callable, Iterator

import pytest

from codekin.workers import in_order


def _square(number: int) -> int:
    return number * number


def _called(job: Callable[[], int]) -> int:
    return job()


def _dies(number: int) -> int:
    if number == 3 and "PARENT" in os.environ and os.environ["PARENT"] != str(os.getpid()):
        os._exit(1)
    return -number


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_results_come_in_the_order_of_the_jobs(workers: int):
    assert list(in_order(_square, range(200), workers)) == [n * n for n in range(200)]


def test_a_worker_that_dies_costs_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PARENT", str(os.getpid()))
    assert list(in_order(_dies, range(40), 2)) == [-n for n in range(40)]


def test_no_more_jobs_are_taken_than_the_results_need():
    taken: list[int] = []

    def jobs() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    results = in_order(_square, jobs(), 1)
    assert [next(results), next(results)] == [0, 1]
    assert len(taken) < 20
    results.close()  # type: ignore[attr-defined]


def test_an_error_of_the_function_is_raised_here(capfd: pytest.CaptureFixture[str]):
    with pytest.raises(TypeError):
        list(in_order(_square, ["a"], 1))  # type: ignore[list-item]
    assert capfd.readouterr() == ("", "")


def test_what_cannot_be_handed_to_another_process_is_done_here():
    assert list(in_order(_called, [lambda: 1, lambda: 2], 1)) == [1, 2]
