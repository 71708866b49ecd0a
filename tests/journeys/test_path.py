"""The whole path on a project in miniature, as a user walks it."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tunesmith.core.waiver import Waiver, record
from tunesmith.pipeline import books
from tunesmith.project import open_project
from tunesmith.project_file import FILE, read


def states(project) -> dict[str, str]:
    plan = json.loads(project.tunesmith("plan", "--json"))
    return {line["step"]: line["state"] for line in plan["lines"]}


def test_run_makes_everything_and_a_second_run_makes_nothing(finished):
    assert set(states(finished).values()) == {"hit"}
    again = finished.process("run")
    assert again.returncode == 0
    assert ">" not in {line[0] for line in again.stderr.splitlines()}
    assert again.stderr.count("unchanged") >= 15
    assert "would take about" not in again.stderr
    assert "alias 'candidate'" in again.stdout
    assert "tunesmith serve" in again.stdout


def test_rows_are_conserved_and_the_bad_ones_are_listed(finished):
    dropped = json.loads(finished.tunesmith("data", "dropped", "notices", "--json"))
    assert {row["pointer"].split("/")[-1] for row in dropped} == {"broken.RULE", "binary.RULE"}
    assert "reason" in finished.tunesmith("data", "dropped", "small")


def test_cards_are_there(finished):
    assert "# " in finished.tunesmith("data", "card", "small")
    card = finished.tunesmith("model", "card", "desk")
    assert card.startswith("---\n")
    assert "base_model" in card
    assert "desk" in finished.tunesmith("model", "list")
    assert "not wholly right" in finished.tunesmith("model", "mistakes", "desk")


def test_what_was_forgotten_is_on_the_card_and_in_the_report(finished):
    card = finished.tunesmith("model", "card", "desk")
    assert "## Beyond its task" in card
    assert "| loss of a token |" in card
    said = finished.tunesmith("model", "show", "desk@1")
    assert "beyond its task" in said
    assert "suite forgetting: loss of a token, tuned minus base" in said
    asked = json.loads(finished.tunesmith("model", "examples", "desk", "forgetting", "--json"))
    differ = [abs(each["tuned_score"] - each["base_score"]) for each in asked["examples"]]
    assert differ == sorted(differ, reverse=True)
    assert asked["num_examples"] == len(differ) >= 40
    assert "and 38 more" in finished.tunesmith(
        "model", "examples", "desk", "forgetting", "--limit", "2"
    )
    finished.tunesmith("model", "examples", "desk", "forgotten", code=4)


def test_an_answer_cites_what_show_opens(finished):
    question = "Must the copyright notice be included in copies under the mit licence?"
    answer = json.loads(finished.tunesmith("ask", question, "--json"))
    assert answer["answer"]["answered"]
    citation = answer["answer"]["citations"][0]
    shown = finished.tunesmith("show", answer["links"][0])
    assert f">>>{citation['quote']}<<<" in shown
    assert answer["links"][0] in finished.tunesmith("ask", question)


def test_no_answer_is_said_to_be_none(finished):
    said = finished.tunesmith("ask", "What is the capital of France?")
    assert "do not answer" in said


def test_the_ledger_expenses_what_is_not_shown_and_says_what_is_missing(finished):
    book = json.loads(finished.tunesmith("ledger", "register", "--json"))
    assert float(book["capitalised"]["amount"]) == 0
    assert float(book["total"]["amount"]) > 0
    assert {entry["treatment"] for entry in book["entries"]} == {"expense"}
    assert all(entry["paragraph"] and entry["reason"] for entry in book["entries"])
    assert book["missing"]
    assert "missing" in finished.tunesmith("ledger", "register")


@pytest.mark.parametrize(
    "edits",
    [
        # Another model on the same dataset, and everything under another name.
        [("[gate.desk]", '[model.two]\nbase = "tiny"\ndataset = "small"\nrank = 2\n[gate.desk]')],
        [("[model.desk]", "[model.other]"), ('model = "desk"', 'model = "other"'),
         ('models = ["desk"]', 'models = ["other"]')],
    ],
    ids=["added", "renamed"],
)  # fmt: skip
def test_no_edit_of_the_project_file_rewrites_the_books(finished, tmp_path, edits):
    text = (finished.folder / FILE).read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    (tmp_path / FILE).write_text(text)
    opened = open_project(finished.folder)
    try:
        before = books(opened)
        edited = books(dataclasses.replace(opened, file=read(tmp_path)[0]))
    finally:
        opened.close()
    assert {e.step: e.model for e in before.entries}["curate:small"] == "desk"
    assert edited.entries == before.entries
    assert edited.holdings == before.holdings


def test_a_price_that_cannot_be_is_refused(finished):
    for price, said in (("1e30", "at most 1,000,000,000"), ("1e-40", "too little to be counted")):
        failed = finished.process(
            "ledger", "register", TUNESMITH__LEDGER__PER_CPU_HOUR=f'"{price}"'
        )
        assert failed.returncode == 2
        assert "ledger.per_cpu_hour" in failed.stderr
        assert said in failed.stderr


def test_verify_holds(finished):
    report = json.loads(finished.tunesmith("verify", "--json"))
    assert report["problems"] == []
    # 21 runs; a gate and a suite on record; a report and a dataset sealed; an alias
    assert report["num_entries"] == 26


def test_runs_have_usage_and_a_forecast(finished):
    runs = json.loads(finished.tunesmith("runs", "--json"))
    tuned = next(run for run in runs if run["step"] == "finetune:desk")
    assert tuned["usage"]["joules"] > 0
    assert tuned["usage"]["joules_method"] in ("measured", "estimated")
    assert tuned["forecast"]["wall_s"] > 0


def test_monitor_says_one_of_three_things(finished):
    signals = json.loads(finished.tunesmith("monitor", "--json"))
    assert {signal["verdict"] for signal in signals} <= {"changed", "unchanged", "need_more"}
    assert [signal["traffic"] for signal in signals] == ["heldout", "tags"]


def test_what_was_kept_although_its_code_changed_is_said_of_the_model(finished, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "kept")
    kept = dataclasses.replace(finished, folder=tmp_path / "kept")
    project = open_project(kept.folder)
    try:
        made = {run.step: run for run in project.runs()}
        with project.runner.database.write() as connection:
            for name in ("ingest:notices", "index:licences"):  # the index is behind no model
                waiver = Waiver(
                    step=name,
                    run=made[name].id,
                    output=made[name].output.sha256,
                    old_key=made[name].key,
                    new_key="0" * 64,
                    changed=("the step's code changed",),
                    why="only a message was reworded",
                    actor="ann",
                )
                record(connection, waiver)
    finally:
        project.close()
    card = json.loads(kept.tunesmith("model", "card", "desk", "--json"))
    assert [each["step"] for each in card["waivers"]] == ["ingest:notices"]
    assert "ann: only a message was reworded" in card["card"].partition("## Kept although")[2]
    shown = kept.tunesmith("model", "show", "desk@1")
    assert "kept although the code changed since:\n  ingest:notices: run " in shown
    assert "index:licences" not in shown
    assert "Kept although" not in finished.tunesmith("model", "card", "desk")


def test_every_setting_has_an_origin(finished):
    shown = json.loads(
        finished.process(
            "config",
            "show",
            "--json",
            "--set",
            "model.desk.epochs=2",
            TUNESMITH__LEDGER__CURRENCY="CHF",
        ).stdout
    )
    origin = {setting["key"]: (setting["value"], setting["origin"]) for setting in shown}
    assert origin["model.desk.epochs"] == (2, "flag")
    assert origin["ledger.currency"] == ("CHF", "environment (TUNESMITH__LEDGER__CURRENCY)")
    assert origin["project.seed"] == (3, "project file")
    assert origin["model.desk.warmup"][1] == "default"


def test_a_failed_gate_is_exit_code_3_and_releases_nothing(new_project):
    project = new_project()
    project.edit("at_least = 0.0", "at_least = 1.0")
    done = project.process("run")
    assert done.returncode == 3, done.stderr
    said = done.stderr.splitlines()
    rough = next(i for i, line in enumerate(said) if "finetune:desk would take about" in line)
    assert "EUR" in said[rough]
    assert said.index("> curate:small") < rough < said.index("> finetune:desk")
    assert "accuracy" in said[-2]
    assert "->" in said[-1]
    assert "no version of model desk" in project.process("model", "card", "desk").stderr

    # The gate is weakened: only the gate and what follows it runs, and the plan says why.
    project.edit("at_least = 1.0", "at_least = 0.0")
    plan = json.loads(project.tunesmith("plan", "--json"))
    misses = {line["step"]: line["reason"] for line in plan["lines"] if line["state"] == "runs"}
    assert misses == {
        "gate:desk": "config.at_least: 1 -> 0",
        "release:desk": "gate:desk runs before it",
    }
    project.tunesmith("run")

    # Retraining with the tags: data and base are hits, the rest is priced, run and released anew.
    proposal = json.loads(project.tunesmith("retrain", "--json"))
    states = {line["step"]: line["state"] for line in proposal["plan"]["lines"]}
    assert states["ingest:tags"] == states["base:tiny"] == "hit"
    if proposal["proposal"]["retrain"]:
        assert states["finetune:desk"] == "runs"
        made = json.loads(project.tunesmith("retrain", "--yes", "--json"))["made"]
        assert made["release"]["move"]["alias"] == "candidate"


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("step.performed", marks=SLOW),
        "run.publishing",
        pytest.param("run.published", marks=SLOW),
    ],
)
def test_kill_9_in_a_run_and_a_restart_converges(new_project, name):
    project = new_project()
    killed = project.process("run", TUNESMITH_FAILPOINT=f"{name}:9")
    assert killed.returncode == -9
    project.tunesmith("run")
    assert json.loads(project.tunesmith("verify", "--json"))["problems"] == []
    assert set(states(project).values()) == {"hit"}


def test_sigterm_stops_cleanly(new_project):
    project = new_project()
    process = subprocess.Popen(
        [sys.executable, "-m", "tunesmith", "run"],
        cwd=project.folder,
        env=project.environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("> evaluate-base"):
            break
    process.send_signal(signal.SIGTERM)
    assert "what was finished is kept" in process.communicate(timeout=60)[1]
    assert process.returncode == 143
    runs = json.loads(project.tunesmith("runs", "--json"))
    assert {run["status"] for run in runs} <= {"succeeded", "interrupted"}


def test_the_subprocess_executor_makes_the_same_dataset(new_project, finished):
    project = new_project()
    project.edit("seed = 3", 'seed = 3\nexecutor = "subprocess"')
    project.tunesmith("run")
    digests = [
        {v["name"]: v["digest"] for v in json.loads(p.tunesmith("data", "list", "--json"))}
        for p in (project, finished)
    ]
    assert digests[0] == digests[1]


def test_the_openai_client_works_unchanged_and_requests_become_traces(new_project, free_port):
    import openai

    project = new_project()
    project.edit("[ledger]", '[schedule.nightly]\ncron = "0 2 * * *"\n\n[ledger]')
    project.tunesmith("run")
    server = subprocess.Popen(
        [sys.executable, "-m", "tunesmith", "serve", "--tick", "--port", str(free_port)],
        cwd=project.folder,
        env=project.environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with openai.OpenAI(
            base_url=f"http://127.0.0.1:{free_port}/v1", api_key="none", max_retries=0
        ) as client:
            for _ in range(120):
                try:
                    models = [model.id for model in client.models.list()]
                    break
                except openai.APIConnectionError:
                    time.sleep(0.5)
            assert models == ["desk@1"]
            messages = [{"role": "user", "content": "Licensed under mit: permission granted."}]
            whole = client.chat.completions.create(model="desk@1", messages=messages, max_tokens=8)
            pieces = client.chat.completions.create(
                model="desk@1", messages=messages, max_tokens=8, stream=True
            )
            text = "".join(p.choices[0].delta.content or "" for p in pieces if p.choices)
        assert text == whole.choices[0].message.content
        for _ in range(60):
            ticks = json.loads(project.tunesmith("schedule", "history", "--json"))
            if ticks:
                break
        assert [each["state"] for each in ticks] == ["set"]
    finally:
        server.send_signal(signal.SIGTERM)
        stderr = server.communicate(timeout=30)[1]
    assert re.search(r"http://127\.0\.0\.1:\d+/v1", stderr)
    signals = json.loads(project.tunesmith("monitor", "--served", "desk", "--json"))
    assert signals[0]["verdict"] == "need_more"
    assert signals[0]["checks"][0]["num_traffic"] == 1  # the same text twice counts once
