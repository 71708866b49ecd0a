"""What the sources of a dataset are worth, beside what they cost; and the rows that help least.

Values are estimates. They stay out of the ledger, which has the cost of the runs and no value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tunesmith.core.meter import Usage
from tunesmith.core.step import ordered
from tunesmith.graph import base_of, build, value_of
from tunesmith.ledger.cost import price, price_review, zero
from tunesmith.lineage.reviewing import review_seconds
from tunesmith.lm.load import is_encoder
from tunesmith.paired.bootstrap import bootstrap_mean
from tunesmith.paired.difference import of_outcomes
from tunesmith.project import Project
from tunesmith.records.data import Dataset
from tunesmith.records.money import Money
from tunesmith.records.rivals import Estimate
from tunesmith.records.value import DataValue, RowValues, SourceValue, ValuedRow
from tunesmith.stages.value.config import ValueConfig
from tunesmith.stages.value.run import require_labelled

CONFIDENCE = 0.95
"""Of the intervals that values are shown with."""


def value(
    project: Project, name: str, config: ValueConfig, *, base: str = "", num_rows: int = 10
) -> DataValue:
    """What each source of a dataset, as it is set now, contributes to a vote of the nearest rows.

    The texts are seen through `base`; without one, through the base model that `choose_base` names.
    `num_rows` of the least valuable rows are listed.

    Raises:
        NotFound: the dataset has not been cut.
        UsageError, DataError: see `require_labelled`.
    """
    dataset: Dataset = project.runner.current(build(project.file).datasets[name])
    require_labelled(dataset)
    base = base or choose_base(project, name)
    made: RowValues = project.run(value_of(project.file, name, base, config))
    rows = _table(project, made.rows)
    values = rows["value"].to_numpy()
    return DataValue(
        dataset=name,
        base=base,
        is_encoder=made.is_encoder,
        neighbours=made.neighbours,
        num_train=made.num_train,
        num_test=made.num_test,
        num_cut=made.num_cut,
        utility=made.utility,
        accuracy=made.accuracy,
        confidence=CONFIDENCE,
        sources=tuple(_sources(project, name, made, rows)),
        num_harmful=int((values < 0).sum()),
        least=tuple(_least(project, dataset, values, num_rows)),
    )


def choose_base(project: Project, name: str) -> str:
    """The base model through which a dataset's texts are seen where nobody named one: the dataset's
    own if it is an encoder, else the first encoder of the project file, else the dataset's own."""
    own = project.file.dataset[name].base
    for each in dict.fromkeys((own, *project.file.base)):
        if is_encoder(project.run(base_of(project.file, each)), project.runner.blobs):
            return each
    return own


def _sources(project: Project, name: str, made: RowValues, rows: pa.Table) -> list[SourceValue]:
    """Each source of the dataset, also those that no training row is left of."""
    spent_on = spent(project, project.file.dataset[name].sources)
    tests = _table(project, made.tests)
    counts: dict[str, int] = {
        each["values"]: each["counts"] for each in rows["asset"].value_counts().to_pylist()
    }
    found = []
    for source in project.file.dataset[name].sources:
        of_it = tests.filter(pc.equal(tests["asset"], source))
        took = spent_on[source]
        found.append(
            SourceValue(
                source=source,
                num_rows=counts.get(source, 0),
                share=counts.get(source, 0) / made.num_train,
                value=_value(of_it, project.file.project.seed),
                without=None if counts.get(source) == made.num_train else _without(of_it),
                cpu_s=took.cpu_s,
                cost=took.cost,
                review_s=took.review_s,
                review_cost=took.review_cost,
            )
        )
    return sorted(found, key=lambda each: (-each.value.mean, each.source))


def _value(tests: pa.Table, seed: int) -> Estimate:
    """The mean over test rows of what a source's rows are worth, with its bootstrap interval."""
    if not len(tests):
        return Estimate(mean=0.0, low=0.0, high=0.0)
    return bootstrap_mean(tests["value"].to_numpy(), confidence=CONFIDENCE, seed=seed)


def _without(tests: pa.Table) -> Estimate:
    """The accuracy without a source minus that with it, paired by test row."""
    if not len(tests):
        return Estimate(mean=0.0, low=0.0, high=0.0)
    before, after = (tests[name].to_numpy().astype(int) for name in ("right", "right_without"))
    won, lost = int((after > before).sum()), int((after < before).sum())
    found = of_outcomes(won, lost, len(tests), CONFIDENCE)
    return Estimate(mean=found.difference, low=found.low, high=found.high)


def _least(project: Project, dataset: Dataset, values: Any, num_rows: int) -> list[ValuedRow]:
    """The rows that are worth least; texts are read from the dataset, which alone holds them."""
    columns = ["row_id", "asset", "pointer", "label", "text"]
    rows = pq.read_table(project.runner.blobs.path(dataset.train.rows), columns=columns)
    order = np.argsort(values, kind="stable")[:num_rows]
    return [
        ValuedRow(**row, value=float(values[place]))
        for place, row in zip(order, rows.take(order).to_pylist(), strict=True)
    ]


class Spent(NamedTuple):
    """What a data asset took: machines to read it in, and people to look at its rows."""

    cpu_s: float
    cost: Money | None
    """Of machines; None where they have no price."""
    review_s: float
    review_cost: Money | None
    """Of people; None where their hour has no price."""


def spent(project: Project, *groups: Sequence[str]) -> Mapping[str, Spent]:
    """CPU seconds and price of making each data asset of each group, over all attempts; and the
    time and price of people who looked at its rows, in whatever review.

    What several of a group were read from, such as a package, counts for each of them in equal
    parts, and so does the time that was spent on rows that several were made from. What was made,
    and what will be used of it, is looked up once for all.
    """
    graph, rates = build(project.file), project.file.ledger.rates
    is_priced = bool(rates.per_cpu_hour or rates.per_kwh)
    steps = {name: ordered(graph.assets[name]) for group in groups for name in group}
    planned = project.runner.plan(list(dict.fromkeys(chain.from_iterable(steps.values()))))
    key_of = {each.step: each.key for each in planned}
    usages: dict[str, list[Usage]] = {}
    for run in project.runs():
        if run.usage:
            usages.setdefault(run.key, []).append(Usage(**run.usage))
    looked_at = {
        graph.assets[name]: seconds
        for name, seconds in review_seconds(project).items()
        if name in graph.assets
    }
    found: dict[str, Spent] = {}
    for group in groups:
        keys = {name: {key_of[step] for step in steps[name]} for name in group}
        for name, its in keys.items():
            cpu_s, cost = 0.0, zero(rates.currency)
            for key in sorted(its):
                among = sum(key in each for each in keys.values())
                for usage in usages.get(key, ()):
                    part = replace(usage, cpu_s=usage.cpu_s / among, joules=usage.joules / among)
                    cpu_s, cost = cpu_s + part.cpu_s, cost + price(part, rates)
            review_s = sum(
                looked_at[step] / sum(step in steps[other] for other in group)
                for step in steps[name]
                if step in looked_at
            )
            people = price_review(review_s, rates) if rates.per_review_hour else None
            found[name] = Spent(cpu_s, cost if is_priced else None, review_s, people)
    return found


def _table(project: Project, blob: Any) -> pa.Table:
    return pq.read_table(project.runner.blobs.path(blob))
