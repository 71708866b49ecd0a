"""What must not come through, over real sockets."""

import pytest


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8377", "", "127.0.0.1.evil.example"]
)
def test_a_foreign_host_is_refused(start, host):
    response = start().http.get("/healthz", headers={"Host": host})
    assert response.status_code == 403
    assert response.json()["error"]["code"] == "host_not_allowed"
    assert response.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:99", "[::1]:8377"])
def test_names_of_this_machine_are_accepted(start, host):
    assert start().http.get("/healthz", headers={"Host": host}).json() == {"status": "ok"}


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example", "file://", ""]
)
def test_a_foreign_origin_is_refused(start, origin):
    service = start()
    response = service.http.post("/v1/ask", json={}, headers={"Origin": origin})
    assert response.status_code == 403
    assert "access-control-allow-origin" not in response.headers


def test_an_origin_of_this_machine_is_accepted(start):
    response = start().http.get("/healthz", headers={"Origin": "http://localhost:3000"})
    assert response.status_code == 200
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large(start, chunked):
    def parts():
        for _ in range(100):
            yield b"x" * 100

    body = parts() if chunked else b"x" * 10_000
    response = start(max_body_bytes=1000).http.post("/v1/chat/completions", content=body)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "request_too_large"


def test_every_response_has_an_id_and_errors_an_envelope(start):
    http = start().http
    ids = set()
    for method, path, status in [
        ("GET", "/healthz", 200),
        ("GET", "/docs", 404),
        ("GET", "/openapi.json", 404),
        ("DELETE", "/v1/models", 405),
        ("POST", "/v1/ask", 400),
    ]:
        response = http.request(method, path)
        assert response.status_code == status
        ids.add(response.headers["x-request-id"])
        if status >= 400:
            assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert len(ids) == 5
