"""Runs of other programs, in each database."""

from __future__ import annotations

import math
import random

import pytest

from tunesmith.core import cursors
from tunesmith.core.db import Database
from tunesmith.core.errors import Conflict, NotFound
from tunesmith.core.migrations import migrate
from tunesmith.core.ref import Blob
from tunesmith.core.tracked import files, find, models, runs
from tunesmith.core.tracked.find import Condition, Order
from tunesmith.core.tracked.runs import Point
from tunesmith.stages.serve.tracking.names import artifact_path


@pytest.fixture(params=["sqlite", "postgres"])
def database(request, tmp_path):
    if request.param == "postgres":
        server = request.getfixturevalue("server")
        name = f"tracked_{abs(hash(request.node.name))}"
        server.run(f"CREATE DATABASE {name}")
        url = f"postgresql+psycopg://owner:open@127.0.0.1:{server.port}/{name}"
    else:
        url = f"sqlite:///{tmp_path / 'tunesmith.db'}"
    opened = Database(url)
    migrate(opened, tmp_path)
    yield opened
    opened.close()


def start(connection, number, experiment=0):
    id = f"{number:032x}"
    values = {"name": f"run {number}", "status": "RUNNING", "user": "me", "started_ms": number}
    runs.start_run(connection, {"id": id, "experiment": experiment, **values})
    return id


def test_what_is_logged_is_found_again(database):
    with database.write() as connection:
        runs.ensure_default(connection)
        runs.ensure_default(connection)
        ids = [start(connection, number) for number in range(5)]
        for number, id in enumerate(ids):
            points = [Point("loss", number / 10, step, 1) for step in (0, 2, 1)]
            runs.add_points(connection, id, [*points, *points])
            runs.set_params(connection, id, {"layers": str(number)})
            runs.set_tags(connection, id, {"Who": "me"})
        runs.add_points(connection, ids[0], [Point("loss", math.nan, 3, 1)])

    def found(*conditions, **asked):
        with database.read() as connection:
            listed = find.find_runs(connection, [0], conditions=conditions, limit=100, **asked)
        return [run.id for run in listed]

    def where(place, key, operator, value):
        return Condition(place=place, key=key, operator=operator, value=value)

    newest = ids[::-1]
    assert found() == newest
    assert found(where("metric", "loss", ">=", 0.3)) == [ids[4], ids[3]]
    assert found(where("metric", "loss", "<", 9.0)) == newest[:-1]  # no number is less than none
    assert found(where("param", "layers", "IN", ("1", "2"))) == [ids[2], ids[1]]
    assert found(where("tag", "Who", "LIKE", "m_")) == newest
    assert found(where("tag", "Who", "LIKE", "M%")) == []
    assert found(where("tag", "Who", "ILIKE", "M%")) == newest
    assert found(where("attribute", "run_name", "!=", "run 4")) == newest[1:]
    up = Order(place="metric", key="loss", descending=False)
    assert found(orders=[up]) == [*ids[1:], ids[0]]
    assert found(offset=3) == newest[3:]
    with database.read() as connection:
        assert [each.step for each in runs.history(connection, ids[1], "loss", 9, 0)] == [0, 1, 2]
        assert [each.step for each in runs.run(connection, ids[1]).latest] == [2]


def test_a_parameter_is_said_once_and_nothing_of_a_refused_batch_stays(database):
    with database.write() as connection:
        runs.ensure_default(connection)
        id = start(connection, 1)
        runs.set_params(connection, id, {"lr": "1"})
    with pytest.raises(Conflict, match="'lr' is '1' already"), database.write() as connection:
        runs.set_params(connection, id, {"new": "1", "lr": "2"})
    with database.read() as connection:
        assert runs.run(connection, id).params == {"lr": "1"}


def test_versions_are_numbered_and_an_alias_has_a_history(database):
    with database.write() as connection:
        runs.ensure_default(connection)
        models.register(connection, "clf", "")
        values = {"owner": "", "path": "", "digest": "0" * 64, "run": "", "description": ""}
        assert [models.create_version(connection, "clf", values) for _ in range(2)] == [1, 2]
        for number in (1, 2, 0, 1):
            models.set_alias(connection, "clf", "champion", number)
            expected = {"champion": number} if number else {}
            assert models.aliases(connection, "clf") == expected
        with pytest.raises(NotFound, match="no version 3"):
            models.set_alias(connection, "clf", "champion", 3)
        assert models.version(connection, "clf", 1).aliases == ("champion",)


