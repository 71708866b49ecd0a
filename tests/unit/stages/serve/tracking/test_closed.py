"""What must not come through: foreign pages, and names that would lead elsewhere."""

import contextlib
import http.client
import json
import ntpath
import posixpath
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import InterfaceError
from starlette.routing import Mount

from tunesmith.core.errors import UsageError
from tunesmith.stages.serve.config import ServiceConfig
from tunesmith.stages.serve.tracking.names import artifact_path, place, source
from tunesmith.stages.serve.tracking.where import conditions

RUN = "0" * 32
NASTY = [
    "../x",
    "a/../../x",
    "..\\x",
    "a\\..\\x",
    "%2e%2e/x",
    "%2e%2e%2fx",
    "%252e%252e%252fx",
    "..%5cx",
    "%255c..%255cx",
    "/etc/passwd",
    "//host/share",
    "\\\\host\\share",
    "C:/x",
    "C:x",
    "a//x",
    "./x",
    "x/.",
    "x;/../../y",
    "x#/../y",
    "x?y",
    "x\x00.txt",
    "x%00.txt",
    "x\n",
    "\u202ex",
    "~/../x",
    "",
    ".",
    "..",
    "x" * 2000,
    "file:///etc/passwd",
    "http://127.0.0.1/x",
    "s3://bucket/x",
    "dbfs:/x",
    "x. ",
    "x.",
    " x",
]


def routes(app, prefix=""):
    for route in app.routes:
        if isinstance(route, Mount):
            yield from routes(route.app, prefix + route.path)
        elif hasattr(route, "methods"):
            for method in sorted(route.methods):
                yield method, prefix + route.path
        else:
            for inner in route.original_router.routes:
                for method in sorted(inner.methods):
                    yield method, prefix + route.include_context.prefix + inner.path


def test_every_route_is_closed_to_foreign_pages(service):
    found = list(routes(service.app))
    assert len(found) > 50
    assert ("PUT", "/mlflow/api/2.0/mlflow-artifacts/artifacts/{path:path}") in found
    for method, path in found:
        url = path.replace("{path:path}", f"0/{RUN}/artifacts/x").replace("{model_id}", f"m-{RUN}")
        for header in ("Host", "Origin"):
            refused = service.http.request(
                method, url, headers={header: "http://evil.example"}, content=b"{}"
            )
            assert refused.status_code == 403, (method, path, header)
            assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize("name", NASTY)
def test_no_path_or_location_leads_elsewhere(service, name):
    """Sent as it stands, as a client of an attacker's would; only the store's own files appear."""
    before = _files(service)
    run = service.new_run()
    at = f"/mlflow/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/"
    for method in ("PUT", "GET"):
        if name and not set(name) & set("\x00\n? #\u202e"):
            assert _raw(service, method, at + name) in range(400, 500)
        encoded = "".join(f"%{byte:02x}" for byte in name.encode())
        assert _raw(service, method, at + encoded) in range(400, 500)
    for asked in (
        service.get("artifacts/list", run_id=run, path=name or ".."),
        service.get("artifacts/list", run_id=name),
        service.get("runs/get", run_id=name),
        service.get("../mlflow-artifacts/artifacts", path=f"0/{run}/artifacts/{name or '..'}"),
        service.post("logged-models", experiment_id=name or "x"),
        service.post("model-versions/create", name="m", source=name),
        service.post("model-versions/create", name="m", source=f"mlflow-artifacts:/{name}"),
        service.post("model-versions/create", name="m", source=f"runs:/{run}/{name}"),
        service.post("model-versions/create", name="m", source=f"models:/{name}"),
        service.post("model-versions/create", name="m", source=f"mlflow-artifacts:/0/{run}/{name}"),
    ):
        assert asked.status_code in (400, 404), asked.text
    assert _files(service) == before


