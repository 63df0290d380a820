"""What a model's cosines mean, measured on pairs whose answers are known, and kept with the model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from codekin.errors import ModelError
from codekin.replacing import replacing
from codekin.tasks import Task

FILE_NAME = "calibration.json"


@dataclass(frozen=True, slots=True)
class Distribution:
    """The cosines of some pairs: how many, their mean and standard deviation, and quantiles by percent."""

    count: int
    mean: float
    deviation: float
    quantiles: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Geometry:
    """How the vectors lie; `codekin.evaluate.geometry` says what the figures are."""

    noise_floor: float
    effective_dimensions: float
    anisotropy: float


@dataclass(frozen=True, slots=True)
class TaskCalibration:
    """The cosines of one task at one size of the vectors.

    `related` are those of a query and a document that answers it, `hard` of a query and the documents likest to an
    answer that are none, `unrelated` of a query and any that is none. `auc` is the probability that a related pair
    scores above an unrelated one, `hard_auc` above a hard one.
    """

    related: Distribution
    hard: Distribution
    unrelated: Distribution
    auc: float
    hard_auc: float
    thresholds: Mapping[str, float]
    """By the share of unrelated pairs that reach them, "0.1" to "0.0001"; without those that too few pairs show."""
    balanced: float
    """Where the share of related pairs that reach it, less that of unrelated ones, is largest."""
    geometry: Geometry


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured of the model with this fingerprint: by task, then by size of the vectors."""

    fingerprint: str
    tasks: Mapping[Task, Mapping[int, TaskCalibration]]

    def of(self, task: Task, dimensions: int) -> TaskCalibration | None:
        """What is known of a task at a size, None if nothing."""
        return self.tasks.get(task, {}).get(dimensions)

    def to_dict(self) -> dict[str, Any]:
        """What the file holds; what is not a number is None."""
        tasks = {
            task.value: {str(size): _plain(asdict(one)) for size, one in sizes.items()}
            for task, sizes in self.tasks.items()
        }
        return {"fingerprint": self.fingerprint, "tasks": tasks}

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """What a file says; raises ValueError where that is no calibration."""
        try:
            value = json.loads(text)
            tasks = {
                Task(task): {int(size): _task(one) for size, one in sizes.items()}
                for task, sizes in value["tasks"].items()
            }
            return cls(str(value["fingerprint"]), tasks)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no calibration: {error}") from None


def find_calibration(folder: Path | None, fingerprint: str) -> Calibration | None:
    """The calibration of the model with this fingerprint: in its folder, else the user's own; None without one.

    One that was made of other files, or cannot be read, is none.
    """
    for place in (*([folder / FILE_NAME] if folder else ()), _own(fingerprint)):
        with suppress(OSError, ValueError):
            found = Calibration.from_json(place.read_text(encoding="utf-8"))
            if found.fingerprint == fingerprint:
                return found
    return None


def write_calibration(calibration: Calibration, folder: Path | None) -> Path:
    """Writes it into the model's folder, or where that cannot be, into the user's; returns the file.

    Raises ModelError where it can be written to neither.
    """
    own = _own(calibration.fingerprint)
    if folder is not None and folder.is_dir():
        with suppress(OSError):
            return _write(folder / FILE_NAME, calibration)
    try:
        return _write(own, calibration)
    except OSError as error:
        raise ModelError(f"{own}: cannot be written: {error.strerror}") from None


def _write(place: Path, calibration: Calibration) -> Path:
    with replacing(place) as partial:
        content = json.dumps(calibration.to_dict(), indent=1, allow_nan=False)
        partial.write_text(f"{content}\n", encoding="utf-8")
    return place


def _own(fingerprint: str) -> Path:
    return user_data_path("codekin", appauthor=False) / "calibrations" / f"{fingerprint}.json"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 6)
    return value


def _task(value: Mapping[str, Any]) -> TaskCalibration:
    geometry = Geometry(**{name: _number(value["geometry"][name]) for name in Geometry.__dataclass_fields__})
    return TaskCalibration(
        related=_distribution(value["related"]),
        hard=_distribution(value["hard"]),
        unrelated=_distribution(value["unrelated"]),
        auc=_number(value["auc"]),
        hard_auc=_number(value["hard_auc"]),
        thresholds={str(rate): float(score) for rate, score in value["thresholds"].items()},
        balanced=_number(value["balanced"]),
        geometry=geometry,
    )


def _distribution(value: Mapping[str, Any]) -> Distribution:
    return Distribution(
        int(value["count"]),
        _number(value["mean"]),
        _number(value["deviation"]),
        {str(percent): float(level) for percent, level in value["quantiles"].items()},
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
