from __future__ import annotations

from typing import Any

import pytest

from tunesmith.lm.chat_template import prompt_ids, with_instruction
from tunesmith.lm.engine import Message
from tunesmith.lm.load import load_tokenizer
from tunesmith.lm.questions import feedback_example, preference_example
from tunesmith.records.rows import Feedback, Preference

END = "<|im_end|>"


@pytest.mark.parametrize("instruction", ["Be brief.", ""])
def test_a_question_is_asked_as_it_is_served(tiny: Any, instruction: str) -> None:
    tokenizer = load_tokenizer(tiny.base, tiny.blobs)
    content = Preference(prompt="Which?", chosen="This one.", rejected="That")
    example = preference_example(tokenizer, instruction, "r", content)

    served = with_instruction([Message(role="user", content="Which?")], instruction)
    assert list(example.prompt) == prompt_ids(tokenizer, served)
    assert [message.role for message in served] == ["system", "user"][0 if instruction else 1 :]
    said = [
        tokenizer.core.decode(list(answer.ids), skip_special_tokens=False)
        for answer in example.answers
    ]
    assert said == [f"This one.{END}", f"That{END}"]
    assert example.target is None


@pytest.mark.parametrize("liked", [True, False])
def test_feedback_says_whether_the_answer_was_liked(tiny: Any, liked: bool) -> None:
    tokenizer = load_tokenizer(tiny.base, tiny.blobs)
    content = Feedback(prompt="Which?", completion="This one.", label=liked)
    example = feedback_example(tokenizer, "Be brief.", "r", content)
    pair = Preference(prompt="Which?", chosen="This one.", rejected="x")

    assert example.target == int(liked)
    expected = preference_example(tokenizer, "Be brief.", "r", pair)
    assert (example.prompt, example.answers) == (expected.prompt, expected.answers[:1])
