"""Sections of transforms: what they may say, and which programs are read."""

from __future__ import annotations

import pyarrow
import pytest

from tunesmith.core.errors import ConfigError, DataError, InputChanged, NotFound
from tunesmith.core.step import Context, ordered
from tunesmith.graph import build, steps
from tunesmith.project_file import read
from tunesmith.stages.transform.config import TransformConfig
from tunesmith.stages.transform.program import as_it_is_now, read_program
from tunesmith.stages.transform.run import joined_licences, transform

PROJECT = """\
[project]
name = "t"
[source.mail]
origin = "file:mail.jsonl"
format = "jsonl"
[source.people]
origin = "file:people.csv"
format = "csv"
[base.tiny]
origin = "pypi:mini-llm==1.0"
file = "x.gguf"
"""
CLEAN = '[transform.clean]\nsources = ["mail"]\nsql = "SELECT row_id FROM mail"\n'


@pytest.fixture
def project(tmp_path):
    """project(sections) -> the project file with them in it, read."""

    def make(sections: str):
        (tmp_path / "tunesmith.toml").write_text(PROJECT + sections)
        return read(tmp_path)[0]

    return make


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "one of the two"),
        ({"sql": "SELECT 1", "python": "a.py:b"}, "one of the two"),
        ({"sql": "  "}, "one of the two"),
        ({"python": "clean.py"}, "PATH.py:FUNCTION"),
        ({"python": "clean.py:1x"}, "PATH.py:FUNCTION"),
        ({"python": "../clean.py:tidy"}, "inside the project"),
        ({"python": "/etc/clean.py:tidy"}, "inside the project"),
        ({"python": ".tunesmith/clean.py:tidy"}, "inside the project"),
        ({"python": "clean.txt:tidy"}, r"\.py file"),
        ({"sql": "file:../q.sql"}, "inside the project"),
        ({"sql": "file:q.txt"}, r"\.sql file"),
        ({"sql": "SELECT 1", "sources": []}, "at least 1"),
        ({"sql": "SELECT 1", "sources": ["mail", "Mail"]}, "is there twice"),
        ({"sql": "SELECT 1", "timeout_s": 0}, "greater than 0"),
        ({"sql": "SELECT 1", "where": "x"}, "not permitted"),
    ],
)
def test_sections_that_cannot_be(settings, words):
    with pytest.raises(ValueError, match=words):
        TransformConfig(**{"sources": ["mail"], **settings})


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        (CLEAN.replace('["mail"]', '["male"]'), "did you mean 'mail'"),
        (CLEAN.replace("transform.clean", "transform.mail"), "a source is called 'mail', too"),
        (CLEAN.replace('["mail"]', '["clean"]'), "'clean' is made from 'clean'"),
        (
            CLEAN.replace('["mail"]', '["a"]')
            + '[transform.a]\nsources = ["mail", "b"]\nsql = "x"\n'
            + '[transform.b]\nsources = ["clean"]\nsql = "x"\n',
            "a circle",
        ),
        (
            CLEAN.replace('["mail"]', '["made"]')
            + '[source.made]\norigin = "file:made.jsonl"\nformat = "jsonl"\n'
            + 'synthetic = { generator = "g", prompt = "p", seeds = "none" }\n',
            "synthetic",
        ),
        (CLEAN + '[index.x]\nsource = "claen"\n', "did you mean 'clean'"),
        (
            CLEAN + '[dataset.d]\nsources = ["clean"]\nbase = "tiny"\ninstruction = "x"\n',
            "transform 'clean' does not say which column of its result is the label",
        ),
    ],
)
def test_references_that_lead_nowhere(project, sections, words):
    with pytest.raises(ConfigError) as caught:
        project(sections)
    assert words in f"{caught.value} {caught.value.remedy}"