@pytest.mark.parametrize("name", [name for name in NASTY if name])
def test_a_name_is_kept_letter_by_letter_or_refused(service, name):
    run = service.new_run()
    said = service.post("runs/set-tag", run_id=run, key=name[:250], value=name)
    if "\x00" in name:
        assert said.status_code == 400
    else:
        tags = service.get("runs/get", run_id=run).json()["run"]["data"]["tags"]
        assert {"key": name[:250], "value": name} in tags
    made = service.post("experiments/create", name=name)
    if made.status_code == 200:
        shown = service.get("experiments/get", experiment_id=made.json()["experiment_id"]).json()
        assert shown["experiment"]["name"] == name
        assert shown["experiment"]["artifact_location"] == (
            f"mlflow-artifacts:/{made.json()['experiment_id']}"
        )
    else:
        assert made.status_code == 400
    registered = service.post("registered-models/create", name=name)
    if set(name) & set("/:\\\x00\n") or len(name) > 250:
        assert registered.status_code == 400
    else:
        assert registered.json()["registered_model"]["name"] == name
    alias = service.post("registered-models/alias", name=name, alias=name, version=1)
    assert alias.status_code in (400, 404)


@given(st.text(max_size=60) | st.from_regex(r"[\w./\\%:;#? -]{1,60}", fullmatch=True))
def test_a_path_that_is_taken_stays_below_its_folder_on_every_system(text):
    try:
        taken = artifact_path(text)
    except UsageError:
        return
    assert taken == text
    for system in (posixpath, ntpath):
        joined = system.normpath(system.join("/base/folder", taken))
        assert joined.replace("\\", "/").startswith("/base/folder/")


@given(st.text(max_size=200))
def test_a_location_is_read_or_refused_and_nothing_else_happens(text):
    for read in (place, source, conditions):
        with contextlib.suppress(UsageError):
            read(text)


def test_half_a_character_is_refused(service):
    answered = service.http.post(
        "/mlflow/api/2.0/mlflow/experiments/create",
        content=b'{"name": "\\ud800"}',
        headers={"Content-Type": "application/json"},
    )
    assert answered.status_code == 400
    assert answered.json()["error_code"] == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            {"run_id": RUN, "metrics": [{"key": "a", "value": "x", "timestamp": 1}]},
            "metrics.0.value",
        ),
        ({"run_id": RUN, "metrics": [{"key": "a", "value": 1, "timestamp": 2**70}]}, "timestamp"),
        ({"run_id": RUN, "metrics": [{"key": "", "value": 1, "timestamp": 2}]}, "metrics.0.key"),
        ({"run_id": RUN, "params": [{"key": "a" * 251, "value": "1"}]}, "params.0.key"),
        ({"run_id": RUN, "metrics": [{"key": "a", "value": 1, "timestamp": 2}] * 1001}, "1000"),
        ({"run_id": RUN}, f"there is no run {RUN}"),
    ],
)
def test_a_batch_that_cannot_be_right(service, body, said):
    answered = service.post("runs/log-batch", **body)
    assert answered.status_code in (400, 404)
    assert said in answered.json()["message"]


def test_a_batch_is_written_whole_or_not_at_all(service):
    run = service.new_run()
    service.post("runs/log-parameter", run_id=run, key="lr", value="1")
    answered = service.post(
        "runs/log-batch",
        run_id=run,
        params=[{"key": "new", "value": "1"}, {"key": "lr", "value": "2"}],
        metrics=[{"key": "loss", "value": 1, "timestamp": 1}],
    )
    assert answered.status_code == 400
    data = service.get("runs/get", run_id=run).json()["run"]["data"]
    assert data["params"] == [{"key": "lr", "value": "1"}]
    assert data["metrics"] == []


@pytest.mark.parametrize("chunked", [False, True])
def test_a_file_that_is_too_long_is_refused_and_not_kept(service, chunked):
    before = _files(service)
    run = service.new_run()

    def parts():
        for _ in range(20):
            yield b"x" * 100_000

    body = parts() if chunked else b"x" * 2_000_000
    url = f"/mlflow/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/x"
    assert service.http.put(url, content=body).status_code == 413
    assert _files(service) == before


