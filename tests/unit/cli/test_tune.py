from __future__ import annotations

import json
import re
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tunesmith.cli import tune as command
from tunesmith.cli.render import WIDTH
from tunesmith.cli.tune import LEGEND, batch_lines, certificate_lines
from tunesmith.core.errors import DataError
from tunesmith.records.certificate import Certificate, Check
from tunesmith.stages.finetune.first_batch import FirstBatch, ShownToken
from tunesmith.stages.finetune.preflight import Finding, Preflight


def token(text: str, document: int, trained: Any = "no") -> ShownToken:
    return ShownToken(id=len(text), text=text, position=0, document=document, trained=trained)


def batch(broken: tuple[str, ...] = ()) -> FirstBatch:
    finding = Finding(
        rule="label",
        defects=(17,),
        fault="have no label token",
        remedy="give every row a label",
        row_ids=broken,
    )
    long = [token("word", 1) for _ in range(60)]
    return FirstBatch(
        preflight=Preflight(num_rows=9, num_tokens=900, num_labels=27, findings=(finding,)),
        row_ids=("aa", "bb"),
        targets=("", "mit gpl"),
        tokens=(
            token("<s>", 0),
            token("Name\\n", 0),
            token("it", 0),
            token("gpl", 0, "answer"),
            token("-2", 0, "answer"),
            token("</s>", 0, "end of turn"),
            *long,
            token("mit", 1, "answer"),
        ),
        num_steps=12,
    )


def app() -> typer.Typer:
    made = typer.Typer()
    made.command()(lambda: command._show(batch(("bb",)), False))
    return made


def test_trained_tokens_are_marked_without_colour_too() -> None:
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in batch_lines(batch())]

    assert lines[:3] == [
        "document 0, row aa: 6 tokens, 3 trained",
        "  <s>|Name\\n",
        "  it[gpl][-2]{</s>}",
    ]
    assert "document 1, row bb: 61 tokens, 1 trained" in lines
    assert [line for line in lines if "said of it" in line] == ["  to be said of it: mit gpl"]
    assert all(len(line) <= WIDTH for line in lines)
    assert "".join(lines).count("word") == 60
    assert LEGEND in lines
    assert "first step: 2 rows, 67 tokens, 4 trained" in lines
    assert "one epoch:  9 rows, 900 tokens, 27 trained" in lines
    assert "whole run:  12 steps" in lines
    assert "    0  rows have no label token" in lines


def test_trained_tokens_are_coloured() -> None:
    text = "\n".join(batch_lines(batch()))
    assert typer.style("[gpl]", fg="green", bold=True) in text
    assert typer.style("{</s>}", fg="cyan", bold=True) in text


def test_what_is_not_a_terminal_gets_no_colour_and_unsound_rows_are_refused() -> None:
    done = CliRunner().invoke(app())

    assert isinstance(done.exception, DataError)
    assert "1 rows have no label token: bb" in str(done.exception)
    assert "\x1b" not in done.stdout
    assert "it[gpl][-2]{</s>}" in done.stdout


def test_as_json_every_token_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    command._show(batch(), True)
    found = json.loads(capsys.readouterr().out)

    assert len(found["tokens"]) == 67
    assert found["tokens"][3]["trained"] == "answer"
    assert found["preflight"]["findings"][0]["row_ids"] == []


def test_a_certificate_is_printed_check_by_check() -> None:
    def check(name: str, when: Any, passed: bool) -> Check:
        return Check(
            name=name, defects=(7, 8), observed="2", required="0", passed=passed, when=when
        )

    certificate = Certificate(
        checks=(check("no leak", "before", True), check("frozen", "after", False))
    )
    assert certificate_lines(certificate) == [
        "",
        "before the run:",
        "  ok    no leak",
        "        2; required 0 (defects 7, 8)",
        "",
        "after the run:",
        "  FAIL  frozen",
        "        2; required 0 (defects 7, 8)",
        "",
        "1 of 2 checks hold",
    ]
    assert certificate.failed() == "frozen: 2, required 0"
