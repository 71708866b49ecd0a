"""What users and their scripts rely on: names, commands and flags. A change here is on purpose."""

from __future__ import annotations

import json
from pathlib import Path

import typer.main

import tunesmith
from tunesmith.cli.main import COMMANDS, app, application

FROZEN = Path(__file__).parents[1] / "golden" / "command_line.json"


def commands(command, path: str = "tunesmith"):
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from commands(inner, f"{path} {name}")
    else:
        yield (
            path,
            sorted(
                option
                for parameter in command.params
                for option in ([*parameter.opts, *parameter.secondary_opts])
                if option.startswith("-")
            ),
        )


def test_commands_and_flags_are_the_frozen_ones():
    """To change them on purpose: edit tests/golden/command_line.json and the changelog."""
    assert dict(commands(typer.main.get_command(app))) == json.loads(FROZEN.read_text())


def test_each_file_makes_the_commands_that_the_table_says():
    """By it a command is found without making all the others."""
    for names in COMMANDS.values():
        for name in names:
            made = typer.main.get_command(application(name))
            assert tuple(made.commands) == names
    every = [name for names in COMMANDS.values() for name in names]
    assert sorted(typer.main.get_command(app).commands) == sorted(every)


def test_every_command_can_print_json():
    for name, flags in commands(typer.main.get_command(app)):
        if name != "tunesmith serve":  # it runs until it is stopped and has no result
            assert "--json" in flags, name


def test_exported_names():
    assert sorted(tunesmith.__all__) == tunesmith.__all__
    for name in tunesmith.__all__:
        assert getattr(tunesmith, name) is not None
    assert len(tunesmith.__all__) <= 14
