"""A recipe: every choice of a training run, in one TOML file."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from codekin.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True, slots=True)
class Data:
    """At most `pairs` pairs are trained on; `held_out` of all, by whole sources, measure the run instead.

    `source` is a file of pairs, or "corpus": what is mined from the packages that `codekin.data` pins. A share `named`
    of the queries trained on names the language of what it looks for.
    """

    source: str
    pairs: int
    held_out: float
    named: float
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """`size` tokens; words in fewer than `min_texts` texts of the corpus are left to word pieces."""

    size: int
    min_texts: int


@dataclass(frozen=True, slots=True)
class Teaching:
    """Of how many pairs the teacher embeds the query, and the document; texts are cut at `max_tokens`.

    `model` is a BERT model's folder, or its name on the Hugging Face hub.
    """

    model: str
    queries: int
    documents: int
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Model:
    """`frequency` is the a of SIF weights, a / (a + p(token)), which the token weights start from.

    A token that a text holds c times counts c ** `count_exponent`.
    """

    dimensions: int
    sizes: tuple[int, ...]
    frequency: float
    count_exponent: float


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
class StaticRecipe:
    """All choices of a static model's run; `name` names it, `licence` (SPDX) goes into its configuration."""

    name: str
    licence: str
    seed: int
    data: Data
    vocabulary: Vocabulary
    teacher: Teaching
    model: Model
    distil: Distil
    contrast: Contrast


@dataclass(frozen=True, slots=True)
class Sets:
    """`train` are names of the catalogue or `.jsonl` files of pairs, `dev` folders in BEIR's layout.

    A set of m pairs has a share in proportion to m ** (1 / `balance`). A batch is of one set, of any with `mixed`.
    Of each pair's hard negatives `negatives` are read.
    """

    train: tuple[str, ...]
    dev: tuple[str, ...] = ()
    balance: float = 1.0
    mixed: bool = False
    negatives: int = 0


@dataclass(frozen=True, slots=True)
class Backbone:
    """The decoder to begin with, by the name that `codekin.Embedder` takes, and how it becomes an embedding model.

    `sizes` are the Matryoshka sizes that are trained, by `weights` (default: all alike). `frozen` counts the lowest
    layers that stay as they are; with one or more the token table does, too. What they make of a text is computed
    once and kept in the run's folder, 4 bytes a number and at most `frozen_gb` gigabytes of it.
    """

    base: str
    pooling: str
    sizes: tuple[int, ...]
    weights: tuple[float, ...] = ()
    frozen: int = 0
    frozen_gb: float = 4.0


@dataclass(frozen=True, slots=True)
class Lora:
    """Low-rank adaptation (arXiv 2106.09685) of every product: only what it adds to the weights is trained."""

    rank: int
    alpha: float
    dropout: float = 0.0


@dataclass(frozen=True, slots=True)
class Training:
    """AdamW for `steps` batches of `batch` pairs, whose texts are cut at `max_length` tokens.

    The rate rises over `warm_up` steps and then falls to zero by a cosine. `clip` is the largest norm of a gradient.
    `pack_tokens` go through the decoder at once, whatever the batch; `checkpointing` keeps only each layer's input
    of them. Every `evaluate_every` steps the dev sets are measured and a checkpoint written.
    """

    steps: int
    batch: int
    max_length: int
    learning_rate: float
    warm_up: int
    pack_tokens: int
    evaluate_every: int
    temperature: float = 0.05
    symmetric: bool = False
    weight_decay: float = 0.01
    clip: float = 1.0
    checkpointing: bool = False


@dataclass(frozen=True, slots=True)
class DecoderRecipe:
    """All choices of a decoder's run."""

    name: str
    licence: str
    seed: int
    data: Sets
    model: Backbone
    training: Training
    lora: Lora | None = None


Recipe = StaticRecipe | DecoderRecipe
_KINDS: dict[str, type[StaticRecipe] | type[DecoderRecipe]] = {
    "static": StaticRecipe,
    "decoder": DecoderRecipe,
}


