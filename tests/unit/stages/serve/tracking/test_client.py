"""Training code that logs to MLflow logs here, by the real client."""

import math

import mlflow
import pytest

pytestmark = pytest.mark.filterwarnings("ignore")  # the client's own

MODEL = """
import mlflow

class Twice(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input: list[float], params=None):
        return [2 * each for each in model_input]

mlflow.models.set_model(Twice())
"""


@pytest.fixture
def client(service):
    mlflow.set_tracking_uri(f"{service.url}/mlflow")
    yield mlflow.MlflowClient()
    while mlflow.active_run():
        mlflow.end_run()


def test_a_run_with_all_that_is_logged_of_one(client):
    import pandas

    mlflow.set_experiment("first")
    with mlflow.start_run(run_name="one", description="a note") as run:
        mlflow.log_params({"lr": 0.1, "layers": 2})
        for step in range(3):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_metrics({"accuracy": 0.5, "f1": 0.25}, step=2)
        mlflow.set_tag("who", "me")
        table = mlflow.data.from_pandas(pandas.DataFrame({"a": [1.5]}), name="tiny")
        mlflow.log_input(table, context="training")
        mlflow.log_text("hello", "notes/hello.txt")
        mlflow.log_dict({"a": 1}, "settings.json")
    found = client.get_run(run.info.run_id)
    assert (found.info.status, found.info.run_name) == ("FINISHED", "one")
    assert found.info.end_time >= found.info.start_time
    assert found.data.params == {"lr": "0.1", "layers": "2"}
    assert found.data.metrics == {"loss": 1 / 3, "accuracy": 0.5, "f1": 0.25}
    assert found.data.tags["who"] == "me"
    assert found.data.tags["mlflow.note.content"] == "a note"
    (given,) = found.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("tiny", table.digest)
    assert [(each.key, each.value) for each in given.tags] == [("mlflow.data.context", "training")]
    curve = client.get_metric_history(run.info.run_id, "loss")
    assert [(each.step, each.value) for each in curve] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert [each.path for each in client.list_artifacts(run.info.run_id)] == [
        "notes",
        "settings.json",
    ]
    assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/notes/hello.txt") == "hello"


def test_a_model_is_logged_registered_and_loaded_by_its_alias(client, tmp_path):
    code = tmp_path / "twice.py"
    code.write_text(MODEL)
    mlflow.set_experiment("models")
    with mlflow.start_run() as run:
        made = mlflow.pyfunc.log_model(
            name="twice",
            python_model=str(code),
            registered_model_name="twice",
            pip_requirements=[],
        )
        mlflow.log_metric("accuracy", 0.75, model_id=made.model_id)
    client.set_registered_model_alias("twice", "champion", 1)
    version = client.get_model_version_by_alias("twice", "champion")
    assert (str(version.version), version.run_id) == ("1", run.info.run_id)
    assert len(version.tags["tunesmith.sha256"]) == 64
    assert mlflow.pyfunc.load_model("models:/twice@champion").predict([1.5]) == [3.0]
    assert mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/twice").predict([2.0]) == [4.0]
    (logged,) = mlflow.search_logged_models(
        experiment_ids=[run.info.experiment_id], output_format="list"
    )
    assert (logged.name, str(logged.status), logged.source_run_id) == (
        "twice",
        "READY",
        run.info.run_id,
    )
    assert [(each.key, each.value) for each in logged.metrics] == [("accuracy", 0.75)]
    (output,) = client.get_run(run.info.run_id).outputs.model_outputs
    assert output.model_id == made.model_id
    assert [each.name for each in client.search_registered_models()] == ["twice"]
    assert [each.version for each in client.search_model_versions("name = 'twice'")] == ["1"]
    client.set_registered_model_tag("twice", "team", "desk")
    client.set_model_version_tag("twice", "1", "checked", "yes")
    client.update_model_version("twice", "1", description="doubles")
    assert client.get_registered_model("twice").tags["team"] == "desk"
    assert client.get_model_version("twice", "1").description == "doubles"
    client.delete_registered_model_alias("twice", "champion")
    with pytest.raises(mlflow.MlflowException, match="has no alias"):
        client.get_model_version_by_alias("twice", "champion")


