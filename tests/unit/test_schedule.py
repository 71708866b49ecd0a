"""Slots are fired once, whoever ticks, and whatever becomes of who ticked or of the clock."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from sqlalchemy.exc import IntegrityError
from typer.testing import CliRunner

from tunesmith import schedule
from tunesmith.cli.main import app
from tunesmith.core import evidence, slots, tables
from tunesmith.core.db import Database, clock, moment, text_of
from tunesmith.core.errors import ConfigError, Conflict, NotFound, UsageError
from tunesmith.core.migrations import migrate
from tunesmith.project_file import read
from tunesmith.stages.schedule.config import ScheduleConfig

PROJECT = """\
[project]
name = "notes"

[source.notes]
origin = "file:notes.jsonl"
format = "jsonl"
text = "note"

[source.letters]
origin = "file:letters.jsonl"
format = "jsonl"
text = "note"

[schedule.notes]
cron = "* * * * *"
run = ["source:notes"]
"""
DAILY = ScheduleConfig(name="daily", cron="0 6 * * *", timezone="Europe/Berlin")
MORNING = "2026-11-26T05:00:00.000Z"


def at(text: str) -> schedule.Now:
    """A clock that stands still; for what is short of a whole time, the morning of a day."""
    return lambda _connection: text if "T" in text else f"{text}T05:00:10.000Z"


@pytest.fixture
def database(tmp_path):
    opened = Database(f"sqlite:///{tmp_path / 'tunesmith.db'}")
    migrate(opened, tmp_path)
    yield opened
    opened.close()


def states(database: Database, name: str = "daily") -> dict[str, str]:
    with database.read() as connection:
        return {slot.slot: slot.state for slot in slots.every(connection, name)}


def log(database: Database) -> list[tuple[str, str]]:
    with database.read() as connection:
        return [
            (entry.what, entry.body["slot"])
            for entry in evidence.entries(connection)
            if entry.what.startswith("schedule.")
        ]


def end(database: Database, slot: slots.Slot, state: str = slots.DONE) -> bool:
    with database.write() as connection:
        return slots.end(connection, slot, state)


def claim(database: Database, day: str, config: ScheduleConfig = DAILY) -> slots.Slot | None:
    """What a tick on the morning of a day fires; it is then done."""
    slot = schedule.claim(database, config, at(day))
    assert slot is None or end(database, slot)
    return slot


# What is due.


def test_nothing_from_before_a_schedule_was_set_is_fired(database):
    assert claim(database, "2026-11-26") is None
    assert claim(database, "2026-11-27T04:59:59.999Z") is None
    fired = claim(database, "2026-11-27")
    assert fired is not None
    assert fired.slot == "2026-11-27T05:00:00.000Z"
    assert claim(database, "2026-11-27") is None


def test_of_an_outage_the_latest_slot_is_fired_and_the_others_are_missed(database):
    claim(database, "2026-11-20")
    fired = claim(database, "2026-11-26T11:00:00.000Z")
    assert fired is not None
    assert fired.slot == MORNING
    assert claim(database, "2026-11-26T12:00:00.000Z") is None
    assert states(database) == {
        "2026-11-20T05:00:10.000Z": "set",
        "2026-11-21T05:00:00.000Z": "missed",
        MORNING: "done",
    }
    with database.read() as connection:
        (missed,) = evidence.entries(connection, "schedule.missed")
    assert missed.body["reason"] == f"nothing ticked from then until {MORNING}"


def test_where_nothing_is_caught_up_a_late_slot_is_missed(database):
    config = DAILY.model_copy(update={"catch_up": "none"})
    claim(database, "2026-11-25", config)
    assert claim(database, "2026-11-26T05:05:01.000Z", config) is None
    assert states(database)[MORNING] == "missed"
    assert claim(database, "2026-11-27T05:05:00.000Z", config) is not None


def test_other_times_do_not_fire_what_is_past(database):
    """At six it was set to five: five has passed, and six will not come."""
    claim(database, "2026-11-25")
    earlier = DAILY.model_copy(update={"cron": "30 5 * * *"})
    assert claim(database, "2026-11-26T04:45:00.000Z", earlier) is None
    assert claim(database, "2026-11-26", earlier) is None
    assert claim(database, "2026-11-27T04:30:00.000Z", earlier) is not None
    zone = earlier.model_copy(update={"timezone": "Asia/Tokyo"})
    assert claim(database, "2026-11-27T22:00:00.000Z", zone) is None


def test_a_clock_that_jumps_a_day_ahead_and_back_fires_nothing_twice(database):
    claim(database, "2026-11-25")
    days = ["2026-11-26", "2026-11-27", "2026-11-26", "2026-11-27", "2026-11-28"]
    fired = [slot.slot if (slot := claim(database, day)) else None for day in days]
    assert fired == [MORNING, "2026-11-27T05:00:00.000Z", None, None, "2026-11-28T05:00:00.000Z"]


def test_a_clock_that_was_a_year_ahead_does_not_silence_a_schedule(database):
    claim(database, "2026-11-25")
    assert claim(database, "2027-11-26") is not None
    assert claim(database, "2026-11-27") is not None


def test_a_slot_that_runs_makes_the_next_one_missed(database):
    claim(database, "2026-11-25")
    first = schedule.claim(database, DAILY, at("2026-11-26"))
    assert first is not None
    with database.write() as connection:  # its lease is kept up
        connection.execute(tables.slots.update().values(lease_until="2099"))
    assert schedule.claim(database, DAILY, at("2026-11-27")) is None
    with database.read() as connection:
        missed = slots.newest(connection, "daily", "2099")
    assert missed is not None
    assert missed.reason == f"the slot {MORNING} was still running"
    assert end(database, first)
    assert claim(database, "2026-11-27") is None
    assert claim(database, "2026-11-28") is not None


def test_a_slot_whose_lease_lapsed_elsewhere_is_interrupted_and_the_next_goes_on(database):
    claim(database, "2026-11-25")
    first = schedule.claim(database, DAILY, at("2026-11-26"))
    assert first is not None
    with database.write() as connection:
        connection.execute(
            tables.slots.update()
            .where(tables.slots.c.state == "running")
            .values(owner="another-machine:1:abc-1")
        )
    assert states(database)[MORNING] == "interrupted", "it is shown before anybody ticks"
    assert claim(database, "2026-11-27") is not None
    assert not end(database, first), "who was paused may not say that it is done"
    assert states(database)[MORNING] == "interrupted"
    assert log(database)[1:3] == [
        ("schedule.interrupted", MORNING),
        ("schedule.fired", "2026-11-27T05:00:00.000Z"),
    ]


def test_the_table_itself_lets_no_slot_in_twice(database):
    with database.write() as connection:
        slots.fire(connection, "daily", MORNING, "x", "me", MORNING)
    for slot in (MORNING, "2026-11-27T05:00:00.000Z"):
        with pytest.raises(IntegrityError), database.write() as connection:
            slots.fire(connection, "daily", slot, "x", "me", MORNING)


RACE = """
import multiprocessing
import sys
from pathlib import Path

