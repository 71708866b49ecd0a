"""The catalogue of many data assets costs what that of few does, in questions to the database."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa

from tunesmith.lineage.catalogue import catalogue
from tunesmith.lineage.value import spent
from tunesmith.pipeline import run
from tunesmith.project import Project, open_project

SOURCE = """
[source.s{0}]
origin = "file:s{0}.jsonl"
format = "jsonl"
text = "text"
licence = "MIT"
"""
TRANSFORM = """
[transform.t{0}]
sources = ["s{0}"]
sql = "SELECT row_id, text FROM s{0}"
"""
RATES = """
[ledger]
currency = "EUR"
per_cpu_hour = 36000
"""


@pytest.fixture
def made(tmp_path):
    """made(count): a project of so many sources, each with a transform of it, which has run."""
    with contextlib.ExitStack() as stack:

        def make(count: int) -> Project:
            folder = tmp_path / str(count)
            folder.mkdir()
            text = '[project]\nname = "many"\n' + RATES
            for number in range(count):
                row = json.dumps({"text": f"the parrot of number {number} is grey"})
                (folder / f"s{number}.jsonl").write_text(row + "\n")
                text += SOURCE.format(number) + TRANSFORM.format(number)
            (folder / "tunesmith.toml").write_text(text)
            project = open_project(folder)
            stack.callback(project.close)
            run(project)
            return project

        yield make


@contextlib.contextmanager
def asked(project: Project):
    """Counts how often each statement is sent, whatever its parameters."""
    count: Counter[str] = Counter()

    def hear(_connection, _cursor, statement, *_rest) -> None:
        count[" ".join(statement.split())] += 1

    engine = project.runner.database.engine
    sa.event.listen(engine, "before_cursor_execute", hear)
    yield count
    sa.event.remove(engine, "before_cursor_execute", hear)


def test_the_catalogue_of_many_asks_as_often_as_that_of_few(made):
    counts = []
    for num in (2, 6):
        project = made(num)
        with asked(project) as count:
            entries = catalogue(project)
        assert [each.name for each in entries] == [f"{k}{n}" for k in "st" for n in range(num)]
        assert all(each.cost is not None for each in entries)
        assert sum(each.cpu_s for each in entries) > 0
        counts.append(count.total())
    assert counts[0] == counts[1] < 30


def test_what_transforms_took_is_found_in_one_go_and_is_what_each_took_alone(made):
    project = made(4)
    names = [f"t{number}" for number in range(4)]
    alone = {name: spent(project, [name])[name] for name in names}
    with asked(project) as one:
        spent(project, names[:1])
    with asked(project) as every:
        together = spent(project, *([name] for name in names))
    assert together == alone
    assert every.total() == one.total()
    shared = spent(project, ["s0", "t0"])  # one was made from the other: half each
    assert shared["s0"][0] == pytest.approx(spent(project, ["s0"])["s0"][0] / 2)


def test_many_are_looked_up_as_one_is(made):
    from tunesmith.core.errors import NotFound
    from tunesmith.graph import build

    project = made(3)
    steps = list(build(project.file).assets.values())
    assert len(steps) == 6
    with asked(project) as one:
        project.runner.current(steps[-1])
    with asked(project) as every:
        found = project.runner.all_current(steps)
    assert every.total() == one.total()
    assert found == {step: project.runner.current(step) for step in steps}
    path = Path(project.folder) / "s1.jsonl"
    path.write_text(path.read_text() * 2)
    changed = open_project(project.folder)
    try:
        steps = list(build(changed.file).assets.values())
        there = changed.runner.all_current(steps)
        gone = [step for step in steps if step not in there]
        assert [step.name.partition(":")[2] for step in gone] == ["s1", "t1"]
        for step in gone:
            with pytest.raises(NotFound, match="has not run as it is set now"):
                changed.runner.current(step)
    finally:
        changed.close()
