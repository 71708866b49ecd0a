from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tunesmith.core.errors import DataError
from tunesmith.lm.chat_template import conversation
from tunesmith.lm.load import load_tokenizer
from tunesmith.lm.tokenizer import Tokenizer
from tunesmith.stages.finetune import preflight
from tunesmith.stages.finetune.batches import TrainRow, micro_batches
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.preflight import (
    RULES,
    Preflight,
    first_batch,
    inspect,
    look,
    require_sound,
    served_prompts,
)

TEXTS = [("Permission is\ngranted.", "mit"), ("x", "gpl-2.0"), ("\u00e9", "mit")]
CONFIG = ModelConfig(base="b", dataset="d", batch_rows=2, epochs=3)


@pytest.fixture
def tokenizer(tiny: Any) -> Tokenizer:
    return load_tokenizer(tiny.base, tiny.blobs)


@pytest.fixture
def rows(tokenizer: Tokenizer) -> list[TrainRow]:
    found = []
    for number, (text, answer) in enumerate(TEXTS):
        rendered = conversation(tokenizer, "Name it.", text, answer)
        found.append(
            TrainRow(row_id=f"r{number}", ids=rendered.ids, num_prompt=rendered.num_prompt)
        )
    return found


def found_in(tokenizer: Tokenizer, rows: list[TrainRow], length: int = 256) -> Preflight:
    return inspect(rows, [row.ids[: row.num_prompt] for row in rows], tokenizer, length)


def broken(found: Preflight) -> dict[str, tuple[str, ...]]:
    return {finding.rule: finding.row_ids for finding in found.findings if finding.row_ids}


def test_sound_rows_break_no_rule(tiny: Any, tokenizer: Tokenizer, rows: list[TrainRow]) -> None:
    found = found_in(tokenizer, rows)

    require_sound(found)
    assert broken(found) == {}
    assert [finding.rule for finding in found.findings] == [rule for rule, *_ in RULES]
    assert found.num_rows == 3
    assert found.num_tokens == sum(len(row.ids) for row in rows)
    assert found.num_labels == sum(row.num_labels for row in rows)
    path = tiny.blobs.path(tiny.split(TEXTS).rows)
    served = served_prompts(path, tokenizer, "Name it.")
    assert [list(row.ids[: row.num_prompt]) for row in rows] == served


def test_each_rule_finds_its_rows(tokenizer: Tokenizer, rows: list[TrainRow]) -> None:
    """Defects 13, 14, 17, 18 and 19, and rows with one id."""
    end, bos = tokenizer.id_of("<|im_end|>"), tokenizer.id_of("<|im_start|>")
    one, two, three = rows

    def found(row: TrainRow, length: int = 256) -> dict[str, tuple[str, ...]]:
        return broken(found_in(tokenizer, [row, two, three], length))

    def changed(**changes: Any) -> TrainRow:
        return dataclasses.replace(one, **changes)

    unlabelled = changed(ids=one.ids[:-2], num_prompt=len(one.ids) - 2)
    assert found(unlabelled) == {"label": ("r0",), "end of turn": ("r0",)}
    assert found(one, len(one.ids) - 1) == {"length": ("r0",)}
    assert found(changed(ids=one.ids[:-1])) == {"end of turn": ("r0",)}
    assert found(changed(ids=(*one.ids, end, end))) == {"padding": ("r0",)}
    doubled = changed(ids=(bos, *one.ids), num_prompt=one.num_prompt + 1)
    assert found(doubled) == {"one beginning": ("r0",)}
    assert found(changed(row_id="r2")) == {"row id": ("r2",)}