from tunesmith.core import slots
from tunesmith.core.db import Database
from tunesmith.core.migrations import migrate
from tunesmith.schedule import claim
from tunesmith.stages.schedule.config import ScheduleConfig

url, folder = sys.argv[1:]
config = ScheduleConfig(name="often", cron="* * * * *")
database = Database(url)
migrate(database, Path(folder))
database.close()
processes = multiprocessing.get_context("fork")
gun = processes.Barrier(8, timeout=20)


def tick():
    database = Database(url)
    for number in range(12):
        now = f"2026-11-26T05:{number:02}:10.000Z"
        gun.wait()
        fired = claim(database, config, lambda _connection: now)
        if fired is not None:
            sys.stdout.write(f"{fired.slot}\\n")
            with database.write() as connection:
                assert slots.end(connection, fired, slots.DONE)
    database.close()
    sys.stdout.flush()


racers = [processes.Process(target=tick) for _ in range(8)]
for each in racers:
    each.start()
for each in racers:
    each.join()
sys.exit(max(each.exitcode != 0 for each in racers))
"""


def require_once(url: str, folder: Path) -> None:
    """Eight processes tick at the same moments, twelve times: each slot is fired by one of them."""
    done = subprocess.run(
        [sys.executable, "-c", RACE, url, str(folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    fired = [f"2026-11-26T05:{number:02}:00.000Z" for number in range(1, 12)]
    assert sorted(done.stdout.split()) == fired
    database = Database(url)
    kept = states(database, "often")
    told = Counter(log(database))
    with database.read() as connection:
        assert list(evidence.broken_links(evidence.entries(connection))) == []
    database.close()
    assert [slot for slot, state in kept.items() if state == "done"] == fired
    assert told == Counter((what, slot) for what in FIRED for slot in fired)


FIRED = ("schedule.fired", "schedule.finished")


def test_eight_processes_tick_at_once(tmp_path):
    require_once(f"sqlite:///{tmp_path / 'tunesmith.db'}", tmp_path)


def test_eight_processes_tick_at_once_on_postgres(tmp_path, server):
    server.run("CREATE DATABASE slots")
    require_once(f"postgresql+psycopg://owner:open@127.0.0.1:{server.port}/slots", tmp_path)


# What is run.


class Notes:
    """A project of notes that has a schedule of every minute, set two hours ago."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "tunesmith.toml").write_text(PROJECT)
        (folder / "notes.jsonl").write_text('{"note": "Slipped on the stairs."}\n')
        (folder / "letters.jsonl").write_text('{"note": "All is well."}\n')
        assert self.say("schedule", "tick") == []
        self.age()

    def age(self) -> None:
        """Let the schedules be set two hours ago, in a store that knows nothing else of them."""
        with self.database() as database, database.write() as connection:
            ago = clock(connection, plus_s=-7200)
            connection.execute(tables.slots.delete().where(tables.slots.c.state != "set"))
            connection.execute(tables.slots.update().values(slot=ago))

    def database(self) -> closing[Database]:
        return closing(Database(f"sqlite:///{self.folder / '.tunesmith' / 'tunesmith.db'}"))

    def say(self, *words: str, code: int = 0):
        done = CliRunner().invoke(app, [*words, "--project", str(self.folder), "--json"])
        found = getattr(done.exception, "exit_code", done.exit_code)
        assert found == code, (done.output, done.exception)
        return json.loads(done.stdout)

    def process(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tunesmith", *words, "--project", str(self.folder)],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def edit(self, old: str, new: str) -> None:
        path = self.folder / "tunesmith.toml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def wait_for(self, state: str) -> None:
        with self.database() as database:
            for _ in range(1200):
                found = states(database, "notes")
                if state in found.values():
                    return
                time.sleep(0.05)
        raise AssertionError(f"it is {found}")

    def made(self) -> list[str]:
        return [version["name"] for version in self.say("data", "list")]


@pytest.fixture
def notes(tmp_path):
    return Notes(tmp_path)


def test_a_tick_runs_the_parts_that_were_asked_for_and_says_what_it_ran(notes):
    (before,) = notes.say("schedule", "list")
    assert before["overdue"] is not None
    assert before["last"] is None
    (slot,) = notes.say("schedule", "tick")
    assert (slot["schedule"], slot["state"], slot["attempt"]) == ("notes", "done", 1)
    assert notes.made() == ["notes"]
    (after,) = notes.say("schedule", "list")
    ids = [run["id"] for run in notes.say("runs")]
    assert after["last"]["runs"] == ids
    assert len(after["next"]) == 3
    history = notes.say("schedule", "history")
    assert [each["state"] for each in history] == ["done", "missed", "set"]
    assert history[0]["slot"] == slot["slot"] == before["overdue"]
    assert notes.say("verify")["problems"] == []


def test_without_parts_the_whole_project_is_run(notes):
    notes.edit('run = ["source:notes"]\n', "")
    notes.say("schedule", "tick")
    assert sorted(notes.made()) == ["letters", "notes"]


def test_what_fails_is_told_and_the_next_schedule_is_run(notes):
    bad = '[schedule.bad]\ncron = "* * * * *"\nrun = ["source:letters"]\n'
    notes.edit("[schedule.notes]", f"{bad}\n[schedule.notes]")
    notes.say("schedule", "tick")
    notes.age()
    (notes.folder / "letters.jsonl").unlink()
    shown = notes.say("schedule", "tick", code=4)
    assert [(each["schedule"], each["state"], each["exit_code"]) for each in shown] == [
        ("bad", "failed", 4),
        ("notes", "done", 0),
    ]
    bad, good = notes.say("schedule", "list")
    assert (bad["last"]["reason"], good["last"]["reason"]) == ("NotFound", "")
    with notes.database() as database:
        told = [what for what, slot in log(database) if slot == shown[0]["slot"]]
    assert told[-4:] == [
        "schedule.fired",
        "schedule.failed",
        "schedule.fired",
        "schedule.finished",
    ]

    # On purpose, once it can work.
    (notes.folder / "letters.jsonl").write_text('{"note": "All is well."}\n')
    (again,) = notes.say("schedule", "retry", "bad", shown[0]["slot"])
    assert (again["state"], again["attempt"]) == ("done", 2)
    text = CliRunner().invoke(app, ["schedule", "list", "-p", str(notes.folder)]).stdout
    assert f"last: {shown[0]['slot']} done" in text


def test_a_part_that_fails_stops_no_other(notes):
    notes.edit('run = ["source:notes"]', 'run = ["source:letters", "source:notes"]')
    (notes.folder / "letters.jsonl").unlink()
    (shown,) = notes.say("schedule", "tick", code=4)
    assert (shown["state"], shown["exit_code"]) == ("failed", 4)
    assert notes.made() == ["notes"]


def test_a_ticker_that_is_killed_leaves_an_interrupted_slot_that_is_not_fired_again(notes):
    killed = notes.process("schedule", "tick", TUNESMITH_FAILPOINT="slot.claimed")
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    (shown,) = notes.say("schedule", "list")
    slot = shown["last"]["slot"]
    assert (shown["last"]["state"], notes.made()) == ("interrupted", [])
    with schedule.opened(notes.folder) as book:
        assert schedule.tick(book, now=at(slot)) == []
        later = text_of(moment(slot) + timedelta(hours=1))
        assert schedule.retry(book, "notes", slot).error is None
        (fired,) = schedule.tick(book, now=at(later))
    assert (fired.slot.slot, fired.slot.state) == (later, "done")
    states = {each["slot"]: each["state"] for each in notes.say("schedule", "history")}
    assert states[slot] == "done"


def test_a_retry_needs_a_slot_that_is_known_and_nothing_that_runs(notes):
    notes.say("schedule", "tick")
    with schedule.opened(notes.folder) as book:
        for name, slot, error, said in (
            ("other", MORNING, NotFound, "there is no schedule 'other'"),
            ("notes", "2001-01-01T00:00:00Z", NotFound, "no slot 2001-01-01T00:00:00.000Z"),
            ("notes", "yesterday", UsageError, "'yesterday' is no time"),
        ):
            with pytest.raises(error, match=said):
                schedule.retry(book, name, slot)
        slot = schedule.history(book)[0].slot
        with book.database.write() as connection:
            slots.fire(connection, "notes", MORNING, "x", "me", clock(connection))
        with pytest.raises(Conflict, match="is running"):
            schedule.retry(book, "notes", slot)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("source:notes", "source:note"), r"schedule.notes.run.*did you mean 'notes'"),
        (("source:notes", "model:desk"), r"schedule.notes.run: there is no model 'desk'"),
        (("* * * * *", "* * * *"), r"schedule.notes.cron: write five fields"),
    ],
)
def test_a_schedule_that_cannot_be_is_an_error_of_the_project_file(tmp_path, change, said):
    (tmp_path / "tunesmith.toml").write_text(PROJECT.replace(*change))
    with pytest.raises(ConfigError, match=f"(?s){said}"):
        read(tmp_path)


