from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tunesmith.core.errors import DataError
from tunesmith.lm.chat_template import conversation
from tunesmith.lm.example import Answer, Example, pack, streams
from tunesmith.lm.lessons import labelled, served_prompt
from tunesmith.lm.load import load_tokenizer
from tunesmith.lm.tokenizer import Tokenizer
from tunesmith.records.rows import Labelled
from tunesmith.stages.finetune import preflight
from tunesmith.stages.finetune.batches import micro_batches
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.first_batch import first_batch, look
from tunesmith.stages.finetune.preflight import (
    RULES,
    Preflight,
    inspect,
    require_sound,
)

TEXTS = [("Permission is\ngranted.", "mit"), ("x", "gpl-2.0"), ("\u00e9", "mit")]
CONFIG = ModelConfig(base="b", dataset="d", batch_rows=2, epochs=3)


@pytest.fixture
def tokenizer(tiny: Any) -> Tokenizer:
    return load_tokenizer(tiny.base, tiny.blobs)


@pytest.fixture
def rows(tokenizer: Tokenizer) -> list[Example]:
    found = []
    for number, (text, answer) in enumerate(TEXTS):
        rendered = conversation(tokenizer, "Name it.", text, answer)
        found.append(labelled(f"r{number}", rendered.ids, rendered.num_prompt))
    return found


def ids_of(row: Example) -> tuple[int, ...]:
    (ids,) = row.documents()
    return ids


def found_in(tokenizer: Tokenizer, rows: list[Example], length: int = 256) -> Preflight:
    return inspect(rows, [row.prompt for row in rows], tokenizer, length)


def broken(found: Preflight) -> dict[str, tuple[str, ...]]:
    return {finding.rule: finding.row_ids for finding in found.findings if finding.row_ids}


def test_sound_rows_break_no_rule(tiny: Any, tokenizer: Tokenizer, rows: list[Example]) -> None:
    found = found_in(tokenizer, rows)

    require_sound(found)
    assert broken(found) == {}
    assert [finding.rule for finding in found.findings] == [rule for rule, *_ in RULES]
    assert found.num_rows == 3
    assert found.num_tokens == sum(len(ids_of(row)) for row in rows)
    assert found.num_labels == sum(row.num_labels for row in rows)
    served = [
        served_prompt(tokenizer, "Name it.", Labelled(text=text, label=label))
        for text, label in TEXTS
    ]
    assert [list(row.prompt) for row in rows] == served


def test_each_rule_finds_its_rows(tokenizer: Tokenizer, rows: list[Example]) -> None:
    """Defects 13, 14, 17, 18 and 19, and rows with one id."""
    end, bos = tokenizer.id_of("<|im_end|>"), tokenizer.id_of("<|im_start|>")
    one, two, three = rows

    ids, num_prompt = ids_of(one), len(one.prompt)

    def found(row: Example, length: int = 256) -> dict[str, tuple[str, ...]]:
        return broken(found_in(tokenizer, [row, two, three], length))

    unlabelled = labelled("r0", ids[:-2], len(ids) - 2)
    assert found(unlabelled) == {"label": ("r0",), "end of turn": ("r0",)}
    assert found(one, len(ids) - 1) == {"length": ("r0",)}
    assert found(labelled("r0", ids[:-1], num_prompt)) == {"end of turn": ("r0",)}
    assert found(labelled("r0", (*ids, end, end), num_prompt)) == {"padding": ("r0",)}
    doubled = labelled("r0", (bos, *ids), num_prompt + 1)
    assert found(doubled) == {"one beginning": ("r0",)}
    assert found(dataclasses.replace(one, row_id="r2")) == {"row id": ("r2",)}


