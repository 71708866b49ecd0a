from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunesmith.core.errors import ConfigError, DataError, NotFound
from tunesmith.core.step import Step
from tunesmith.graph import build
from tunesmith.project_file import FILE, read
from tunesmith.stages.probe.check import READERS, require_readable
from tunesmith.stages.probe.config import TAKES_FILE, SuiteConfig, asking
from tunesmith.stages.probe.given import given_now, read_given

PROJECT = """
[project]
name = "suites"
[source.s]
origin = "file:rows.jsonl"
label = "label"
[base.b]
origin = "pypi:small==1.0"
file = "model"
[dataset.d]
sources = ["s"]
base = "b"
instruction = "Name it."
[model.desk]
base = "b"
dataset = "d"
[model.head]
base = "b"
dataset = "d"
objective = "classify"
"""


def file_of(folder: Path, more: str = "") -> Any:
    (folder / FILE).write_text(PROJECT + more)
    return read(folder)[0]


def test_what_was_forgotten_is_looked_at_unless_it_is_turned_off(tmp_path: Path) -> None:
    graph = build(file_of(tmp_path))
    assert list(graph.models["desk"].suites) == ["forgetting"]
    assert not graph.models["head"].suites  # it goes on with no text
    off = '[suite.none]\nmodel = "desk"\nkind = "forgetting"\nenabled = false\n'
    assert not build(file_of(tmp_path, off)).models["desk"].suites
    own = '[suite.news]\nmodel = "desk"\nkind = "forgetting"\nfile = "news.txt"\n'
    assert list(build(file_of(tmp_path, own)).models["desk"].suites) == ["news"]


def test_a_gate_is_given_what_it_names_and_the_card_all(tmp_path: Path) -> None:
    more = (
        '[suite.noise]\nmodel = "desk"\nkind = "robustness"\n'
        'limits = { "accuracy: typos" = 0.5 }\n[gate.g]\nmodel = "desk"\nsuites = ["noise"]\n'
    )
    path = build(file_of(tmp_path, more)).models["desk"]
    assert path.gate is not None
    assert path.release is not None
    assert path.gate.inputs["suites"] == (path.suites["noise"],)
    assert path.gate.config.limits == {"noise": {"accuracy: typos": 0.5}}
    assert path.release.inputs["suites"] == tuple(path.suites.values())
    stricter = more + 'limits = { noise = { "accuracy: typos" = 0.9 } }\n'
    again = build(file_of(tmp_path, stricter)).models["desk"]
    assert again.gate is not None
    assert again.gate.config.limits == {"noise": {"accuracy: typos": 0.9}}
    names = [step.name for step in path.steps()]
    assert names.index("evaluate:desk") < names.index("suite:desk/noise") < names.index("gate:desk")


def test_limits_are_not_part_of_what_is_asked() -> None:
    plain = SuiteConfig(name="n", model="m", kind="robustness")
    assert asking(plain) == asking(plain.model_copy(update={"limits": {"a": 1.0}}))
    assert asking(plain).num_rows == 48


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('[suite.x]\nmodel = "dask"\nkind = "robustness"', "did you mean 'desk'"),
        ('[suite.x]\nmodel = "desk"\nkind = "robust"', "suite.x.kind: input should be"),
        ('[suite.x]\nmodel = "head"\nkind = "membership"', "cannot ask such a model"),
        ('[suite.x]\nmodel = "head"\nkind = "forgetting"', "cannot ask such a model"),
        ('[suite.forgetting]\nmodel = "desk"\nkind = "robustness"', "another name"),
        ('[suite.x]\nmodel = "desk"\nkind = "behaviour"', "needs a file"),
        ('[suite.x]\nmodel = "desk"\nkind = "robustness"\nfile = "a.txt"', "takes no file"),
        ('[suite.x]\nmodel = "desk"\nkind = "behaviour"\nfile = "../a.toml"', "inside the project"),
        ('[suite.x]\nmodel = "desk"\nkind = "leakage"\nlimits = { a = nan }', "finite number"),
        (
            '[suite.x]\nmodel = "desk"\nkind = "leakage"\nparaphrases = "p.jsonl"',
            "takes no paraphrases",
        ),
        (
            '[suite.x]\nmodel = "desk"\nkind = "robustness"\nparaphrases = "../p.jsonl"',
            "inside the project",
        ),
        (
            '[suite.x]\nmodel = "desk"\nkind = "robustness"\nparaphrases = "p.txt"',
            "a .jsonl file inside the project",
        ),
        (
            '[suite.x]\nmodel = "desk"\nkind = "robustness"\n'
            'limits = { "accuracy: paraphrases" = 0.5 }',
            "needs a file: set paraphrases",
        ),
        (
            '[suite.x]\nmodel = "desk"\nkind = "leakage"\nlimits = { verbatim = 0.1 }',
            "there is no figure 'verbatim', there is 'verbatim: training rows'",
        ),
        ('[gate.g]\nmodel = "desk"\nsuites = ["forgeting"]', "did you mean 'forgetting'"),
        ('[gate.g]\nmodel = "head"\nsuites = ["forgetting"]', "there is: none"),
        (
            '[suite.x]\nmodel = "desk"\nkind = "leakage"\n[gate.g]\nmodel = "desk"\nsuites = ["x"]',
            "has no limits that a gate could judge by",
        ),
        (
            '[gate.g]\nmodel = "desk"\nlimits = { forgetting = { "loss of a token" = 1.0 } }',
            "there is no suite of this gate, called 'forgetting'",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused(tmp_path: Path, more: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        file_of(tmp_path, more + "\n")
    assert said in f"{error.value.message} {error.value.remedy}"


def test_the_file_of_a_suite_is_read_inside_the_project(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "a.txt").write_text("one\n\ntwo")
    (project / "b.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "secret.txt").write_text("s")
    (project / "link.txt").symlink_to(tmp_path / "secret.txt")

    assert read_given("a.txt", project).text == "one\n\ntwo"
    with pytest.raises(NotFound, match=r"there is no none\.txt"):
        read_given("none.txt", project)
    with pytest.raises(DataError, match="cannot be read"):
        read_given("b.txt", project)
    with pytest.raises(DataError, match="leads out"):
        read_given("link.txt", project)
    assert given_now("none.txt", project) is None
    assert given_now("", project) is None


@pytest.mark.parametrize("kind", READERS)
def test_what_cannot_be_understood_is_said_before_anything_is_tuned(
    tmp_path: Path, kind: Any
) -> None:
    assert set(READERS) == {*TAKES_FILE, "robustness"}
    given = {"file": "s.txt"} if kind in TAKES_FILE else {"paraphrases": "s.jsonl"}
    config = asking(SuiteConfig(name="s", model="m", kind=kind, **given))
    step = Step(name="suite:m/s", kind="probe@1", config=config)
    with pytest.raises(NotFound):
        require_readable([step], tmp_path)
    (tmp_path / config.file).write_text("one line")
    with pytest.raises(DataError):
        require_readable([step], tmp_path)
