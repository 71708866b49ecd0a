from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tunesmith.core.errors import ConfigError, DataError, NotFound
from tunesmith.records.evaluation import WIN_RATE
from tunesmith.stages.evaluate.config import GateConfig, GateRule, SliceConfig
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
    model = SimpleNamespace(objective=objective, dataset="d", base="small")
    bases = {
        "small": SimpleNamespace(origin="pypi:small==1", file="small/model"),
        "again": SimpleNamespace(origin="pypi:small==1", file="small/model/"),
        "large": SimpleNamespace(origin="pypi:large==1", file="large/model"),
    }
    return with_tasks(of, folder, {"desk": model}, {"d": SimpleNamespace(format=form)}, bases)


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


def test_a_slice_by_label_is_of_the_choices_of_a_tasks_own_rows(folder: Path) -> None:
    """Otherwise it has no row, which was said only once the model was tuned."""
    path = folder / "tasks/cites.toml"
    text = TASK.replace('metrics = ["exact match"]', 'ask = "choose"\nchoices = ["b", "a, b"]')
    path.write_text(text)
    (folder / "tasks/own.jsonl").write_text('{"q": "a", "answer": 1}\n{"q": "c", "answer": "b"}\n')

    def sliced(label: str) -> GateConfig:
        rule = GateRule(
            task="cites", metric="accuracy", at_least=0.5, slice=SliceConfig(label=label)
        )
        return read(folder, gate(rule))

    (found,) = sliced("a, b").slices()
    assert found.asked is not None
    assert found.asked.name == found.task == "cites"
    with pytest.raises(
        ConfigError, match=r"rules\.slice\.label: there is no label 'a,b'"
    ) as caught:
        sliced("a,b")
    assert caught.value.remedy == "did you mean 'a, b'?"
    path.write_text(TASK)
    rule = GateRule(task="cites", at_least=0.5, slice=SliceConfig(label="b"))
    with pytest.raises(ConfigError, match="have no labels") as caught:
        read(folder, gate(rule))
    assert 'field = "answer"' in str(caught.value.remedy)


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
        ("prompt", 'extract = "("\nprompt', "none that RE2 can read"),
        ("prompt", 'ignore = ["(?=a)"]\nprompt', "none that RE2 can read"),
        ("prompt", 'ignore = ["b"]\nprompt', "nothing is left that `ignore` does not match"),
        ("prompt", 'extract_match = "last"\nprompt', "read with extract alone"),
        (
            'metrics = ["exact match"]',
            'ask = "score"\nextract = "a"',
            'extract and ignore go with ask = "answer"',
        ),
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


BROKEN = [
    ('{"q": "a"}\n', "tasks/own.jsonl, line 1 has no field 'answer'"),
    ('{"q": "a", "answer": "b"}\n\n{"p": "a", "answer": "b"}\n', "tasks/own.jsonl, line 3 has no"),
    ('{"q": "a", "answer": ""}\n', "tasks/own.jsonl, line 1: '' is no right answer"),
    ("{\n", "tasks/own.jsonl, line 1 is no JSON"),
    ("", "tasks/own.jsonl has no rows"),
    ("\n \n", "tasks/own.jsonl has no rows"),
]


@pytest.mark.parametrize(("text", "said"), BROKEN)
@pytest.mark.parametrize("of", ["rows", "examples"])
def test_a_row_that_cannot_be_asked_is_named_before_anything_is_tuned(
    folder: Path, text: str, said: str, of: str
) -> None:
    (folder / "tasks/own.jsonl").write_text(text)
    if of == "examples":
        (folder / "tasks/good.jsonl").write_text('{"q": "a", "answer": "b"}\n')
        shown = 'file:tasks/good.jsonl"\nnum_fewshot = 1\nexamples = "file:tasks/own.jsonl'
        (folder / "tasks/cites.toml").write_text(TASK.replace("file:tasks/own.jsonl", shown))

    with pytest.raises(ConfigError) as caught:
        read(folder, gate())
    assert f"gate.g.tasks: tasks/cites.toml: {said}" in str(caught.value)
    assert caught.value.exit_code == 2
    assert caught.value.remedy


def test_a_field_that_the_prompt_names_is_there_and_examples_are_as_many(folder: Path) -> None:
    path = folder / "tasks/cites.toml"
    path.write_text(TASK.replace("{q}", "{qq}"))
    with pytest.raises(ConfigError, match="line 1 has no field 'qq', which the prompt") as caught:
        read(folder, gate())
    assert caught.value.remedy == "there is: q, answer"

    shown = 'file:tasks/own.jsonl"\nnum_fewshot = 2\nexamples = "file:tasks/few.jsonl'
    path.write_text(TASK.replace("file:tasks/own.jsonl", shown))
    (folder / "tasks/few.jsonl").write_text('{"q": "c", "answer": "d"}\n')
    with pytest.raises(ConfigError, match=r"few\.jsonl has 1 rows, and num_fewshot is 2"):
        read(folder, gate())


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


