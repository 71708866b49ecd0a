"""Run a search: each trial is a path of steps like a pilot's, cached, priced, in the evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from typing import Any

from tunesmith.core.canonical import fingerprint
from tunesmith.core.errors import DataError, OverBudget, StepFailed
from tunesmith.core.meter import Usage
from tunesmith.core.step import Step
from tunesmith.documents.frozen import freeze
from tunesmith.graph import build
from tunesmith.ledger.budget import over_budget
from tunesmith.ledger.cost import price, zero
from tunesmith.model_graph import ModelPath, asked_of
from tunesmith.project import Project
from tunesmith.records.data import Dataset
from tunesmith.records.evaluation import Evaluation
from tunesmith.records.rivals import Estimate, Spent
from tunesmith.records.search import (
    Ended,
    Reached,
    Rung,
    Search,
    Trial,
    front,
    level_with,
    ranked,
)
from tunesmith.rivals import (
    CONFIDENCE,
    PILOT_ASKED,
    recipe_of,
    spent_by,
    to_set,
    variant,
)
from tunesmith.search.order import explore, require_optuna
from tunesmith.search.space import shares_of, space_of
from tunesmith.stages.finetune.config import ModelConfig


def search(project: Project, name: str, num_trials: int) -> Search:
    """Try `num_trials` recipes of a model on a few of its training rows, the best on more of them.

    It ends early when all of it has cost `ledger.budget_per_run`, and on Ctrl-C.

    Raises:
        MissingExtra: Optuna is not installed.
        DataError: the model's own recipe cannot be tried.
        OverBudget, KeyboardInterrupt: before anything was found.
    """
    from tunesmith.lm.size import num_layers

    require_optuna()
    path = build(project.file).models[name]
    dataset, base = freeze(project, path.dataset), project.run(path.base)
    space = space_of(recipe_of(path), num_layers(base, project.runner.blobs))
    log = Log(
        project=project,
        path=path,
        dataset=dataset,
        shares=shares_of(recipe_of(path), dataset.train.num_rows),
    )
    ended: Ended = "all tried"
    try:
        explore(space, len(log.shares), num_trials, project.file.project.seed, log.attempt)
    except (OverBudget, KeyboardInterrupt) as error:
        if not log.trials:
            raise
        ended = "budget" if isinstance(error, OverBudget) else "interrupted"
    return log.report(num_trials, ended)


@dataclass(kw_only=True)
class Log:
    """The trials of a search so far, and what they took."""

    project: Project
    path: ModelPath
    dataset: Dataset
    shares: tuple[float, ...]
    trials: list[Trial] = field(default_factory=list)
    """Those that were tried to an end, good or bad."""
    metric: str = ""
    num_asked: dict[int, int] = field(default_factory=dict)
    """By rung."""
    spent: dict[str, Spent] = field(default_factory=dict)
    """By the name of a step, so that a recipe that is tried again is paid once."""

    def attempt(self, number: int, settings: Mapping[str, Any], rung: int) -> float:
        """The mean loss of a recipe that was tuned on the rows of a rung; infinite if it failed.

        Raises:
            DataError, StepFailed: it is the model's own on the lowest rung: so nothing will do.
            OverBudget: the search would cost, or has cost, more than it may.
        """
        own = recipe_of(self.path)
        rival = self._path(settings, rung)
        trial = self._trial(number, settings)
        try:
            model, asked = self._run(rival.model), self._run(rival.tuned_evaluation)
        except (DataError, StepFailed) as error:
            if not self.trials:
                raise
            self._keep(replace(trial, fault=error.message))
            return inf
        loss, metric = self._estimates(asked)
        recipe = own.changed(**settings)
        whole = spent_by(self.project, rival.model, model, recipe, self.dataset.train)["whole"]
        took = self._total(rival.model.name, rival.tuned_evaluation.name)
        reached = Reached(loss=loss, metric=metric, num_steps=model.num_steps, spent=took)
        self.metric, self.num_asked[rung] = asked.metric, asked.num_rows
        self._keep(
            replace(
                trial,
                reached=(*trial.reached, reached),
                num_trainable=model.num_trainable,
                whole=whole,
            )
        )
        return loss.mean

    def report(self, num_wanted: int, ended: Ended) -> Search:
        """What the trials come to."""
        trials = ranked(self.trials)
        num_rows = self.dataset.train.num_rows
        return Search(
            model=recipe_of(self.path).name,
            metric=self.metric,
            confidence=CONFIDENCE,
            num_wanted=num_wanted,
            ended=ended,
            rungs=tuple(
                Rung(
                    share_of_rows=share,
                    num_trained_rows=max(1, round(share * num_rows)),
                    num_asked_rows=self.num_asked.get(rung, 0),
                )
                for rung, share in enumerate(self.shares)
            ),
            trials=trials,
            spent=self._total(*self.spent),
            front=front(trials),
            leader=trials[0].number,
            level=level_with(trials[0], trials),
        )

    def _path(self, settings: Mapping[str, Any], rung: int) -> ModelPath:
        """The steps that try a recipe on a rung. Their names follow from it: the same again is a
        hit, in whichever trial it comes up."""
        own = recipe_of(self.path)
        changes = {**settings, "share_of_rows": self.shares[rung], "stop_after": 0}
        tag = f"search-{_digest(own.changed(**settings))}-{rung + 1}"
        asked = asked_of(own, PILOT_ASKED)
        return variant(self.path, tag, asked, **changes)

    def _trial(self, number: int, settings: Mapping[str, Any]) -> Trial:
        if number < len(self.trials):
            return self.trials[number]
        own = recipe_of(self.path)
        recipe = own.changed(**settings)
        changes, leave_out = to_set(own, recipe)
        return Trial(
            number=number + 1,
            recipe=f"{own.name}~search-{_digest(recipe)}",
            settings=settings,
            changes=changes,
            leave_out=leave_out,
        )

    def _keep(self, trial: Trial) -> None:
        self.trials[trial.number - 1 : trial.number] = [trial]

    def _run(self, step: Step) -> Any:
        """Run a step for what is left of the budget of the whole search."""
        ledger = self.project.file.ledger
        self.spent[step.name] = outlay(self.project, step)
        limit = partial(
            over_budget,
            rates=ledger.rates,
            budget=ledger.budget_per_run,
            so_far=self._total(*self.spent).cost,
        )
        limited = replace(self.project, runner=replace(self.project.runner, limit=limit))
        try:
            return limited.run(step)
        finally:
            self.spent[step.name] = outlay(self.project, step)

    def _estimates(self, asked: Evaluation) -> tuple[Estimate, Estimate]:
        from tunesmith.stages.evaluate.compare import estimates

        seed, blobs = self.project.file.project.seed, self.project.runner.blobs
        return estimates(asked, blobs, confidence=CONFIDENCE, seed=seed)

    def _total(self, *steps: str) -> Spent:
        return total((self.spent[step] for step in steps), self.project.file.ledger.currency)


def outlay(project: Project, step: Step) -> Spent:
    """What all attempts at a step took, also those that failed or were interrupted."""
    rates = project.file.ledger.rates
    (planned,) = project.runner.plan([step])
    usages = [Usage(**run.usage) for run in project.runs() if run.key == planned.key and run.usage]
    took = (Spent(wall_s=usage.wall_s, cost=price(usage, rates)) for usage in usages)
    return total(took, rates.currency)


def total(parts: Iterable[Spent], currency: str) -> Spent:
    """What all `parts` took together."""
    wall_s, cost = 0.0, zero(currency)
    for part in parts:
        wall_s, cost = wall_s + part.wall_s, cost + part.cost
    return Spent(wall_s=wall_s, cost=cost)


def _digest(recipe: ModelConfig) -> str:
    """The first digits of the digest of what a recipe sets, whatever it is called."""
    return fingerprint(recipe.model_dump(exclude={"name"}))[:8]
