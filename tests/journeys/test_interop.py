"""What ran here, brought to other systems, and read there by their own software."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml
from typer.testing import CliRunner

from tunesmith.core.errors import TunesmithError
from tunesmith.interop import openlineage

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own

SECTIONS = """
[source.calls]
origin = "file:calls.jsonl"
format = "jsonl"
text = "text"
label = "kind"
licence = "CC0-1.0"

[dataset.calls]
sources = ["calls"]
base = "tiny"
instruction = "Sort."
num_labels = 2
train_per_label = 20
test_per_label = 20

[model.desk]
base = "tiny"
dataset = "calls"
rank = 4
epochs = 1

[gate.desk]
model = "desk"
beats_base_by = -0.99

[service.tracking]
tracking = true
"""
Command = Callable[..., tuple[int, Any]]
FACETS = Path(openlineage.__file__).with_name("openlineage_facets.json")


class Receiver:
    """A server that takes events, until it has taken enough."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.fails_after = 10_000
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                takes = len(receiver.taken) < receiver.fails_after
                if takes:
                    receiver.taken.append(body)
                self.send_response(201 if takes else 503)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server on a free port of this machine."""
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def calls() -> str:
    """Two kinds of calls whose words have no letter in common."""
    draw = random.Random(1)

    def text(letters: str) -> str:
        return " ".join("".join(draw.choices(letters, k=4)) for _ in range(6))

    kinds = {"fire": "abcdefgh", "flood": "stuvwxyz"}
    rows = [{"kind": kind, "text": text(kinds[kind])} for kind in kinds for _ in range(45)]
    return "\n".join(json.dumps(row) for row in rows) + "\n"


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory,
    project_text: str,
    mini_environment: dict[str, str],
    miniature: type[Any],
) -> Path:
    """A project that has run: a model is tuned, judged and released."""
    folder = tmp_path_factory.mktemp("calls")
    base = project_text[project_text.index("[base.tiny]") : project_text.index("[dataset.small]")]
    (folder / "tunesmith.toml").write_text(f'[project]\nname = "calls"\n\n{base}{SECTIONS}')
    (folder / "calls.jsonl").write_text(calls())
    miniature(folder=folder, environment=mini_environment).tunesmith("run")
    return folder


@pytest.fixture
def command(folder: Path) -> Iterator[Command]:
    """command("export", "mlflow", ...) -> exit code, and the JSON or what went wrong."""
    from tunesmith.cli.main import app

    def run(*words: str) -> tuple[int, Any]:
        done = CliRunner().invoke(app, [*words, "-p", str(folder), "--json"])
        if isinstance(done.exception, TunesmithError):
            return done.exception.exit_code, str(done.exception)
        assert done.exception is None, done.output
        return done.exit_code, json.loads(done.stdout)

    yield run
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)


def test_mlflow_reads_what_was_brought_to_it_and_nothing_doubles(
    command: Command, folder: Path, tmp_path: Path
) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    code, first = command("export", "mlflow", "--to", uri, "--with-base")
    assert code == 0, first
    _, runs = command("runs", "--limit", "1000")
    assert (first["num_new"], first["num_known"]) == (len(runs), 0)
    assert first["new_versions"] == ["desk@1"]
    assert first["aliases"] == {"desk/candidate": "desk@1"}

    there = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = there.get_experiment_by_name("calls")
    found = there.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in found) == sorted(run["step"] for run in runs)
    assert {run.info.status for run in found} == {"FINISHED"}
    (tuned,) = (run for run in found if run.info.run_name == "finetune:desk")
    (ours,) = (run for run in runs if run["step"] == "finetune:desk")
    assert tuned.data.params["rank"] == "4"
    assert tuned.data.tags["tunesmith.sha256"] == ours["output"]
    assert tuned.data.metrics["usage.wall_s"] == pytest.approx(ours["usage"]["wall_s"])
    (given,) = tuned.inputs.dataset_inputs
    (dataset,) = (run for run in runs if run["step"] == "curate:calls")
    assert given.dataset.name == "calls@1"
    assert given.dataset.digest == dataset["output"][:36]
    assert {tag.key: tag.value for tag in given.tags}["tunesmith.sha256"] == (dataset["output"])
    curve = there.get_metric_history(tuned.info.run_id, "loss")
    assert [each.step for each in curve] == list(range(1, len(curve) + 1))
    assert len(curve) > 2
    (judged,) = (run for run in found if run.info.run_name == "evaluate:desk")
    assert 0 <= judged.data.metrics["accuracy"] <= 1

    _reads_the_model(there, uri, tuned.info.run_id)

    code, again = command("export", "mlflow", "--to", uri, "--with-base")
    assert (code, again["num_new"], again["num_known"]) == (0, 0, len(runs))
    assert again["new_versions"] == []
    assert len(there.search_runs([experiment.experiment_id])) == len(runs)
    assert len(there.search_model_versions("name = 'desk'")) == 1
    assert there.get_metric_history(tuned.info.run_id, "loss") == curve


def _reads_the_model(there: Any, uri: str, run_id: str) -> None:
    version = there.get_model_version_by_alias("desk", "candidate")
    assert (int(version.version), version.run_id) == (1, run_id)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    described = mlflow.models.get_model_info("models:/desk@candidate")
    assert described.flavors["tunesmith"]["version"] == "desk@1"
    model = mlflow.pyfunc.load_model("models:/desk@candidate")
    answers = model.predict(["abcd efgh abcd", "stuv wxyz stuv"])
    assert set(answers) <= {"fire", "flood"}


def test_the_alias_of_a_retired_version_is_not_brought_and_is_taken_away(
    folder: Path, tmp_path: Path
) -> None:
    from tunesmith.cli.main import app

    desk = tmp_path / "desk"
    shutil.copytree(folder, desk)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    file = desk / "tunesmith.toml"
    roles = '[registry]\napprovers = ["boss"]\nallow_as = true\n'
    file.write_text(f"{file.read_text()}\n{roles}")

    def ok(*words: str) -> str:
        done = CliRunner().invoke(app, [*words, "-p", str(desk)])
        assert done.exception is None, done.output
        return done.stdout

    def aliases() -> dict[str, str]:
        there = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
        return dict(there.get_registered_model("desk").aliases)

    assert "desk/candidate points at desk@1" in ok("export", "mlflow", "--to", uri)
    assert list(aliases()) == ["candidate"]
    assert "still points" not in ok("model", "list")
    ok("model", "retire", "desk@1", "--why", "leaks", "--as", "boss")
    for command in (("model", "list"), ("model", "show", "desk@1")):
        assert "desk@1 is retired, and 'candidate' still points at it" in ok(*command)
    said = ok("export", "mlflow", "--to", uri)
    assert "desk/candidate is not there: it points at desk@1 here, which is retired" in said
    assert "points at desk@1\n" not in said
    assert aliases() == {}


@pytest.mark.slow
def test_an_export_that_was_stopped_goes_on(
    command: Command, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunesmith.interop import mlflow_out

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    real, count = mlflow_out._log_inputs, iter(range(100))

    def stops(*given: Any) -> None:
        if next(count) == 3:
            raise TunesmithError("stopped")
        real(*given)

    monkeypatch.setattr(mlflow_out, "_log_inputs", stops)
    assert command("export", "mlflow", "--to", uri)[0] == 1
    monkeypatch.undo()
    _, runs = command("runs", "--limit", "1000")
    code, made = command("export", "mlflow", "--to", uri)
    assert (code, made["num_known"], made["num_new"]) == (0, 3, len(runs) - 3)
    there = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = there.get_experiment_by_name("calls")
    found = there.search_runs([experiment.experiment_id])
    assert len(found) == len(runs)
    assert {run.info.status for run in found} == {"FINISHED"}
    # Without the base's weights MLflow knows what the model is, and cannot ask it.
    mlflow.set_tracking_uri(uri)
    with pytest.raises(mlflow.MlflowException, match="python_function"):
        mlflow.pyfunc.load_model("models:/desk@candidate")


@pytest.mark.parametrize(
    ("to", "code", "said"),
    [
        ("mysql://x/y", 2, "sqlite:///PATH"),
        ("sqlite:///", 2, "sqlite:///PATH"),
        ("http://example.com", 2, "http:// is for this machine alone"),
        ("https://example.com", 1, "not among the hosts that the project file allows"),
        ("https://me:secret@example.com", 2, "a user or a password in it"),
        ("sqlite:////no/such/folder/m.db", 4, "there is no folder"),
    ],
)
def test_a_place_that_cannot_be_used(command: Command, to: str, code: int, said: str) -> None:
    found, message = command("export", "mlflow", "--to", to)
    assert (found, said in message, "secret" in message) == (code, True, False), message


TRAINING = """
import mlflow

