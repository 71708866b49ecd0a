"""Registered models and versions are deleted, by the real client, as MLflow deletes them."""

import mlflow
import pytest
import sqlalchemy as sa

from tunesmith.core import catalog, evidence, tables
from tunesmith.core.owner import actor
from tunesmith.core.tracked import remove

pytestmark = pytest.mark.filterwarnings("ignore")  # the client's own


@pytest.fixture
def client(service):
    mlflow.set_tracking_uri(f"{service.url}/mlflow")
    return mlflow.MlflowClient()


@pytest.fixture
def model(request, client):
    """A registered model with three versions, of a name of the test's own."""
    name = request.node.name.removeprefix("test_")
    run = client.create_run("0")
    client.log_text(run.info.run_id, "weights", "model/weights.txt")
    client.create_registered_model(name, tags={"team": "desk"})
    for _ in range(3):
        client.create_model_version(
            name, f"runs:/{run.info.run_id}/model", run.info.run_id, tags={"a": "b"}
        )
    return name


def deleted(service, what, name):
    with service.database.read() as connection:
        found = list(evidence.entries(connection, what))
    return [entry for entry in found if entry.body["model"] == name]


def test_a_version_is_deleted_with_its_aliases_and_its_number_is_not_given_again(
    client, service, model
):
    client.set_registered_model_alias(model, "champion", 3)
    client.set_registered_model_alias(model, "other", 2)

    client.delete_model_version(model, "3")

    found = client.search_model_versions(f"name = '{model}'")
    assert [each.version for each in found] == ["2", "1"]
    assert client.get_registered_model(model).aliases == {"other": "2"}
    for ask in (
        lambda: client.get_model_version(model, "3"),
        lambda: client.delete_model_version(model, "3"),
    ):
        with pytest.raises(mlflow.MlflowException, match="has no version 3") as told:
            ask()
        assert told.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    (entry,) = deleted(service, remove.VERSION_DELETED, model)
    assert entry.actor == actor()
    assert (entry.body["version"], entry.body["aliases"], entry.body["tags"]) == (
        3,
        ["champion"],
        ["a"],
    )
    source = found[0].source
    made = client.create_model_version(model, source, found[0].run_id)
    assert (made.version, made.tags.get("a"), made.aliases) == ("4", None, [])
    client.delete_model_version(model, "1")
    assert client.create_model_version(model, source, found[0].run_id).version == "5"
    assert client.list_artifacts(found[0].run_id, "model")[0].path == "model/weights.txt"


def test_a_model_is_deleted_whole_and_a_new_one_of_its_name_is_new(client, service, model):
    client.set_registered_model_alias(model, "champion", 2)
    client.delete_model_version(model, "3")

    client.delete_registered_model(model)

    assert model not in [each.name for each in client.search_registered_models()]
    assert client.search_model_versions(f"name = '{model}'") == []
    for ask in (client.get_registered_model, client.delete_registered_model):
        with pytest.raises(mlflow.MlflowException, match="no registered model") as told:
            ask(model)
        assert told.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    (entry,) = deleted(service, remove.MODEL_DELETED, model)
    assert [each["version"] for each in entry.body["versions"]] == [2, 1]
    assert (entry.actor, entry.body["tags"]) == (actor(), ["team"])
    new = client.create_registered_model(model)
    assert (new.tags, new.aliases) == ({}, {})
    run = client.create_run("0").info.run_id
    client.log_text(run, "x", "model/x.txt")
    made = client.create_model_version(model, f"runs:/{run}/model", run)
    assert (made.version, made.tags.get("a")) == ("1", None)
    with service.database.read() as connection:
        assert list(evidence.broken_links(evidence.entries(connection))) == []
        held = connection.execute(
            sa.select(tables.tracked_fields.c.key).where(
                tables.tracked_fields.c.owner == f"model/{model}"
            )
        ).all()
    assert held == []


def test_tags_are_deleted_and_one_that_is_not_there_is_no_error(client, model):
    client.set_model_version_tag(model, "1", "c", "d")
    for _ in range(2):
        client.delete_registered_model_tag(model, "team")
        client.delete_model_version_tag(model, "1", "a")

    assert client.get_registered_model(model).tags == {}
    tags = client.get_model_version(model, "1").tags
    assert (tags.get("a"), tags["c"]) == (None, "d")


def test_a_model_of_the_project_is_not_deleted(client, service):
    values = {"key": "k", "step": "release:desk", "kind": "release@1", "identity": "{}"}
    values |= {"owner": "here:1:1", "actor": "me"}
    with service.database.write() as connection:
        run_id = catalog.insert_run(connection, values, lease_s=60)
        catalog.record_version(connection, "model", "desk", "a" * 64, run_id)

    for ask in (  # the client looks for it first
        lambda: client.delete_registered_model("desk"),
        lambda: client.delete_model_version("desk", "1"),
    ):
        with pytest.raises(mlflow.MlflowException, match="tunesmith model retire"):
            ask()
    for path, body in (
        ("registered-models/delete", {"name": "desk"}),
        ("model-versions/delete", {"name": "desk", "version": "1"}),
    ):
        refused = service.http.request("DELETE", f"/mlflow/api/2.0/mlflow/{path}", json=body)
        assert (refused.status_code, refused.json()["error_code"]) == (403, "PERMISSION_DENIED")
        assert "tunesmith model retire" in refused.json()["message"]
    with service.database.read() as connection:
        assert [each.name for each in catalog.all_versions(connection)] == ["desk"]
    assert (
        service.http.request(
            "DELETE", "/mlflow/api/2.0/mlflow/model-versions/delete", json={"name": "desk"}
        ).json()["error_code"]
        == "INVALID_PARAMETER_VALUE"
    )


def test_a_tag_of_an_experiment_is_deleted(client):
    id = client.create_experiment("tagged", tags={"a": "b", "c": "d"})
    client.delete_experiment_tag(id, "a")
    assert client.get_experiment(id).tags == {"c": "d"}
    with pytest.raises(mlflow.MlflowException, match="has no tag 'a'"):
        client.delete_experiment_tag(id, "a")


def test_a_version_is_copied_to_another_model(client, model):
    (_, second, _) = client.search_model_versions(f"name = '{model}'")
    copied = client.copy_model_version(f"models:/{model}/2", f"{model}_copy")
    assert (copied.version, copied.source, copied.run_id) == ("1", second.source, second.run_id)
    assert copied.tags["tunesmith.sha256"] == second.tags["tunesmith.sha256"]
    with pytest.raises(mlflow.MlflowException, match="has no version 9"):
        client.create_model_version(model, f"models:/{model}/9")
