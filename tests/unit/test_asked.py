"""A project with an API among its sources: who asks it, when, and what may be asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunesmith.core.errors import ConfigError, DataError, InputChanged
from tunesmith.core.event import Event
from tunesmith.graph import build
from tunesmith.project import open_project
from tunesmith.project_file import read

SECTIONS = """\
[project]
name = "crm"
hosts = ["{host}"]
executor = "{executor}"

[source.mail]
origin = "{url}"
key = "id"
next = {{ by = "header" }}
"""


@pytest.fixture
def folder(tmp_path: Path, api: Any) -> Path:
    """A project whose one source is the API, which answers with two records."""
    write(tmp_path, api)
    api.answer = lambda _: api.json([{"id": 1, "body": "one"}, {"id": 2, "body": "two"}])
    return tmp_path


def write(folder: Path, api: Any, executor: str = "inline", more: str = "") -> None:
    text = SECTIONS.format(host=api.host, url=api.url(), executor=executor)
    (folder / "tunesmith.toml").write_text(text + more)


def made(folder: Path, *flags: str) -> Any:
    """The data asset, as `tunesmith run` makes it."""
    project = open_project(folder, flags=flags, asks=True)
    try:
        return project.run(build(project.file).assets["mail"])
    finally:
        project.close()


@pytest.mark.parametrize("executor", ["inline", "subprocess"])
def test_it_is_asked_once_by_who_runs_and_not_by_who_looks(
    folder: Path, api: Any, executor: str
) -> None:
    write(folder, api, executor)
    asset = made(folder)
    assert (asset.num_rows, len(api.requests)) == (2, 1)
    assert not list((folder / ".tunesmith" / "work" / "cache").iterdir()), "it ends with the run"
    looks = open_project(folder)
    assert looks.runner.current(build(looks.file).assets["mail"]) == asset
    looks.close()
    assert len(api.requests) == 1
    assert made(folder) == asset
    assert len(api.requests) == 2


def test_an_api_that_is_away_stops_its_own_step_alone(folder: Path, api: Any) -> None:
    made(folder)
    api.answer = lambda _: (500, {}, b"")
    events: list[Event] = []
    project = open_project(folder, asks=True, on_event=events.append)
    assert [event.what for event in events] == ["progress", "looked"]
    step = build(project.file).assets["mail"]
    assert project.runner.plan([step])[0].hit is None
    with pytest.raises(DataError, match="answers 500"):
        project.run(step)
    assert len(api.requests) == 2
    assert "answers 500" in project.runs()[-1].error
    project.close()


def test_a_pinned_source_is_asked_by_its_step_alone(folder: Path, api: Any) -> None:
    """In a process of its own, which is told what may be reached."""
    write(folder, api, "subprocess", f'sha256 = "{"0" * 64}"\n')
    with pytest.raises(InputChanged, match=r"not 0{64}"):
        made(folder)
    assert len(api.requests) == 1


def test_what_the_project_file_does_not_allow_is_not_asked(folder: Path, api: Any) -> None:
    file = folder / "tunesmith.toml"
    text = file.read_text()
    with pytest.raises(ConfigError, match="hosts are read from the project file alone"):
        read(folder, flags=['project.hosts=["crm.example"]'])
    with pytest.raises(ConfigError, match=r"source\.mail\.origin: crm\.example:443 is not among"):
        made(folder, 'source.mail.origin="https://crm.example/x"')
    file.write_text(text.replace("by =", "bi ="))
    with pytest.raises(ConfigError, match="known keys: by, field, parameter, more"):
        read(folder)
    file.write_text(text.replace(api.host, "https://crm.example", 1))
    with pytest.raises(ConfigError, match=r"project\.hosts"):
        read(folder)
    assert api.requests == []