def test_runs_are_searched_ordered_and_paged(client):
    experiment = client.create_experiment("searched")
    for number in range(7):
        run = client.create_run(
            experiment, run_name=f"run {number}", tags={"half": str(number % 2)}
        )
        client.log_metric(run.info.run_id, "accuracy", number / 10)
        client.log_param(run.info.run_id, "layers", number)
        client.set_terminated(run.info.run_id, "FAILED" if number == 6 else "FINISHED")

    def names(**asked):
        return [run.info.run_name for run in client.search_runs([experiment], **asked)]

    assert names() == [f"run {number}" for number in range(6, -1, -1)]
    assert names(order_by=["metrics.accuracy ASC"])[:2] == ["run 0", "run 1"]
    assert names(filter_string="metrics.accuracy >= 0.5 and status = 'FINISHED'") == ["run 5"]
    assert names(filter_string="params.layers = '4'") == ["run 4"]
    assert names(filter_string="tags.half = '1' and attributes.run_name LIKE 'run %'") == [
        "run 5",
        "run 3",
        "run 1",
    ]
    assert names(filter_string="attributes.run_name LIKE 'RUN %'") == []
    assert names(filter_string="attributes.run_name ILIKE 'RUN 1'") == ["run 1"]
    first = client.search_runs([experiment], max_results=4)
    rest = client.search_runs([experiment], max_results=4, page_token=first.token)
    assert [len(first), len(rest)] == [4, 3]
    assert not rest.token
    with pytest.raises(mlflow.MlflowException, match="cannot be read from"):
        client.search_runs([experiment], "metrics.accuracy >> 1")


def test_what_is_said_twice_and_what_is_no_number(client):
    run = client.create_run("0").info.run_id
    for _ in range(2):  # a client that got no answer sends it again
        client.log_metric(run, "loss", 0.5, timestamp=7, step=1)
        client.log_param(run, "lr", 0.1)
    for value in (math.nan, math.inf, -math.inf):
        client.log_metric(run, "odd", value, timestamp=7, step=1)
    assert len(client.get_metric_history(run, "loss")) == 1
    odd = [each.value for each in client.get_metric_history(run, "odd")]
    assert sorted(map(str, odd)) == ["-inf", "inf", "nan"]
    with pytest.raises(mlflow.MlflowException, match=r"is '0\.1' already"):
        client.log_param(run, "lr", 0.2)


def test_the_last_point_is_that_of_the_largest_step_in_whatever_order_they_come(client):
    run = client.create_run("0").info.run_id
    for step in (5, 9, 2):
        client.log_metric(run, "loss", float(step), step=step)
    assert client.get_run(run).data.metrics == {"loss": 9.0}


def test_what_is_deleted_is_not_written_to_and_comes_back(client):
    experiment = client.create_experiment("deleted")
    run = client.create_run(experiment).info.run_id
    client.delete_run(run)
    assert client.search_runs([experiment]) == []
    with pytest.raises(mlflow.MlflowException, match="is deleted"):
        client.log_metric(run, "loss", 1.0)
    client.restore_run(run)
    client.log_metric(run, "loss", 1.0)
    client.delete_experiment(experiment)
    with pytest.raises(mlflow.MlflowException, match="is deleted"):
        client.create_run(experiment)
    client.restore_experiment(experiment)
    client.rename_experiment(experiment, "back")
    client.set_experiment_tag(experiment, "team", "desk")
    assert client.get_experiment_by_name("back").tags == {"team": "desk"}