CHOOSE = TASK.replace('metrics = ["exact match"]', 'ask = "choose"\nchoices = ["a", "b"]')


def test_choices_that_are_labels_are_measured_as_labels_are(folder: Path) -> None:
    path, rows = folder / "tasks/cites.toml", folder / "tasks/own.jsonl"
    rules = [
        GateRule(task="cites", metric="macro-F1", at_least=0.5),
        GateRule(task="cites", metric="micro-F1", against="base"),
        GateRule(task="cites", metric="calibration error", at_most=0.1),
        GateRule(task="cites", metric="Brier score", at_most=0.1),
    ]
    path.write_text(CHOOSE)
    assert read(folder, gate(*rules)).given()[0].has_labels
    path.write_text(CHOOSE.replace('["a", "b"]', '"of"'))
    rows.write_text(
        '{"q": "a", "answer": "b", "of": ["a", "b"]}\n{"q": "a", "answer": 0, "of": ["b", "a"]}\n'
    )
    assert read(folder, gate(*rules)).given()[0].has_labels

    wrong = rows.read_text() + '{"q": "a", "answer": 0, "of": ["b", "c"]}\n'
    twice = '{"q": "a", "answer": "b", "of": ["a", "b", "a"]}\n'
    for text in (wrong, twice):
        rows.write_text(text)
        for rule in rules:
            with pytest.raises(ConfigError, match="is of a label set: the same choices") as caught:
                read(folder, gate(rule))
            assert "there is: accuracy, normalised accuracy, loss" in caught.value.remedy
    path.write_text(CHOOSE + 'metrics = ["normalised accuracy"]\n')
    with pytest.raises(ConfigError, match="accuracy as the first metric"):
        read(folder, gate(rules[0]))
    path.write_text(CHOOSE)
    with pytest.raises(ConfigError, match="less of 'Brier score' is better"):
        read(folder, gate(GateRule(task="cites", metric="Brier score", at_least=0.1)))


SCORE = TASK.replace('metrics = ["exact match"]', 'ask = "score"')


def test_texts_that_are_read_have_their_metrics(folder: Path) -> None:
    path = folder / "tasks/cites.toml"
    path.write_text(SCORE)
    rules = (
        GateRule(task="cites", metric="perplexity", at_most=9.0),
        GateRule(task="cites", metric="loss", against="base"),
        GateRule(task="cites", against="base", margin=-0.1),
    )
    (task,) = read(folder, gate(*rules)).given()
    assert task.config.metrics == ("log-likelihood", "loss", "perplexity")
    path.write_text(SCORE.replace('prompt = "{q}"', "chat = false"))
    assert read(folder, gate(*rules)).given()[0].config.prompt == ""
    with pytest.raises(ConfigError, match="less of 'perplexity' is better"):
        read(folder, gate(GateRule(task="cites", metric="perplexity", at_least=9.0)))

    whole = SCORE.replace('prompt = "{q}"', "")
    shown = '\nnum_fewshot = 1\nexamples = "file:tasks/own.jsonl"\n'
    for text, said in {
        whole: "read as it stands: chat = false",
        f"{whole}chat = false{shown}": "and no num_fewshot",
        SCORE.replace('"file:tasks/own.jsonl"\nprompt = "{q}"', '"test"'): "are of a file",
        SCORE + 'metrics = ["perplexity"]': "leave metrics out",
        SCORE + 'metrics = ["chrF"]': "leave metrics out",
        SCORE + 'choices = ["a"]': "choices go with",
        SCORE + JUDGE: "no answers in words",
    }.items():
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            read(folder, gate())
        assert said in str(caught.value)
    path.write_text(SCORE)
    (folder / "tasks/own.jsonl").write_text('{"q": "a", "answer": ["b", "c"]}\n')
    with pytest.raises(ConfigError, match="is more than one text"):
        read(folder, gate())


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


JUDGE = """
[judge]
base = "large"
question = "Which is better?"
"""
MEASURED = GateRule(task="cites", against="base")
JUDGED = GateRule(task="cites", metric=WIN_RATE, against="base")


def judged(folder: Path, judge: str = JUDGE) -> Path:
    path = folder / "tasks/cites.toml"
    path.write_text(TASK + judge)
    return path


