"""Tests of behaviour in a file: tests of several cases each, in TOML or JSON Lines."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from tunesmith.core import settings
from tunesmith.core.errors import ConfigError, DataError, UsageError
from tunesmith.core.section import Section
from tunesmith.stages.probe.given import json_lines

MAX_CASES = 2_000
_OF_TEST = ("test", "type", "match", "of", "direction", "by")


class Case(Section):
    """One input, and what is to be said to it."""

    input: str = Field(min_length=1)
    """What the model is asked."""
    expected: str = ""
    """Of minimum functionality: the answer."""
    variants: tuple[str, ...] = ()
    """Of the others: other inputs, each compared with the first."""

    def shown(self) -> str:
        """For people."""
        wanted = f" -> {self.expected}" if self.expected else ""
        return " | ".join((self.input, *self.variants)) + wanted


class Test(Section):
    """Cases of one kind that say one thing about the model."""

    name: str = Field(min_length=1)
    """What is shown, as the name of its figure."""
    type: Literal["minimum-functionality", "invariance", "directional"]
    """What is asked of its cases."""
    match: Literal["part", "whole"] = "part"
    """Whether an answer in words must contain what is expected, or be it; a label must be it."""
    of: str = ""
    """Of a directional test: the label, or the answer, whose probability is to move."""
    direction: Literal["up", "down"] = "up"
    """... which way."""
    by: float = 0.0
    """... by more than so many nats; below zero it may move the other way by less."""
    fill: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Words for `{name}` in the texts of its cases: each case is made with every combination of
    those that it names."""
    cases: tuple[Case, ...] = Field(min_length=1)
    """What is asked."""

    @model_validator(mode="after")
    def _cases_are_of_the_type(self) -> Self:
        for number, case in enumerate(self.cases, start=1):
            minimum = self.type == "minimum-functionality"
            if bool(case.expected) != minimum or bool(case.variants) == minimum:
                wanted = "expected, and no variants" if minimum else "variants, and not expected"
                raise ValueError(f"case {number}: a test of type {self.type!r} needs {wanted}")
        if (self.type == "directional") != bool(self.of):
            raise ValueError("`of` is for tests of type 'directional', which need it")
        return self


def read_tests(text: str, file: str) -> list[Test]:
    """The tests that a file says, their templates filled in.

    Raises:
        DataError: it cannot be understood; the message says where.
    """
    tests = []
    for place, table in _tables(text, file):
        try:
            raw = table.pop("cases", [])
            if not isinstance(raw, list) or not all(isinstance(each, dict) for each in raw):
                raise ConfigError("cases", "it must be a list of tables")
            cases = [settings.validate(Case, each) for each in raw]
            test = settings.validate(Test, {**table, "cases": cases})
        except UsageError as error:
            raise DataError(f"{file}, {place}: {error.message}", remedy=error.remedy) from error
        filled = tuple(made for case in test.cases for made in _filled(case, test.fill))
        tests.append(test.model_copy(update={"cases": filled}))
    names = [test.name for test in tests]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise DataError(f"{file}: two tests are called {min(doubled)!r}", remedy="rename one")
    if not tests or (num := sum(len(test.cases) for test in tests)) > MAX_CASES:
        raise DataError(
            f"{file} has {num if tests else 'no'} cases",
            remedy=f"write [[test]] tables, or a case a line, with at most {MAX_CASES} in all",
        )
    return tests


def _tables(text: str, file: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if file.endswith(".jsonl"):
        yield from _of_lines(text, file)
        return
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{file}: this is not TOML: {error}") from error
    tables = values.pop("test", [])
    if values or not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        raise DataError(
            f"{file} must hold [[test]] tables and nothing else",
            remedy="see the how-to of suites for an example",
        )
    for number, table in enumerate(tables, start=1):
        yield f"test {number} ({table.get('name', 'without a name')})", dict(table)


def _of_lines(text: str, file: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """A case a line, each with the name of its test; the first of a test says what it is."""
    tests: dict[str, dict[str, Any]] = {}
    known = (*_OF_TEST, "input", "expected", "variants")
    for line in json_lines(text, file, known, "test"):
        about = {key: line[key] for key in _OF_TEST[1:] if key in line}
        table = tests.setdefault(line["test"], {"name": line["test"], **about, "cases": []})
        if any(table.get(key) != value for key, value in about.items()):
            raise DataError(
                f"{file}: the cases of test {line['test']!r} do not agree on what it is",
                remedy=f"say {', '.join(_OF_TEST[1:])} once, or the same in each line of it",
            )
        table["cases"].append({key: line[key] for key in known[len(_OF_TEST) :] if key in line})
    yield from ((f"test {name!r}", table) for name, table in tests.items())


def _filled(case: Case, words: Mapping[str, tuple[str, ...]]) -> Iterator[Case]:
    """The case with every combination of the words that it names."""
    whole = case.shown()
    names = [name for name in words if "{" + name + "}" in whole]
    for chosen in itertools.product(*(words[name] for name in names)):
        pairs = list(zip(names, chosen, strict=True))
        yield Case(
            input=_with_words(case.input, pairs),
            expected=_with_words(case.expected, pairs),
            variants=tuple(_with_words(text, pairs) for text in case.variants),
        )


def _with_words(text: str, pairs: Sequence[tuple[str, str]]) -> str:
    for name, word in pairs:
        text = text.replace("{" + name + "}", word)
    return text
