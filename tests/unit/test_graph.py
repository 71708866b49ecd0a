from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.core.errors import ConfigError, TunesmithError
from tunesmith.graph import build, ordered
from tunesmith.project_file import FILE, read

PROJECT = """
[project]
name = "taught"
[source.notices]
origin = "pypi:notices==1.0"
files = ["*"]
label = "key"
[base.small]
origin = "pypi:small==1.0"
file = "model"
[base.big]
origin = "pypi:big==1.0"
file = "model"
[dataset.d]
sources = ["notices"]
base = "small"
instruction = "Name it."
"""
MODEL = '[model.{0}]\nbase = "{1}"\ndataset = "d"\n'
TAUGHT = MODEL + 'objective = "distil"\nteacher = "{2}"\n'


def file_of(folder: Path, *models: str):
    (folder / FILE).write_text(PROJECT + "".join(models))
    return read(folder)[0]


def test_a_teacher_is_made_before_its_pupil(tmp_path: Path) -> None:
    file = file_of(
        tmp_path,
        TAUGHT.format("pupil", "small", "model:master"),
        MODEL.format("master", "big"),
        TAUGHT.format("other", "small", "base:big"),
    )
    graph = build(file)
    pupil = graph.models["pupil"].model

    assert pupil.inputs["teacher"] is graph.models["master"].model
    names = [step.name for step in ordered(pupil)]
    assert names.index("finetune:master") < names.index("finetune:pupil")
    assert graph.models["other"].model.inputs["teacher"].name == "base:big"
    assert "teacher" not in graph.models["master"].model.inputs


def test_a_circle_of_teachers_is_refused(tmp_path: Path) -> None:
    file = file_of(
        tmp_path,
        TAUGHT.format("one", "small", "model:two"),
        TAUGHT.format("two", "small", "model:one"),
    )
    with pytest.raises(ConfigError, match="one is taught by two is taught by one"):
        build(file)


def test_an_unknown_teacher_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(TunesmithError, match="there is no base 'bog'") as caught:
        file_of(tmp_path, TAUGHT.format("one", "small", "base:bog"))
    assert "big" in caught.value.remedy
