"""An MLflow server says where its clients go next, and ours goes nowhere else. Real servers, and
MLflow's real client."""

from __future__ import annotations

import hashlib
import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import mlflow
import pytest

from tunesmith.core.errors import DataError
from tunesmith.core.tracked import runs
from tunesmith.interop.mlflow_client import client
from tunesmith.interop.mlflow_files import files_at
from tunesmith.interop.mlflow_in import Imported, import_mlflow
from tunesmith.project import open_project

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own

FILES = "/api/2.0/mlflow-artifacts/artifacts"


class Mlflow:
    """As much of an MLflow server as an import asks for; it says what a test tells it to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.places: list[str] = []
        """The `artifact_uri` of each of its runs."""
        self.redirects: dict[str, str] = {}
        """By the beginning of a path."""
        self.files: dict[str, bytes] = {}
        self.data: dict[str, Any] = {}
        """What was logged of each run."""
        self.models: dict[str, Any] = {}
        this = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                this.asked.append(self.path)
                for start, target in this.redirects.items():
                    if self.path.startswith(start):
                        self._say(307, b"", Location=target)
                        return
                self._say(200, this._answer(urlsplit(self.path)))

            do_POST = do_PUT = do_GET

            def _say(self, status: int, body: bytes, **headers: str) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.host = f"127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def _answer(self, asked: Any) -> bytes:
        path = asked.path
        if path == FILES:
            folder = parse_qs(asked.query).get("path", [""])[0]
            listed = [{"path": name, "is_dir": False} for name in self.files] if folder else []
            return json.dumps({"files": listed}).encode()
        if path.startswith(FILES):
            return self.files.get(path.rpartition("/")[2], b"")
        if path.endswith("experiments/search"):
            one = {"experiment_id": "1", "name": "e", "artifact_location": "x"}
            return json.dumps({"experiments": [one | {"lifecycle_stage": "active"}]}).encode()
        if path.endswith("runs/search"):
            return json.dumps({"runs": [self._run(n) for n in range(len(self.places))]}).encode()
        if path.endswith("runs/get"):
            (id,) = parse_qs(asked.query)["run_id"]
            return json.dumps({"run": self._run(int(id, 16))}).encode()
        if path.endswith(("registered-models/search", "model-versions/search")):
            return json.dumps(self.models).encode()
        return b"{}"

    def _run(self, number: int) -> dict[str, Any]:
        id = f"{number:032x}"
        info = {"run_id": id, "run_uuid": id, "run_name": "r", "experiment_id": "1"}
        said = {"artifact_uri": self.places[number], "lifecycle_stage": "active"}
        times = {"status": "FINISHED", "start_time": 1, "end_time": 2, "user_id": "u"}
        return {"info": {**info, **said, **times}, "data": self.data}


@pytest.fixture
def make_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Mlflow]]:
    """make_server() -> a server; what fails is not tried for minutes."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    made: list[Mlflow] = []

    def make() -> Mlflow:
        made.append(Mlflow())
        return made[-1]

    yield make
    for each in made:
        each.close()


def taken(folder: Path, uri: str, *hosts: str) -> tuple[Imported, list[dict[str, str]]]:
    """Import; what it brought, and the tags of each run."""
    folder.mkdir(exist_ok=True)
    text = f'[project]\nname = "x"\nhosts = {json.dumps(hosts)}\n'
    (folder / "tunesmith.toml").write_text(text)
    with closing(open_project(folder)) as project:
        made = import_mlflow(project, uri)
        with project.runner.database.read() as connection:
            ids = [f"{number:032x}" for number in range(made.num_new)]
            return made, [dict(runs.run(connection, id).tags) for id in ids]


def digests(tags: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in tags.items() if key.startswith("tunesmith.sha256.")}


