from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from tunesmith.core.errors import DataError
from tunesmith.lm.chat_template import prompt_ids, question
from tunesmith.lm.load import load_tokenizer
from tunesmith.stages.export.modelfile import modelfile


def test_the_template_is_the_prompt_of_the_tuning(tiny: Any) -> None:
    """Defects 10 and 19: what Ollama sends is what the model was tuned on, id by id."""
    tokenizer = load_tokenizer(tiny.base, tiny.blobs)
    text = modelfile(tokenizer, 'Name the "licence".\nShortly.')

    found = re.search(r'TEMPLATE """(.*?)"""\nSYSTEM """(.*?)"""\n', text, re.DOTALL)
    assert found is not None
    template, system = found.groups()
    assert system == 'Name the "licence".\nShortly.'
    rendered = template.replace("{{ .System }}", system).replace("{{ .Prompt }}", "GNU 2007")
    assert tokenizer.encode(rendered) == prompt_ids(tokenizer, question(system, "GNU 2007"))
    assert text.startswith("FROM ./model.gguf\n")
    assert text.endswith('PARAMETER stop "<|im_end|>"\nPARAMETER temperature 0\n')


def test_braces_of_the_template_are_not_instructions(tiny: Any) -> None:
    tokenizer = load_tokenizer(tiny.base, tiny.blobs)
    braces = dataclasses.replace(
        tokenizer, chat_template="{{ '{{ x }}' }}" + tokenizer.chat_template
    )
    assert 'TEMPLATE """{{ "{{" }} x }}<|im_start|>system' in modelfile(braces, "a")


@pytest.mark.parametrize(
    ("instruction", "template", "said"),
    [
        ('say """', None, "cannot hold"),
        (
            "a",
            "{% for m in messages %}{% if m.role != 'system' %}{{ m.content }}<|im_end|>{% endif %}"
            "{% endfor %}",
            "once each",
        ),
    ],
)
def test_what_cannot_be_said_is_refused(
    tiny: Any, instruction: str, template: str | None, said: str
) -> None:
    tokenizer = load_tokenizer(tiny.base, tiny.blobs)
    if template is not None:
        tokenizer = dataclasses.replace(tokenizer, chat_template=template)
    with pytest.raises(DataError, match=said):
        modelfile(tokenizer, instruction)
