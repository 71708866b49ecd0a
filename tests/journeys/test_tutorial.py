"""The tutorial's commands work as written: here on the project in miniature, and, marked slow, on
the real data."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorials" / "licence-desk.md"


def commands() -> list[list[str]]:
    blocks = re.findall(r"```console\n(.*?)```", TUTORIAL.read_text(), re.DOTALL)
    return [
        shlex.split(line.removeprefix("$ "))
        for block in blocks
        for line in block.splitlines()
        if line.startswith("$ ")
    ]


def walk(folder: Path, environment: dict[str, str], project_text: str | None) -> dict[str, str]:
    """Run each command in turn; `project_text` replaces the project file that `init` writes."""
    said = {}
    for words in commands():
        if words[0] == "cd":
            folder = folder / words[1]
            continue
        assert words[0] == "tunesmith"
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        said[" ".join(words[1:])] = done.stdout
        if words[1] == "init" and project_text is not None:
            (folder / words[2] / "tunesmith.toml").write_text(project_text)
    return said


def test_the_tutorial_in_miniature(tmp_path, project_text, mini_environment):
    text = project_text.replace("dataset.small", "dataset.notices-12")
    text = text.replace('"small"', '"notices-12"').replace("dataset:small", "dataset:notices-12")
    said = walk(tmp_path, mini_environment, text)
    assert "do not answer" in said["ask What is the capital of France?"]
    assert "expensed" in said["ledger register"]
    assert "all hold" in said["verify"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_tutorial_on_the_real_data(tmp_path):
    """Needs the package index, for two packages."""
    said = walk(tmp_path, dict(os.environ), None)
    assert "alias 'candidate'" in said["run"]
    assert "copyright" in said["ask Does the MIT license require keeping the copyright notice?"]
    assert "do not answer" in said["ask What is the capital of France?"]
    assert "traffic heldout is unchanged" in said["run"]
    assert "traffic texts is changed" in said["run"]
    assert "traffic tags is changed" in said["run"]


def test_the_example_project_is_valid(tmp_path):
    """Every shipped project file is read by the code that would run it."""
    from tunesmith.cli.path import EXAMPLES, write_example
    from tunesmith.graph import build, steps
    from tunesmith.project_file import read

    names = [path.stem for path in EXAMPLES.glob("*.toml")]
    assert names
    for name in names:
        write_example(tmp_path / name, name)
        file, _ = read(tmp_path / name)
        assert len(steps(build(file))) >= 10
