"""A model's recipe beside rivals.

Each rival is a path of steps like the model's own: cached, priced, certified and in the evidence
log. The transfer report says what starting from a pre-trained model was worth; the pilot, which
recipe is worth its price.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from typing import Any

from tunesmith.core import catalog
from tunesmith.core.errors import UsageError
from tunesmith.core.meter import Usage
from tunesmith.core.step import Step
from tunesmith.documents.frozen import freeze
from tunesmith.graph import build
from tunesmith.ledger.cost import price, zero
from tunesmith.model_graph import ModelPath, asked_of
from tunesmith.pipeline import make_model, preview
from tunesmith.project import Project
from tunesmith.records.data import Split
from tunesmith.records.model import ModelVersion
from tunesmith.records.rivals import (
    Pilot,
    Piloted,
    Spent,
    Transferred,
    TransferReport,
    clear_best,
    front,
)
from tunesmith.stages.evaluate.config import EvaluateConfig
from tunesmith.stages.finetune.config import READ_BY, ModelConfig

DIALS = ("method", "layers", "rank", "learning_rate", "epochs", "batch_rows")
"""Settings of a recipe that rivals differ in."""
CONFIDENCE = 0.95
"""Of the intervals that rivals are shown with."""
OWN = "own recipe"
RATES = {"lora": 1e-3, "dora": 1e-3, "head": 1e-3, "full": 5e-5}
"""Learning rate of a rival with another method than the model's own: a common one for it, since
weights that are moved themselves want far smaller steps than adapters that begin at zero. One rate
is not a search: the method may do better with another."""
RANDOM_RATE = 1e-3
"""The same for random weights, which have nothing to lose and far to go."""
PILOT_SHARE = 0.05
"""Of the training rows, unless that makes too few steps."""
PILOT_STEPS = 4
LARGEST_SHARE = 0.5
"""Of the training rows; the others are left to ask."""
PILOT_ASKED = 128
"""Rows that each pilot is asked: their time should not exceed the tuning's by much."""


def transfer_report(project: Project, name: str) -> TransferReport:
    """A model beside its base untuned, its trunk frozen, and its architecture from random weights.

    Raises:
        UsageError: the model itself starts from random weights.
    """
    from tunesmith.stages.evaluate.compare import compare

    path = build(project.file).models[name]
    if recipe_of(path).start == "random":
        raise UsageError(
            f"model {name} starts from random weights, so nothing is transferred",
            remedy=f"add --set model.{name}.start=pretrained",
        )
    rates, blobs, seed = project.file.ledger.rates, project.runner.blobs, project.file.project.seed
    rivals = transfers(path)
    own = make_model(project, rivals[OWN])
    rows = [
        Transferred(
            variant="untuned base",
            num_trainable=0,
            num_steps=0,
            num_trained_tokens=0,
            spent=Spent(wall_s=0.0, cost=zero(rates.currency)),
            metrics=own.base.metrics(),
            versus_own=compare(own.tuned, own.base, blobs, confidence=CONFIDENCE, seed=seed),
        )
    ]
    for variant, rival in rivals.items():
        made = own if variant == OWN else make_model(project, rival)
        used, _ = used_by(project, rival.model)
        against = compare(own.tuned, made.tuned, blobs, confidence=CONFIDENCE, seed=seed)
        rows.append(
            Transferred(
                variant=variant,
                num_trainable=made.model.num_trainable,
                num_steps=made.model.num_steps,
                num_trained_tokens=made.model.num_trained_tokens,
                spent=Spent(wall_s=used.wall_s, cost=price(used, rates)),
                metrics=made.tuned.metrics(),
                versus_own=against if made is not own else None,
            )
        )
    return TransferReport(model=name, num_rows=own.tuned.num_rows, variants=tuple(rows))


