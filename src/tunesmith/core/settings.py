"""Where a setting's value comes from: flag > environment > project file > user file > default."""

from __future__ import annotations

import difflib
import tomllib
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from tunesmith.core.errors import ConfigError, NotFound, UsageError
from tunesmith.core.ref import to_plain
from tunesmith.core.section import HIDDEN, Section

PREFIX = "TUNESMITH__"
Path_ = tuple[str, ...]
AnySection = TypeVar("AnySection", bound=Section)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layers:
    """Merged settings, and which layer each came from."""

    values: Mapping[str, Any]
    origins: Mapping[Path_, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One value as `tunesmith config show` prints it."""

    key: str
    value: Any
    origin: str


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        NotFound: there is no such file.
        ConfigError: it is not TOML, or not UTF-8; the message has the line.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFound(
            f"there is no {path.name} in {path.parent}",
            remedy="go to a project's folder, or make one: `tunesmith init DIR`",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(path.name, f"this is not TOML: {error}") from error


def merge(
    *,
    user: Mapping[str, Any],
    project: Mapping[str, Any],
    environment: Mapping[str, str],
    flags: Sequence[str],
) -> Layers:
    """All layers on top of one another.

    `environment` is looked through for TUNESMITH__SECTION__NAME__KEY=value (upper case, "-" and "."
    as "_"), `flags` are "section.name.key=value". Their values are TOML, or else plain text.

    Raises:
        UsageError: a flag is not key=value, or a variable names no section of the project file.
    """
    values: dict[str, Any] = {}
    origins: dict[Path_, str] = {}
    for name, layer in (("user file", user), ("project file", project)):
        for path, value in _leaves(layer):
            _put(values, path, value)
            origins[path] = name
    for variable, text in sorted(environment.items()):
        if variable.startswith(PREFIX):
            path = _variable_path(variable, values)
            _put(values, path, _value(text))
            origins[path] = f"environment ({variable})"
    for flag in flags:
        key, separator, text = flag.partition("=")
        if not separator:
            raise UsageError(f"--set {flag!r} has no value", remedy="write --set section.key=value")
        path = tuple(key.strip().split("."))
        _put(values, path, _value(text))
        origins[path] = "flag"
    return Layers(values=values, origins=origins)


def validate(model: type[AnySection], values: Mapping[str, Any]) -> AnySection:
    """`values` as a `model`.

    Raises:
        ConfigError: the first thing that is wrong; an unknown key is told the nearest known one.
    """
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        problems = error.errors(include_url=False)
        # A misspelt key is also a missing one: the misspelling is what helps.
        problem = min(problems, key=lambda each: each["type"] != "extra_forbidden")
        where = [str(part) for part in problem["loc"]]
        key = ".".join(where)
        if problem["type"] == "extra_forbidden":
            known = _keys_at(model, where[:-1])
            near = difflib.get_close_matches(where[-1], known, n=1)
            remedy = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
            raise ConfigError(key, "there is no such key", remedy=remedy) from error
        if problem["type"] == "missing":
            raise ConfigError(key, "this key is required and missing") from error
        is_hidden = isinstance(problem["input"], Mapping) or problem["type"] == HIDDEN
        given = "" if is_hidden else f", not {problem['input']!r}"
        message = problem["msg"].removeprefix("Value error, ")
        raise ConfigError(key, f"{message[:1].lower()}{message[1:]}{given}") from error


def nearest(key: str, name: str, known: Mapping[str, Any] | Sequence[str], what: str) -> None:
    """Raise ConfigError at `key` unless `name` is one of the `known` names of a `what`."""
    if name in known:
        return
    near = difflib.get_close_matches(name, list(known), n=1)
    remedy = f"did you mean {near[0]!r}?" if near else f"there is: {', '.join(known) or 'none'}"
    raise ConfigError(key, f"there is no {what} {name!r}", remedy=remedy)


def explain(section: Section, layers: Layers) -> list[Setting]:
    """Every value of `section`, defaults included, with where it came from."""
    return [
        Setting(key=".".join(path), value=value, origin=layers.origins.get(path, "default"))
        for path, value in _leaves(to_plain(section))
        if path[-1] != "name" or path in layers.origins
    ]


def _leaves(values: Mapping[str, Any], path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _put(values: dict[str, Any], path: Path_, value: Any) -> None:
    for part in path[:-1]:
        inner = values.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(".".join(path), f"{part!r} is a value, not a section")
        values = inner
    values[path[-1]] = value


def _variable_path(variable: str, values: Mapping[str, Any]) -> Path_:
    """The path that a variable means: names of sections are matched, the key is lower case."""
    path: list[str] = []
    here: Any = values
    parts = variable.removeprefix(PREFIX).split("__")
    for part in parts[:-1]:
        names = {_as_variable(name): name for name in here} if isinstance(here, Mapping) else {}
        if part not in names:
            raise UsageError(
                f"the environment variable {variable} names no section of the project file",
                remedy=f"{part} is none of: {', '.join(names) or 'no section'}",
            )
        path.append(names[part])
        here = here[names[part]]
    return (*path, parts[-1].lower())


def _as_variable(name: str) -> str:
    return name.upper().replace("-", "_").replace(".", "_")


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _keys_at(model: type[Section], where: Sequence[str]) -> list[str]:
    """The keys that are known at a place in the tree of sections."""
    here: Any = model
    for part in where:
        if isinstance(here, type) and issubclass(here, pydantic.BaseModel):
            here = _section_of(here.model_fields[part].annotation)
        else:  # a table of named sections
            here = typing.get_args(here)[-1]
    if isinstance(here, type) and issubclass(here, pydantic.BaseModel):
        return list(here.model_fields)
    return []


def _section_of(annotation: Any) -> Any:
    """What a section is that may also be left out; any other type as it is."""
    kinds = [part for part in typing.get_args(annotation) if part is not type(None)]
    is_optional = len(kinds) == 1 and type(None) in typing.get_args(annotation)
    return kinds[0] if is_optional else annotation
