"""Configurations as TOML: every field with its description, written beside a run and read from anywhere."""

from __future__ import annotations

import ast
import inspect
import textwrap
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import tomlkit
from pydantic import TypeAdapter, ValidationError
from tomlkit.items import Table

from model import StellarConfig, get_preset
from service.tokens.size import image_size
from training.config import DistillationConfig, RunConfig, TrainingConfig
from training.loss_weights import LossWeights
from training.recipes import NAMED, get_recipe

CONFIG_FILE = "config.toml"
PATHS = ("pictures", "held_out", "init", "vit_mae", "vqgan")
"""Settings that are paths: `init` unless it is a model's name. A teacher of `training.distillation` is one
where its name ends with .onnx."""
TABLES = ("model", "training")
"""Settings that have settings of their own."""
KEPT = (
    *(("model", field.name) for field in fields(StellarConfig)),
    ("training", "objective"),
    ("training", "teacher"),
)
"""What the weights of a run depend on."""

BEFORE = {"reference_crop": "own"}
"""What settings of the training were in runs whose files do not tell of them."""

Config = TypeVar("Config", RunConfig, TrainingConfig, LossWeights, DistillationConfig, StellarConfig)
Changes = dict[str, Any]
"""Fields and their values; a part's are a mapping of their own, as in TOML."""


def preset_run(preset: str, changes: Changes) -> RunConfig:
    """The model and the recipe of a preset, with some fields replaced.

    Raises `ValueError` for an unknown preset or field, or an impossible value.
    """
    pictures = changes.get("pictures")
    if pictures is None:
        raise ValueError("pictures: expected a folder, or a pattern of shards, got none")
    start = RunConfig(pictures=pictures, model=get_preset(preset), training=get_recipe(preset))
    return changed(start, changes)


def changed(config: Config, changes: Changes) -> Config:
    """A configuration with some fields replaced.

    Raises `ValueError` for an unknown field or an impossible value.
    """
    values: Changes = {}
    kinds = get_type_hints(type(config))
    for name, value in changes.items():
        if name not in {field.name for field in fields(config)}:
            expected = ", ".join(field.name for field in fields(config))
            raise ValueError(f"{name}: no such setting; expected one of {expected}")
        present = getattr(config, name)
        if is_dataclass(present):
            if not isinstance(value, Mapping):
                raise ValueError(f"{name}: expected a table of settings, got {value!r}")
            value = changed(present, dict(value))  # type: ignore[type-var]
            values[name] = value
        else:
            values[name] = _typed(kinds[name], name, value)
    return replace(config, **values)


def resumed(saved: RunConfig, changes: Changes) -> RunConfig:
    """The configuration of a run that goes on, with some fields replaced.

    Raises `ValueError` as `changed` does, and for a field that its weights depend on.
    """
    result = changed(saved, changes)
    for part, name in KEPT:
        began, wanted = (getattr(getattr(config, part), name) for config in (saved, result))
        if began != wanted:
            raise ValueError(
                f"{part}.{name}: a run goes on with what it began with, {began!r}; got {wanted!r}: for "
                "another model begin another run"
            )
    return result


def _typed(kind: Any, name: str, value: Any) -> Any:
    """The value as its field's kind, such as a list as a tuple. Raises `ValueError`."""
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise ValueError(
            f"{name}: expected {getattr(kind, '__name__', kind)}, got {value!r}: {reason}"
        ) from error


def read_changes(path: Path) -> Changes:
    """The settings that a TOML file gives; paths in it are relative to its folder.

    Raises `ValueError` as `absolute` does and for a file that is no TOML in UTF-8, and `FileNotFoundError`.
    """
    try:
        changes = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected TOML in UTF-8: {error}") from error
    return absolute(changes, path.parent)