def test_a_path_that_is_written_again_keeps_the_bytes_that_it_had(client, service):
    from tunesmith.core.tracked import files
    from tunesmith.core.verify import verify

    run = client.create_run("0").info.run_id
    client.log_text(run, "one", "note.txt")
    client.log_text(run, "two", "note.txt")
    uri = client.get_run(run).info.artifact_uri
    assert mlflow.artifacts.load_text(f"{uri}/note.txt") == "two"
    with service.database.read() as connection:
        held = {blob.sha256 for blob in files.blobs(connection)}
    assert {service.blobs.put(text).sha256 for text in (b"one", b"two")} <= held
    report = verify(service.database, service.blobs)
    assert (report.num_blobs, report.problems) == (len(held), ())


def test_nothing_of_it_is_among_our_own_runs_or_in_the_evidence(client, service):
    from tunesmith.core import catalog, evidence

    client.create_run("0")
    with service.database.read() as connection:
        assert catalog.all_runs(connection) == []
        # What is deleted for good is on record, in whichever order these tests run.
        made = {each.what for each in evidence.entries(connection)}
        assert {what for what in made if not what.endswith("_deleted")} == set()


def test_another_project_takes_over_what_is_here_and_brings_its_own(client, service, tmp_path):
    """A real server below a path of its address, by our import and export's own means."""
    import hashlib
    from contextlib import closing

    from tunesmith.core.tracked import runs
    from tunesmith.interop.mlflow_client import client as reaching
    from tunesmith.interop.mlflow_files import files_at
    from tunesmith.interop.mlflow_in import import_mlflow
    from tunesmith.project import open_project

    run = client.create_run(client.create_experiment("taken over"))
    uri, hosts = f"{service.url}/mlflow", [service.url.removeprefix("http://")]
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "weights").write_bytes(b"abc")
    with reaching(uri, hosts):
        files_at(uri, run.info.artifact_uri).log_artifacts(str(tmp_path), "a b/ä")
    project = tmp_path / "project"
    project.mkdir()
    (project / "tunesmith.toml").write_text(f'[project]\nname = "x"\nhosts = ["{hosts[0]}"]\n')
    with closing(open_project(project)) as opened:
        made = import_mlflow(opened, uri)
        with opened.runner.database.read() as connection:
            tags = runs.run(connection, run.info.run_id).tags
    assert made.left_out == {}
    assert {key: value for key, value in tags.items() if key.startswith("tunesmith.sha256")} == {
        f"tunesmith.sha256.a b/ä/{name}": hashlib.sha256(data).hexdigest()
        for name, data in (("empty", b""), ("weights", b"abc"))
    }


def test_runs_are_searched_by_what_they_lack_and_by_what_a_dataset_was_for(client):
    import numpy as np

    experiment = client.create_experiment("lacking")
    mlflow.set_experiment("lacking")
    for name, context in (("one", "training"), ("two", 'it\'s "é"')):
        with mlflow.start_run(run_name=name):
            mlflow.log_input(mlflow.data.from_numpy(np.zeros(len(name))), context=context)
            if name == "one":
                mlflow.log_param("lr", 1)
                mlflow.set_tag("kind", "first")

    def names(asked):
        return [run.info.run_name for run in client.search_runs([experiment], asked)]

    assert names("params.lr IS NOT NULL") == ["one"]
    assert names("params.lr IS NULL and tags.kind is  null") == ["two"]
    assert names("tags.kind IS NOT NULL and params.lr = '1'") == ["one"]
    assert names("dataset.context = 'training'") == ["one"]
    assert names("datasets.context IN ('training', 'other')") == ["one"]
    assert names("""datasets.context = 'it''s "é"'""") == ["two"]
    assert names("datasets.context = 'train'") == []
    for asked in ("metrics.x IS NULL", "datasets.context != 'x'", "params.lr IS NULLA"):
        with pytest.raises(mlflow.MlflowException) as told:
            names(asked)
        assert told.value.error_code == "INVALID_PARAMETER_VALUE"
    client.create_registered_model("tagged_one", tags={"a": "b"})
    client.create_registered_model("tagged_not")
    found = client.search_registered_models("name LIKE 'tagged%' and tags.a IS NULL")
    assert [each.name for each in found] == ["tagged_not"]
    for name in ("tagged_one", "tagged_not"):  # other tests list them all
        client.delete_registered_model(name)
