"""Runs by conditions, in an order, page by page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tunesmith.core import tables
from tunesmith.core.canonical import canonical_json
from tunesmith.core.tracked.runs import TrackedRun, with_fields

Place = Literal["attribute", "metric", "param", "tag", "dataset"]
Operator = Literal[
    "=", "!=", "<", "<=", ">", ">=", "LIKE", "ILIKE", "IN", "NOT IN", "IS NULL", "IS NOT NULL"
]
CONTEXT = "mlflow.data.context"
"""The tag of an input that says what it was used for."""

ATTRIBUTES = {
    "run_id": tables.tracked_runs.c.id,
    "run_name": tables.tracked_runs.c.name,
    "status": tables.tracked_runs.c.status,
    "user_id": tables.tracked_runs.c.user,
    "start_time": tables.tracked_runs.c.started_ms,
    "end_time": tables.tracked_runs.c.ended_ms,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """What must hold of a run."""

    place: Place
    key: str
    operator: Operator
    value: str | float | tuple[str, ...]
    """Empty for IS NULL and IS NOT NULL."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What runs are ordered by."""

    place: Place
    key: str
    descending: bool


def find_runs(
    connection: Connection,
    experiments: Sequence[int],
    *,
    stages: Sequence[str] = ("active",),
    conditions: Sequence[Condition] = (),
    orders: Sequence[Order] = (),
    limit: int,
    offset: int = 0,
) -> list[TrackedRun]:
    """The runs of experiments of which every condition holds; the newest first, after `orders`."""
    of = tables.tracked_runs.c
    sqlite = connection.dialect.name == "sqlite"
    by: list[Any] = []
    for order in orders:
        value = _value(order)
        by.append((value.desc() if order.descending else value.asc()).nulls_last())
    rows = connection.execute(
        sa.select(tables.tracked_runs)
        .where(
            of.experiment.in_(experiments),
            of.stage.in_(stages),
            *(_holds(condition, sqlite) for condition in conditions),
        )
        .order_by(*by, of.started_ms.desc(), of.id)
        .limit(limit)
        .offset(offset)
    ).all()
    return with_fields(connection, rows)


def _value(order: Order) -> Any:
    if order.place == "attribute":
        return ATTRIBUTES[order.key]
    run = tables.tracked_runs.c.id
    if order.place == "metric":
        of = tables.tracked_latest.c
        wanted = sa.select(of.value).where(of.owner == run, of.key == order.key, of.is_nan == 0)
    else:
        of = tables.tracked_fields.c
        wanted = sa.select(of.value).where(
            of.owner == run, of.what == order.place, of.key == order.key
        )
    return wanted.scalar_subquery()


def _holds(condition: Condition, sqlite: bool) -> Any:
    """The condition in SQL; every value is a bound parameter."""
    run = tables.tracked_runs.c.id
    if condition.place == "attribute":
        return _compared(ATTRIBUTES[condition.key], condition, sqlite)
    if condition.place == "metric":
        of = tables.tracked_latest.c
        wanted = sa.select(1).where(of.owner == run, of.key == condition.key, of.is_nan == 0)
        return wanted.where(_compared(of.value, condition, sqlite)).exists()
    if condition.place == "dataset":
        given = tables.tracked_inputs.c
        if condition.key == "context":
            return _has_context(condition, sqlite)
        column = {"name": given.name, "digest": given.digest}[condition.key]
        wanted = sa.select(1).where(given.run == run)
        return wanted.where(_compared(column, condition, sqlite)).exists()
    of = tables.tracked_fields.c
    wanted = sa.select(1).where(
        of.owner == run, of.what == condition.place, of.key == condition.key
    )
    if condition.operator == "IS NULL":
        return ~wanted.exists()
    if condition.operator == "IS NOT NULL":
        return wanted.exists()
    return wanted.where(_compared(of.value, condition, sqlite)).exists()


def _has_context(condition: Condition, sqlite: bool) -> Any:
    """Whether an input of a run has that context: its tag, in the JSON as it is written here."""
    of = tables.tracked_inputs.c
    values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    texts = [canonical_json({"key": CONTEXT, "value": each}).decode() for each in values]
    found = sa.func.instr if sqlite else sa.func.strpos
    has = sa.or_(*(found(of.body, text) > 0 for text in texts))
    return sa.select(1).where(of.run == tables.tracked_runs.c.id, has).exists()


def _compared(column: Any, condition: Condition, sqlite: bool) -> Any:
    value = condition.value
    match condition.operator:
        case "IN":
            return column.in_(value)
        case "NOT IN":
            return column.not_in(value)
        case "ILIKE":
            return column.ilike(value)
        case "LIKE" if sqlite:  # whose own knows no upper case
            return column.op("GLOB")(_as_glob(str(value)))
        case "LIKE":
            return column.like(value)
    operators = {
        "=": column.__eq__,
        "!=": column.__ne__,
        "<": column.__lt__,
        "<=": column.__le__,
        ">": column.__gt__,
        ">=": column.__ge__,
    }
    return operators[condition.operator](value)


def _as_glob(pattern: str) -> str:
    """
    >>> _as_glob("a_b*%")
    'a?b[*]*'
    """
    literal = re.sub(r"[\[*?]", lambda found: f"[{found[0]}]", pattern)
    return literal.replace("%", "*").replace("_", "?")
