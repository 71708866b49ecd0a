"""A task: what models are asked, and what their answers are measured by."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from tunesmith.core.errors import MissingExtra
from tunesmith.core.project_folder import check_function, check_path
from tunesmith.core.section import Section
from tunesmith.records.evaluation import WIN_RATE, TaskRows
from tunesmith.records.pairwise import Preferences
from tunesmith.records.transform import Program
from tunesmith.stages.evaluate.extract import check_pattern
from tunesmith.stages.evaluate.judge import JudgeConfig

TEST_ROWS = "test"
FILE = "file:"
DATASET = "dataset:"
EXAMPLES = "/examples"
"""Behind the name of a task: its examples, of which rows are called."""
LIBRARIES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("ROUGE-1", "ROUGE-2", "ROUGE-L"), "torchmetrics"),
        **dict.fromkeys(("chrF", "BLEU"), "sacrebleu"),
    }
)
"""By metric: the module of the extra "text-metrics" that counts it."""
WRITTEN = ("exact match", "caseless match", "normalised match", "token F1", *LIBRARIES)
"""What answers in words are measured by."""
CHOSEN = ("accuracy", "normalised accuracy")
"""What choices are measured by."""
READ = ("log-likelihood", "loss", "perplexity")
"""What texts are measured by that are read."""
ANSWERED = ("chat", "completion", "labels", "checked")
"""Formats of datasets whose rows can be asked for an answer in words."""


class TaskConfig(Section):
    """The file of a task."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """What rules of gates and results call it."""
    version: str = Field(min_length=1)
    """Goes into the results: raise it when you change what is asked, or what is right."""
    rows: str = TEST_ROWS
    """"test" for the test rows of the model's dataset, `dataset:NAME` for those of another, or
    `file:PATH.jsonl` of a file in the project's folder, an object a line."""
    ask: Literal["answer", "choose", "score"] = "answer"
    """"answer": the model writes its answer, token by token, the likeliest each time; "choose": it
    is asked which of the choices it holds the likeliest; "score": it reads the answers of rows of a
    file, and how likely it holds them is measured."""
    prompt: str = ""
    """Of rows of a file: what is asked, with the row's fields in braces: "{question} Answer:". With
    "score" it may be left out, where `chat` is false: then the answer is read as a whole text."""
    answer: str = "answer"
    """Of rows of a file: the field with what is right, a text or a list of texts; of choices the
    right one itself or its place, counted from 0; with "score" the text that is read."""
    choices: tuple[str, ...] | str = ()
    """The choices: a list, or the name of the field that has each row's own. Of another dataset
    with labels they are its labels, and are left out here."""
    chat: bool = True
    """Of rows of a file: whether the prompt is a user's message, under the model's instruction, by
    its chat template; else it stands as it is, and what follows it is the answer."""
    between: str = " "
    """Between a prompt without a chat template and each choice, or an example's answer."""
    num_fewshot: int = Field(default=0, ge=0, le=64)
    """How many rows stand before each question, each with its right answer: turns of a
    conversation, or of plain prompts text. They are of the training split of the dataset whose test
    rows are asked, or of the file that `examples` names, and never nearly the question itself."""
    fewshot_sampler: Literal["seeded", "first_n"] = "seeded"
    """Which: for each question others, by the project's seed, or the first ones for all."""
    examples: str = ""
    """Of rows of a file: the file that the rows before the question are of, `file:PATH.jsonl`, with
    the same fields."""
    preamble: str = ""
    """What stands before the first of them, where there is no chat template."""
    between_examples: str = "\n\n"
    """What stands behind each of them, where there is no chat template."""
    metrics: tuple[str, ...] = ()
    """What the answers are measured by; gates compare the first unless their rules say another.
    ROUGE, chrF and BLEU need the extra "text-metrics"; chrF and BLEU are of all answers together,
    as papers report them, the others the mean of what each answer has. Of
    choices "accuracy" and "normalised accuracy" (by the characters of a choice). Measured anyhow,
    and asked for by rules alone: of choices "loss" and, where each row has the same, "macro-F1",
    "micro-F1", "calibration error" and "Brier score". With "score" they are "log-likelihood",
    "loss" and "perplexity", and are left out here."""
    max_new_tokens: int = Field(default=64, ge=1, le=4096)
    """The most tokens of an answer."""
    stop: tuple[str, ...] = ()
    """Texts at which an answer ends, beside the model's own end of a turn; they are no part of
    it."""

    extract: str = ""
    """What of an answer is measured: the first group of this expression (RE2's) that has anything,
    or without groups all that it matches; nothing where it does not match: "#### ([0-9.,]+)"."""
    extract_match: Literal["first", "last"] = "first"
    """Which match of it."""
    ignore: tuple[str, ...] = ()
    """Expressions of what is left out of answers and of what is right before they are compared,
    such as [",", "[$]"]."""
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
        return tuple(name for name in self.metrics if name not in WRITTEN) if self.python else ()

    @property
    def is_of_test_rows(self) -> bool:
        """Whether it asks the test rows of the model's dataset."""
        return self.rows == TEST_ROWS

    @property
    def other(self) -> str:
        """The name of the other dataset whose test rows it asks; empty where it asks none."""
        return self.rows.removeprefix(DATASET) if self.rows.startswith(DATASET) else ""

    @property
    def has_own_rows(self) -> bool:
        """Whether its rows are of a file."""
        return self.rows.startswith(FILE)

    @field_validator("rows")
    @classmethod
    def _are_test_rows_or_a_file(cls, rows: str) -> str:
        if rows != TEST_ROWS and not rows.removeprefix(DATASET):
            raise ValueError('name the dataset, as in "dataset:letters"')
        if rows != TEST_ROWS and not rows.startswith(DATASET):
            if not rows.startswith(FILE):
                raise ValueError(
                    'write "test", "dataset:NAME", or a file as in "file:tasks/questions.jsonl"'
                )
            check_path(rows.removeprefix(FILE), ".jsonl", "file:tasks/questions.jsonl")
        return rows

    @field_validator("examples")
    @classmethod
    def _are_of_a_file(cls, examples: str) -> str:
        if examples and not examples.startswith(FILE):
            raise ValueError('write a file, as in "file:tasks/examples.jsonl"')
        if examples:
            check_path(examples.removeprefix(FILE), ".jsonl", "file:tasks/examples.jsonl")
        return examples

    @field_validator("extract")
    @classmethod
    def _can_be_read(cls, extract: str) -> str:
        return check_pattern(extract)

    @field_validator("ignore")
    @classmethod
    def _can_each_be_read(cls, ignore: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(check_pattern, ignore))

    @field_validator("python")
    @classmethod
    def _is_a_function_inside(cls, python: str) -> str:
        return check_function(python, "tasks/cites.py:score")

    @model_validator(mode="before")
    @classmethod
    def _what_is_not_written_has_its_metrics(cls, values: object) -> object:
        ask = values.get("ask") if isinstance(values, dict) else None
        if isinstance(values, dict) and ask in ("choose", "score"):
            return {"metrics": CHOSEN if ask == "choose" else READ, **values}
        return values

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        chooses = self.ask == "choose"
        if chooses and self.is_of_test_rows:
            raise ValueError(
                "choices are of rows of a file: a dataset of labels is evaluated that way already"
            )
        if chooses and self.other and self.choices:
            raise ValueError("the choices of another dataset are its labels: leave choices out")
        if not self.other and chooses != bool(self.choices):
            raise ValueError('choices go with ask = "choose"')
        self._require_text()
        if self.has_own_rows != bool(self.prompt) and self.ask != "score":
            said = "say what is asked in prompt" if self.has_own_rows else "leave prompt out"
            raise ValueError(f"rows of a file have a prompt, and test rows their own: {said}")
        self._require_examples()
        if not self.metrics:
            raise ValueError(f"metrics must name at least one of: {', '.join(WRITTEN)}")
        if WIN_RATE in self.metrics:
            raise ValueError(
                f"{WIN_RATE!r} is no metric of one answer: write a table [judge], and leave it out"
            )
        known = {"choose": CHOSEN, "score": READ}.get(self.ask, WRITTEN)
        strange = [name for name in self.metrics if name not in known]
        if strange and (self.ask != "answer" or not self.python):
            raise ValueError(f"there is no metric {strange[0]!r}; there is: {', '.join(known)}")
        if self.python and not strange:
            raise ValueError("metrics must name what the function of python counts")
        for name in self.lower_is_better:
            if name not in self.own_metrics:
                raise ValueError(
                    f"lower_is_better names {name!r}, which the function of python does not count"
                )
        return self

    def _require_text(self) -> None:
        if self.ask != "answer" and (self.extract or self.ignore):
            raise ValueError('extract and ignore go with ask = "answer"')
        if self.extract_match == "last" and not self.extract:
            raise ValueError("extract_match is read with extract alone")
        if self.ask != "score":
            return
        if not self.has_own_rows:
            raise ValueError(
                'texts that are read are of a file: rows = "file:tasks/texts.jsonl"; of a dataset '
                "its model is evaluated that way already"
            )
        if not self.prompt and (self.chat or self.num_fewshot):
            raise ValueError(
                "a text without a prompt is read as it stands: chat = false, and no num_fewshot"
            )
        if self.metrics != READ:
            raise ValueError(f"texts are measured by {', '.join(READ)}: leave metrics out")

    def _require_examples(self) -> None:
        if bool(self.examples) != bool(self.has_own_rows and self.num_fewshot):
            raise ValueError(
                "examples is the file that num_fewshot rows are of, where the rows are of a file; "
                "before test rows stand rows of the training split"
            )
        for key in ("fewshot_sampler", "preamble", "between_examples"):
            changed = getattr(self, key) != type(self).model_fields[key].default
            if changed and not self.num_fewshot:
                raise ValueError(f"{key} is read with num_fewshot alone")
        if self.preamble and self.has_own_rows and self.chat:
            raise ValueError("preamble goes with chat = false; a conversation has its instruction")


def require_libraries(metrics: Iterable[str]) -> None:
    """What counts these metrics is installed; nothing is imported.

    Raises:
        MissingExtra: it is not.
    """
    for metric in metrics:
        module = LIBRARIES.get(metric)
        if module is not None and importlib.util.find_spec(module) is None:
            raise MissingExtra(f"{module}, which counts {metric},", "text-metrics")


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A task as its files are at this moment."""

    config: TaskConfig
    rows: TaskRows | None
    """Its own rows; None where it asks a dataset's."""
    program: Program | None = None
    """The function of its own metrics; None where it has none."""
    judge: JudgeConfig | None = None
    """A model that compares the answers in pairs; no model is asked anew when it changes."""
    people: Preferences | None = None
    """Which answers people prefer."""
    examples: TaskRows | None = None
    """The rows before the question; None where they are of a dataset, or there are none."""
    has_labels: bool = False
    """Whether its choices are the same for each row."""
