"""What ran here, brought to other systems, and read there by their own software."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunesmith.core.errors import TunesmithError

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own
mlflow = pytest.importorskip("mlflow")

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
    assert tuned.data.tags["tunesmith.sha256"] == ours["output"]["sha256"]
    assert tuned.data.metrics["usage.wall_s"] == pytest.approx(ours["usage"]["wall_s"])
    (given,) = tuned.inputs.dataset_inputs
    (dataset,) = (run for run in runs if run["step"] == "curate:calls")
    assert given.dataset.name == "calls@1"
    assert given.dataset.digest == dataset["output"]["sha256"][:36]
    assert {tag.key: tag.value for tag in given.tags}["tunesmith.sha256"] == (
        dataset["output"]["sha256"]
    )
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
    assert (version.version, version.run_id) == ("1", run_id)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    described = mlflow.models.get_model_info("models:/desk@candidate")
    assert described.flavors["tunesmith"]["version"] == "desk@1"
    model = mlflow.pyfunc.load_model("models:/desk@candidate")
    answers = model.predict(["abcd efgh abcd", "stuv wxyz stuv"])
    assert set(answers) <= {"fire", "flood"}


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