def test_a_judge_is_no_setting_of_what_is_asked(folder: Path) -> None:
    (plain,) = read(folder, gate()).given()
    judged(folder, JUDGE + 'people = "tasks/people.jsonl"\n')
    (folder / "tasks/people.jsonl").write_text('{"id": "cites:1", "preferred": "tie"}\n')
    (task,) = read(folder, gate(MEASURED, JUDGED)).given()

    assert task.config == plain.config, "a changed judge would ask the models again"
    assert task.judge is not None
    assert (task.judge.base, task.judge.own_base) == ("large", False)
    assert task.people is not None
    assert "cites:1" in task.people.text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"large"', '"lagre"', "did you mean 'large'"),
        ('"large"', '"small"', "is 'small', the base of the model that it judges"),
        ('"large"', '"again"', "own_base = true"),
        ('base = "large"', "", "[judge]: base: this key is required"),
        ("question", "qestion", "did you mean 'question'"),
        ('"Which is better?"', '""', "at least 1 character"),
        ('"Which is better?"', '"  "', "what makes an answer the better one"),
        ("[judge]\n", "judge = 3\n[x]\n", "cites.toml"),
        ("[judge]\n", '[judge]\npeople = "../p.jsonl"\n', "inside the project"),
        ("[judge]\n", '[judge]\npeople = "tasks/p.json"\n', "inside the project"),
        ("[judge]\n", '[judge]\nown_base = "perhaps"\n', "boolean"),
    ],
)
def test_what_a_judge_says_wrong_is_said(folder: Path, old: str, new: str, said: str) -> None:
    judged(folder, JUDGE.replace(old, new))

    with pytest.raises(ConfigError) as caught:
        read(folder, gate())
    assert said in f"{caught.value} {caught.value.remedy}"
    assert "gate.g.tasks" in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_judge_of_its_own_base_is_let_where_it_is_asked_for(folder: Path) -> None:
    judged(folder, JUDGE.replace('"large"', '"again"\nown_base = true'))
    assert read(folder, gate()).given()[0].judge is not None


def test_judgements_of_people_are_read_when_the_project_is(folder: Path) -> None:
    judged(folder, JUDGE + 'people = "tasks/people.jsonl"\n')
    with pytest.raises(NotFound, match=r"no tasks/people.jsonl"):
        read(folder, gate())
    (folder / "tasks/people.jsonl").write_text('{"id": "cites:1", "preferred": "A"}\n')
    with pytest.raises(DataError, match=r"tasks/people.jsonl, line 1 is no judgement"):
        read(folder, gate())


def test_a_judge_has_answers_to_compare(folder: Path) -> None:
    text = TASK.replace('metrics = ["exact match"]', 'ask = "choose"\nchoices = ["a", "b"]')
    (folder / "tasks/cites.toml").write_text(text + JUDGE)
    with pytest.raises(ConfigError, match="no answers in words that it could compare"):
        read(folder, gate())
    (folder / "tasks/cites.toml").write_text(TASK.replace("exact match", WIN_RATE))
    with pytest.raises(ConfigError, match="is no metric of one answer"):
        read(folder, gate())


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([JUDGED], "its only rule on what the model says rests on the verdicts of a model"),
        ([JUDGED, GateRule(task="cites", at_least=0.0)], "its only rule on"),
        ([JUDGED, GateRule(task="cites", against="base", margin=-1.0)], "its only rule on"),
        ([MEASURED, GateRule(task="cites", metric=WIN_RATE, at_least=0.5)], "has no floor"),
        ([MEASURED, GateRule(metric=WIN_RATE, against="base")], "this rule names no task"),
    ],
)
def test_a_gate_never_rests_on_a_judge_alone(
    folder: Path, rules: list[GateRule], said: str
) -> None:
    judged(folder)

    with pytest.raises(ConfigError) as caught:
        read(folder, gate(*rules))
    assert said in str(caught.value)
    assert caught.value.exit_code == 2
    assert caught.value.remedy


@pytest.mark.parametrize(
    "rule",
    [
        MEASURED,
        GateRule(task="cites", at_least=0.1),
        GateRule(against="base", margin=-0.1),
    ],
)
def test_a_judge_may_stand_beside_what_is_measured(folder: Path, rule: GateRule) -> None:
    judged(folder)
    assert read(folder, gate(JUDGED, rule)).rules == (JUDGED, rule)


def test_where_the_base_is_beaten_by_what_is_measured_that_is_enough(folder: Path) -> None:
    """Of labels a gate compares accuracies anyway; not if it asks for nothing."""
    judged(folder)
    assert read(folder, gate(JUDGED), form="labels")
    loose = gate(JUDGED).model_copy(update={"beats_base_by": -1.0})
    with pytest.raises(ConfigError, match="its only rule on"):
        read(folder, loose, form="labels")
    assert read(folder, loose.model_copy(update={"at_least": 0.5}), form="labels")


def test_a_rule_on_a_win_rate_needs_a_judge(folder: Path) -> None:
    with pytest.raises(ConfigError, match="task 'cites' has none") as caught:
        read(folder, gate(MEASURED, JUDGED))
    assert "write a table [judge]" in str(caught.value.remedy)
