#!/usr/bin/env python3
"""How often a search says that nothing answers: rightly, and wrongly.

    python benchmarks/refusals.py BENCH --mirror REPOSITORIES [--set COSQA] [--model NAME] [--dimensions N]

The questions of each repository of BENCH (see `codekin evaluate search`) are asked of it, which answers them, and of
all others, which answer some. Then each repository is asked what its own comments say, hidden from the search. With
`--set`, a folder in BEIR's layout whose documents are Python functions, its queries are asked of these and of the
repositories. A refusal is wrong where a search that did not refuse shows an answer among its best ten.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from codekin import CodeIndex, embed
from codekin.errors import InputError
from codekin.evaluate import read_labelled
from codekin.evaluate.own_code import own_code
from codekin.evaluate.repositories import Place, Question, Repository, read_repositories

OWN_QUESTIONS = 60  # a repository


class Count:
    """Questions, those refused, and of those whose answer is found those refused."""

    def __init__(self) -> None:
        self.asked = self.refused = self.found = self.lost = 0

    def ask(self, index: CodeIndex, question: Question) -> None:
        hits = index.search(question.text, 10, anyway=True)
        places = [Place(hit.path, hit.start_line, hit.end_line) for hit in hits]
        found = any(place.meets(answer) for place in places for answer in question.answers)
        self.asked += 1
        self.refused += not index.answered
        self.found += found
        self.lost += found and not index.answered

    def __str__(self) -> str:
        wrong = f"; of {self.found} with an answer among the best ten {self.lost}" if self.found else ""
        return f"{self.refused} of {self.asked} refused ({self.refused / max(1, self.asked):.1%}){wrong}"


@contextmanager
def indexed(root: Path, model: str, dimensions: int | None) -> Iterator[CodeIndex]:
    with (
        tempfile.TemporaryDirectory() as folder,
        CodeIndex(root, index=folder, model=model, dimensions=dimensions) as index,
    ):
        yield index


def functions(folder: Path, place: Path) -> list[Question]:
    """The documents of a set as files, and its queries as questions to them."""
    questions = []
    for labelled in read_labelled(folder):
        for number, text in enumerate(labelled.documents):
            (place / f"f{number}.py").write_text(text, encoding="utf-8")
        for text, answers in zip(labelled.queries, labelled.answers, strict=True):
            questions.append(Question(text, tuple(Place(f"f{number}.py") for number in answers)))
    return questions


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bench", type=Path)
    parser.add_argument("--mirror", type=Path)
    parser.add_argument("--set", type=Path)
    parser.add_argument("--model", default=embed.DEFAULT_MODEL)
    parser.add_argument("--dimensions", type=int)
    args = parser.parse_args()
    repositories: Sequence[Repository] = read_repositories(args.bench, mirror=args.mirror, on_skip=print)
    own, others, comments, web, answered = (Count() for _ in range(5))
    with tempfile.TemporaryDirectory() as made:
        queries = functions(args.set, Path(made)) if args.set else []
        if queries:
            with indexed(Path(made), args.model, args.dimensions) as index:
                for question in queries:
                    answered.ask(index, question)
        for repository in repositories:
            with tempfile.TemporaryDirectory() as plain, tempfile.TemporaryDirectory() as hidden:
                root = repository.checkout(Path(plain))
                with indexed(root, args.model, args.dimensions) as index:
                    for other in repositories:
                        for question in other.questions:
                            answers = question.answers if other is repository else ()
                            count = own if other is repository else others
                            count.ask(index, Question(question.text, answers))
                    for question in queries:
                        web.ask(index, Question(question.text, ()))
                try:
                    code = own_code(root, questions=OWN_QUESTIONS).repository
                except InputError as error:
                    print(f"{repository.name}: {error}")
                    continue
                with indexed(code.checkout(Path(hidden)), args.model, args.dimensions) as index:
                    for question in code.questions:
                        comments.ask(index, question)
    print(f"questions to their own repository    {own}")
    print(f"questions to another repository      {others}")
    print(f"comments, hidden from the search     {comments}")
    if queries:
        print(f"queries of the set to its functions  {answered}")
        print(f"queries of the set to repositories   {web}")


if __name__ == "__main__":
    main()