def test_an_end_that_is_not_trained_is_found(
    tokenizer: Tokenizer, rows: list[TrainRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defect 13: as a mask by the padding's id would do where padding and end are one token."""
    right = preflight.pack
    end = tokenizer.id_of("<|im_end|>")

    def masked(rows: list[TrainRow]) -> Any:
        micro = right(rows)
        kept = micro.labels != end
        return dataclasses.replace(
            micro, predicting=micro.predicting[kept], labels=micro.labels[kept]
        )

    monkeypatch.setattr(preflight, "pack", masked)
    assert broken(found_in(tokenizer, rows)) == {"trained end": ("r0", "r1", "r2")}


def test_a_prompt_that_is_served_otherwise_is_found(
    tokenizer: Tokenizer, rows: list[TrainRow]
) -> None:
    """Defect 19, to the token."""
    served = [list(row.ids[: row.num_prompt]) for row in rows]
    served[1] = [tokenizer.id_of(tokenizer.bos_token), *served[1]]

    found = inspect(rows, served, tokenizer, 256)
    assert broken(found) == {"served prompt": ("r1",)}


def test_unsound_rows_are_refused_and_all_that_is_wrong_is_said(
    tokenizer: Tokenizer, rows: list[TrainRow]
) -> None:
    many = [dataclasses.replace(rows[0], row_id=f"r{i}", ids=rows[0].ids[:-1]) for i in range(7)]
    with pytest.raises(DataError) as caught:
        require_sound(found_in(tokenizer, many, 10))

    assert "7 rows are longer than the model's 10 tokens: r0, r1, r2, r3, r4 and 2 more" in str(
        caught.value
    )
    assert "7 rows do not end with a token that ends a turn: r0" in str(caught.value)
    assert "max_tokens" in caught.value.remedy
    with pytest.raises(DataError, match="no training rows"):
        require_sound(found_in(tokenizer, []))


def test_the_first_batch_is_shown_as_the_model_sees_it(
    tokenizer: Tokenizer, rows: list[TrainRow]
) -> None:
    shown = first_batch(rows, tokenizer)
    (micro,) = micro_batches(rows)

    assert [token.id for token in shown] == micro.ids.tolist()
    assert [token.position for token in shown] == micro.positions.tolist()
    lengths = [sum(token.document == number for token in shown) for number in range(3)]
    assert tuple(lengths) == micro.documents.lengths
    trained = [token for token in shown if token.trained != "no"]
    assert [token.id for token in trained] == micro.labels.tolist()
    ends = [token for token in trained if token.trained == "end of turn"]
    assert [token.text for token in ends] == ["<|im_end|>"] * 3
    answers = [token for token in trained if token.trained == "answer"]
    assert "".join(token.text for token in answers) == "mitgpl-2.0mit"
    assert "\n" not in "".join(token.text for token in shown)
    assert "Permission is\\ngranted." in "".join(token.text for token in shown)
    assert first_batch([], tokenizer) == ()


def test_documents_are_numbered_over_all_micro_batches(
    tokenizer: Tokenizer, rows: list[TrainRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = first_batch(rows, tokenizer)
    monkeypatch.setattr(preflight, "micro_batches", lambda rows: micro_batches(rows, 1))
    assert first_batch(rows, tokenizer) == whole


def test_what_could_steer_the_terminal_is_escaped(tokenizer: Tokenizer) -> None:
    rendered = conversation(tokenizer, "Name it.", "\x1b[31m\u202e\\n\U0001f600", "mit")
    row = TrainRow(row_id="r", ids=rendered.ids, num_prompt=rendered.num_prompt)
    text = "".join(token.text for token in first_batch([row], tokenizer))

    assert text.isprintable()
    assert "\\x1b[31m" in text
    assert "\\\\n" in text


def test_a_look_shows_the_step_that_a_run_begins_with(tiny: Any) -> None:
    dataset = tiny.dataset(TEXTS)
    found = look(CONFIG, tiny.blobs, tiny.base, dataset, seed=5)

    require_sound(found.preflight)
    assert found.num_steps == 6
    assert len(found.row_ids) == 2
    assert {token.document for token in found.tokens} == {0, 1}
    assert found == look(CONFIG, tiny.blobs, tiny.base, dataset, seed=5)
