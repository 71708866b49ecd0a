"""The project file, tunesmith.toml: its sections, and whether they refer to what is there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from tunesmith.core import settings
from tunesmith.core.errors import ConfigError, DataError, UsageError
from tunesmith.core.lifecycle import require_alias
from tunesmith.core.retention import StoreSection
from tunesmith.core.section import Section
from tunesmith.core.settings import Layers
from tunesmith.ledger.config import LedgerConfig
from tunesmith.records.document import KINDS
from tunesmith.records.model import TASKS
from tunesmith.records.release import PRODUCTION, RELEASED
from tunesmith.sections import ProjectSection, ReviewConfig
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.document.config import DocumentConfig, one_of_each_model
from tunesmith.stages.evaluate.config import SCORERS, GateConfig
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.index.config import IndexConfig
from tunesmith.stages.ingest.config import BaseConfig, SourceConfig
from tunesmith.stages.ingest.origin import POSTGRES
from tunesmith.stages.ingest.reach import require_named
from tunesmith.stages.monitor.config import MonitorConfig
from tunesmith.stages.notify.config import WebhookConfig
from tunesmith.stages.probe.config import SuiteConfig, require_judged, suites_of
from tunesmith.stages.release.config import RegistryConfig
from tunesmith.stages.schedule.config import ScheduleConfig
from tunesmith.stages.serve.config import ServiceConfig
from tunesmith.stages.transform.config import TransformConfig

FILE = "tunesmith.toml"
SINGLE = ("project", "ledger", "registry", "store")
"""Sections of which there is one, without a name."""


class ProjectFile(Section):
    """The whole of tunesmith.toml."""

    project: ProjectSection
    """What holds for the whole project."""
    source: dict[str, SourceConfig] = Field(default_factory=dict)
    """Systems that data comes from; each becomes a data asset."""
    transform: dict[str, TransformConfig] = Field(default_factory=dict)
    """Data assets that are made from others."""
    base: dict[str, BaseConfig] = Field(default_factory=dict)
    """Pre-trained weights."""
    dataset: dict[str, DatasetConfig] = Field(default_factory=dict)
    """Training sets cut from data assets."""
    review: dict[str, ReviewConfig] = Field(default_factory=dict)
    """Rows that people look at, and who does."""
    model: dict[str, ModelConfig] = Field(default_factory=dict)
    """How to tune which base model on which dataset."""
    suite: dict[str, SuiteConfig] = Field(default_factory=dict)
    """Checks of a model beyond its task."""
    gate: dict[str, GateConfig] = Field(default_factory=dict)
    """What a model must show before it is released."""
    registry: RegistryConfig = Field(default_factory=RegistryConfig)
    """Who may put a model into production."""
    document: dict[str, DocumentConfig] = Field(default_factory=dict)
    """What people state of a model, and how complete its documents must be."""
    store: StoreSection = Field(default_factory=StoreSection)
    """How long what is in the store is kept."""
    index: dict[str, IndexConfig] = Field(default_factory=dict)
    """Documents that answers are grounded in."""
    service: dict[str, ServiceConfig] = Field(default_factory=dict)
    """What serves."""
    monitor: dict[str, MonitorConfig] = Field(default_factory=dict)
    """What is watched."""
    schedule: dict[str, ScheduleConfig] = Field(default_factory=dict)
    """What runs by itself, and when."""
    webhook: dict[str, WebhookConfig] = Field(default_factory=dict)
    """Who else is told what happened."""
    ledger: LedgerConfig = Field(default_factory=LedgerConfig)
    """Rates, and what people have stated about the six criteria of IAS 38.57."""

    @property
    def assets(self) -> Mapping[str, SourceConfig | TransformConfig]:
        """What becomes a data asset, by name: a name is that of one source or one transform."""
        return {**self.source, **self.transform}

    def made_from(self, names: Iterable[str]) -> set[str]:
        """`names`, and the transforms that are made from them at any remove."""
        found, num_found = set(names), 0
        while len(found) > num_found:
            num_found = len(found)
            found |= {name for name, of in self.transform.items() if found & set(of.sources)}
        return found

    def alias_of(self, model: str) -> str:
        """The alias that a model gets which passes its gate."""
        return next((gate.alias for gate in self.gate.values() if gate.model == model), "candidate")


def read(folder: Path, *, flags: Sequence[str] = ()) -> tuple[ProjectFile, Layers]:
    """The settings of the project in `folder`; nothing is opened.

    Raises:
        NotFound: there is no project file.
        ConfigError: a key is unknown, missing or wrong, or refers to what is not there.
    """
    layers = settings.merge(
        user=_user_settings(),
        project=settings.read_toml(folder / FILE),
        environment=os.environ,
        flags=flags,
    )
    _only_in_the_file(layers)
    file = settings.validate(ProjectFile, _with_names(layers.values))
    _check_references(file)
    return file, layers


def _only_in_the_file(layers: Layers) -> None:
    """Refuse roles, and hosts that may be reached, which were set elsewhere: whoever types a
    command could give them to himself."""
    for path, origin in layers.origins.items():
        guarded = {("registry",): "roles", ("review",): "roles", ("project", "hosts"): "hosts"}
        guarded[("document",)] = "statements"
        what = guarded.get(path[:1]) or guarded.get(path[:2])
        if path[:1] == ("dataset",) and path[2:3] == ("licence_cleared",):
            what = "decisions about licences"
        if what and origin != "project file":
            raise ConfigError(
                ".".join(path),
                f"this was set by {origin}, and {what} are read from the project file alone",
                remedy=f"write it in {FILE}, where a review sees it",
            )


def _user_settings() -> dict[str, Any]:
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    path = Path(home) / "tunesmith" / "config.toml"
    if not path.is_file():
        return {}
    values = settings.read_toml(path)
    for section in values:
        if section not in ("project", "ledger"):
            raise ConfigError(
                f"{path}: {section}",
                "a user file may set [project] and [ledger] only",
                remedy=f"move this section to the project's {FILE}",
            )
    return values


def _with_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """The tables, with each named section told its own name."""
    named = dict(values)
    for section in ProjectFile.model_fields:
        tables = values.get(section)
        if section in SINGLE or not isinstance(tables, Mapping):
            continue
        named[section] = {
            name: {"name": name, **table} if isinstance(table, Mapping) else table
            for name, table in tables.items()
        }
    return named


def _check_references(file: ProjectFile) -> None:
    _check_hosts(file)
    _check_transforms(file)
    _check_seeds(file)
    for name, dataset in file.dataset.items():
        for source in dataset.sources:
            settings.nearest(f"dataset.{name}.sources", source, file.assets, "source")
            if dataset.format == "labels":
                file.assets[source].require_labelled(f"dataset.{name}.sources")
        settings.nearest(f"dataset.{name}.base", dataset.base, file.base, "base")
        if dataset.semantic is not None:
            encoder = dataset.semantic.encoder
            settings.nearest(f"dataset.{name}.semantic.encoder", encoder, file.base, "base")
        for source in dataset.licence_cleared:
            settings.nearest(f"dataset.{name}.licence_cleared", source, file.source, "source")
        for other in dataset.apart_from:
            settings.nearest(f"dataset.{name}.apart_from", other, file.dataset, "dataset")
        if dataset.reviewed:
            settings.nearest(f"dataset.{name}.reviewed", dataset.reviewed, file.review, "review")
    for name, model in file.model.items():
        settings.nearest(f"model.{name}.base", model.base, file.base, "base")
        settings.nearest(f"model.{name}.dataset", model.dataset, file.dataset, "dataset")
        _check_objective(f"model.{name}", model, file.dataset[model.dataset])
        place, _, teacher = model.teacher.partition(":")
        if place:
            known = file.model if place == "model" else file.base
            settings.nearest(f"model.{name}.teacher", teacher, known, place)
    for name, index in file.index.items():
        settings.nearest(f"index.{name}.source", index.source, file.assets, "source")
        if index.commonest_in:
            settings.nearest(
                f"index.{name}.commonest_in", index.commonest_in, file.assets, "source"
            )
    _check_reviews(file)
    for name, suite in file.suite.items():
        settings.nearest(f"suite.{name}.model", suite.model, file.model, "model")
        model = file.model[suite.model]
        suite.require_askable(model.objective, file.dataset[model.dataset].format)
    _check_gates(file)
    _check_aliases(file)
    for name, document in file.document.items():
        settings.nearest(f"document.{name}.model", document.model, file.model, "model")
    one_of_each_model(file.document)
    _check_services(file)
    _check_monitors(file)
    for name, schedule in file.schedule.items():
        for part in schedule.run:
            place, _, named = part.partition(":")
            settings.nearest(f"schedule.{name}.run", named, getattr(file, place), place)


def _check_seeds(file: ProjectFile) -> None:
    for name, source in file.source.items():
        for other in source.synthetic.of if source.synthetic else ():
            key = f"source.{name}.synthetic.of"
            settings.nearest(key, other, file.source, "source")
            if file.source[other].synthetic:
                raise ConfigError(
                    key,
                    f"the rows of {other!r} are synthetic themselves",
                    remedy="name the sources that those were made from, and their rows as seeds",
                )


def _check_hosts(file: ProjectFile) -> None:
    asked = {  # which of Amazon's servers it is, the environment says, when it is asked
        f"source.{name}.origin": source.endpoint or source.origin
        for name, source in file.source.items()
        if source.is_api or source.endpoint or source.origin.startswith(POSTGRES)
    }
    asked |= {f"webhook.{name}.url": webhook.url for name, webhook in file.webhook.items()}
    for key, url in asked.items():
        try:
            require_named(url, file.project.hosts)
        except DataError as error:
            raise ConfigError(key, error.message, remedy=error.remedy) from None
        except ValueError as error:
            raise ConfigError(key, str(error)) from None


def _check_transforms(file: ProjectFile) -> None:
    for name, transform in file.transform.items():
        if name in file.source:
            raise ConfigError(
                f"transform.{name}",
                f"a source is called {name!r}, too, and each names a data asset",
                remedy="give one of the two another name",
            )
        for source in transform.sources:
            settings.nearest(f"transform.{name}.sources", source, file.assets, "source")
            if source in file.made_from([name]):
                raise ConfigError(
                    f"transform.{name}.sources",
                    f"{name!r} is made from {source!r}, and that from {name!r}: a circle",
                    remedy="leave one of them out",
                )
            if source in file.source and file.source[source].synthetic:
                raise ConfigError(
                    f"transform.{name}.sources",
                    f"the rows of {source!r} are synthetic, and behind a transform nobody would "
                    "count them apart",
                    remedy="give them to the dataset as they are; transform what they are made of",
                )


def _check_reviews(file: ProjectFile) -> None:
    for name, review in file.review.items():
        key = f"review.{name}.dataset"
        settings.nearest(key, review.dataset, file.dataset, "dataset")
        dataset = file.dataset[review.dataset]
        if dataset.format != "labels":
            if review.order == "doubts" and "order" in review.model_fields_set:
                raise ConfigError(
                    f"review.{name}.order",
                    f"the rows of {review.dataset!r} have no labels to doubt: its format is "
                    f"{dataset.format!r}",
                    remedy="leave it out: they are looked at as they are drawn",
                )
            continue
        for source in dataset.sources:
            asset = file.assets[source]
            if asset.subject and asset.subject == asset.label:
                raise ConfigError(
                    key,
                    f"the labels of source {source!r} are people, and what is said of a row can "
                    "never be erased from the evidence",
                    remedy="review a dataset whose labels name nobody",
                )


def _check_gates(file: ProjectFile) -> None:
    for name, gate in file.gate.items():
        settings.nearest(f"gate.{name}.model", gate.model, file.model, "model")
        suites = suites_of(gate.model, file.model[gate.model].objective, file.suite)
        require_judged(name, gate.suites, gate.limits, suites)
        for kind in gate.documents:
            settings.nearest(f"gate.{name}.documents", kind, KINDS, "kind of document")
        sources = file.dataset[file.model[gate.model].dataset].sources
        for rule in gate.rules:
            if rule.slice is not None and rule.slice.source and not rule.task:
                key = f"gate.{name}.rules.slice.source"
                settings.nearest(key, rule.slice.source, sources, "source")
        if gate.alias == PRODUCTION and file.registry.approvers:
            raise ConfigError(
                f"gate.{name}.alias",
                "[registry] names who approves, so a gate alone puts nothing into production",
                remedy='leave it at "candidate", and ask: `tunesmith model promote`',
            )
        for other, its in file.gate.items():
            if other < name and its.model == gate.model:
                raise ConfigError(
                    f"gate.{name}.model",
                    f"{gate.model!r} has a gate already: {other}",
                    remedy="put all that the model must show into one gate",
                )


def _check_aliases(file: ProjectFile) -> None:
    """Here and not beside each section, whose code stands in the keys of evaluations."""
    named = [(f"gate.{name}.alias", gate.alias, gate.model) for name, gate in file.gate.items()]
    named += [
        (f"gate.{name}.rules.against", against, gate.model)
        for name, gate in file.gate.items()
        for against in gate.others()
    ]
    named += [
        (f"suite.{name}.against", suite.against, suite.model)
        for name, suite in file.suite.items()
        if suite.against
    ]
    for key, alias, model in named:
        if alias == RELEASED:  # which no alias of a gate can be
            continue
        try:
            require_alias(alias, ("base", RELEASED, PRODUCTION, file.alias_of(model)))
        except UsageError as error:
            raise ConfigError(key, error.message, remedy=error.remedy) from None


def _check_services(file: ProjectFile) -> None:
    for name, service in file.service.items():
        for model_name in service.models:
            settings.nearest(f"service.{name}.models", model_name, file.model, "model")
            objective = file.model[model_name].objective
            if objective in TASKS:
                raise ConfigError(
                    f"service.{name}.models",
                    f"{model_name!r} is tuned to {objective}, so it cannot answer in conversations",
                    remedy="serve models that go on with a text; export this one "
                    f"(`tunesmith model export {model_name}`) to use it elsewhere",
                )
        if service.index:
            settings.nearest(f"service.{name}.index", service.index, file.index, "index")


def _check_monitors(file: ProjectFile) -> None:
    for name, monitor in file.monitor.items():
        settings.nearest(f"monitor.{name}.model", monitor.model, file.model, "model")
        settings.nearest(f"monitor.{name}.dataset", monitor.dataset, file.dataset, "dataset")
        for source in monitor.retrain_with:
            settings.nearest(f"monitor.{name}.retrain_with", source, file.assets, "source")
            if file.dataset[monitor.dataset].format == "labels":
                file.assets[source].require_labelled(f"monitor.{name}.retrain_with")
        for traffic, what in monitor.replay.items():
            place, _, named = what.removesuffix("/test").partition(":")  # `MonitorConfig` checks it
            of_kind = file.assets if place == "source" else file.dataset
            settings.nearest(f"monitor.{name}.replay.{traffic}", named, of_kind, place)


def _check_objective(key: str, model: ModelConfig, dataset: DatasetConfig) -> None:
    if (model.objective, dataset.format) in SCORERS:
        return
    wanted = " or ".join(form for name, form in SCORERS if name == model.objective)
    could = ", ".join(name for name, form in SCORERS if form == dataset.format)
    raise ConfigError(
        f"{key}.objective",
        f"{model.objective!r} cannot be learnt from dataset {dataset.name!r}, whose rows are of "
        f"format {dataset.format!r}",
        remedy=f"give it a dataset of format {wanted}, or an objective of {could}",
    )