def test_the_newest_bytes_of_a_path_count_and_all_are_in_use(database):
    one, two = (Blob(sha256=digit * 64, num_bytes=1) for digit in "12")
    with database.write() as connection:
        for blob in (one, two):
            files.add_artifact(connection, "a", "x/y", blob)
        assert files.artifacts(connection, "a") == {"x/y": two}
        assert [blob.sha256 for blob in files.blobs(connection)] == [one.sha256, two.sha256]


def test_what_was_deleted_is_not_in_use_but_for_what_versions_were_made_of(database):
    blobs = {
        path: Blob(sha256=digit * 64, num_bytes=1) for path, digit in zip("abc", "123", strict=True)
    }

    def in_use(connection):
        return [f"{owner[:1]} {path}" for owner, path, _ in files.in_use(connection)]

    with database.write() as connection:
        runs.ensure_default(connection)
        other = runs.create_experiment(connection, "other")
        run, logged = start(connection, 1), "m-1"
        values = {"name": "clf", "run": "", "type": "", "status": "READY"}
        models.create_logged(connection, {"id": logged, "experiment": other, **values})
        models.register(connection, "clf", "")
        version = {"owner": run, "path": "model", "digest": "0" * 64, "run": run, "description": ""}
        models.create_version(connection, "clf", version)
        files.add_artifact(connection, run, "model/weights", blobs["a"])
        files.add_artifact(connection, run, "models", blobs["b"])  # beside the folder, not in it
        files.add_artifact(connection, logged, "weights", blobs["c"])
        assert in_use(connection) == ["0 model/weights", "0 models", "m weights"]
        runs.change_run(connection, run, stage="deleted")
        assert in_use(connection) == ["0 model/weights", "m weights"]
        runs.change_experiment(connection, other, stage="deleted")
        assert in_use(connection) == ["0 model/weights"]
        runs.change_experiment(connection, other, stage="active")
        models.change_logged(connection, logged, stage="deleted")
        assert in_use(connection) == ["0 model/weights"]


def test_a_cursor_moves(database):
    with database.write() as connection:
        assert cursors.position(connection, "x") == 0
        for seq in (3, 7):
            cursors.advance(connection, "x", seq)
            assert cursors.position(connection, "x") == seq
        assert cursors.position(connection, "y") == 0


def test_the_longest_names_that_are_taken_fit_into_every_index(database):
    """An entry of a Postgres index is at most 2,704 bytes long, and does not compress these."""
    draw = random.Random(1)

    def long(num_characters):
        return "".join(chr(draw.randrange(0x10000, 0x1FFFF)) for _ in range(num_characters))

    name, experiment, key = long(256), long(500), long(250)
    with database.write() as connection:
        runs.ensure_default(connection)
        id = start(connection, 1, runs.create_experiment(connection, experiment))
        runs.set_tags(connection, id, {key: "x"})
        runs.add_points(connection, id, [Point(key, 1.0, 0, 0)])
        dataset = {"name": long(500), "digest": long(64)}
        runs.add_inputs(connection, id, [{"tags": [], "dataset": dataset}])
        path = artifact_path(long(500))
        files.add_artifact(connection, id, path, Blob(sha256="0" * 64, num_bytes=1))
        models.register(connection, name, "")
        values = {"owner": id, "path": "", "digest": "0" * 64, "run": id, "description": ""}
        number = models.create_version(connection, name, values)
        runs.set_tags(connection, models.version_owner(name, number), {key: "x"})
        models.set_alias(connection, name, "a" * 250, number)
    with database.read() as connection:
        assert runs.experiments(connection, name=experiment)[0].name == experiment
        assert runs.run(connection, id).tags == {key: "x"}
        assert list(files.artifacts(connection, id)) == [path]
        assert models.version(connection, name, number).tags == {key: "x"}
