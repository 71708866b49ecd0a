"""A pipeline file for the CI of a repository that holds a project."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.render import HERE, Folder, Json, out

TEMPLATES = Path(__file__).parent / "ci_files"
PLACES = {"github": ".github/workflows/tunesmith.yml", "gitlab": ".gitlab-ci.yml"}


class Service(StrEnum):
    """Whose pipeline file."""

    github = "github"
    gitlab = "gitlab"


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(ci)


def ci(
    service: Annotated[Service, typer.Argument(help="Where it is to run.")],
    folder: Folder = HERE,
    install: Annotated[
        str,
        typer.Option(
            help="How Tunesmith is installed there: from your mirror, a wheel, or a repository."
        ),
    ] = "pip install -r requirements.txt",
    to: Annotated[
        Path | None,
        typer.Option("--out", help="Write it to this file; else it is printed."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print a pipeline that plans and runs the project at each change, and is red where a gate
    fails. What it found is on the page of the run.

        tunesmith ci github --out .github/workflows/tunesmith.yml
    """
    text = pipeline_file(service.value, folder, install)
    if to is not None:
        _write(to, text)
        out({"file": str(to)}, [f"wrote {to}"], as_json)
    else:
        out({"text": text, "place": PLACES[service.value]}, [text.rstrip()], as_json)


def pipeline_file(service: str, folder: Path, install: str) -> str:
    """The text for a service, of the project in `folder` of the repository.

    Raises:
        UsageError: the path of the folder cannot stand in the file.
        NotFound, ConfigError: there is no project, or its file is wrong.
    """
    from tunesmith.core.errors import UsageError
    from tunesmith.project_file import read

    read(folder)
    where = folder.as_posix()
    if folder.is_absolute() or not re.fullmatch(r"[A-Za-z0-9_./-]+", where) or ".." in folder.parts:
        raise UsageError(
            f"{where!r} cannot be written into a pipeline's file",
            remedy="call it in the repository's main folder, with the project's folder from there: "
            "--project models/desk",
        )
    text = (TEMPLATES / f"{service}.yml").read_text(encoding="utf-8")
    # A string of JSON is one of YAML.
    return text.replace("@FOLDER@", where).replace("@INSTALL@", json.dumps(install))


def _write(path: Path, text: str) -> None:
    from tunesmith.core.errors import Conflict

    if path.exists() and path.read_text(encoding="utf-8", errors="replace") != text:
        raise Conflict(
            f"{path} is there already and is another one",
            remedy="remove it first, or print this one (without --out) and merge the two",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
