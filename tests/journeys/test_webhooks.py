"""Others are told what happened: at least once, signed, to allowed hosts alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import re
import struct
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tunesmith import webhooks
from tunesmith.cli.main import app
from tunesmith.core import catalog, evidence, outbox
from tunesmith.core.errors import ConfigError, NotFound, TunesmithError, UsageError
from tunesmith.project import open_project
from tunesmith.project_file import read

SECRET = b"0123456789abcdef0123456789abcdef"
SAID = f"whsec_{base64.b64encode(SECRET).decode()}"
WORD = "very-secret-word"


class Receiver:
    """A server that takes messages as a test says."""

    def __init__(self) -> None:
        self.answers: list[int | str] = []
        """What to answer next; 200 when there is nothing left."""
        self.taken: list[tuple[dict[str, str], bytes]] = []
        """Headers and body of what was answered with 2xx."""
        self.asked = 0
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def events(self) -> list[tuple[str, str]]:
        return [(h["webhook-id"], json.loads(body)["type"]) for h, body in self.taken]

    def _handler(receiver) -> type[http.server.BaseHTTPRequestHandler]:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.asked += 1
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = receiver.answers.pop(0) if receiver.answers else 200
                self.close_connection = True
                if answer == "reset":
                    now = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(1, 13, now)  # SOL_SOCKET, SO_LINGER
                elif answer == "rubbish":
                    self.wfile.write(f"{WORD} nothing like HTTP\r\n\r\n".encode())
                elif answer == "dribble":
                    for _ in range(100):
                        try:
                            self.wfile.write(b"H")
                        except OSError:
                            return
                        time.sleep(0.1)
                else:
                    if 200 <= int(answer) < 300:
                        receiver.taken.append((headers, body))
                    self.send_response(int(answer), WORD)
                    self.send_header("Location", f"http://{receiver.host}/elsewhere")
                    self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def project(tmp_path, receiver, monkeypatch) -> Path:
    """A project of one small file, with a webhook that was set by a first tick."""
    monkeypatch.setenv("HOOK_SECRET", SAID)
    (tmp_path / "notes.jsonl").write_text('{"text": "the parrot is grey"}\n')
    (tmp_path / "tunesmith.toml").write_text(f"""\
[project]
name = "told"
hosts = ["{receiver.host}"]

[source.notes]
origin = "file:notes.jsonl"
format = "jsonl"
text = "text"

[webhook.desk]
url = "http://{receiver.host}/hook?token={WORD}"
events = ["run.*", "alias.moved"]
secret_env = "HOOK_SECRET"
timeout_s = 0.5
""")
    deliver(tmp_path)
    return tmp_path


def deliver(folder: Path) -> list[webhooks.Told]:
    with webhooks.opened(folder) as post:
        return webhooks.deliver(post)


def run(folder: Path, *texts: str) -> None:
    """Two steps for each text."""
    for text in texts or ("the parrot is grey",):
        (folder / "notes.jsonl").write_text(json.dumps({"text": text}) + "\n")
        opened = open_project(folder)
        try:
            from tunesmith.pipeline import run as run_all

            run_all(opened)
        finally:
            opened.close()


def log(folder: Path, *kinds: str):
    with webhooks.opened(folder) as post, post.database.read() as connection:
        return list(evidence.entries(connection, *kinds))


def later(monkeypatch, seconds: float) -> None:
    """The database's clock is so much ahead."""
    for module in (outbox, webhooks, evidence, catalog):
        real = module.clock
        monkeypatch.setattr(
            module, "clock", lambda c, *, plus_s=0.0, real=real: real(c, plus_s=plus_s + seconds)
        )


def test_each_event_is_told_once_signed_and_without_a_text_of_the_data(project, receiver):
    assert log(project, "webhook.set")
    run(project)
    told = deliver(project)
    assert [(each.event, each.failed) for each in told] == [("run.finished", "")] * len(told)
    assert len(told) >= 2
    assert deliver(project) == [], "what was told is not told again"
    seqs = [entry.seq for entry in log(project, "run.finished")]
    assert receiver.events() == [(f"evidence-{seq}", "run.finished") for seq in seqs]
    for headers, body in receiver.taken:
        # As a receiver checks it, by the text of Standard Webhooks.
        signed = b".".join(
            [headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body]
        )
        expected = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
        assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
        assert headers["content-type"] == "application/json"
        said = json.loads(body)
        assert set(said) == {"type", "timestamp", "data"}
        assert said["data"]["project"] == "told"
        assert b"parrot" not in body
        assert SECRET not in body


def test_nothing_from_before_it_was_set_is_told(project, receiver):
    text = (project / "tunesmith.toml").read_text()
    run(project)
    deliver(project)
    second = text.partition("[webhook.desk]")[2]
    (project / "tunesmith.toml").write_text(f"{text}\n[webhook.late]{second}")
    receiver.taken.clear()
    assert deliver(project) == []
    run(project, "another text")
    assert {each.webhook for each in deliver(project)} == {"desk", "late"}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (500, "it answered 500"),
        (302, "it answered 302"),
        (404, "it answered 404"),
        ("reset", "it did not answer"),
        ("rubbish", "BadStatusLine: it did not answer"),
        ("dribble", "it did not answer"),
    ],
)
def test_a_receiver_that_misbehaves_is_told_again_and_its_words_are_kept_nowhere(
    project, receiver, monkeypatch, answer, reason
):
    run(project)
    receiver.answers = [answer]
    started = time.monotonic()
    (told,) = deliver(project)  # the others would wait for as long
    assert time.monotonic() - started < 5
    assert told.failed.endswith(reason)
    first = log(project, "run.finished")[0].seq
    (failed,) = log(project, "webhook.failed")
    assert (failed.body["entry"], failed.body["tries"]) == (first, 1)
    assert failed.body["not_before"] > failed.at
    rest = deliver(project)  # the others go on; this one is not due yet
    assert first not in [each.entry for each in rest]
    later(monkeypatch, 6.0)
    (again,) = deliver(project)
    assert (again.entry, again.failed) == (first, "")
    everything = json.dumps([[e.what, dict(e.body)] for e in log(project)])
    listed = CliRunner().invoke(app, ["webhook", "list", "-p", str(project)]).output
    for word in (WORD, SAID, SECRET.decode()):
        assert word not in everything + listed


