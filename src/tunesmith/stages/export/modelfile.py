"""Ollama's Modelfile for an exported GGUF file."""

from __future__ import annotations

from tunesmith.core.errors import DataError
from tunesmith.lm.chat_template import end_of_turn, prompt_ids, question
from tunesmith.lm.tokenizer import Tokenizer

QUOTES = '"""'
SYSTEM, USER = "Stands4theInstruction", "Stands4theText"


def modelfile(tokenizer: Tokenizer, instruction: str) -> str:
    """The Modelfile of model.gguf beside it, served under `instruction` at temperature 0.

    It states the template: Ollama does not run the Jinja template of a GGUF file but guesses which
    of those that it knows is the nearest (https://github.com/ollama/ollama/pull/18153). What is
    stated is one question as it is rendered for tuning, so further turns of a conversation are
    not those of the base model. A model without a template goes on with what it is given.

    Raises:
        DataError: the instruction or the template cannot be quoted.
    """
    if not tokenizer.chat_template:
        return _modelfile(tokenizer, "{{ .Prompt }}", "")
    template = _template(tokenizer)
    if QUOTES in instruction + template:
        raise DataError(
            f"a Modelfile cannot hold an instruction or a template with {QUOTES}",
            remedy="change the dataset's instruction",
        )
    return _modelfile(tokenizer, template, f"SYSTEM {QUOTES}{instruction}{QUOTES}\n")


def _modelfile(tokenizer: Tokenizer, template: str, system: str) -> str:
    end = _text(tokenizer, [end_of_turn(tokenizer)])
    return (
        "FROM ./model.gguf\n"
        f"TEMPLATE {QUOTES}{template}{QUOTES}\n"
        f"{system}"
        f'PARAMETER stop "{end}"\n'
        "PARAMETER temperature 0\n"
    )


def _template(tokenizer: Tokenizer) -> str:
    """The template in Go's language, from a question that is rendered with marks in it."""
    text = _text(tokenizer, prompt_ids(tokenizer, question(SYSTEM, USER)))
    if text.count(SYSTEM) != 1 or text.count(USER) != 1:
        raise DataError(
            "the chat template does not write the instruction and the text once each",
            remedy='export as "merged" instead',
        )
    literal = text.replace("{{", '{{ "{{" }}')
    return literal.replace(SYSTEM, "{{ .System }}").replace(USER, "{{ .Prompt }}")


def _text(tokenizer: Tokenizer, ids: list[int]) -> str:
    return str(tokenizer.core.decode(ids, skip_special_tokens=False))