def pilot(project: Project, name: str) -> Pilot:
    """Rival recipes of a model on a few of its training rows: what they are worth, and would cost.

    Raises:
        DataError: there are too few training rows to keep some for asking.
    """
    from tunesmith.lm.size import num_layers
    from tunesmith.stages.evaluate.compare import estimates

    path = build(project.file).models[name]
    dataset, base = freeze(project, path.dataset), project.run(path.base)
    rivals = pilots(path, dataset.train.num_rows, num_layers(base, project.runner.blobs))
    tried = []
    for tag, rival in rivals.items():
        preview(project, rival)
        model, asked = project.run(rival.model), project.run(rival.tuned_evaluation)
        loss, metric = estimates(
            asked, project.runner.blobs, confidence=CONFIDENCE, seed=project.file.project.seed
        )
        changes, leave_out = to_set(recipe_of(path), recipe_of(rival))
        tried.append(
            Piloted(
                recipe=tag,
                changes=changes,
                leave_out=leave_out,
                num_trainable=model.num_trainable,
                num_steps=model.num_steps,
                loss=loss,
                metric=metric,
                **spent_by(project, rival.model, model, recipe_of(path), dataset.train),
            )
        )
    recipe = recipe_of(rivals["own"])
    return Pilot(
        model=name,
        share_of_rows=recipe.share_of_rows,
        num_trained_rows=max(1, round(recipe.share_of_rows * dataset.train.num_rows)),
        num_asked_rows=asked.num_rows,
        metric=asked.metric,
        confidence=CONFIDENCE,
        recipes=tuple(sorted(tried, key=lambda each: each.loss.mean)),
        front=front(tried),
        best=clear_best(tried),
    )


def used_by(project: Project, step: Step) -> tuple[Usage, Mapping[str, float]]:
    """What a step that ran used, over all attempts, and the last point of each of its curves."""
    (planned,) = project.runner.plan([step])
    assert planned.hit is not None
    with project.runner.database.read() as connection:
        curves = catalog.run_metrics(connection, planned.hit.id)
    usages = [
        Usage(**run.usage) for run in project.runs() if run.key == planned.hit.key and run.usage
    ]
    total = replace(
        usages[-1],
        wall_s=sum(usage.wall_s for usage in usages),
        cpu_s=sum(usage.cpu_s for usage in usages),
        joules=sum(usage.joules for usage in usages),
    )
    return total, {name: points[-1][1] for name, points in curves.items()}


def spent_by(
    project: Project, step: Step, model: ModelVersion, whole: ModelConfig, train: Split
) -> dict[str, Spent]:
    """What a pilot took ("spent"), and what the `whole` recipe would take ("whole").

    Loading and checking take what they take; only what is left to train is added, at the speed that
    the pilot went. If that is not known, because nothing was left to do when it was interrupted,
    all of its time counts as training. Where states below what is trained are kept, those of the
    whole's rows are to be computed yet, at the speed that a few were.
    """
    used, last = used_by(project, step)
    left = max(0.0, whole_tokens(whole, train) - model.num_trained_tokens)
    wall_s = left / last.get("tokens_per_s", model.num_trained_tokens / used.wall_s)
    cpu_s = left / last.get("tokens_per_cpu_s", model.num_trained_tokens / used.cpu_s)
    if "tokens_below_per_s" in last:
        below = whole.share_of_rows * train.num_tokens
        wall_s += below / last["tokens_below_per_s"]
        cpu_s += below / last["tokens_below_per_cpu_s"]
    cpu_s += used.cpu_s
    of_all = replace(
        used,
        wall_s=used.wall_s + wall_s,
        cpu_s=cpu_s,
        joules=used.joules * cpu_s / used.cpu_s,
    )
    rates = project.file.ledger.rates
    return {
        "spent": Spent(wall_s=used.wall_s, cost=price(used, rates)),
        "whole": Spent(wall_s=of_all.wall_s, cost=price(of_all, rates)),
    }


# The paths of the rivals.


def variant(
    path: ModelPath, tag: str, asked: EvaluateConfig | None = None, **changes: Any
) -> ModelPath:
    """A model's path with its recipe changed, e.g. "finetune:desk~head", without gate and release.

    The dataset, the base and its evaluation are those of the model's own path, to the object.
    """
    recipe = recipe_of(path)
    changed = recipe.changed(name=f"{recipe.name}~{tag}", **changes)
    model = replace(path.model, name=f"finetune:{changed.name}", config=changed)
    after = replace(
        path.tuned_evaluation,
        name=f"evaluate:{changed.name}",
        config=asked or path.tuned_evaluation.config,
        inputs={**path.tuned_evaluation.inputs, "model": model},
    )
    changed_path = replace(path, model=model, tuned_evaluation=after)
    return replace(changed_path, suites={}, audit=None, gate=None, release=None)


