"""A real server on a free port of this machine, and the real OpenAI client."""

import contextlib
import dataclasses
import socket
import threading
import time
import types
from collections.abc import Callable, Iterator, Sequence

import httpx
import openai
import pytest
import uvicorn

from tunesmith.lm.echo import EchoEngine
from tunesmith.lm.engine import Engine, Message, Piece, Sampling
from tunesmith.records.index import Answer
from tunesmith.records.service import Trace
from tunesmith.stages.serve.app import Served, create_app
from tunesmith.stages.serve.config import ServiceConfig


class SlowEngine:
    """Says "word" until `go_on` is cleared for good; counts how often it was entered and left."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.left = threading.Semaphore(0)
        self.gate = threading.Event()

    def generate(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[Piece]:
        self.entered.release()
        try:
            for count in range(1, 2000):
                if self.gate.is_set():
                    yield _piece("end", count, "stop")
                    return
                yield _piece("word ", count, None)
                time.sleep(0.01)
        finally:
            self.left.release()


def _piece(text: str, count: int, reason: str | None) -> Piece:
    return Piece(
        text=text,
        num_prompt_tokens=1,
        num_answer_tokens=count,
        finish_reason=reason,  # type: ignore[arg-type]
    )


class RememberingEngine(EchoEngine):
    """Echoes, and remembers what it was asked."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.sampling = Sampling()

    def generate(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[Piece]:
        self.messages, self.sampling = list(messages), sampling
        yield from super().generate(messages, sampling)


@dataclasses.dataclass
class Running:
    """A service that runs."""

    url: str
    traces: list[Trace]
    client: openai.OpenAI
    http: httpx.Client

    def wait_for_traces(self, count: int) -> list[Trace]:
        """The traces once there are `count`."""
        deadline = time.monotonic() + 60
        while len(self.traces) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.traces


Start = Callable[..., Running]


@pytest.fixture
def start() -> Iterator[Start]:
    """start(engine, ask=None, **settings) -> Running; stopped at the end of the test. The engine
    is that of desk@3, or there is one for each name."""
    with contextlib.ExitStack() as stack:

        def run(
            engine: Engine | dict[str, Engine] | None = None,
            ask: Callable[[str], Answer] | None = None,
            record_trace: Callable[[Trace], None] | None = None,
            **settings: int,
        ) -> Running:
            return stack.enter_context(_running(engine, ask, record_trace, settings))

        yield run


@contextlib.contextmanager
def _running(engine, ask, record_trace, settings) -> Iterator[Running]:
    traces: list[Trace] = []
    config = ServiceConfig(name="desk", models=("desk",), **settings)
    named = engine if isinstance(engine, dict) else {"desk@3": engine or EchoEngine()}
    app = create_app(
        [
            Served(model_id=name, engine=each, instruction="Name the licence.")
            for name, each in named.items()
        ],
        config=config,
        record_trace=record_trace or traces.append,
        ask=ask,
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=5)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            with (
                openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
                httpx.Client(base_url=url) as http,
            ):
                yield Running(url=url, traces=traces, client=client, http=http)
        finally:
            server.should_exit = True
            thread.join(timeout=60)
            assert not thread.is_alive()


@pytest.fixture
def engines():
    """The engines that tests share."""
    return types.SimpleNamespace(SlowEngine=SlowEngine, RememberingEngine=RememberingEngine)
