"""Searches find the same, in the same order, as in MLflow's own store, which is the oracle."""

import contextlib
import time

import mlflow
import pytest

pytestmark = pytest.mark.filterwarnings("ignore")  # the client's own

# The scores are in no order of the names, and one model has none.
SCORES = {"b": 0.5, "d": 0.9, "a": 0.1, "e": None, "c": 0.7}
LOGGED = [
    ("name", True),
    ("name", False),
    ("metrics.acc", True),
    ("metrics.acc", False),
    ("creation_timestamp", True),
    ("creation_time", False),
    ("metrics.none", True),
]
EXPERIMENTS = [["name ASC"], ["name DESC"], ["creation_time"], ["experiment_id DESC"], []]
MODELS = [["name DESC"], ["name"], ["timestamp ASC"], ["last_updated_timestamp DESC"], []]
VERSIONS = [
    ["version_number ASC"],
    ["version_number DESC"],
    ["name DESC", "version_number ASC"],
    ["creation_timestamp ASC"],
    [],
]
FILLED = "name LIKE 'o-%'"
FILTERS = [
    "name = 'o-long' and version_number > 9",
    "name = 'o-long' and version_number != 10",
    "name = 'o-long' and version_number <= 2",
    "name = 'o-long' and version_number > '9'",
]


@pytest.fixture(scope="module")
def clients(service, tmp_path_factory):
    """(ours, MLflow's own), with the same in both."""
    folder = tmp_path_factory.mktemp("mlflow")
    theirs = f"sqlite:///{folder / 'mlflow.db'}"
    made = [mlflow.MlflowClient(uri, uri) for uri in (f"{service.url}/mlflow", theirs)]
    for client in made:
        _fill(client)
    return made


def _fill(client):
    for name in ("order/m", "order/z", "order/a"):
        experiment = client.create_experiment(name)
        time.sleep(0.002)  # their times differ
    for name, score in SCORES.items():
        run = client.create_run(experiment).info.run_id
        made = client.create_logged_model(experiment, name=name, source_run_id=run)
        if score is not None:
            client.log_metric(run, "acc", score, model_id=made.model_id)
        time.sleep(0.002)
    for name in ("o-wide", "o-long", "o-best"):
        client.create_registered_model(name)
        time.sleep(0.002)
    location = client.get_run(run).info.artifact_uri
    for name in [*["o-long"] * 11, "o-best"]:
        client.create_model_version(name, f"{location}/m", run, await_creation_for=None)
        time.sleep(0.002)


def _same(clients, ask):
    ours, theirs = (ask(client) for client in clients)
    assert ours == theirs
    assert ours


@pytest.mark.parametrize(("field", "ascending"), LOGGED)
def test_logged_models(clients, field, ascending):
    def ask(client):
        experiment = client.get_experiment_by_name("order/a").experiment_id
        by = [{"field_name": field, "ascending": ascending}]
        return [each.name for each in client.search_logged_models([experiment], order_by=by)]

    _same(clients, ask)


def test_the_best_model_is_the_best(clients):
    def ask(client):
        experiment = client.get_experiment_by_name("order/a").experiment_id
        by = [{"field_name": "metrics.acc", "ascending": False}]
        (best,) = client.search_logged_models([experiment], order_by=by, max_results=1)
        return best.name

    _same(clients, ask)
    assert ask(clients[0]) == "d"


@pytest.mark.parametrize(("ascending", "order"), [(True, "lhx"), (False, "hlx")])
def test_what_is_no_number_is_never_the_best(clients, ascending, order):
    """Here not even the worst: MLflow takes it for 0."""
    ours, _ = clients
    experiment = ours.create_experiment(f"no number {ascending}")
    run = ours.create_run(experiment).info.run_id
    for name, value in (("x", float("nan")), ("h", 2.0), ("l", -1.0)):
        made = ours.create_logged_model(experiment, name=name, source_run_id=run)
        ours.log_metric(run, "acc", value, model_id=made.model_id)
    by = [{"field_name": "metrics.acc", "ascending": ascending}]
    found = ours.search_logged_models([experiment], order_by=by)
    assert "".join(each.name for each in found) == order


