"""The static model's trainer: its vocabulary, its teacher, its two stages."""

from __future__ import annotations

from codekin.train.static.run import StaticReport, train_static

__all__ = ["StaticReport", "train_static"]