def test_a_transform_stands_wherever_a_source_can(project):
    file = project(
        CLEAN
        + '[transform.again]\nsources = ["people", "clean"]\nsql = "SELECT 1"\nlabel = "kind"\n'
        + '[index.x]\nsource = "again"\ncommonest_in = "clean"\n'
        + '[dataset.d]\nsources = ["again", "mail"]\nbase = "tiny"\nformat = "text"\n'
    )
    graph = build(file)
    assert list(graph.assets) == ["mail", "people", "clean", "again"]
    again = graph.assets["again"]
    assert again.inputs["sources"] == (graph.assets["people"], graph.assets["clean"])
    assert graph.indexes["x"].inputs["asset"] is again
    assert graph.datasets["d"].inputs["assets"] == (again, graph.assets["mail"])
    names = [step.name for step in ordered(graph.datasets["d"])]
    assert names.index("transform:clean") < names.index("transform:again")
    assert len({step.name for step in steps(graph)}) == len(steps(graph))
    assert file.made_from(["mail"]) == {"mail", "clean", "again"}
    assert file.made_from(["people"]) == {"people", "again"}


def test_programs_are_read_as_they_are(tmp_path):
    (tmp_path / "q.sql").write_text("SELECT 1")
    (tmp_path / "clean.py").write_text("import json, pyarrow.parquet\nfrom os import path\n")
    of_file = TransformConfig(name="t", sources=["mail"], sql="file:q.sql")
    assert read_program(of_file, tmp_path).sql == "SELECT 1"
    function = TransformConfig(name="t", sources=["mail"], python="clean.py:tidy")
    program = read_program(function, tmp_path)
    assert (program.file, program.function) == ("clean.py", "tidy")
    assert program.libraries == {"pyarrow": pyarrow.__version__}
    assert as_it_is_now(function, tmp_path).given() == {"program": program}


def test_programs_that_cannot_be_read(tmp_path, desk):
    config = TransformConfig(name="t", sources=["mail"], python="clean.py:tidy")
    project = tmp_path / "project"
    project.mkdir()

    def run():
        ctx = Context(blobs=desk.blobs, seed=1, workdir=tmp_path, keep=tmp_path, project=project)
        missing = as_it_is_now(config, project).given()
        assert missing == {}
        return transform(config, ctx, sources=(desk.asset("mail", {"a": 1}),), **missing)

    with pytest.raises(NotFound, match=r"there is no clean\.py"):
        run()
    (tmp_path / "outside.py").write_text("x = 1\n")
    (project / "clean.py").symlink_to(tmp_path / "outside.py")
    with pytest.raises(DataError, match="leads out of the project's folder"):
        run()
    (project / "clean.py").unlink()
    (project / "clean.py").mkdir()
    with pytest.raises(DataError, match=r"no plain file|cannot be read"):
        run()
    (project / "clean.py").rmdir()
    (project / "clean.py").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="cannot be read"):
        run()
    (project / "clean.py").write_text("def tidy(row): return row\n")
    ctx = Context(blobs=desk.blobs, seed=1, workdir=tmp_path, keep=tmp_path, project=project)
    with pytest.raises(InputChanged, match="was not there when the project was opened"):
        transform(config, ctx, sources=(desk.asset("mail", {"a": 1}),))


@pytest.mark.parametrize(
    ("licences", "joined"),
    [
        (["MIT", "MIT"], "MIT"),
        (["MIT", "CC0-1.0"], "MIT AND CC0-1.0"),
        (["MIT AND CC0-1.0", "CC0-1.0"], "MIT AND CC0-1.0"),
        (["MIT OR GPL-2.0-only"], "MIT OR GPL-2.0-only"),
        (["MIT OR GPL-2.0-only", "CC0-1.0"], "(MIT OR GPL-2.0-only) AND CC0-1.0"),
        (["MIT", "not stated"], "not stated"),
    ],
)
def test_licences_of_several_sources_all_hold(licences, joined):
    from tunesmith.text.spdx import refused

    assert joined_licences(licences) == joined
    for each in ("MIT", "CC0-1.0"):
        one = refused(joined, [each]) == ()
        assert one == all(refused(licence, [each]) == () for licence in licences)
