"""What an export is asked is what the rows ask, in every format."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tunesmith.lm.chat_template import prompt_ids, question
from tunesmith.lm.load import load_tokenizer
from tunesmith.records.rows import (
    Chat,
    Checked,
    Completion,
    Feedback,
    Labelled,
    Preference,
    Text,
    Turn,
)
from tunesmith.stages.export.questions import asking, held_out

USER = Turn(role="user", content="Which licence?")
LAST = Turn(role="user", content="And this?")
ROWS: dict[str, Any] = {
    "labels": Labelled(text="Which licence?", label="mit"),
    "chat": Chat(
        messages=(
            USER, Turn(role="assistant", content="gpl"), LAST,
            Turn(role="assistant", content="mit"), Turn(role="user", content="Thanks"),
        )
    ),
    "completion": Completion(prompt="Which licence?", completion=" mit"),
    "text": Text(text="This program is free software, version 2 or later."),
    "preference": Preference(prompt="Which licence?", chosen="mit", rejected="gpl"),
    "checked": Checked(prompt="Which licence?", answer="mit"),
    "feedback": Feedback(prompt="Which licence?", completion="mit", label=False),
}  # fmt: skip


@pytest.mark.parametrize("form", sorted(ROWS))
def test_rows_ask_and_answer(readers: Any, form: str) -> None:
    tiny = readers.tiny
    tokenizer = load_tokenizer(tiny.base, tiny.blobs)
    path = tiny.blobs.path(readers.dataset([ROWS[form]]).train.rows)

    (found,) = held_out(path, tokenizer, "Name it.", 4, 256, form)

    assert list(asking(tokenizer)(found)) == list(found.prompt)
    answer = tokenizer.decode(found.answer)
    match form:
        case "text":
            assert found.text + answer == ROWS[form].text
            end = tokenizer.id_of(tokenizer.eos_token)
            assert found.answer[-1] == end
            assert abs(len(found.prompt) - len(found.answer[:-1])) <= 1
        case "completion":
            assert (found.text, answer) == ("Which licence?", " mit")
            assert found.answer[-1] == tokenizer.id_of(tokenizer.eos_token)
        case "chat":
            turns = [Turn(role="system", content="Name it."), *ROWS[form].messages[:3]]
            assert list(found.prompt) == prompt_ids(tokenizer, turns)
            assert answer.strip() == "mit"
        case _:
            told = question("Name it.", "Which licence?")
            assert list(found.prompt) == prompt_ids(tokenizer, told)
            assert answer.strip() == "mit"


@pytest.mark.parametrize("form", sorted(ROWS))
@pytest.mark.parametrize("kind", ["merged", "gguf"])
def test_every_format_of_rows_is_exported(tuned: Any, readers: Any, form: str, kind: str) -> None:
    dataset = readers.dataset([ROWS[form]])
    held = dataclasses.replace(dataset, test=dataset.train)
    desk = dataclasses.replace(tuned, dataset=held)

    parity = desk.export(format=kind, quantisation="f32").parity

    assert parity.verdict == "pass"
    assert parity.same_prompts == 1
    assert parity.num_positions >= 2


@pytest.mark.parametrize("kind", ["adapter", "merged", "gguf", "gguf-adapter"])
@pytest.mark.parametrize("form", ["completion", "text"])
def test_a_base_without_a_chat_template_is_exported(
    tuned: Any, readers: Any, tmp_path: Path, kind: str, form: str
) -> None:
    """It goes on with plain texts, and stops where a text ends."""
    folder = tmp_path / "bare"
    shutil.copytree(tuned.tiny.folder, folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    del settings["chat_template"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    model = dataclasses.replace(tuned.model, base=readers.zipped(folder))
    dataset = readers.dataset([ROWS[form]])
    held = dataclasses.replace(dataset, test=dataset.train)
    desk = dataclasses.replace(tuned, model=model, dataset=held)

    made = desk.export(format=kind, quantisation="f32")

    assert made.parity.verdict == "pass"
    assert made.parity.same_prompts == made.parity.same_stops == 1
    assert made.parity.stops_at_turn
    if kind == "gguf":
        text = tuned.tiny.blobs.get(made.files["Modelfile"]).decode()
        assert 'TEMPLATE """{{ .Prompt }}"""' in text
        assert "SYSTEM" not in text
        assert 'PARAMETER stop "<|im_end|>"' in text
