"""A chat model whose gate asks what it says, of all rows and of some: tasks and slices, from the
project file to `model show`. Commands run in this process: they start faster."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunesmith.core.canonical import fingerprint
from tunesmith.core.errors import TunesmithError
from tunesmith.records.evaluation import WIN_RATE, TaskRows

TAIL = """
[source.talks]
origin = "file:talks.jsonl"
format = "jsonl"

[dataset.talks]
sources = ["talks"]
base = "tiny"
format = "chat"
instruction = "Answer."
test_share = 0.5

[gate.desk]
model = "desk"
tasks = ["tasks/said.toml", "tasks/quiz.toml"]
inconclusive = "pass"
audit = false    # what its weights look like is not what is measured here

[[gate.desk.rules]]
task = "said"
against = "base"

[[gate.desk.rules]]
task = "said"
metric = "exact match"
at_least = 0.4
slice = { field = "lang", value = "de" }

[[gate.desk.rules]]
against = "base"
slice = { field = "lang", value = "fr" }

[[gate.desk.rules]]
task = "quiz"
at_least = 0.0
slice = { field = "level", value = "easy" }

[model.desk]
base = "tiny"
dataset = "talks"
method = "full"
learning_rate = 5e-3
epochs = 8
"""
SAID = """
name = "said"
version = "1"
metrics = ["token F1", "exact match", "ROUGE-L"]
max_new_tokens = 8
stop = ["\\n"]
"""
QUIZ = """
name = "quiz"
version = "2"
rows = "file:tasks/quiz.jsonl"
ask = "choose"
prompt = "{q}"
choices = ["mit", "gpl"]
"""


@pytest.fixture
def desk(
    data_project: Callable[[str, str], Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, Any]]:
    """desk("model", "list") -> exit code, and what was printed as JSON or what went wrong."""
    from tunesmith.cli.main import app

    project = data_project("talks", TAIL)
    project.lead_pip(monkeypatch)
    folder: Path = project.folder
    answers = {"de": "permission granted", "en": "general public", "fr": "apache foundation"}
    rows = [
        {
            "lang": lang,
            "messages": [
                {"role": "user", "content": f"{lang} {number} {number * 7 % 31}"},
                {"role": "assistant", "content": answers[lang]},
            ],
        }
        for lang, count in (("de", 26), ("en", 20), ("fr", 6))
        for number in range(count)
    ]
    (folder / "talks.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "tasks").mkdir()
    (folder / "tasks/said.toml").write_text(SAID)
    (folder / "tasks/quiz.toml").write_text(QUIZ)
    quiz = [
        {"q": f"Which is number {n}?", "answer": "mit", "level": "easy" if n % 2 else "hard"}
        for n in range(24)
    ]
    (folder / "tasks/quiz.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in quiz))

    def run(*words: str, as_json: bool = True) -> tuple[int, Any]:
        more = ["--json"] if as_json else []
        done = CliRunner().invoke(app, [*words, "-p", str(folder), *more])
        error = done.exception
        if isinstance(error, TunesmithError):  # `main` prints it and ends with its code
            return error.exit_code, str(error)
        assert error is None, done.output
        return done.exit_code, json.loads(done.stdout) if as_json else done.stdout

    run.folder = folder  # type: ignore[attr-defined]
    return run


def test_a_model_is_gated_on_what_it_says(desk: Any) -> None:
    code, made = desk("run")
    assert code == 0, made
    code, shown = desk("model", "show", "desk@1")
    gate = shown["gate"]
    rules = {rule["rule"]: rule for rule in gate["rules"]}

    beats, said, german, french, easy = gate["rules"]
    assert said["rule"] == "said: token F1 beside base"
    assert said["verdict"] == beats["verdict"] == "pass"
    assert german["rule"].startswith("said: exact match on lang = de (")
    assert german["verdict"] == "pass"
    assert french["rule"].startswith("log-likelihood beside base on lang = fr (")
    assert french["verdict"] == "inconclusive"
    assert french["num_rows_needed"] >= 10
    assert easy["rule"] == "quiz: accuracy on level = easy (12 rows)"
    assert len(rules) == 5
    assert {each["task"] for each in gate["comparisons"]} == {"", "said", "quiz"}
    assert "task said, 26 rows" in shown["registered"]
    assert "rows of lang = de" in shown["registered"]
    _, text = desk("model", "show", "desk@1", as_json=False)
    assert "said: exact match on lang = de (" in text
    assert "too few rows" in text

    _, found = desk("model", "mistakes", "desk", "--task", "said")
    _, good = desk("model", "mistakes", "desk", "--task", "said", "--best", "--limit", "3")
    assert found["num_rows"] == 26
    assert all(row["score"] < 1 and row["metric exact match"] == 0 for row in found["worst"])
    assert [row["metric exact match"] for row in good["best"]] == [1.0] * 3
    assert good["best"][0]["predicted"] == good["best"][0]["label"]
    code, said = desk("model", "mistakes", "desk", "--task", "other")
    assert (code, "said, quiz" in said) == (4, True)

    # Of each row what it says is shown, whole in JSON; and of a version what is in the store.
    rows = map(json.loads, (desk.folder / "talks.jsonl").read_text().splitlines())
    asked = {row["messages"][0]["content"] for row in rows}
    assert all(any(text in row["text"] for text in asked) for row in found["worst"])
    _, quiz = desk("model", "mistakes", "desk@1", "--task", "quiz", "--best")
    assert quiz["of"] == "desk@1"
    assert {row["text"] for row in quiz["best"]} <= {f"Which is number {n}?" for n in range(24)}
    _, by_alias = desk("model", "mistakes", "desk@candidate", "--task", "said")
    assert by_alias["worst"] == found["worst"]
    _, text = desk("model", "mistakes", "desk", "--task", "quiz", "--best", as_json=False)
    assert "Which is number" in text
    for name, wrong in {
        "desk@2": "no model version desk@2",
        "desk@production": "has the alias 'production'",
        "other": "no model",
        "other@1": "no model version other@1",
    }.items():
        code, said = desk("model", "mistakes", name)
        assert (code, wrong in said) == (4, True), said
    code, said = desk("model", "mistakes", "desk@1", "--task", "other")
    assert (code, "desk@1 has no task 'other'" in said) == (4, True)

    # A changed task is another question: it is asked again, and nothing is tuned again.
    path = desk.folder / "tasks/said.toml"
    path.write_text(path.read_text().replace('version = "1"', 'version = "2"'))
    _, planned = desk("plan")
    again = {line["step"] for line in planned["lines"] if line["state"] != "hit"}
    assert again == {
        *("evaluate-base:desk/said", "evaluate:desk/said"),
        *("gate:desk", "release:desk"),
    }
    _, text = desk("plan", as_json=False)
    assert "task said, 26 rows" in text
    assert "of lang = fr" in text
    code, said = desk("model", "mistakes", "desk", "--task", "said")
    assert (code, "has not run as it is set now" in said) == (4, True)
    _, before = desk("model", "mistakes", "desk@1", "--task", "said")
    assert before["worst"] == found["worst"]

    # What was forgotten or collected is no error of the command, but said.
    text = (desk.folder / "tasks/quiz.jsonl").read_text()
    digest = fingerprint(TaskRows(task="quiz", text=text))
    (blob,) = (desk.folder / ".tunesmith/blobs").glob(f"*/{digest[2:]}")
    blob.unlink()
    _, quiz = desk("model", "mistakes", "desk@1", "--task", "quiz", "--best")
    assert {row["text"] for row in quiz["best"]} == {""}


@pytest.mark.parametrize("command", ["plan", "run"])
def test_rows_that_cannot_be_asked_are_said_before_anything_is_tuned(
    desk: Any, command: str
) -> None:
    with (desk.folder / "tasks/quiz.jsonl").open("a") as rows:
        rows.write('{"q": "Which?", "anser": "mit"}\n')

    code, said = desk(command)

    assert (code, "tasks/quiz.jsonl, line 25 has no field 'answer'" in said) == (2, True)
    assert not (desk.folder / ".tunesmith").exists(), "nothing was begun"


JUDGE = """
[judge]
base = "judge"
question = "Which answer names what is asked for?"
people = "tasks/preferred.jsonl"
"""
RULE = """
[[gate.desk.rules]]
task = "said"
metric = "win rate, judged by a model"
against = "base"
"""


def test_answers_are_compared_by_a_judge_too(desk: Any, mini_judge: str) -> None:
    folder: Path = desk.folder
    project, task = folder / "tunesmith.toml", folder / "tasks/said.toml"
    text = project.read_text().replace("[source.talks]", f"{mini_judge}\n[source.talks]", 1)
    project.write_text(
        text + RULE + '[registry]\napprovers = ["boss"]\naskers = ["ann"]\nallow_as = true\n'
    )
    task.write_text(SAID + JUDGE.replace('"judge"', '"tiny"'))
    preferred = folder / "tasks/preferred.jsonl"
    preferred.write_text('{"id": "none", "preferred": "tuned"}\n')
    code, said = desk("plan")
    assert (code, "the base of the model that it judges" in said) == (2, True)

    task.write_text(SAID + JUDGE)
    code, made = desk("run")
    assert code == 0, made
    _, found = desk("model", "judged", "desk", "said")
    rows, won = found["pairs"], [row["outcome"] for row in found["pairs"]]
    assert found["num_pairs"] == len(rows) == 26
    assert won == sorted(won)
    _, shown = desk("model", "show", "desk@1")
    (rule,) = (each for each in shown["gate"]["rules"] if "judged" in each["rule"])
    assert rule["rule"] == "said: win rate, judged by a model beside base"
    (rate,) = shown["gate"]["win_rates"]
    assert rate == found["judged_by_a_model"]
    assert rate["value"] == pytest.approx((won.count(1) + won.count(0) / 2) / 26)
    assert rate["agreement"] is None
    assert rate["verdicts"]["question"] == "Which answer names what is asked for?"
    _, mistakes = desk("model", "mistakes", "desk", "--task", "said")
    by_id = {row["row_id"]: row["predicted"] for row in mistakes["worst"]}
    assert all(by_id.get(row["row_id"], row["tuned"]) == row["tuned"] for row in rows)

    # Wherever it is shown, it is said that a model judged.
    for words in (("model", "show", "desk@1"), ("model", "judged", "desk", "said")):
        _, printed = desk(*words, as_json=False)
        assert "JUDGED BY A MODEL (judge," in " ".join(printed.split())
    _, card = desk("model", "card", "desk", as_json=False)
    assert "### Judged by a model" in card
    assert "win rate, judged by a model differs by" in card
    _, ran = desk("run", as_json=False)
    assert "win rate, judged by a model" in ran
    code, said = desk("model", "judged", "desk", "quiz")
    assert (code, "said beside base" in said) == (4, True)

    # What people say asks no model again, nor the judge; another question asks the judge alone.
    lines = [{"id": row["row_id"], "preferred": "tuned"} for row in rows[:9]]
    lines.append({"id": rows[9]["row_id"], "preferred": "base", "base": "something else"})
    preferred.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert again(desk) == {"gate:desk", "release:desk"}
    assert desk("run")[0] == 0
    _, found = desk("model", "judged", "desk", "said")
    rate = found["judged_by_a_model"]
    assert (rate["agreement"]["num_rows"], rate["num_stale"]) == (9, 1)
    task.write_text(SAID + JUDGE.replace("names", "says"))
    assert again(desk) == {"judge:desk/said", "gate:desk", "release:desk"}

    # Beside what is in production, too, once a rule asks for that.
    task.write_text(SAID + JUDGE)
    assert desk("run")[0] == 0
    for verb, who in (("promote", "ann"), ("approve", "boss")):
        code, said = desk("model", verb, "desk@1", "--why", "it does", "--as", who)
        assert code == 0, said
    text = project.read_text()
    project.write_text(
        text.replace("epochs = 8", "epochs = 9") + RULE.replace('"base"', '"production"')
    )
    assert desk("run")[0] == 0
    _, shown = desk("model", "show", "desk@2")
    rates = {each["verdicts"]["versus"]: each for each in shown["gate"]["win_rates"]}
    assert set(rates) == {"base", "desk@1"}
    assert (rates["desk@1"]["num_same"] > 0, rates["desk@1"]["agreement"]) == (True, None)
    rule = shown["gate"]["rules"][-1]["rule"]
    assert rule == "said: win rate, judged by a model beside production (desk@1)"
    for against in ("production", "desk@1"):
        _, found = desk("model", "judged", "desk", "said", "--against", against)
        assert found["judged_by_a_model"] == rates["desk@1"]

    # It never decides alone.
    measured = '[[gate.desk.rules]]\ntask = "said"\nagainst = "base"\n'
    alone = project.read_text().replace("[gate.desk]", "[gate.desk]\nbeats_base_by = 0.0", 1)
    alone = alone.replace(measured, "")
    for rule in ('metric = "exact match"\nat_least = 0.4\n', "at_least = 0.0\n"):
        alone = alone.replace(rule, f'metric = "{WIN_RATE}"\nagainst = "base"\n')
    alone = alone.replace('task = "quiz"', 'task = "said"').replace(
        'against = "base"\nslice = { field = "lang", value = "fr" }',
        f'task = "said"\nmetric = "{WIN_RATE}"\nagainst = "base"',
    )
    project.write_text(alone)
    code, said = desk("plan")
    assert (code, "rests on the verdicts of a model" in said) == (2, True)


def again(desk: Any) -> set[str]:
    """The steps that would run."""
    _, planned = desk("plan")
    return {line["step"] for line in planned["lines"] if line["state"] != "hit"}


def test_a_task_of_the_harness_is_carried_over_into_the_project(desk: Any, tmp_path: Path) -> None:
    theirs = tmp_path / "their.yaml"
    theirs.write_text(
        "task: their\ndataset_path: json\ndataset_kwargs: {data_files: rows.jsonl}\n"
        "output_type: multiple_choice\ndoc_to_text: '{{q}}?'\ndoc_to_target: a\n"
        "doc_to_choice: ['no', 'yes']\nnum_fewshot: 3\nmetric_list: [{metric: acc}]\n"
    )
    (tmp_path / "rows.jsonl").write_text('{"q": "Is it", "a": 1}\n{"q": "Was it", "a": 0}\n')

    code, said = desk("task", "import", str(theirs))
    assert (code, "num_fewshot: 3" in said, "--partly" in said) == (1, True, True)
    assert not (desk.folder / "tasks/their").exists()
    _, made = desk("task", "import", str(theirs), "--partly")
    assert made == {
        "task": "tasks/their/their.toml",
        "num_rows": 2,
        "not_carried_over": ["num_fewshot: 3; its examples are of the rows that are asked"],
    }
    code, said = desk("task", "import", str(theirs), "--partly")
    assert (code, "--to" in said) == (5, True)
    for place in ("../out", "/tmp/out", ".tunesmith/x"):
        assert desk("task", "import", str(theirs), "--partly", "--to", place)[0] == 2
    project = desk.folder / "tunesmith.toml"
    text = project.read_text().replace("tasks/quiz.toml", made["task"]).replace('"quiz"', '"their"')
    project.write_text(text.replace('slice = { field = "level", value = "easy" }', ""))
    _, planned = desk("plan")
    assert "evaluate:desk/their" in {line["step"] for line in planned["lines"]}


OTHER = """
[source.letters]
origin = "file:letters.jsonl"
format = "jsonl"

