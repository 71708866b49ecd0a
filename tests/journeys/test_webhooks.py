"""Others are told what happened: at least once, signed, to allowed hosts alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import random
import re
import struct
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tunesmith import webhooks
from tunesmith.cli.main import app
from tunesmith.core import catalog, evidence, outbox, tables
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
    ids = [f"evidence-{entry.seq}-{entry.digest[:12]}" for entry in log(project, "run.finished")]
    assert receiver.events() == [(each, "run.finished") for each in ids]
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


def say(folder: Path, *kinds: str) -> list[int]:
    """Entries of these kinds; their numbers."""
    with webhooks.opened(folder) as post, post.database.write() as connection:
        for kind in kinds:
            evidence.append(connection, kind, "tester", {})
        newest = evidence.length(connection)
    return list(range(newest - len(kinds) + 1, newest + 1))


def subscribe(folder: Path, *events: str) -> None:
    """Name other events in the project file."""
    text = re.sub(r"events = .*", f"events = {json.dumps(events)}", read_toml(folder))
    (folder / "tunesmith.toml").write_text(text)


def read_toml(folder: Path) -> str:
    return (folder / "tunesmith.toml").read_text()


def waiting(folder: Path) -> int:
    with webhooks.opened(folder) as post:
        (state,) = webhooks.states(post)
    return state.num_waiting


def test_of_a_kind_that_is_newly_named_it_is_told_what_comes_next(project, receiver, monkeypatch):
    """What waits of the kinds that were named before is told all the same."""
    receiver.answers = [500]
    failed, _, moved, _ = say(project, "run.failed", "gate.old", "alias.moved", "step.old")
    assert [each.failed for each in deliver(project)] == ["it answered 500"]
    subscribe(project, "run.failed", "gate.*", "alias.*")
    assert waiting(project) == 2
    later(monkeypatch, 6.0)
    assert [each.entry for each in deliver(project)] == [failed, moved]
    gate, _, other = say(project, "gate.new", "run.finished", "alias.new")
    assert waiting(project) == 2
    assert [each.entry for each in deliver(project)] == [gate, other]
    (widened,) = log(project, "webhook.widened")
    assert widened.body["events"] == ["alias.*", "gate.*", "run.failed"]


def test_a_kind_that_was_left_out_and_is_named_again_begins_again(project, receiver):
    subscribe(project, "run.*")
    deliver(project)
    say(project, "alias.moved")
    run_failed, _ = say(project, "run.failed", "alias.moved")
    subscribe(project, "run.*", "alias.moved")
    assert [each.entry for each in deliver(project)] == [run_failed]
    (moved,) = say(project, "alias.moved")
    assert [each.entry for each in deliver(project)] == [moved]


def test_from_where_somebody_starts_it_is_told_of_all_kinds_that_are_named(project, receiver):
    first, second = say(project, "gate.old", "alias.moved")
    deliver(project)
    subscribe(project, "gate.*", "alias.moved")
    deliver(project)
    with webhooks.opened(project) as post:
        webhooks.start(post, "desk", first - 1)
        assert webhooks.states(post)[0].num_waiting == 2
    assert [each.entry for each in deliver(project)] == [first, second]


def test_what_waited_when_kinds_were_not_kept_yet_is_told(project, receiver):
    """A store of before."""
    with webhooks.opened(project) as post, post.database.write() as connection:
        kept = tables.export_cursors
        connection.execute(kept.delete().where(kept.c.target.like("webhook:desk:%")))
    new = say(project, "run.failed", "alias.moved")
    assert waiting(project) == 2
    assert [each.entry for each in deliver(project)] == new
    assert not log(project, "webhook.widened")


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
    assert deliver(project) == [], "it is not due yet, and the others wait for it"
    later(monkeypatch, 6.0)
    again = [(each.entry, each.failed) for each in deliver(project)]
    assert again == [(entry.seq, "") for entry in log(project, "run.finished")]
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


def happened(folder: Path, count: int = 1) -> list[int]:
    """Entries of which the webhook is told, each with one that it is not told of; their numbers."""
    with webhooks.opened(folder) as post, post.database.write() as connection:
        for _ in range(count):
            evidence.append(connection, "gate.registered", "tester", {})
            evidence.append(connection, "run.finished", "tester", {"kind": "echo@1"})
        newest = evidence.length(connection)
    return list(range(newest - 2 * count + 2, newest + 1, 2))


def numbers(receiver: Receiver) -> list[int]:
    return [int(id.split("-")[1]) for id, _ in receiver.events()]


@pytest.fixture
def num_read(monkeypatch):
    """How many entries of the evidence were read since it was last asked."""
    count = [0]
    real = evidence.Entry

    def counted(**fields):
        count[0] += 1
        return real(**fields)

    monkeypatch.setattr(evidence, "Entry", counted)

    def since() -> int:
        found, count[0] = count[0], 0
        return found

    return since


def test_a_tick_reads_what_is_new_and_nothing_that_was_there_before(project, receiver, num_read):
    read = []
    for before in (0, 300):  # what came before makes no difference
        happened(project, before)
        while deliver(project):
            pass
        deliver(project)
        num_read()
        assert (deliver(project), num_read()) == ([], 0)
        new = happened(project, 3)
        assert [each.entry for each in deliver(project)] == new
        read.append(num_read())
        deliver(project)
        read.append(num_read())
        assert (deliver(project), num_read()) == ([], 0)
    assert read == read[:2] * 2
    assert read[0] == 6, "each new entry once"
    assert read[1] == 3, "and what was noted of them"


def test_who_waits_for_a_failed_message_does_not_read_what_waits_behind_it(
    project, receiver, num_read
):
    receiver.answers = [500]
    first, *_ = happened(project, 200)
    assert [each.entry for each in deliver(project)] == [first]
    num_read()
    assert deliver(project) == []
    assert num_read() == 4, "that it was set, what is before it, it, and that it failed"


@pytest.mark.parametrize("seed", range(3))
def test_all_are_told_in_order_whatever_fails_dies_is_asked_for_again_or_is_lost(
    project, receiver, monkeypatch, seed
):
    """A random life of a webhook, beside a model of it: a list of what is to come."""
    draw = random.Random(seed)
    due: list[int] = []
    dead: set[int] = set()
    taken: list[int] = []
    void: set[int] = set()
    num_tries, ahead_s = 0, 0.0
    for step in range(120):
        act = draw.choice(["new", "new", "tick", "tick", "fail", "gone", "retry", "start", "lose"])
        if act == "new":
            due += happened(project, draw.randint(1, 3))
        elif act == "retry":
            with webhooks.opened(project) as post:
                if dead or num_tries:
                    again = webhooks.retry(post, "desk")
                    assert again == due[: bool(num_tries)] + sorted(dead)
                    due, dead, num_tries = due + sorted(dead), set(), 0
                else:
                    with pytest.raises(NotFound):
                        webhooks.retry(post, "desk")
        elif act == "start" and draw.random() < 0.3:
            every = log(project, "run.finished", outbox.AGAIN)
            after = draw.choice([0, *(entry.seq for entry in every)])
            with webhooks.opened(project) as post:
                webhooks.start(post, "desk", after)
            due, num_tries = [], 0
            for entry in every:
                tells = entry.body.get("entry", entry.seq)
                if tells > after and tells < entry.seq:
                    void.add(entry.seq)  # it comes by itself
                if entry.seq > after and entry.seq not in void:
                    due.append(tells)
            dead = {each for each in dead if each <= after}
        elif act == "lose":  # the cursor; the evidence has it still
            with webhooks.opened(project) as post, post.database.write() as connection:
                connection.execute(tables.export_cursors.delete())
        elif act in ("tick", "fail", "gone"):
            ahead_s += 80_000.0
            later(monkeypatch, ahead_s)
            receiver.answers = {"tick": [], "fail": [500], "gone": [410]}[act]
            told = deliver(project)
            receiver.answers = []
            if act == "tick" or not due:
                assert [each.entry for each in told] == due
                taken += due
                dead -= set(due)
                due, num_tries = [], 0
            else:
                assert [each.entry for each in told] == due[:1]
                num_tries += 1
                if act == "gone" or num_tries > len(outbox.WAITS_S):
                    dead.add(due.pop(0))
                    num_tries = 0
            monkeypatch.undo()
            monkeypatch.setenv("HOOK_SECRET", SAID)
        with webhooks.opened(project) as post:
            (state,) = webhooks.states(post)
        assert (state.num_waiting, state.dead) == (len(due), tuple(sorted(dead))), (step, act)
        assert numbers(receiver) == taken
    assert len(taken) > 40


def test_a_new_webhook_is_told_from_the_beginning_where_that_is_asked_for(project, receiver):
    text = (project / "tunesmith.toml").read_text()
    old = happened(project, 2)
    deliver(project)
    second = text.partition("[webhook.desk]")[2]
    (project / "tunesmith.toml").write_text(f"{text}\n[webhook.late]{second}")
    command = ["webhook", "start", "late", "-p", str(project)]
    done = CliRunner().invoke(app, [*command, "--after", "0"])
    assert done.exit_code == 0, done.output
    assert [(t.webhook, t.entry) for t in deliver(project)] == [("late", each) for each in old]
    for after in ("-1", "999"):
        done = CliRunner().invoke(app, [*command, "--after", after])
        assert isinstance(done.exception, UsageError)
        assert f"there is no entry {after}" in str(done.exception)
        assert "the newest is" in done.exception.remedy
    assert CliRunner().invoke(app, command).exit_code == 2


def test_what_begins_anew_while_a_message_is_on_its_way_begins_anew(project, receiver, monkeypatch):
    first, second = happened(project, 2)
    send = webhooks._send

    def begins_anew(post, *rest):
        if not receiver.taken:
            webhooks.start(post, "desk", first - 1)
        return send(post, *rest)

    monkeypatch.setattr(webhooks, "_send", begins_anew)
    deliver(project)
    deliver(project)
    assert numbers(receiver)[-2:] == [first, second]
    deliver(project)
    with webhooks.opened(project) as post, post.database.write() as connection:
        connection.execute(tables.export_cursors.delete())
    assert deliver(project) == []


def test_who_is_gone_is_given_up_at_once(project, receiver):
    run(project)
    receiver.answers = [410]
    deliver(project)
    assert len(log(project, "webhook.dead")) == 1


def test_a_crash_between_sending_and_noting_tells_it_twice_and_never_not(
    project, receiver, monkeypatch
):
    run(project)
    monkeypatch.setattr(webhooks.outbox, "sent", lambda *_a, **_k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        deliver(project)
    monkeypatch.undo()
    monkeypatch.setenv("HOOK_SECRET", SAID)
    deliver(project)
    ids = [id for id, _ in receiver.events()]
    assert ids[0] == ids[1], "by its id the receiver knows it"
    assert set(ids) == {webhooks.message_id(entry) for entry in log(project, "run.finished")}


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
    assert len(commands) == 3
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
