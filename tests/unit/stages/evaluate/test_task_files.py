from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tunesmith.core.errors import ConfigError, DataError, NotFound
from tunesmith.stages.evaluate.config import GateConfig, GateRule
from tunesmith.stages.evaluate.task_files import with_tasks

TASK = """
name = "cites"
version = "2"
rows = "file:tasks/own.jsonl"
prompt = "{q}"
metrics = ["exact match"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/cites.toml").write_text(TASK)
    (tmp_path / "tasks/own.jsonl").write_text('{"q": "a", "answer": "b"}\n')
    return tmp_path


def gate(*rules: GateRule, tasks: tuple[str, ...] = ("tasks/cites.toml",)) -> GateConfig:
    return GateConfig(name="g", model="desk", tasks=tasks, rules=rules)


def read(folder: Path, of: GateConfig, objective: str = "sft", form: str = "chat") -> GateConfig:
    model = SimpleNamespace(objective=objective, dataset="d")
    return with_tasks(of, folder, {"desk": model}, {"d": SimpleNamespace(format=form)})


def test_a_gate_is_given_what_the_files_of_its_tasks_say(folder: Path) -> None:
    (task,) = read(folder, gate()).given()

    assert (task.config.name, task.config.version) == ("cites", "2")
    assert task.rows is not None
    assert task.rows.text == '{"q": "a", "answer": "b"}\n'


def test_choices_bring_their_metrics(folder: Path) -> None:
    path = folder / "tasks/cites.toml"
    text = TASK.replace('metrics = ["exact match"]', 'ask = "choose"\nchoices = ["a", "b"]')
    path.write_text(text)

    assert read(folder, gate()).given()[0].config.metrics == ("accuracy", "normalised accuracy")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("exact match", "exact macth", "no metric 'exact macth'"),
        ('metrics = ["exact match"]', "", "metrics must name"),
        ("version", "versoin", "did you mean 'version'"),
        ('version = "2"', "", "required"),
        ('prompt = "{q}"', "", "say what is asked in prompt"),
        ("file:tasks/own.jsonl", "test", "leave prompt out"),
        ("file:tasks/own.jsonl", "own.jsonl", "or a file as in"),
        ("file:tasks/own.jsonl", "file:../own.jsonl", "inside the project"),
        ("file:tasks/own.jsonl", "file:/etc/own.jsonl", "inside the project"),
        ("cites", "../cites", "should match pattern"),
        ("[", "[[", "tasks/cites.toml"),
        ("prompt", 'lower_is_better = ["slips"]\nprompt', "python does not count"),
        ('metrics = ["exact match"]', 'ask = "choose"', "choices go with"),
        ('metrics = ["exact match"]', 'metrics = ["chrF"]\nchoices = ["a"]', "choices go with"),
    ],
)
def test_what_a_file_says_wrong_is_said_with_its_name(
    folder: Path, old: str, new: str, said: str
) -> None:
    path = folder / "tasks/cites.toml"
    path.write_text(path.read_text().replace(old, new))

    with pytest.raises(ConfigError) as caught:
        read(folder, gate())
    text = f"{caught.value} {caught.value.remedy}"
    assert said in text
    assert "gate.g.tasks: tasks/cites.toml" in text


def test_what_does_not_go_together_is_refused(folder: Path) -> None:
    twice = gate(tasks=("tasks/cites.toml", "tasks/again.toml"))
    (folder / "tasks/again.toml").write_text(TASK)
    (folder / "tasks/test.toml").write_text('name = "t"\nversion = "1"\nmetrics = ["chrF"]\n')
    wrong: list[tuple[GateConfig, dict[str, Any], str]] = [
        (twice, {}, "two of its tasks"),
        (gate(GateRule(task="cite", at_least=0.5)), {}, "did you mean 'cites'"),
        (gate(), {"objective": "embed", "form": "pairs"}, "answers nothing in words"),
        (gate(tasks=("tasks/test.toml",)), {"objective": "cpt", "form": "text"}, "'text' are not"),
    ]
    for of, settings, said in wrong:
        with pytest.raises(ConfigError) as caught:
            read(folder, of, **settings)
        assert said in f"{caught.value} {caught.value.remedy}"


@pytest.mark.parametrize(
    ("rule", "form", "said"),
    [
        ({"metric": "perplexity", "at_least": 12.0}, "chat", "less of 'perplexity' is better"),
        ({"metric": "perplexity", "at_least": 12.0}, "chat", "write at_most = 12"),
        ({"metric": "Brier score", "at_least": 0.2}, "labels", "write at_most = 0.2"),
        ({"metric": "accuracy", "at_most": 0.9}, "labels", "more of 'accuracy' is better"),
        ({"at_most": 0.9}, "labels", "write at_least = 0.9"),
        ({"task": "cites", "at_most": 0.9}, "chat", "more of 'exact match' is better"),
        ({"task": "cites", "metric": "slips", "at_least": 2}, "chat", "less of 'slips' is better"),
        ({"metric": "perplexty", "at_most": 9.0}, "chat", "did you mean 'perplexity'"),
        ({"metric": "perplexity", "at_most": 9.0}, "labels", "there is: accuracy, macro-F1"),
        ({"task": "cites", "metric": "chrF", "at_least": 0.1}, "chat", "there is: exact match"),
    ],
)
def test_a_rule_of_no_metric_or_the_wrong_way_round_is_refused_before_tuning(
    folder: Path, rule: dict[str, Any], form: str, said: str
) -> None:
    more = 'metrics = ["exact match", "slips"]\npython = "c.py:score"\nlower_is_better = ["slips"]'
    path = folder / "tasks/cites.toml"
    path.write_text(TASK.replace('metrics = ["exact match"]', more))
    (folder / "c.py").write_text("def score(row): return {'slips': 1}\n")

    with pytest.raises(ConfigError) as caught:
        read(folder, gate(GateRule(**rule)), form=form)
    assert said in f"{caught.value} {caught.value.remedy}"
    assert caught.value.exit_code == 2
    read(folder, gate(GateRule(task="cites", metric="slips", at_most=2.0)), form=form)


def test_a_file_that_is_not_there_or_leads_out_is_refused(folder: Path) -> None:
    with pytest.raises(NotFound, match=r"no tasks/other.toml"):
        read(folder, gate(tasks=("tasks/other.toml",)))
    for path in ("../cites.toml", "/etc/cites.toml", "tasks/cites.json", ".tunesmith/x.toml"):
        with pytest.raises(ConfigError, match="inside the project"):
            read(folder, gate(tasks=(path,)))
    (folder / "tasks/own.jsonl").unlink()
    (folder / "tasks/own.jsonl").symlink_to("/etc/hostname")
    with pytest.raises(DataError, match="leads out"):
        read(folder, gate())
    (folder / "tasks/own.jsonl").unlink()
    (folder / "tasks/own.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="UTF-8"):
        read(folder, gate())
