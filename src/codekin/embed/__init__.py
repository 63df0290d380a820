"""Text to vectors. `Embedder` is all that the rest of codekin knows of it."""

from __future__ import annotations

from codekin.embed.cache import VectorCache
from codekin.embed.calibration import Calibration, TaskCalibration
from codekin.embed.embedder import Embedder
from codekin.embed.registry import DEFAULT_MODEL, ModelInfo, available_models
from codekin.embed.vectors import Precision, Quantised, quantise
from codekin.embed.writing import VectorWriter, json_lines

__all__ = [
    "DEFAULT_MODEL",
    "Calibration",
    "Embedder",
    "ModelInfo",
    "Precision",
    "Quantised",
    "TaskCalibration",
    "VectorCache",
    "VectorWriter",
    "available_models",
    "json_lines",
    "quantise",
]
