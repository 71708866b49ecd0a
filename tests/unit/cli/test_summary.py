"""The summary for the page of a change: read by a parser of Markdown that is not ours."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from tunesmith.cli.main import app
from tunesmith.cli.summary import MOST_CHARACTERS, Judged, _became, _short, _verdict
from tunesmith.core.catalog import Run
from tunesmith.core.errors import NotFound, UsageError
from tunesmith.documents.markdown import code
from tunesmith.records.evaluation import Comparison, GateResult, RuleResult
from tunesmith.records.money import Rates

HOSTILE = (
    "`code` <img src=x onerror=alert(1)> [a](https://example.com) @everyone #1 "
    "**x** ``` ~~~\n\n/merge\n# head\n| a | b |\n</details> \u202e\x00 https://example.com"
)


@given(st.text(alphabet="`a<>\n\t |\\*_[]()@#/\u202e\x00", max_size=30) | st.text(max_size=400))
def test_what_others_wrote_is_one_piece_of_code(text):
    tokens = MarkdownIt("commonmark").parse(f"- x {code(text)} y")
    (inline,) = [token for token in tokens if token.type == "inline"]
    assert [each.type for each in inline.children] == ["text", "code_inline", "text"]
    shown = inline.children[1].content
    assert shown.isprintable()
    kept = "".join(each if each.isprintable() else " " for each in text).split()
    if len(" ".join(kept)) <= 300:
        assert shown.split() == kept


def test_nothing_of_a_task_is_a_mark_a_link_or_a_command():
    rule = RuleResult(rule=f"task {HOSTILE}", observed=HOSTILE, required="0", passed=False)
    found = Comparison(
        metric=HOSTILE, base=0.1, tuned=0.2, difference=0.1, low=0.0, high=0.2, num_resamples=9,
        confidence=0.95, num_rows=9, detectable=0.1, versus=HOSTILE, task=HOSTILE,
    )  # fmt: skip
    gate = GateResult(
        gate=HOSTILE, model=HOSTILE, verdict="fail", rules=(rule,), comparisons=(found,)
    )
    judged = Judged(model=HOSTILE, version="", gate=gate, base=None, tuned=None)
    text = "\n".join(_verdict(judged))
    kinds = set()
    for token in MarkdownIt("commonmark", {"html": True, "linkify": False}).parse(text):
        kinds |= {token.type, *(each.type for each in token.children or ())}
    assert kinds == {
        *("paragraph_open", "paragraph_close", "inline", "text", "code_inline"),
        *("strong_open", "strong_close"),
        *("bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close"),
    }
    assert not any(line.startswith("/") for line in text.splitlines())


def test_a_long_one_is_cut_at_a_line():
    lines = [f"- {number} " + "x" * 90 for number in range(2000)]
    text = _short(lines)
    assert len(text) < MOST_CHARACTERS + 100
    *kept, empty, last = text.splitlines()
    assert kept == lines[: len(kept)]
    assert (empty, last) == ("", "The rest is in the run's own log.")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"after_run": 0, "lines": [1]}', "\x00"])
def test_what_is_no_plan_is_refused(tmp_path, text):
    path = tmp_path / "plan.json"
    with pytest.raises(NotFound, match="before the run"):
        CliRunner().invoke(app, ["summary", str(path)], catch_exceptions=False)
    path.write_text(text)
    with pytest.raises(UsageError, match="not what `tunesmith plan`"):
        CliRunner().invoke(app, ["summary", str(path)], catch_exceptions=False)


def test_a_plan_and_what_ran_since(tmp_path):
    (tmp_path / "notes.jsonl").write_text('{"text": "one"}\n')
    (tmp_path / "tunesmith.toml").write_text(
        '[project]\nname = "n`<b>"\n\n[source.notes]\norigin = "file:notes.jsonl"\n'
        'format = "jsonl"\ntext = "text"\n'
    )

    def run(*words: str) -> str:
        done = CliRunner().invoke(app, [*words, "-p", str(tmp_path)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    plan = tmp_path / "plan.json"
    for ran in (["land:notes", "ingest:notes"], []):
        plan.write_text(run("plan", "--json"))
        run("run")
        said = json.loads(run("summary", str(plan), "--json"))
        assert [(each["step"], each["status"]) for each in said["ran"]] == [
            (step, "succeeded") for step in ran
        ]
        assert said["markdown"].startswith("### Tunesmith: ``n`<b>``\n")
        assert f"{len(ran)} of 2 steps were to run, {len(ran)} did" in said["markdown"]


def test_what_may_run_was_not_to_run_and_a_step_is_what_its_last_try_was():
    """After an upgrade most steps may run and do not; a step that was tried again did run."""
    planned = [("one", "runs"), ("two", "may run"), ("three", "hit"), ("four", "runs")]
    free = Decimal(0)
    rates = Rates(currency="EUR", per_cpu_hour=free, per_kwh=free, per_review_hour=free)
    ran = [
        Run(
            id=number, key="k", step=step, kind="echo@1", identity={}, status=status, owner="",
            actor="", started_at="", finished_at="", output=None, error=None, usage=None,
            forecast=None,
        )
        for number, (step, status) in enumerate([("one", "failed"), ("one", "succeeded")])
    ]  # fmt: skip

    said = "\n".join(_became(planned, ran, rates))

    assert "<summary>2 of 4 steps were to run, 1 did</summary>" in said
    assert "`four`: not run" in said
    assert "`two`" not in said
    assert "1 did, 1 failed" in "\n".join(
        _became(planned, [*ran, replace(ran[0], step="four")], rates)
    )