mlflow.set_experiment("unchanged")
with mlflow.start_run(run_name="trained"):
    mlflow.log_param("lr", 0.1)
    for step in range(3):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
    mlflow.log_text("weights", "model/weights.txt")
"""


def test_training_code_that_logs_to_mlflow_logs_here_unchanged(
    command: Command, folder: Path, free_port: int
) -> None:
    """The real command, and a program that knows nothing but an address."""
    serve = [sys.executable, "-m", "tunesmith", "serve", "tracking", "--port", str(free_port)]
    with subprocess.Popen(serve, cwd=folder, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            said = server.stderr.readline()
            url = f"http://127.0.0.1:{free_port}/mlflow"
            assert f"MLFLOW_TRACKING_URI={url} " in said
            _wait_for(free_port)
            trained = subprocess.run(
                [sys.executable, "-c", TRAINING],
                env={**os.environ, "MLFLOW_TRACKING_URI": url, "MLFLOW_DISABLE_TELEMETRY": "true"},
                capture_output=True,
                text=True,
            )
            assert trained.returncode == 0, trained.stderr
        finally:
            server.terminate()
            server.communicate(timeout=60)
    _, (shown,) = command("tracked", "--experiment", "unchanged")
    assert (shown["name"], shown["status"], shown["params"]) == (
        "trained",
        "FINISHED",
        {"lr": "0.1"},
    )
    assert shown["metrics"] == {"loss": 1 / 3}
    assert command("verify")[0] == 0


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


# OpenLineage.


def test_every_run_is_told_once_as_events_that_openlineages_own_classes_read(
    command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "events.jsonl"
    code, told = command("export", "openlineage", "--to", str(file))
    assert code == 0, told
    _, runs = command("runs", "--limit", "1000")
    events = [json.loads(line) for line in file.read_text().splitlines()]
    assert told["num_events"] == len(events) == 2 * len(runs)
    assert [each["eventType"] for each in events[:2]] == ["START", "COMPLETE"]
    for event in events:
        _check_event(event)
    names = {event["job"]["name"]: event for event in events if event["eventType"] == "COMPLETE"}
    assert names.keys() == {run["step"] for run in runs}
    tuned = names["finetune:desk"]
    (cut,) = (each for each in tuned["inputs"] if each["name"] == "dataset/calls")
    assert (
        cut["facets"]["version"]["datasetVersion"]
        == (names["curate:calls"]["outputs"][0]["facets"]["version"]["datasetVersion"])
    )
    assert tuned["outputs"][0]["name"] == "model/desk"
    assert tuned["outputs"][0]["facets"]["tunesmith_model"]["method"] == "lora"
    assert names["gate:desk"]["outputs"][0]["facets"]["tunesmith_gate"]["admits"] is True
    assert names["curate:calls"]["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 80
    assert names["land:calls"]["inputs"] == [{"namespace": "file", "name": "calls.jsonl"}]
    assert [each["name"] for each in names["ingest:calls"]["inputs"]] == ["land:calls"]

    assert command("export", "openlineage", "--to", str(file))[1]["num_events"] == 0
    assert len(file.read_text().splitlines()) == len(events)
    code, again = command("export", "openlineage", "--to", str(file), "--again")
    lines = file.read_text().splitlines()
    assert (code, again["num_events"]) == (0, len(events))
    assert lines[: len(events)] == lines[len(events) :]


def _check_event(event: dict[str, Any]) -> None:
    """By the classes that OpenLineage generates from its schema, and our own facets by ours."""
    from openlineage.client.generated import base as generated

    schema = json.loads(FACETS.read_text())

    def facets(given: dict[str, Any], base: Any) -> dict[str, Any]:
        for name, facet in given.items():
            assert facet["_producer"].startswith("urn:tunesmith:")
            if name.startswith("tunesmith_"):
                _, _, of = facet["_schemaURL"].partition("#/$defs/")
                assert facet["_schemaURL"].startswith(schema["$id"])
                properties = schema["$defs"][of]["allOf"][1]["properties"]
                assert facet.keys() - {"_producer", "_schemaURL"} == properties.keys()
            else:
                assert facet["_schemaURL"].startswith("https://openlineage.io/spec/facets/")
        return {name: base() for name in given}

    def dataset(kind: Any, given: dict[str, Any]) -> Any:
        facets({**given.get("facets", {}), **given.get("outputFacets", {})}, generated.DatasetFacet)
        return kind(namespace=given["namespace"], name=given["name"])

    read = generated.RunEvent(
        eventType=generated.EventType(event["eventType"]),
        eventTime=event["eventTime"],
        producer=event["producer"],
        run=generated.Run(
            runId=event["run"]["runId"],
            facets=facets(event["run"]["facets"], generated.RunFacet),
        ),
        job=generated.Job(
            namespace=event["job"]["namespace"],
            name=event["job"]["name"],
            facets=facets(event["job"]["facets"], generated.JobFacet),
        ),
        inputs=[dataset(generated.InputDataset, each) for each in event["inputs"]],
        outputs=[dataset(generated.OutputDataset, each) for each in event["outputs"]],
    )
    assert read.schemaURL == event["schemaURL"]


def test_a_server_that_fails_is_told_the_rest_when_it_is_back(
    command: Command, folder: Path, receiver: Receiver
) -> None:
    url = f"http://127.0.0.1:{receiver.port}/api/v1/lineage"
    code, said = command("export", "openlineage", "--to", url)
    assert (code, "not among the hosts" in said) == (1, True)
    path = folder / "tunesmith.toml"
    text = path.read_text()
    path.write_text(
        text.replace("[project]\n", f'[project]\nhosts = ["127.0.0.1:{receiver.port}"]\n')
    )
    try:
        receiver.fails_after = 3  # in the middle of a run
        code, said = command("export", "openlineage", "--to", url)
        assert (code, "did not take an event: status 503" in said) == (1, True), said
        receiver.fails_after = 10_000
        code, told = command("export", "openlineage", "--to", url)
        assert code == 0, told
    finally:
        path.write_text(text)
    _, runs = command("runs", "--limit", "1000")
    assert told["num_events"] == 2 * len(runs) - 2  # the first run was told whole
    assert len(set(receiver.taken)) == 2 * len(runs)
    assert len(receiver.taken) == 2 * len(runs) + 1  # one START came twice, and is the same


@pytest.mark.parametrize(
    ("to", "code", "said"),
    [
        ("s3://bucket/x", 2, "a file or to a server"),
        ("http://example.com/x", 2, "this machine alone"),
        ("no/such/folder/x.jsonl", 4, "there is no folder"),
    ],
)
def test_events_go_to_files_and_servers_alone(
    command: Command, to: str, code: int, said: str
) -> None:
    found, message = command("export", "openlineage", "--to", to)
    assert (found, said in message) == (code, True), message


# A ModelKit.


def test_a_kit_has_every_file_that_its_kitfile_names(command: Command, tmp_path: Path) -> None:
    code, kit = command("export", "modelkit", "desk@1", "--out", str(tmp_path / "kit"))
    assert code == 0, kit
    place = tmp_path / "kit"
    kitfile = yaml.safe_load((place / "Kitfile").read_text())
    assert kitfile["manifestVersion"] == "1.0.0"
    assert kitfile.keys() == {"manifestVersion", "package", "model", "datasets", "docs"}
    model, (dataset,) = kitfile["model"], kitfile["datasets"]
    assert (model["name"], model["version"], model["framework"]) == ("desk", "1", "peft")
    assert dataset["license"] == "CC0-1.0"
    assert [each.get("license") for each in (model, *model["parts"])] == [None, "CC0-1.0", None]
    named = [model["path"], dataset["path"]]
    named += [each["path"] for each in (*model["parts"], *kitfile["docs"])]
    files = {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}
    assert files == {"Kitfile", *named} == set(kit["files"])
    base = next(each for each in model["parts"] if each["name"] == "base")["path"]
    digest = hashlib.sha256((place / base).read_bytes()).hexdigest()
    assert digest == model["parameters"]["base_sha256"]
    assert model["parameters"]["gate"] == "pass"
    # Another tool loads what was tuned: PEFT's own settings, and tensors under PEFT's names.
    from peft import LoraConfig
    from safetensors import safe_open

    assert LoraConfig.from_pretrained(str(place / "model")).r == 4
    with safe_open(place / model["path"], "pt") as tensors:
        assert all(".lora_" in name for name in tensors.keys())  # noqa: SIM118
    assert "text" not in json.loads((place / dataset["path"]).read_text())["train"]

    code, said = command("export", "modelkit", "desk@1", "--out", str(place))
    assert (code, "not an empty folder" in said) == (5, True), said
    code, said = command("export", "modelkit", "desk@9", "--out", str(tmp_path / "none"))
    assert (code, "no model version desk@9" in said) == (4, True), said


# MLflow's runs, here.


def test_what_mlflow_has_is_taken_over_once(command: Command, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'theirs.db'}"
    there = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = there.create_experiment("old work", artifact_location=(tmp_path / "a").as_uri())
    run = there.create_run(experiment, run_name="first", start_time=1000, tags={"team": "desk"})
    id = run.info.run_id
    there.log_param(id, "lr", 0.1)
    for step, value in enumerate((0.9, 0.5, float("nan"))):
        there.log_metric(id, "loss", value, timestamp=2000 + step, step=step)
    mlflow.set_tracking_uri(uri)
    there.log_text(id, "hello", "notes/hello.txt")
    given = mlflow.entities.Dataset("tiny", "abc123", "code", "{}")
    there.log_inputs(id, [mlflow.entities.DatasetInput(given, [])])
    there.set_terminated(id, "FINISHED", 3000)
    there.create_registered_model("clf", description="sorts")
    there.create_model_version("clf", f"{run.info.artifact_uri}/model", id)
    there.set_registered_model_alias("clf", "champion", 1)

    code, made = command("import", "mlflow", uri)
    assert code == 0, made
    assert (made["num_new"], made["num_known"], made["num_artifacts"]) == (1, 0, 1)
    assert made["new_versions"] == ["clf@1"]
    _, (shown,) = command("tracked", "--experiment", "old work")
    assert (shown["id"], shown["status"], shown["params"]) == (id, "FINISHED", {"lr": "0.1"})
    assert (shown["started_ms"], shown["ended_ms"]) == (1000, 3000)
    assert (shown["tags"]["team"], shown["metrics"]) == ("desk", {"loss": "NaN"})
    digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert shown["tags"]["tunesmith.sha256.notes/hello.txt"] == digest

    there.log_metric(id, "loss", 0.1, timestamp=9000, step=9)
    code, again = command("import", "mlflow", uri)
    assert (code, again["num_new"], again["num_known"]) == (0, 0, 1)
    assert again["new_versions"] == []
    _, (shown,) = command("tracked", "--experiment", "old work")
    assert shown["metrics"] == {"loss": 0.1}

    other = mlflow.MlflowClient(
        tracking_uri=f"sqlite:///{tmp_path / 'other.db'}",
        registry_uri=f"sqlite:///{tmp_path / 'other.db'}",
    )
    other.create_registered_model("clf")
    other.create_model_version("clf", "elsewhere", None)
    code, said = command("import", "mlflow", f"sqlite:///{tmp_path / 'other.db'}")
    assert (code, "clf@1 is here already and is another one" in said) == (5, True), said


def test_an_import_of_what_is_not_there_makes_nothing(command: Command, tmp_path: Path) -> None:
    code, said = command("import", "mlflow", f"sqlite:///{tmp_path / 'none.db'}")
    assert (code, "there is no file" in said) == (4, True), said
    assert list(tmp_path.iterdir()) == []
    code, said = command("tracked", "--experiment", "nobody's")
    assert (code, "there is no experiment" in said) == (4, True), said