def load_recipe(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe at `path`, or the bundled one of that name.

    `kind` says which: "static" or "decoder". With `extends` it is what another recipe says, beside it or bundled,
    but for its own keys. `overrides` are "table.key=value", the value as TOML writes it, or a bare string. Raises
    InputError for a file that is not TOML, an unknown key (naming the nearest known one), a missing key or a value
    of the wrong type.
    """
    values = _read(path)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise InputError(f"{override!r} sets nothing: write table.key=value")
        _set(values, key.strip().split("."), _parsed(text.strip()), override)
    kind = values.pop("kind", None)
    if kind not in _KINDS:
        raise InputError(f"recipe {path}: kind must be one of {', '.join(_KINDS)}, not {kind!r}")
    recipe: Recipe = _build(_KINDS[kind], values, str(path), "")
    return recipe


def _read(path: str | Path) -> dict[str, Any]:
    file = Path(path)
    if not file.is_file() and (RECIPES / f"{path}.toml").is_file():
        file = RECIPES / f"{path}.toml"
    elif not file.is_file() and file.parent.name == "recipes" and (RECIPES / file.name).is_file():
        file = RECIPES / file.name
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        bundled = ", ".join(sorted(recipe.stem for recipe in RECIPES.glob("*.toml")))
        raise InputError(f"recipe {path}: {error.strerror}; bundled recipes: {bundled}") from None
    except ValueError as error:
        raise InputError(f"recipe {path}: not TOML: {error}") from None
    if (base := values.pop("extends", None)) is None:
        return values
    beside = file.parent / f"{base}.toml"
    if beside == file:
        raise InputError(f"recipe {path} extends itself")
    return _merged(_read(beside if beside.is_file() else base), values)


def _merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    both = {
        key: _merged(base[key], value)
        for key, value in own.items()
        if isinstance(value, dict) and isinstance(base.get(key), dict)
    }
    return {**base, **own, **both}


def _set(values: dict[str, Any], keys: list[str], value: Any, override: str) -> None:
    for key in keys[:-1]:
        table = values.setdefault(key, {})
        if not isinstance(table, dict):
            raise InputError(f"{override!r}: {key} is no table")
        values = table
    values[keys[-1]] = value


def _parsed(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        return text


_Section = TypeVar("_Section")


def _build(kind: type[_Section], values: dict[str, Any], path: str, prefix: str) -> _Section:
    types = get_type_hints(kind)
    for key in values:
        if key not in types:
            near = difflib.get_close_matches(key, types, n=1, cutoff=0.0)[0]
            raise InputError(f"recipe {path}: unknown key {prefix}{key}; did you mean {prefix}{near}?")
    arguments: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name in values:
            arguments[field.name] = _value(types[field.name], values[field.name], path, prefix + field.name)
        elif field.default is MISSING:
            raise InputError(f"recipe {path}: key {prefix}{field.name} is missing")
    return kind(**arguments)


def _value(kind: Any, value: Any, path: str, key: str) -> Any:
    if get_origin(kind) in (Union, UnionType):
        kind = get_args(kind)[0]
    is_table = isinstance(kind, type) and kind.__module__ == __name__
    if is_table and isinstance(value, dict):
        return _build(kind, value, path, f"{key}.")
    if kind is float and type(value) is int:
        return float(value)
    if get_origin(kind) is tuple and isinstance(value, list):
        of = get_args(kind)[0]
        if all(type(item) is of or (of is float and type(item) is int) for item in value):
            return tuple(of(item) for item in value)
    elif type(value) is kind:
        return value
    expected = "a table" if is_table else _TYPE_NAMES[kind]
    raise InputError(f"recipe {path}: {key} must be {expected}, not {value!r}")


_TYPE_NAMES: dict[Any, str] = {
    int: "an integer",
    float: "a number",
    str: "a string",
    bool: "true or false",
    tuple[int, ...]: "a list of integers",
    tuple[float, ...]: "a list of numbers",
    tuple[str, ...]: "a list of strings",
}