def test_without_schedules_there_is_nothing_to_tick(tmp_path):
    (tmp_path / "tunesmith.toml").write_text('[project]\nname = "x"\n')
    for words in (("schedule", "tick"), ("serve", "--tick")):
        done = CliRunner().invoke(app, [*words, "--project", str(tmp_path)])
        assert isinstance(done.exception, NotFound)
        assert "[schedule.NAME]" in str(done.exception)


def test_the_commands_of_the_how_to_do_what_it_says(tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "run-on-a-schedule.md").read_text()
    (section,) = re.findall(r"```toml\n(.*?)```", page, re.S)
    source = '[source.visits]\norigin = "file:visits.jsonl"\nformat = "jsonl"\ntext = "note"\n'
    (tmp_path / "tunesmith.toml").write_text(f'[project]\nname = "x"\n\n{source}\n{section}')
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^    tunesmith (schedule .*)$", page, re.M)
    assert [each.split()[1] for each in commands] == ["tick", "list", "history"]
    for command in commands:
        words = command.replace("/srv/project", ".").split()
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, (command, done.exception)
    assert "nightly" in done.stdout


# Ticks of a service.


def children() -> list[psutil.Process]:
    return [
        each
        for each in psutil.Process().children(recursive=True)
        if each.status() != psutil.STATUS_ZOMBIE and "tick" in each.cmdline()
    ]


