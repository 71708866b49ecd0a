"""What holds for every section of the project file, and of the files that it names."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

import pydantic
import pytest

from tunesmith.core import settings
from tunesmith.core.errors import ConfigError
from tunesmith.core.section import Expression, Section
from tunesmith.project_file import ProjectFile
from tunesmith.stages.evaluate.task import TaskConfig
from tunesmith.stages.probe.cases import Test as BehaviourTest

READ = (ProjectFile, TaskConfig, BehaviourTest)
"""What files are read as; every other section is in one of these, or made of one by a program."""


def every_section(kind: type[Section] = Section) -> Iterator[type[Section]]:
    for each in kind.__subclasses__():
        yield each
        yield from every_section(each)


def with_number(annotation: Any, number: float) -> Iterator[Any]:
    """Values of a type, each with `number` wherever it takes a number that need not be whole."""
    arguments = typing.get_args(annotation)
    if annotation is float:
        yield number
    elif typing.get_origin(annotation) is dict:
        key = next(iter(typing.get_args(arguments[0])), "a")
        key = "MAP 1.1" if "MAP" in str(arguments[0]) else key
        yield from ({key: value} for value in with_number(arguments[1], number))
    elif typing.get_origin(annotation) is tuple:
        of = [each for each in arguments if each is not Ellipsis]
        made = [next(with_number(each, number), None) for each in of]
        if None not in made:
            yield tuple(made)
    else:  # one of several kinds, an annotated one, or none
        yield from (value for each in arguments for value in with_number(each, number))


def fields() -> Iterator[tuple[type[Section], str, Any]]:
    for section in sorted(set(every_section()), key=lambda each: each.__qualname__):
        for name, field in section.model_fields.items():
            if section.__module__.startswith("tunesmith") and any(with_number(field.annotation, 1)):
                yield section, name, field.annotation


FIELDS = list(fields())


def test_the_walk_finds_what_there_is() -> None:
    found = {f"{section.__name__}.{name}" for section, name, _ in FIELDS}
    assert found >= {
        "GateConfig.beats_base_by",
        "GateConfig.limits",
        "GateRule.at_least",
        "DocumentConfig.grams_co2_per_kwh",
        "DocumentConfig.required",
        "SuiteConfig.limits",
        "TableCheck.must_be_between",
        "FieldRule.values",
        "SourceConfig.where",
        "Test.by",
        "Reward.weight",
    }


@pytest.mark.parametrize(
    ("section", "name", "annotation"),
    [pytest.param(*each, id=f"{each[0].__name__}.{each[1]}") for each in FIELDS],
)
@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_no_number_is_none(
    section: type[Section], name: str, annotation: Any, number: float
) -> None:
    """A comparison with nan never holds, and neither nan nor inf has a canonical form: what they
    are written in could be planned, and could not be run."""
    for value in with_number(annotation, number):
        with pytest.raises(pydantic.ValidationError) as refused:
            section.model_validate({name: value})
        about = [each for each in refused.value.errors() if each["loc"][:1] == (name,)]
        assert "finite_number" in {each["type"] for each in about}, refused.value


@pytest.mark.parametrize("written", ["nan", "-inf", "1e400"])
def test_a_number_that_is_none_is_named(written: str) -> None:
    values = settings._value(f"{{ desk = {{ beats_base_by = {written} }} }}")
    with pytest.raises(ConfigError, match=r"gate\.desk\.beats_base_by: .*finite number, not"):
        settings.validate(
            ProjectFile,
            {"project": {"name": "p"}, "gate": {"desk": {"model": "m", **values["desk"]}}},
        )


@pytest.mark.parametrize(
    "values",
    [
        {"project": {"name": "p", "seed": 2**53}},
        {"project": {"name": "p", "seed": -(2**60)}},
        {
            "project": {"name": "p"},
            "source": {"s": {"origin": "file:a", "label": "l", "where": {"seed": 2**70}}},
        },
    ],
)
def test_a_whole_number_that_no_double_holds_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"(seed|where) has .* at most 9,007,199,254,740,991"):
        settings.validate(ProjectFile, values)


def test_the_largest_whole_number_that_is_exact_is_taken() -> None:
    values = {"project": {"name": "p", "seed": 2**53 - 1}}
    assert settings.validate(ProjectFile, values).project.seed == 2**53 - 1


@pytest.mark.parametrize("pattern", ["a{99999999999999999999}", "(" * 3000 + ")" * 3000, "("])
def test_what_is_no_expression_is_said(pattern):
    class Asked(Section):
        pattern: Expression

    with pytest.raises(pydantic.ValidationError, match="no regular expression"):
        Asked(pattern=pattern)