def test_files_are_read_where_the_server_gives_them_out_and_nowhere_else(
    make_server: Callable[[], Mlflow], tmp_path: Path
) -> None:
    there, other = make_server(), make_server()
    private = tmp_path / "private"
    private.mkdir()
    (private / "id_rsa").write_text("secret")
    there.files = other.files = {"weights": b"abc"}
    elsewhere = [
        f"http://{other.host}{FILES}/1",
        f"http://{there.host}{FILES}/1",  # only what the server gives out as its own
        private.as_uri(),
        str(private),
        "s3://me:pw@bucket/x",
        f"mlflow-artifacts://{other.host}/1",
        "mlflow-artifacts:/1/../../../../x",
        "dbfs:/1",
        "http://[",
        "",
    ]
    there.places = ["mlflow-artifacts:/1/a", f"mlflow-artifacts://{there.host}/1/b", *elsewhere]
    made, tags = taken(tmp_path / "p", f"http://{there.host}", there.host)
    expected = {"tunesmith.sha256.weights": hashlib.sha256(b"abc").hexdigest()}
    assert [digests(each) for each in tags] == [expected, expected, *({} for _ in elsewhere)]
    assert other.asked == []
    assert (made.num_new, made.num_artifacts) == (len(there.places), 2)
    assert sum(made.left_out.values()) == len(elsewhere)
    assert (made.left_out["a folder"], made.left_out["s3://bucket"]) == (3, 1)


def test_the_command_says_whose_files_were_not_read(
    make_server: Callable[[], Mlflow], tmp_path: Path
) -> None:
    from typer.testing import CliRunner

    from tunesmith.cli.main import app

    there = make_server()
    there.places = ["s3://bucket/x"]
    text = f'[project]\nname = "x"\nhosts = ["{there.host}"]\n'
    (tmp_path / "tunesmith.toml").write_text(text)
    command = ["import", "mlflow", f"http://{there.host}", "-p", str(tmp_path)]
    done = CliRunner().invoke(app, command)
    assert "artefacts of 1 runs were not read: they are said to lie at s3://bucket" in done.output


@pytest.mark.parametrize(
    "start", ["/api/2.0/mlflow/registered-models/search", f"{FILES}/1/weights"]
)
@pytest.mark.parametrize("to_itself", [False, True])
def test_a_redirect_is_refused(
    make_server: Callable[[], Mlflow], tmp_path: Path, start: str, to_itself: bool
) -> None:
    there, other = make_server(), make_server()
    there.places, there.files = ["mlflow-artifacts:/1"], {"weights": b"abc"}
    there.redirects[start] = f"http://{(there if to_itself else other).host}/redirected"
    with pytest.raises(DataError, match="redirects its client, which is not followed"):
        taken(tmp_path, f"http://{there.host}", there.host)
    assert other.asked == []
    assert "/redirected" not in there.asked