def parse_changes(settings: Iterable[str]) -> Changes:
    """Settings of a command line, such as `training.losses.koleo=0.2`; paths are relative to where it is.

    Raises `ValueError` as `absolute` does, and where one is not of this form.
    """
    changes: Changes = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"--set {setting}: expected NAME=VALUE, such as training.losses.koleo=0.2")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text  # a word without quotes
        *parts, last = name.strip().split(".")
        table = changes
        for part in parts:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise ValueError(f"--set {setting}: {part} is a table of settings, and was set to {table!r}")
        table[last] = value
    return absolute(changes, Path())


def absolute(changes: Changes, folder: Path) -> Changes:
    """The changes with their paths, which are relative to a folder, made absolute.

    Raises `ValueError` where a path is no text, or a table of settings none.
    """
    for name in TABLES:
        if not isinstance(value := changes.get(name, {}), Mapping):
            raise ValueError(f"{name}: expected a table of settings, got {value!r}")
    for name in PATHS:
        value = changes.get(name)
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{name}: expected a path, got {value!r}")
        if isinstance(value, str) and "://" not in value and not (name == "init" and value in NAMED):
            changes[name] = str(folder.resolve() / value)
    table = changes.get("training", {}).get("distillation")
    if isinstance(table, dict) and str(table.get("teacher")).endswith(".onnx"):
        table["teacher"] = str(folder.resolve() / table["teacher"])
    return changes


def merged(*layers: Changes) -> Changes:
    """All settings, later layers over earlier ones."""
    result: Changes = {}
    for layer in layers:
        for name, value in layer.items():
            both = isinstance(value, Mapping) and isinstance(result.get(name), Mapping)
            result[name] = merged(result[name], dict(value)) if both else value
    return result


def save_config(config: RunConfig, folder: Path) -> None:
    """Write `config.toml` into a run's folder."""
    (folder / CONFIG_FILE).write_text(describe(config))


def load_config(folder: Path) -> RunConfig:
    """Read `config.toml` of a run's folder.

    Raises `ValueError` where the folder holds none, or one with unknown, missing or impossible values.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise ValueError(f"{folder} holds no run: expected {CONFIG_FILE} in it")
    try:
        content = read_changes(path)
        model = content.pop("model")
        start = RunConfig(
            pictures=content["pictures"],
            model=StellarConfig(**model | {"image_size": image_size(model["image_size"])}),
            training=changed(TrainingConfig(), BEFORE | content.pop("training", {})),
        )
        return changed(start, content)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: expected the settings of a run, got {error}") from error


def flat(config: RunConfig) -> dict[str, Any]:
    """Every setting by its name, such as `training.losses.koleo`."""
    settings: Changes = {}
    tables = [("", asdict(config))]
    for prefix, table in tables:
        settings |= {prefix + name: value for name, value in table.items() if not isinstance(value, dict)}
        tables += [(f"{prefix}{name}.", value) for name, value in table.items() if isinstance(value, dict)]
    return settings


def describe(config: RunConfig) -> str:
    """TOML of every setting, each with its description."""
    document = tomlkit.document()
    _fill(document, config)
    return tomlkit.dumps(document)


def _fill(table: Table | tomlkit.TOMLDocument, config: Any) -> None:
    descriptions = _descriptions(type(config))
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    tables = {name: value for name, value in values.items() if is_dataclass(value)}
    for name, value in values.items():
        if name in tables:
            continue
        for line in textwrap.wrap(descriptions[name], 100):
            table.add(tomlkit.comment(line))
        if value is None:
            table.add(tomlkit.comment(f'{name} = "..."'))
        else:
            table.add(name, list(value) if isinstance(value, tuple) else value)
    for name, value in tables.items():  # in TOML whatever follows a table is part of it
        inner = tomlkit.table()
        _fill(inner, value)
        table.add(name, inner)


def _descriptions(kind: type) -> dict[str, str]:
    """The docstring below each field of a dataclass."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    found: dict[str, str] = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
            assert isinstance(field.target, ast.Name)
            assert isinstance(below.value, ast.Constant)
            found[field.target.id] = " ".join(str(below.value.value).split())
    return found