def test_after_all_tries_it_is_given_up_until_somebody_asks(project, receiver, monkeypatch):
    run(project)
    receiver.answers = [503] * 100
    first = log(project, "run.finished")[0].seq
    for number in range(len(outbox.WAITS_S) + 1):
        assert [each.entry for each in deliver(project)][:1] == [first], number
        later(monkeypatch, 80_000.0)
    receiver.answers = []
    (dead,) = log(project, "webhook.dead")
    assert (dead.body["entry"], dead.body["tries"]) == (first, len(outbox.WAITS_S) + 1)
    assert first not in [each.entry for each in deliver(project)]
    with webhooks.opened(project) as post:
        (state,) = webhooks.states(post)
        assert (state.dead, state.num_waiting) == ((first,), 0)
        with pytest.raises(NotFound, match="given up no message 999"):
            webhooks.retry(post, "desk", 999)
        assert webhooks.retry(post, "desk") == [first]
        with pytest.raises(NotFound):
            webhooks.retry(post, "desk")
    assert [(each.entry, each.failed) for each in deliver(project)] == [(first, "")]


def test_who_is_gone_is_given_up_at_once(project, receiver):
    run(project)
    receiver.answers = [410]
    deliver(project)
    assert len(log(project, "webhook.dead")) == 1


def test_a_crash_between_sending_and_noting_tells_it_twice_and_never_not(
    project, receiver, monkeypatch
):
    run(project)
    monkeypatch.setattr(webhooks.outbox, "note", lambda *_a, **_k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        deliver(project)
    monkeypatch.undo()
    monkeypatch.setenv("HOOK_SECRET", SAID)
    deliver(project)
    ids = [id for id, _ in receiver.events()]
    assert ids[0] == ids[1], "by its id the receiver knows it"
    assert set(ids) == {f"evidence-{entry.seq}" for entry in log(project, "run.finished")}


def test_two_ticks_at_once_tell_it_once(project, receiver):
    run(project)
    threads = [threading.Thread(target=deliver, args=[project]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    deliver(project)
    ids = [id for id, _ in receiver.events()]
    assert len(ids) == len(set(ids)) == len(log(project, "run.finished"))


def test_a_tick_tells_it_and_a_missing_secret_stops_nothing_else(project, receiver, monkeypatch):
    run(project)
    ticked = CliRunner().invoke(app, ["schedule", "tick", "-p", str(project)])
    assert ticked.exit_code == 0, ticked.output
    assert "webhook desk: run.finished (evidence 2) taken" in ticked.output
    monkeypatch.delenv("HOOK_SECRET")
    ticked = CliRunner().invoke(app, ["schedule", "tick", "-p", str(project)])
    assert ticked.exit_code == 0
    assert "HOOK_SECRET is not set" in ticked.output
    monkeypatch.setenv("HOOK_SECRET", "whsec_c2hvcnQ=")
    (told,) = deliver(project)
    assert "no secret of the right form" in told.failed
    assert "c2hvcnQ" not in told.failed


def test_test_says_whether_it_is_taken(project, receiver):
    with webhooks.opened(project) as post:
        assert webhooks.test(post, "desk").failed == ""
        with pytest.raises(NotFound, match="there is: desk"):
            webhooks.test(post, "dusk")
    assert receiver.events()[-1][1] == "webhook.test"
    receiver.answers = [500]
    done = CliRunner().invoke(app, ["webhook", "test", "desk", "-p", str(project)])
    assert isinstance(done.exception, TunesmithError)
    assert done.exception.exit_code == 1
    assert WORD not in done.output + str(done.exception)


def test_the_commands_of_the_page(project, receiver, monkeypatch):
    page = (Path(__file__).parents[2] / "docs/how-to/tell-others-what-happened.md").read_text()
    monkeypatch.chdir(project)
    commands = re.findall(r"^    tunesmith (.*)", page, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        done = CliRunner().invoke(app, command.replace("oncall", "desk").split())
        assert done.exit_code == 0, done.output
    assert [kind for _, kind in receiver.events()] == ["webhook.test"]
    (waits,) = re.findall(r"tried again after (.*?), and is given up", page, re.DOTALL)
    unit = {"s": 1, "min": 60, "h": 3600}
    said = [int(n) * unit[u] for n, u in re.findall(r"(\d+)\s(s|min|h)", waits)]
    assert said == list(outbox.WAITS_S)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("hosts = [", 'hosts = ["example.org"] #', "not among the hosts"),
        ("http://127.0.0.1", "http://169.254.169.254", "http:// is for this machine alone"),
        ("http://127.0.0.1", "https://user:word@example.org", "a user or a password"),
        ('["run.*", "alias.moved"]', "[]", "events"),
        ('["run.*", "alias.moved"]', '["Run finished"]', "events"),
        ('"HOOK_SECRET"', '"whsec_abc"', "secret_env"),
        ("timeout_s = 0.5", "timeout_s = 500", "timeout_s"),
    ],
)
def test_settings_that_cannot_be_right(project, old, new, says):
    path = project / "tunesmith.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises((ConfigError, UsageError), match=says):
        read(project)
