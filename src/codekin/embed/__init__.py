"""Text to vectors. `Embedder` is all that the rest of codekin knows of it."""

from __future__ import annotations

from codekin.embed.cache import VectorCache
from codekin.embed.calibration import Calibration, TaskCalibration
from codekin.embed.embedder import Embedder
from codekin.embed.jobs import Job, Made, RayWorkers, Traits, Worker
from codekin.embed.registry import DEFAULT_MODEL, ModelInfo, available_models
from codekin.embed.vectors import Precision, Quantised, quantise
from codekin.embed.writing import VectorWriter, json_lines

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