@pytest.mark.parametrize("by", EXPERIMENTS)
def test_experiments(clients, by):
    _same(
        clients,
        lambda client: [
            each.name
            for each in client.search_experiments(filter_string="name LIKE 'order/%'", order_by=by)
        ],
    )


@pytest.mark.parametrize("by", MODELS)
def test_registered_models(clients, by):
    def ask(client):
        return [each.name for each in client.search_registered_models(FILLED, order_by=by)]

    _same(clients, ask)


@pytest.mark.parametrize("by", VERSIONS)
@pytest.mark.parametrize("filter", [FILLED, *FILTERS])
def test_model_versions(clients, by, filter):
    def ask(client):
        found, token = [], None
        while True:  # in pages, which must not overlap
            page = client.search_model_versions(
                filter, order_by=by, max_results=5, page_token=token
            )
            found += [(each.name, int(each.version)) for each in page]
            token = page.token
            if not token:
                return found

    _same(clients, ask)


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.search_experiments(order_by=["tags.team ASC"]),
        lambda client: client.search_experiments(order_by=["nonsense ASC"]),
        lambda client: client.search_registered_models(order_by=["tags.team"]),
        lambda client: client.search_model_versions("", order_by=["metrics.acc"]),
        lambda client: client.search_logged_models(
            ["0"], order_by=[{"field_name": "params.lr", "ascending": True}]
        ),
        lambda client: client.search_logged_models(["0"], order_by=[{"field_name": "nonsense"}]),
    ],
)
def test_what_nothing_is_ordered_by_is_refused_by_both(clients, ask):
    for client in clients:
        with pytest.raises(mlflow.MlflowException) as refused:
            ask(client)
        assert refused.value.error_code == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize(
    "asked",
    [
        {"order_by": [{"field_name": "metrics.acc", "dataset_name": "test"}]},
        {"datasets": [{"dataset_name": "test"}]},
    ],
)
def test_what_is_not_kept_is_said_not_to_be_offered(service, asked):
    said = service.post("logged-models/search", experiment_ids=["0"], **asked)
    assert said.status_code == 400
    assert "not offered" in said.json()["message"]


def test_an_experiment_that_is_deleted_takes_its_runs_along_and_brings_them_back(clients):
    """Those that were deleted before it, too, in MLflow as here."""

    def ask(client):
        experiment = client.create_experiment("deleted whole")
        first, second = (client.create_run(experiment).info.run_id for _ in range(2))
        client.delete_run(second)
        client.delete_experiment(experiment)
        said = [len(client.search_runs([experiment]))]
        with contextlib.suppress(mlflow.MlflowException):
            client.log_metric(first, "loss", 1.0)
            said.append("it was written to")
        said.append(client.get_run(first).info.lifecycle_stage)
        client.restore_experiment(experiment)
        client.log_metric(first, "loss", 1.0)
        return [*said, len(client.search_runs([experiment]))]

    _same(clients, ask)


def test_a_logged_model_that_is_deleted_takes_no_other_along(clients, service):
    ours, _ = clients
    made = ours.create_logged_model("0", name="gone")
    kept = ours.create_logged_model("0", name="kept")
    for name, of in (("gone", made), ("kept", kept)):
        ours.create_registered_model(name)
        ours.create_model_version(name, f"models:/{of.model_id}", await_creation_for=None)
        ours.set_registered_model_alias(name, "champion", 1)
    before = ours.get_model_version("gone", "1")
    ours.delete_logged_model(made.model_id)
    assert {"gone", "kept"} <= {each.name for each in ours.search_model_versions()}
    assert ours.get_model_version_by_alias("kept", "champion").version == "1"
    assert ours.get_model_version("gone", "1") == before
    assert ours.get_model_version_download_uri("gone", "1") == before.source
    assert len(ours.get_latest_versions("gone")) == 1
    said = service.post("model-versions/create", name="kept", source=f"models:/{made.model_id}")
    assert said.status_code == 404  # a new one is not made of it