[dataset.letters]
sources = ["letters"]
base = "tiny"
format = "chat"
instruction = "Answer the letter."
test_share = 0.5
"""
AFAR = """
name = "afar"
version = "1"
rows = "dataset:letters"
metrics = ["exact match"]
max_new_tokens = 8
num_fewshot = 2
"""
FURTHER = """
[[gate.desk.rules]]
metric = "perplexity"
against = "base"
margin = 1.0

[[gate.desk.rules]]
metric = "perplexity"
at_most = 50.0

[[gate.desk.rules]]
task = "afar"
at_least = 0.0
slice = { field = "town", value = "Oslo" }

[[gate.desk.rules]]
task = "afar"
against = "base"
margin = -2.0
slice = { source = "letters" }
"""


def letter(number: int) -> str:
    asked = f"letter {number} {number * 7 % 31}"
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": "received"}]
    return json.dumps({"town": ["Oslo", "Rome"][number % 2], "messages": messages}) + "\n"


def test_a_tasks_own_rows_that_are_tuned_on_stop_it_before_anything_is_tuned(desk: Any) -> None:
    quiz = desk.folder / "tasks/quiz.jsonl"
    apart = quiz.read_text()
    asked = {"q": "en 3 21", "answer": "mit", "level": "easy"}
    every = [json.dumps({**asked, "q": f"{lang} 3 21"}) for lang in ("de", "en", "fr")]
    quiz.write_text(apart + "\n".join(every) + "\n")
    code, said = desk("run")
    assert code == 1, said
    assert "of the 27 rows of tasks/quiz.jsonl are rows that 'talks' tunes on" in said
    assert "tasks/quiz.jsonl, line 2" in said
    assert "is talks.jsonl#" in said
    assert "leave them out of tasks/quiz.jsonl, or out of what 'talks' reads" in said
    assert not desk("model", "list")[1]


def test_rows_of_another_dataset_and_less_that_is_better(desk: Any) -> None:
    project: Path = desk.folder / "tunesmith.toml"
    text = project.read_text()
    head, _, tail = text.partition("[[gate.desk.rules]]")
    tail = tail[tail.index("[model.desk]") :]
    project.write_text(
        (head + FURTHER.lstrip() + "\n" + tail + OTHER).replace(
            'tasks = ["tasks/said.toml", "tasks/quiz.toml"]', 'tasks = ["tasks/afar.toml"]'
        )
    )
    (desk.folder / "tasks/afar.toml").write_text(AFAR)
    letters = desk.folder / "letters.jsonl"

    # A test row that is tuned on stops it, before anything is tuned.
    letters.write_text((desk.folder / "talks.jsonl").read_text())
    code, said = desk("run")
    assert code == 1, said
    assert "test rows of 'letters' are rows that 'talks' tunes on" in said
    assert 'apart_from = ["letters"] in [dataset.talks]' in said
    assert not desk("model", "list")[1]

    letters.write_text("".join(letter(n) for n in range(48)))
    code, made = desk("run")
    assert code == 0, made
    _, shown = desk("model", "show", "desk@1")
    _, perplexity, ceiling, oslo, beside = shown["gate"]["rules"]
    assert perplexity["rule"] == "perplexity beside base"
    assert perplexity["required"] == "less than -1.0000 at the upper end, as lower is better"
    assert perplexity["verdict"] == ceiling["verdict"] == "pass"
    assert oslo["rule"].startswith("afar: exact match on town = Oslo (")
    assert beside["rule"].startswith("afar: exact match beside base on source = letters (24 rows)")
    compared = {each["metric"]: each for each in shown["gate"]["comparisons"]}
    assert compared["perplexity"]["lower_is_better"] is True
    assert compared["perplexity"]["difference"] < -1
    assert compared["perplexity"]["num_won"] > compared["perplexity"]["num_lost"]
    assert "task afar, 24 rows, 95% confidence" in shown["registered"]
    assert "by perplexity, 95% confidence" in shown["registered"]
    _, card = desk("model", "card", "desk", as_json=False)
    assert "perplexity (lower is better)" in card

    _, both = desk("model", "compare", "desk@1", "desk@1", "--metric", "perplexity", as_json=False)
    assert "perplexity (lower is better)" in both
    assert "desk@1 - desk@1, perplexity: +0.000 (+0.000 to +0.000, lower is better)" in both
    code, said = desk("model", "compare", "desk@1", "desk@1", "--metric", "accuracy")
    assert (code, "there is: log-likelihood, loss, perplexity" in said) == (2, True)
    _, worst = desk("model", "mistakes", "desk", "--metric", "perplexity", "--limit", "30")
    _, best = desk("model", "mistakes", "desk", "--metric", "loss", "--best", "--limit", "30")
    losses = [row["loss"] for row in worst["worst"]]
    assert losses == sorted(losses, reverse=True)
    assert [row["loss"] for row in best["best"]] == sorted(losses)
    code, said = desk("model", "mistakes", "desk", "--metric", "accuracy")
    assert (code, "there is: log-likelihood, loss, perplexity" in said) == (2, True)

    project.write_text(project.read_text().replace("at_most = 50.0", "at_least = 50.0"))
    code, said = desk("plan")
    assert (code, "write at_most = 50" in said) == (2, True)


def test_bleu_needs_its_library_before_anything_is_tuned(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk.folder / "tasks/said.toml").write_text(SAID.replace('"token F1"', '"BLEU"'))
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "sacrebleu", None)
        for command in ("plan", "run"):
            code, said = desk(command)
            assert code == 1
            assert "sacrebleu, which counts BLEU, is needed here and is not installed" in said
            assert "pip install 'tunesmith[text-metrics]'" in said
        assert desk("model", "list")[1] == []

    assert desk("run")[0] == 0
    _, shown = desk("model", "show", "desk@1")
    assert shown["gate"]["rules"][1]["rule"] == "said: BLEU beside base"
