"""Write docs/reference from the code: `make docs`. A test compares what is there with this."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic
import typer.main

from tunesmith.cli.main import app
from tunesmith.core import errors
from tunesmith.project_file import ProjectFile
from tunesmith.stages.evaluate.judge import JudgeConfig
from tunesmith.stages.evaluate.task import TaskConfig

REFERENCE = Path(__file__).parent / "reference"


def pages() -> dict[str, str]:
    """File name -> text."""
    return {
        "commands.md": _commands(),
        "settings.md": _settings(),
        "tasks.md": _tasks(),
        "exit-codes.md": _exit_codes(),
    }


def _commands() -> str:
    lines = ["# Commands", "", "`tunesmith COMMAND --help` prints the same.", ""]
    for path, command in _leaves(typer.main.get_command(app), "tunesmith"):
        lines += [f"## `{path}`", "", str(command.help or "").strip(), ""]
        rows = [row for parameter in command.params if (row := _parameter(parameter))]
        if rows:
            lines += ["| argument or option | meaning |", "|---|---|", *rows, ""]
    return "\n".join(lines).rstrip() + "\n"


def _leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from _leaves(inner, f"{path} {name}")
    else:
        yield path, command


def _parameter(parameter: Any) -> str:
    if parameter.name == "help":
        return ""
    named = parameter.opts[0].startswith("-")
    names = ", ".join(f"`{name}`" for name in parameter.opts) if named else f"`{parameter.name}`"
    return f"| {names} | {parameter.help or ''} |"


def _settings() -> str:
    lines = [
        "# Settings",
        "",
        "The sections and keys of `tunesmith.toml`. `tunesmith config show` prints each with its",
        "value and where it came from: flag > environment > project file > user file > default.",
        "",
    ]
    found = meanings(ProjectFile)
    for name, field in ProjectFile.model_fields.items():
        model = next(
            part
            for part in (field.annotation, *getattr(field.annotation, "__args__", ()))
            if isinstance(part, type) and issubclass(part, pydantic.BaseModel)
        )
        heading = f"[{name}]" if model is field.annotation else f"[{name}.NAME]"
        lines += [f"## `{heading}`", "", _one_line(found.get(name)), ""]
        lines += [*_keys(model, is_named=name != "project"), ""]
    return "\n".join(lines).rstrip() + "\n"


def _tasks() -> str:
    lines = [
        "# Tasks",
        "",
        "The keys of a task's file (TOML), which `tasks` of a gate names.",
        "",
        *_keys(TaskConfig),
        "",
        "## `[judge]`",
        "",
        "A table of the same file: a model that compares the answers in pairs.",
        "",
        *_keys(JudgeConfig),
    ]
    return "\n".join(lines) + "\n"


def _keys(model: type[pydantic.BaseModel], *, is_named: bool = False) -> Iterator[str]:
    """The keys of a section as a table; the name of a named one stands in its heading."""
    yield from ["| key | default | meaning |", "|---|---|---|"]
    found = meanings(model)
    for key, inner in model.model_fields.items():
        if key != "name" or not is_named:
            default = "required" if inner.is_required() else f"`{_default(inner)}`"
            yield f"| `{key}` | {default} | {_one_line(found.get(key))} |"


def meanings(model: type[pydantic.BaseModel]) -> dict[str, str]:
    """Of each key the docstring below it. pydantic would look it up at each start."""
    found: dict[str, str] = {}
    for part in reversed(model.__mro__):
        if not issubclass(part, pydantic.BaseModel) or part is pydantic.BaseModel:
            continue
        (made,) = ast.parse(textwrap.dedent(inspect.getsource(part))).body
        assert isinstance(made, ast.ClassDef)
        for field, said in itertools.pairwise(made.body):
            match field, said:
                case (
                    ast.AnnAssign(target=ast.Name(id=key)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    found[key] = text
    return found


def _default(field: Any) -> str:
    value = field.get_default(call_default_factory=True)
    return f'"{value}"' if isinstance(value, str) else str(value)


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def _exit_codes() -> str:
    rows: dict[int, list[str]] = {0: ["what was asked for was done"]}
    for error in _tree(errors.TunesmithError):
        first = (error.__doc__ or "").strip().splitlines()[0]
        rows.setdefault(error.exit_code, []).append(f"`{error.__name__}`: {first}")
    rows[130] = ["stopped by Ctrl-C"]
    rows[143] = ["stopped by SIGTERM"]
    lines = ["# Exit codes", "", "| code | when |", "|---|---|"]
    lines += [f"| {code} | {'<br>'.join(rows[code])} |" for code in sorted(rows)]
    return "\n".join(lines) + "\n"


def _tree(error: type[errors.TunesmithError]) -> Iterator[type[errors.TunesmithError]]:
    yield error
    for inner in error.__subclasses__():
        yield from _tree(inner)


if __name__ == "__main__":
    REFERENCE.mkdir(exist_ok=True)
    for file_name, text in pages().items():
        (REFERENCE / file_name).write_text(text, encoding="utf-8")