def test_each_connection_goes_to_an_address_that_was_checked(
    make_server: Callable[[], Mlflow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the name means when it is looked up once more (DNS rebinding)."""
    there = make_server()
    real, asked = socket.getaddrinfo, []

    def resolver(host: str, *rest: Any, **named: Any) -> Any:
        if host == "localhost":
            asked.append(host)
            host = "127.0.0.1" if len(asked) == 1 else "192.0.2.1"
        return real(host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    with pytest.raises(DataError, match=r"localhost is 192\.0\.2\.1, not this machine"):
        taken(tmp_path, f"http://localhost:{there.port}", f"localhost:{there.port}")
    assert there.asked == []


def test_no_proxy_comes_between_and_all_is_as_it_was_afterwards(
    make_server: Callable[[], Mlflow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    import requests

    there, proxy = make_server(), make_server()
    monkeypatch.setenv("http_proxy", f"http://{proxy.host}")
    monkeypatch.setenv("no_proxy", "example.org")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert taken(tmp_path, f"http://{there.host}", there.host)[0].num_experiments == 1
    assert proxy.asked == []
    assert (os.environ["no_proxy"], "NO_PROXY" in os.environ) == ("example.org", False)
    assert requests.get(f"http://{there.host}/", timeout=9).status_code == 200
    assert proxy.asked == [f"http://{there.host}/"]


def test_what_mlflow_raises_is_said_in_our_words(
    make_server: Callable[[], Mlflow], tmp_path: Path
) -> None:
    there = make_server()
    there._answer = lambda _asked: b"<html>"  # type: ignore[method-assign]
    with pytest.raises(DataError, match="MLflow failed: "):
        taken(tmp_path, f"http://{there.host}", there.host)
    broken = tmp_path / "broken.db"
    broken.write_text("no database" * 100)
    with pytest.raises(DataError, match="MLflow failed: "):
        taken(tmp_path, f"sqlite:///{broken}")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"tags": [{"key": "a\0b", "value": "x"}]}, "character that cannot be stored"),
        ({"tags": [{"key": "a", "value": "x\0"}]}, "character that cannot be stored"),
        ({"params": [{"key": "a", "value": "x\0"}]}, "character that cannot be stored"),
        ({"params": [{"key": "a" * 251, "value": "x"}]}, "name of 251 characters"),
    ],
)
def test_what_not_every_database_can_hold_is_refused(
    make_server: Callable[[], Mlflow], tmp_path: Path, data: dict[str, Any], said: str
) -> None:
    """By SQLite too, from which a store may move to a server."""
    there = make_server()
    there.places, there.data = ["mlflow-artifacts:/1"], data
    with pytest.raises(DataError, match=said):
        taken(tmp_path, f"http://{there.host}", there.host)


def test_a_number_of_a_version_that_is_none(
    make_server: Callable[[], Mlflow], tmp_path: Path
) -> None:
    there = make_server()
    model = {"name": "clf", "version": "first"}
    there.models = {"registered_models": [{"name": "clf"}], "model_versions": [model]}
    with pytest.raises(DataError, match="'first' is no number of a model version"):
        taken(tmp_path, f"http://{there.host}", there.host)


def test_of_a_database_the_files_beside_it_are_read(tmp_path: Path) -> None:
    """Of a run that says its files are elsewhere, or that links there, nothing is."""
    beside, private = tmp_path / "theirs", tmp_path / "private"
    beside.mkdir()
    private.mkdir()
    (private / "id_rsa").write_text("secret")
    uri = f"sqlite:///{beside / 'mlflow.db'}"
    of = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    places = [(beside / "a").as_uri(), "a", private.as_uri(), beside.as_uri(), "s3://bucket/x"]
    ids = []
    for number, place in enumerate(places):
        made = of.create_run(of.create_experiment(f"e{number}", artifact_location=place))
        ids.append(made.info.run_id)
    mlflow.set_tracking_uri(uri)
    of.log_text(ids[0], "abc", "notes/weights")
    files = beside / "a" / ids[0] / "artifacts"
    (files / "link").symlink_to(private / "id_rsa")
    (files / "folder").symlink_to(private)
    mlflow.set_tracking_uri(None)
    (tmp_path / "tunesmith.toml").write_text('[project]\nname = "x"\n')
    with closing(open_project(tmp_path)) as project:
        made = import_mlflow(project, uri)
        with project.runner.database.read() as connection:
            tags = [dict(runs.run(connection, id).tags) for id in ids]
    expected = {"tunesmith.sha256.notes/weights": hashlib.sha256(b"abc").hexdigest()}
    assert [digests(each) for each in tags] == [expected, {}, {}, {}, {}]
    # MLflow takes "a" to be below wherever it is called. The one in the database's own folder is
    # there, as a folder of the run's is put below it.
    assert made.left_out == {"a folder": 2, "s3://bucket": 1}


@pytest.mark.parametrize("place", ["s3://bucket/1", "file:///tmp/x", "mlflow-artifacts://other/1"])
def test_an_export_sends_files_to_the_server_alone(
    make_server: Callable[[], Mlflow], place: str, tmp_path: Path
) -> None:
    there = make_server()
    uri = f"http://{there.host}"
    with pytest.raises(DataError, match=r"says that files go to .* is not followed"):
        files_at(uri, place)
    (tmp_path / "weights").write_bytes(b"abc")
    (tmp_path / "empty").write_bytes(b"")
    with client(uri, [there.host]):
        files_at(uri, "mlflow-artifacts:/1/a").log_artifacts(str(tmp_path))
    assert set(there.asked) == {f"{FILES}/1/a/weights", f"{FILES}/1/a/empty"}
