"""`serve` in a process of its own, ended by signals."""

import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from tunesmith.core.errors import Conflict
from tunesmith.stages.serve.config import ServiceConfig
from tunesmith.stages.serve.run import serve

_PROGRAM = """
import signal, sys
from tunesmith.lm.echo import EchoEngine
from tunesmith.stages.serve.app import Served, create_app
from tunesmith.stages.serve.config import ServiceConfig
from tunesmith.stages.serve.run import serve
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores it
config = ServiceConfig(models=("desk",), port=int(sys.argv[1]))
app = create_app(
    [Served(model_id="desk", engine=EchoEngine(), instruction="")], config=config,
    record_trace=lambda trace: None, ask=None,
)
try:
    serve(app, config)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)]
)
def test_a_signal_ends_it(port, number, code):
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", _PROGRAM, str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            _wait_until_healthy(port)
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == code
    assert (out, err) == ("", "")


def _wait_until_healthy(port: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
            return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the service did not start")


def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = ServiceConfig(models=("desk",), port=listener.getsockname()[1])
        with pytest.raises(Conflict, match="port"):
            serve(None, config)
