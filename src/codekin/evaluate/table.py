"""Figures in the form of the paper's tables: a row a benchmark, a column a model, averages that say of how many sets.

One structure, written as Markdown or drawn on a terminal; evaluation and the pooling ablation of training share it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

from codekin.evaluate.paper import GROUPS, OVERALL, Column

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.table import Table as Drawn

_HEADING = 16  # characters of a model's name in a line
_NO_LIMIT = 10_000

# What could move a terminal's cursor or break a row, and halves of characters that no file can hold.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure from 0 to 1, half the width of its confidence interval, and whether it differs from the first's."""

    value: float
    margin: float | None = None
    differs: bool = False

    def __str__(self) -> str:
        margin = "" if self.margin is None else f" ±{100 * self.margin:.1f}"
        return f"{100 * self.value:.2f}{margin}{'†' if self.differs else ''}"


@dataclass(frozen=True, slots=True)
class Row:
    """What stands at its left, and a cell a column; None where nothing was measured."""

    labels: tuple[str, ...]
    cells: tuple[Cell | None, ...]
    average: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings; the first `own` columns of figures are measured here, the others published.

    Printed by rich, the published ones are left out where the terminal has no room for them.
    """

    labels: tuple[str, ...]
    columns: tuple[str, ...]
    own: int
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    source: str = ""
    """A note on the published columns."""

    def markdown(self) -> str:
        """GitHub's table, the best of the own figures of each row in bold, and the notes below."""
        lines = [[*self.labels, *self.columns]]
        lines.append([*("---" for _ in self.labels), *("---:" for _ in self.columns)])
        for row in self.rows:
            best = self._best(row)
            figures = (
                f"**{cell}**" if place in best else _shown(cell) for place, cell in enumerate(row.cells)
            )
            lines.append([*row.labels, *figures])
        table = "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)
        return "\n\n".join([table, *self.notes, *([self.source] if self.source else [])])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Drawn]:
        whole = self._drawn(len(self.columns), self.source)
        needed = console.measure(whole, options=options.update(max_width=_NO_LIMIT)).maximum
        if needed > options.max_width and len(self.columns) > self.own:
            whole = self._drawn(self.own, "The published columns are left out: a wider terminal shows them.")
        yield whole

    def _drawn(self, columns: int, source: str) -> Drawn:
        from rich import box
        from rich.table import Table as Drawn
        from rich.text import Text

        drawn = Drawn(box=box.SIMPLE_HEAD, pad_edge=False, caption_justify="left")
        notes = [*self.notes, *([source] if source else [])]
        drawn.caption = Text("\n".join(map(_label, notes)), style="dim")
        for place, label in enumerate(self.labels):
            drawn.add_column(label, style="dim" if place else "", no_wrap=True)
        for place, column in enumerate(self.columns[:columns]):
            heading = Text("\n".join(wrap(_label(column), _HEADING)))
            drawn.add_column(heading, justify="right", style="" if place < self.own else "dim", no_wrap=True)
        any_differs = any(cell and cell.differs for row in self.rows for cell in row.cells)
        averaged = False
        for row in self.rows:
            best = self._best(row)
            figures = [
                Text(_shown(cell), style="bold green" if place in best else "")
                for place, cell in enumerate(row.cells[:columns])
            ]
            for cell, figure in zip(row.cells[: self.own], figures, strict=False):
                # A dagger hangs, or figures would not stand under each other.
                figure.append("" if not any_differs or (cell and cell.differs) else "\N{NO-BREAK SPACE}")
            if row.average and not averaged:
                drawn.add_section()
                averaged = True
            drawn.add_row(*(Text(_label(label)) for label in row.labels), *figures)
        return drawn

    def _best(self, row: Row) -> set[int]:
        """The places of the best own figures, as shown; none where there is nothing to compare."""
        shown = {place: round(cell.value, 4) for place, cell in enumerate(row.cells[: self.own]) if cell}
        return (
            {place for place, value in shown.items() if value == max(shown.values())}
            if self.own > 1
            else set()
        )


@dataclass(frozen=True, slots=True)
class Average:
    """An average over `benchmarks`, under a label that says if they are fewer than the group's."""

    label: str
    benchmarks: tuple[str, ...]


def figures_table(
    figures: Mapping[str, Mapping[str, Cell]],
    *,
    tasks: Mapping[str, str] | None = None,
    beside: Sequence[Column] = (),
    notes: Sequence[str] = (),
    source: str = "",
) -> Table:
    """The table of `figures`, by model and benchmark; `tasks` by benchmark, `beside` the published columns with
    their `source`.

    Published columns are left out where no benchmark is theirs. An average is over the benchmarks that every model
    has, for the published columns too.
    """
    names = in_order({name for own in figures.values() for name in own})
    beside = [column for column in beside if any(name in column.figures for name in names)]
    rows = []
    for name in names:
        published = [Cell(column.figures[name]) if name in column.figures else None for column in beside]
        labels = (name,) if tasks is None else (name, tasks.get(name, ""))
        rows.append(Row(labels, (*(own.get(name) for own in figures.values()), *published)))
    for average in averages(figures):
        means = [
            _mean([own[name].value for name in average.benchmarks if name in own]) for own in figures.values()
        ]
        theirs = [column_mean(column, average.benchmarks) for column in beside]
        cells = tuple(None if mean is None else Cell(mean) for mean in (*means, *theirs))
        rows.append(Row((average.label,) if tasks is None else (average.label, ""), cells, average=True))
    return Table(
        ("benchmark",) if tasks is None else ("benchmark", "task"),
        (*figures, *(column.short for column in beside)),
        len(figures),
        tuple(rows),
        tuple(notes),
        source if beside else "",
    )


def averages(figures: Mapping[str, Mapping[str, object]]) -> list[Average]:
    """The averages over the benchmarks that every model of `figures` has, widest group first.

    A group of which only some were measured is named "... average of 3 of 25 sets", and left out where another
    average is over the same benchmarks. Benchmarks of no group have an average of their own.
    """
    common = set.intersection(*(set(own) for own in figures.values())) if figures else set()
    members = {group: tuple(name for name in group.benchmarks if name in common) for group in GROUPS}
    whole = {found for group, found in members.items() if found == group.benchmarks}
    shown: list[Average] = []
    for group, found in members.items():
        if found == group.benchmarks:
            shown.append(Average(f"{group.name} average", found))
        elif len(found) > 1 and found not in whole and all(found != other.benchmarks for other in shown):
            label = f"average of {len(found)} of {len(group.benchmarks)} sets"
            shown.append(Average(label if group is OVERALL else f"{group.name}: {label}", found))
    others = tuple(name for name in in_order(common) if name not in OVERALL.benchmarks)
    if len(others) > 1:
        kind = "other sets" if len(others) < len(common) else "sets"
        shown.append(Average(f"average of {len(others)} {kind}", others))
    return shown


def column_mean(column: Column, benchmarks: Sequence[str]) -> float | None:
    """The mean of a published column over `benchmarks`; None where it lacks one."""
    figures = [column.figures[name] for name in benchmarks if name in column.figures]
    return _mean(figures) if len(figures) == len(benchmarks) else None


def in_order(names: set[str]) -> list[str]:
    """Benchmarks as the paper lists them, then all others by name."""
    places = {name: place for place, name in enumerate(OVERALL.benchmarks)}
    return sorted(names, key=lambda name: (places.get(name, len(places)), name))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _shown(cell: Cell | None) -> str:
    return "–" if cell is None else str(cell)


def _label(text: str) -> str:
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def _escaped(text: str) -> str:
    return _label(text).replace("|", "\\|")