def test_a_file_is_no_folder_too(service):
    at = f"/mlflow/api/2.0/mlflow-artifacts/artifacts/0/{service.new_run()}/artifacts"
    assert service.http.put(f"{at}/a", content=b"1").status_code == 200
    assert service.http.put(f"{at}/a/b", content=b"1").status_code == 400


def test_a_file_is_given_as_a_file_and_never_damaged(service):
    at = f"/mlflow/api/2.0/mlflow-artifacts/artifacts/0/{service.new_run()}/artifacts/x.html"
    service.http.put(at, content=b"<script>alert(1)</script>")
    given = service.http.get(at)
    assert given.headers["content-type"] == "application/octet-stream"
    assert given.headers["content-disposition"] == "attachment"
    assert given.headers["x-content-type-options"] == "nosniff"
    digest = given.headers["etag"].strip('"')
    stored = service.folder / "blobs" / digest[:2] / digest[2:]
    stored.chmod(0o600)
    stored.write_bytes(b"<script>alert(2)</script>")
    assert service.http.get(at).json()["error_code"] == "DATA_LOSS"
    stored.unlink()
    assert service.http.get(at).status_code == 404


def test_what_is_not_offered_says_so(service):
    for method, path in [("POST", "registered-models/rename"), ("POST", "traces"), ("GET", "x")]:
        answered = service.http.request(method, f"/mlflow/api/2.0/mlflow/{path}")
        assert answered.json()["error_code"] == "ENDPOINT_NOT_FOUND"


def test_a_service_serves_models_or_tracks():
    with pytest.raises(ValueError, match="tracking = true"):
        ServiceConfig(name="none")
    assert ServiceConfig(name="desk", models=("desk",)).tracking is False


def _files(service) -> set[Path]:
    """What is on the disk beside the database's own files."""
    return {path for path in service.folder.rglob("*") if path.is_file() and ".db" not in path.name}


def _raw(service, method: str, target: str) -> int:
    """The status of a request whose target is sent byte by byte as it is."""
    host, _, port = service.url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port))
    connection._validate_path = lambda _url: None  # type: ignore[attr-defined]
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        connection.putheader("Content-Length", "2" if method == "PUT" else "0")
        connection.endheaders(b"hi" if method == "PUT" else None, encode_chunked=False)
        answered = connection.getresponse()
        body = answered.read()
        if answered.status < 400 and method == "GET":
            raise AssertionError(json.loads(body))
        return answered.status
    finally:
        connection.close()


def test_a_store_that_is_busy_or_away_is_said_to_be(service, monkeypatch):
    """Clients wait and try again at 503; whatever the reason is that no connection is to be had."""
    pool = service.database.engine.pool
    monkeypatch.setattr(pool, "_timeout", 0.05)
    with contextlib.ExitStack() as held:
        for _ in range(pool.size() + pool._max_overflow):
            held.enter_context(service.database.read())
        said = service.get("experiments/get", experiment_id="0")
    assert (said.status_code, said.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    assert "every connection" in said.json()["message"]

    def gone(*_given):
        raise InterfaceError("SELECT 1", {}, RuntimeError("the connection is closed"))

    with monkeypatch.context() as changed:
        changed.setattr(service.database.engine, "connect", gone)
        said = service.get("experiments/get", experiment_id="0")
    assert (said.status_code, said.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    assert service.get("experiments/get", experiment_id="0").status_code == 200


@pytest.mark.parametrize(
    ("path", "taken"),
    [("a" * 1000, True), ("a" * 1001, False), ("ä" * 1000, True), ("字" * 700, False)],
)
def test_a_path_is_as_long_as_every_database_can_index(path, taken):
    if taken:
        assert artifact_path(path) == path
    else:
        with pytest.raises(UsageError, match="no path of an artefact"):
            artifact_path(path)