def recipe_of(path: ModelPath) -> ModelConfig:
    """The settings that a path's model is tuned with."""
    assert isinstance(path.model.config, ModelConfig)
    return path.model.config


def transfers(path: ModelPath) -> dict[str, ModelPath]:
    """What a model is compared with to see what transfer was worth, at the same steps and rows."""
    recipe = recipe_of(path)
    rivals = {OWN: replace(path, suites={}, audit=None, gate=None, release=None)}
    if recipe.method != "head":
        rate = RATES["head"]
        rivals["frozen trunk, trained head"] = variant(
            path, "head", method="head", learning_rate=rate
        )
    rivals["random weights, all trained"] = variant(
        path, "random", method="full", layers=0, start="random", learning_rate=RANDOM_RATE
    )
    return rivals


def pilots(path: ModelPath, num_rows: int, num_layers: int) -> dict[str, ModelPath]:
    """Rival recipes on the same few of `num_rows` training rows, asked about the same others.

    Head only, adapters on the top third of the layers, adapters on all, all weights, and the
    model's own with a third and three times its learning rate.
    """
    own = recipe_of(path)
    share = pilot_share(own, num_rows)
    changes: dict[str, dict[str, Any]] = {
        "own": {},
        "slower": {"learning_rate": float(f"{own.learning_rate / 3:.2g}")},
        "faster": {"learning_rate": min(0.9, float(f"{own.learning_rate * 3:.2g}"))},
        "head": _method(own, "head"),
        "top": {**_method(own, "lora"), "layers": ceil(num_layers / 3)},
        "all": {**_method(own, "lora"), "layers": 0},
        "full": {**_method(own, "full"), "layers": 0},
    }
    asked = asked_of(recipe_of(path), PILOT_ASKED)
    rivals: dict[str, ModelPath] = {}
    known = []
    for tag, change in changes.items():
        change |= {"share_of_rows": share, "stop_after": 0}
        if (recipe := own.changed(**change)) not in known:
            known.append(recipe)
            rivals[tag] = variant(path, f"pilot-{tag}", asked, **change)
    return rivals


def pilot_share(own: ModelConfig, num_rows: int) -> float:
    """The share of `num_rows` training rows that is enough to tell recipes apart, roughly."""
    rows = max(PILOT_SHARE * num_rows, own.batch_rows * ceil(PILOT_STEPS / own.epochs))
    return min(rows / max(1, num_rows), LARGEST_SHARE, own.share_of_rows)


def whole_tokens(recipe: ModelConfig, train: Split) -> float:
    """Tokens that would go through the model if it were tuned as `recipe` says."""
    num_rows = max(1, round(recipe.share_of_rows * train.num_rows))
    num_steps = recipe.epochs * -(-num_rows // recipe.batch_rows)
    done = min(1.0, recipe.stop_after / num_steps) if recipe.stop_after else 1.0
    return done * recipe.epochs * recipe.share_of_rows * train.num_tokens


def to_set(own: ModelConfig, rival: ModelConfig) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What to set to make a recipe the rival, and what to take out of the project file first."""
    settings, mine = rival.model_dump(), dict(own)
    changes: dict[str, Any] = {
        key: settings[key] for key in DIALS if key in settings and settings[key] != mine[key]
    }
    unread = (key for key in READ_BY if key in own.model_fields_set and key not in settings)
    return changes, tuple(unread)


def rate_of(own: ModelConfig, method: str) -> float:
    """The learning rate that a rival with this method starts from."""
    return own.learning_rate if method == own.method else RATES[method]


def _method(own: ModelConfig, method: str) -> dict[str, Any]:
    return {"method": method, "learning_rate": rate_of(own, method)}
