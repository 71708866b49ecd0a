"""Settings of a judge: a model that says which of two answers to a task is the better one."""

from __future__ import annotations

from pydantic import Field, field_validator

from tunesmith.core.project_folder import check_path
from tunesmith.core.section import Section


class JudgeConfig(Section):
    """The table `[judge]` of a task's file: a model that compares the answers in pairs."""

    base: str
    """Name of the base model that judges, a `[base.NAME]` section: with a chat template, and
    another than the one that is tuned."""
    question: str = Field(min_length=1)
    """What it is to look at, in its words: "Which answer names the right form, and no other?" It is
    shown the task's prompt and both answers, in both orders."""
    people: str = ""
    """A file of the project with judgements of people on the same pairs (.jsonl: `id`, the row's;
    `preferred`, which is "tuned", "base" or "tie"; and, so that they are not taken for judgements
    of later answers, the two answers as `tuned` and `base`)."""
    own_base: bool = False
    """Whether it may be the base model of an answer that it judges. Models hold what they would
    say themselves for better; so this is refused, unless you know why you want it."""

    @field_validator("question")
    @classmethod
    def _asks_something(cls, question: str) -> str:
        if not question.strip():
            raise ValueError("say what makes an answer the better one")
        return question

    @field_validator("people")
    @classmethod
    def _is_a_file_inside(cls, people: str) -> str:
        if people:
            check_path(people, ".jsonl", "tasks/preferred.jsonl")
        return people