def test_a_service_ticks_in_processes_of_their_own_and_ends_them(notes, api):
    """A run that waits for ever holds up no other schedule, asks nobody whom it need not, and is
    interrupted when the service stops."""
    waits, asked = threading.Event(), threading.Event()

    def answer(_target):
        asked.set()
        waits.wait(30)
        return 404, {}, b""

    api.answer = answer
    section = f"""
[source.slow]
origin = "{api.url("/notes")}"
text = "note"
key = "id"

[schedule.slow]
cron = "* * * * *"
run = ["source:slow"]
"""
    notes.edit('name = "notes"\n', f'name = "notes"\nhosts = ["{api.host}"]\n')
    notes.edit("[schedule.notes]", f"{section}\n[schedule.notes]")
    notes.say("schedule", "tick")
    assert not asked.is_set()
    notes.age()
    try:
        with schedule.ticking(notes.folder, 2, every_s=0.2):
            assert asked.wait(30)
            notes.wait_for("done")
        assert children() == []
        # Another minute may have begun meanwhile, whose slot is missed.
        slow = [each for each in notes.say("schedule", "history") if each["schedule"] == "slow"]
        assert "interrupted" in {each["state"] for each in slow}
        owners = {slot["owner"] for slot in notes.say("schedule", "history") if slot["owner"]}
        assert len(owners) >= 2
        assert not any(f":{os.getpid()}:" in owner for owner in owners)
    finally:
        waits.set()
