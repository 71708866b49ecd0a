"""Settings of transforms: `[transform.NAME]` of the project file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, PrivateAttr, field_validator, model_validator

from tunesmith.asset.checks import TableCheck
from tunesmith.asset.contract import FieldRule
from tunesmith.core.errors import ConfigError
from tunesmith.core.project_folder import check_function, check_path
from tunesmith.core.section import Section
from tunesmith.records.data import Erased
from tunesmith.records.repair import Repairs
from tunesmith.records.transform import Program

FILE = "file:"
"""What the path of a file of SQL begins with."""


class TransformConfig(Section):
    """Rows that are made from rows: which, and by what."""

    name: str = ""
    """Name of the data asset: what follows `transform.` in the section's heading."""
    sources: tuple[str, ...] = Field(min_length=1)
    """Sources, and other transforms, whose rows it is made from."""
    sql: str = ""
    """One SELECT (DuckDB), or `file:PATH` of a file in the project's folder that has one. Each
    source is a table of its name with the columns `row_id`, `text`, `label` and its fields. The
    result has `row_id`, the id of the row that it was made from, or `row_ids`, a list of them."""
    python: str = ""
    """A file of the project's folder and a function in it: `PATH.py:FUNCTION`. It is given one row,
    a dict of its fields, `text` and `label`, and returns a dict, a list of dicts, or None, which
    leaves the row out."""
    text: str = ""
    """Column, or key, of the result that holds the row's text; without it `text` where there is
    one, and a row without one is its fields."""
    label: str = ""
    """Column, or key, of the result that holds the row's label; without it `label` where there is
    one."""
    title: str = ""
    """Column, or key, of the result that holds the row's title; it becomes the attribute
    `title`."""
    subject: str = ""
    """Column, or key, of the result that names the person whom a row is about. Without it, that of
    its sources, where the result still has it."""
    contract: dict[str, FieldRule] = Field(default_factory=dict)
    """What the columns, or keys, of the result must be, by name, as in { minutes = { type =
    "integer", minimum = 0 } }; a row that breaks it is quarantined."""
    checks: tuple[TableCheck, ...] = ()
    """What must hold of all rows together, as in [{ metric = "row_count", must_be_greater_than =
    100 }]; where it does not, the run stops, and the version before stays in use."""
    other_fields: Literal["keep", "quarantine"] = "keep"
    """What becomes of a row with a field that the contract does not name."""
    max_quarantined: float = Field(default=1.0, ge=0, le=1)
    """The share of what comes that may be quarantined; above it the run stops, and the version
    before stays in use."""
    timeout_s: float = Field(default=300.0, gt=0)
    """How long to wait for an answer: of the query, or of the function for one row."""

    _program: Program | None = PrivateAttr(default=None)
    _erased: Erased | None = PrivateAttr(default=None)
    _repairs: Repairs | None = PrivateAttr(default=None)

    def given(self) -> dict[str, Program | Erased | Repairs]:
        """What its step is given beside its sources: its program, as it was when the project was
        opened, where it could be read; whose rows it is made without, if somebody's; and the
        repairs of its rows, if there are any."""
        given = {"program": self._program, "erased": self._erased, "repairs": self._repairs}
        return {name: each for name, each in given.items() if each is not None}

    def made_by(self, program: Program | None) -> Self:
        """The same transform with its program."""
        changed = self.model_copy()
        changed._program = program
        return changed

    def without(self, subjects: Sequence[str], key: str) -> Self:
        """The same transform without the rows of the people with these keyed digests, if it says
        who its rows are about; its sources are read without those whom they name."""
        changed = self.model_copy()
        if self.subject and subjects:
            changed._erased = Erased(digests=tuple(sorted(subjects)), key=key)
        return changed

    @property
    def repairs(self) -> Repairs | None:
        """The repairs of its rows; None where there are none."""
        return self._repairs

    def repaired_by(self, repairs: Repairs | None) -> Self:
        """The same transform, its rows made with these repairs."""
        changed = self.model_copy()
        changed._repairs = repairs
        return changed

    def require_labelled(self, key: str) -> None:
        """A labelled text is what the transform says is the label, and no other field.

        Raises:
            ConfigError: it does not say so; `key` is where its rows are asked for.
        """
        if not self.label:
            raise ConfigError(
                key,
                f"transform {self.name!r} does not say which column of its result is the label",
                remedy=f"set label of transform.{self.name}, or the format of the dataset",
            )

    @field_validator("sources")
    @classmethod
    def _each_once(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        folded = [source.casefold() for source in sources]  # as SQL sees them
        for source in sources:
            if folded.count(source.casefold()) > 1:
                raise ValueError(f"{source!r} is there twice; capitals do not tell names apart")
        return sources

    @field_validator("sql")
    @classmethod
    def _is_a_file_inside(cls, sql: str) -> str:
        if sql.startswith(FILE):
            check_path(sql.removeprefix(FILE), ".sql", f"{FILE}queries/clean.sql")
        return sql

    @field_validator("python")
    @classmethod
    def _is_a_function_inside(cls, python: str) -> str:
        return check_function(python, "clean.py:tidy")

    @model_validator(mode="after")
    def _has_a_contract_if_others_are_refused(self) -> Self:
        if self.other_fields != "keep" and not self.contract:
            raise ValueError("other_fields is not read without a contract")
        return self

    @model_validator(mode="after")
    def _has_one_program(self) -> Self:
        if bool(self.sql.strip()) == bool(self.python):
            raise ValueError(
                'a transform is made by one of the two: sql = "SELECT ..." or python = '
                '"clean.py:tidy"'
            )
        return self
