"""A task: what models are asked, and what their answers are measured by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from tunesmith.core.project_folder import check_function, check_path
from tunesmith.core.section import Section
from tunesmith.records.evaluation import TaskRows
from tunesmith.records.transform import Program
from tunesmith.stages.evaluate.answers import METRICS

TEST_ROWS = "test"
FILE = "file:"
CHOSEN = ("accuracy", "normalised accuracy")
"""What choices are measured by."""
RIGHT_OR_WRONG = frozenset({*CHOSEN, "exact match", "normalised match"})
"""Metrics of which a row has 0 or 1, so that the spread is known beforehand."""
ANSWERED = ("chat", "completion", "labels", "checked")
"""Formats of datasets whose rows can be asked for an answer in words."""


class TaskConfig(Section):
    """The file of a task."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """What rules of gates and results call it."""
    version: str = Field(min_length=1)
    """Goes into the results: raise it when you change what is asked, or what is right."""
    rows: str = TEST_ROWS
    """"test" for the test rows of the model's dataset, or `file:PATH.jsonl` of a file in the
    project's folder, an object a line."""
    ask: Literal["answer", "choose"] = "answer"
    """"answer": the model writes its answer, token by token, the likeliest each time; "choose": it
    is asked which of the choices it holds the likeliest."""
    prompt: str = ""
    """Of rows of a file: what is asked, with the row's fields in braces: "{question} Answer:"."""
    answer: str = "answer"
    """Of rows of a file: the field with what is right, a text or a list of texts; of choices the
    right one itself or its place, counted from 0."""
    choices: tuple[str, ...] | str = ()
    """The choices: a list, or the name of the field that has each row's own."""
    chat: bool = True
    """Of rows of a file: whether the prompt is a user's message, under the model's instruction, by
    its chat template; else it stands as it is, and what follows it is the answer."""
    between: str = " "
    """Between a prompt without a chat template and each choice."""
    metrics: tuple[str, ...] = ()
    """What the answers are measured by; gates compare the first unless their rules say another. Of
    choices "accuracy" and "normalised accuracy" (by the characters of a choice)."""
    max_new_tokens: int = Field(default=64, ge=1, le=4096)
    """The most tokens of an answer."""
    stop: tuple[str, ...] = ()
    """Texts at which an answer ends, beside the model's own end of a turn; they are no part of
    it."""

    python: str = ""
    """A file in the project's folder and a function in it, `PATH.py:FUNCTION`, for metrics of your
    own: it is given a dict with `said`, `answers` (the right ones), `prompt` and `fields`, and
    returns a dict of numbers by the names of `metrics` that it counts. It runs in a process of its
    own, which neither writes nor reaches out."""
    lower_is_better: tuple[str, ...] = ()
    """Those of your own metrics of which less is better; of the others more is."""

    @property
    def own_metrics(self) -> tuple[str, ...]:
        """Those of its metrics that the function of `python` counts."""
        return tuple(name for name in self.metrics if name not in METRICS) if self.python else ()

    @property
    def all_metrics(self) -> tuple[str, ...]:
        """What rules can ask for."""
        return (*self.metrics, "loss") if self.ask == "choose" else self.metrics

    @property
    def is_of_test_rows(self) -> bool:
        """Whether it asks the test rows of the model's dataset."""
        return self.rows == TEST_ROWS

    @field_validator("rows")
    @classmethod
    def _are_test_rows_or_a_file(cls, rows: str) -> str:
        if rows != TEST_ROWS:
            if not rows.startswith(FILE):
                raise ValueError('write "test", or a file as in "file:tasks/questions.jsonl"')
            check_path(rows.removeprefix(FILE), ".jsonl", "file:tasks/questions.jsonl")
        return rows

    @field_validator("python")
    @classmethod
    def _is_a_function_inside(cls, python: str) -> str:
        return check_function(python, "tasks/cites.py:score")

    @model_validator(mode="before")
    @classmethod
    def _choices_have_their_metrics(cls, values: object) -> object:
        if isinstance(values, dict) and values.get("ask") == "choose":
            return {"metrics": CHOSEN, **values}
        return values

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        chooses = self.ask == "choose"
        if chooses and self.is_of_test_rows:
            raise ValueError(
                "choices are of rows of a file: a dataset of labels is evaluated that way already"
            )
        if chooses != bool(self.choices):
            raise ValueError('choices go with ask = "choose"')
        if self.is_of_test_rows == bool(self.prompt):
            said = "say what is asked in prompt" if self.rows != TEST_ROWS else "leave prompt out"
            raise ValueError(f"rows of a file have a prompt, and test rows their own: {said}")
        if not self.metrics:
            raise ValueError(f"metrics must name at least one of: {', '.join(METRICS)}")
        known = CHOSEN if chooses else METRICS
        strange = [name for name in self.metrics if name not in known]
        if strange and (chooses or not self.python):
            raise ValueError(f"there is no metric {strange[0]!r}; there is: {', '.join(known)}")
        if self.python and not strange:
            raise ValueError("metrics must name what the function of python counts")
        for name in self.lower_is_better:
            if name not in self.own_metrics:
                raise ValueError(
                    f"lower_is_better names {name!r}, which the function of python does not count"
                )
        return self


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A task as its files are at this moment."""

    config: TaskConfig
    rows: TaskRows | None
    """Its own rows; None where it asks the dataset's."""
    program: Program | None = None
    """The function of its own metrics; None where it has none."""
