"""A recipe: every choice of a training run, in one TOML file."""

from __future__ import annotations

import difflib
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from codekin.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True, slots=True)
class Data:
    """At most `pairs` pairs are trained on; `held_out` of all, by whole sources, measure the run instead."""

    pairs: int
    held_out: float
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """`size` tokens; words in fewer than `min_texts` texts of the corpus are left to word pieces."""

    size: int
    min_texts: int


@dataclass(frozen=True, slots=True)
class Teaching:
    """Of how many pairs the teacher embeds the query, and the document; texts are cut at `max_tokens`."""

    queries: int
    documents: int
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Model:
    """`frequency` is the a of SIF weights, a / (a + p(token)), which the token weights start from."""

    dimensions: int
    sizes: tuple[int, ...]
    frequency: float


@dataclass(frozen=True, slots=True)
class Distil:
    """First stage: the student's vector of a text, cut at `max_tokens`, moves to the teacher's."""

    epochs: int
    batch: int
    learning_rate: float
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Contrast:
    """Second stage: InfoNCE over pairs, a share of `token_dropout` of the tokens left out at random.

    `patience`: epochs without a better held-out nDCG@10 after which the stage ends.
    """

    epochs: int
    batch: int
    learning_rate: float
    temperature: float
    token_dropout: float
    patience: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """All of a run's choices; `name` names the model, `licence` (SPDX) goes into its configuration."""

    name: str
    licence: str
    seed: int
    data: Data
    vocabulary: Vocabulary
    teacher: Teaching
    model: Model
    distil: Distil
    contrast: Contrast


def load_recipe(path: str | Path) -> Recipe:
    """The recipe at `path`, or the bundled one of that name.

    Raises InputError for a file that is not TOML, an unknown key (naming the nearest known one), a missing key
    or a value of the wrong type.
    """
    file = Path(path)
    if not file.is_file() and (RECIPES / f"{path}.toml").is_file():
        file = RECIPES / f"{path}.toml"
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        bundled = ", ".join(sorted(recipe.stem for recipe in RECIPES.glob("*.toml")))
        raise InputError(f"recipe {path}: {error.strerror}; bundled recipes: {bundled}") from None
    except ValueError as error:
        raise InputError(f"recipe {path}: not TOML: {error}") from None
    return _build(Recipe, values, str(path), "")


_Section = TypeVar("_Section")


def _build(kind: type[_Section], values: dict[str, Any], path: str, prefix: str) -> _Section:
    types = get_type_hints(kind)
    for key in values:
        if key not in types:
            near = difflib.get_close_matches(key, types, n=1, cutoff=0.0)[0]
            raise InputError(f"recipe {path}: unknown key {prefix}{key}; did you mean {prefix}{near}?")
    arguments: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name not in values:
            raise InputError(f"recipe {path}: key {prefix}{field.name} is missing")
        arguments[field.name] = _value(types[field.name], values[field.name], path, prefix + field.name)
    return kind(**arguments)


def _value(kind: Any, value: Any, path: str, key: str) -> Any:
    if isinstance(kind, type) and kind.__module__ == __name__ and isinstance(value, dict):
        return _build(kind, value, path, f"{key}.")
    if kind is float and type(value) is int:
        return float(value)
    if kind == tuple[int, ...] and isinstance(value, list) and all(type(item) is int for item in value):
        return tuple(value)
    if type(value) is kind:
        return value
    expected = "a table" if isinstance(kind, type) and kind.__module__ == __name__ else _TYPE_NAMES[kind]
    raise InputError(f"recipe {path}: {key} must be {expected}, not {value!r}")


_TYPE_NAMES: dict[Any, str] = {
    int: "an integer",
    float: "a number",
    str: "a string",
    tuple[int, ...]: "a list of integers",
}