def test_each_answer_to_a_prompt_is_looked_at(tokenizer: Tokenizer, rows: list[Example]) -> None:
    """Defects 13, 14 and 17: the last of two is as good a place for a fault as the only one."""
    one, two, _ = rows
    (right,), (other,) = one.answers, two.answers
    length = len(one.prompt) + max(len(right.ids), len(other.ids))

    def found(*answers: Answer, length: int = 256) -> dict[str, tuple[str, ...]]:
        row = dataclasses.replace(one, answers=answers)
        return broken(found_in(tokenizer, [row, two], length))

    assert found(right, other) == {}
    assert one.num_tokens + len(other.ids) > length, "the row is longer than each of its documents"
    assert found(right, other, length=max(length, two.num_tokens)) == {}
    assert found(right, other, length=length - 1)["length"] == ("r0",)
    assert found(right, dataclasses.replace(other, ids=other.ids[:-1])) == {"end of turn": ("r0",)}
    weights = (1.0,) * (len(other.ids) - 1)
    masked = dataclasses.replace(other, weights=(*weights, 0.0))
    assert found(right, masked) == {"trained end": ("r0",)}
    untrained = [
        dataclasses.replace(each, weights=(0.0,) * len(each.ids)) for each in (right, other)
    ]
    assert found(*untrained) == {"label": ("r0",), "trained end": ("r0",)}
    assert found() == {"label": ("r0",), "end of turn": ("r0",)}


def test_an_end_that_is_not_trained_is_found(
    tokenizer: Tokenizer, rows: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defect 13: as a mask by the padding's id would do where padding and end are one token."""
    right = preflight.pack
    end = tokenizer.id_of("<|im_end|>")

    def masked(rows: list[Example]) -> Any:
        micro = right(rows)
        kept = micro.labels != end
        names = ("predicting", "labels", "places", "weights", "unit_of_label")
        return dataclasses.replace(micro, **{name: getattr(micro, name)[kept] for name in names})

    monkeypatch.setattr(preflight, "pack", masked)
    assert broken(found_in(tokenizer, rows)) == {"trained end": ("r0", "r1", "r2")}


def test_a_prompt_that_is_served_otherwise_is_found(
    tokenizer: Tokenizer, rows: list[Example]
) -> None:
    """Defect 19, to the token."""
    served = [list(row.prompt) for row in rows]
    served[1] = [tokenizer.id_of(tokenizer.bos_token), *served[1]]

    found = inspect(rows, served, tokenizer, 256)
    assert broken(found) == {"served prompt": ("r1",)}


def test_unsound_rows_are_refused_and_all_that_is_wrong_is_said(
    tokenizer: Tokenizer, rows: list[Example]
) -> None:
    many = [labelled(f"r{i}", ids_of(rows[0])[:-1], len(rows[0].prompt)) for i in range(7)]
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
    tokenizer: Tokenizer, rows: list[Example]
) -> None:
    (micro,) = micro_batches(rows, 1)
    shown = first_batch([micro], tokenizer)

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
    tokenizer: Tokenizer, rows: list[Example]
) -> None:
    whole = first_batch([pack(rows)], tokenizer)
    for size in (1, sum(row.num_tokens for row in rows[:2])):
        micros = list(streams(rows, size))
        assert len(micros) > 1
        assert first_batch(micros, tokenizer) == whole


def test_what_is_shown_of_two_answers_is_what_is_trained(
    tokenizer: Tokenizer, rows: list[Example]
) -> None:
    """Each is seen by itself after the prompt; what has no weight is not marked."""
    one, two, _ = rows
    (right,), (other,) = one.answers, two.answers
    unweighted = dataclasses.replace(other, weights=(1.0, 0.0, *(1.0,) * (len(other.ids) - 2)))
    row = dataclasses.replace(one, answers=(right, unweighted))
    shown = first_batch([pack([two, row])], tokenizer)[two.num_tokens :]

    assert {token.document for token in shown} == {1}
    start, middle = len(row.prompt), len(row.prompt) + len(right.ids)
    assert [token.id for token in shown] == [*row.prompt, *right.ids, *other.ids]
    assert [token.position for token in shown[middle:]] == list(
        range(start, start + len(other.ids))
    )
    trained = [place for place, token in enumerate(shown) if token.trained != "no"]
    assert trained == [*range(start, middle + 1), *range(middle + 2, len(shown))]
    ends = [place for place, token in enumerate(shown) if token.trained == "end of turn"]
    assert ends == [middle - 1, len(shown) - 1]


def test_what_could_steer_the_terminal_is_escaped(tokenizer: Tokenizer) -> None:
    rendered = conversation(tokenizer, "Name it.", "\x1b[31m\u202e\\n\U0001f600", "mit")
    row = labelled("r", rendered.ids, rendered.num_prompt)
    text = "".join(token.text for token in first_batch([pack([row])], tokenizer))

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
