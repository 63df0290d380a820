"""Text to vectors. `Embedder` is all that the rest of codekin knows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codekin.embed.cache import VectorCache
from codekin.embed.calibration import Calibration, TaskCalibration
from codekin.embed.embedder import Embedder
from codekin.embed.registry import DEFAULT_MODEL, ModelInfo, available_models
from codekin.embed.vectors import Precision, Quantised, quantise
from codekin.embed.writing import VectorWriter, json_lines

if TYPE_CHECKING:
    from codekin.embed.jobs import Job, Made, RayWorkers, Traits, Worker

__all__ = [
    "DEFAULT_MODEL",
    "Calibration",
    "Embedder",
    "Job",
    "Made",
    "ModelInfo",
    "Precision",
    "Quantised",
    "RayWorkers",
    "TaskCalibration",
    "Traits",
    "VectorCache",
    "VectorWriter",
    "Worker",
    "available_models",
    "json_lines",
    "quantise",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from codekin.embed import jobs  # which a search never needs

    return getattr(jobs, name)
