"""Tunesmith: from a pre-trained model and your own data to a specialised model that you own.

    pipeline   the main path, one sitting to read: the order of the stages
    judging    what a gate is judged by, before it judges
    expected   what a plan can say of datasets and tuning before they ran
    search     a longer search over recipes: Optuna proposes, the step graph remembers
    rivals     a model's recipe beside others: transfer report, pilot
    review     rows that people look at: judged, agreed upon or decided, accepted
    schedule   runs by itself: what is due is run, each slot once
    lineage    versions of data, a row's way, a person forgotten, what data is worth
    interop    other systems: MLflow, OpenLineage, garak; what ran here for them, what is theirs
    graph      from the project file to steps: which step is given what
    model_graph   the same of a model: tuned, asked, judged, released
    data_graph the same of data assets: what they are taken from, and made of
    registry   from candidate to production and back: who asked, who approved, what stands where
    endpoint   a service as an application: what it serves, loaded
    documents  what is said of datasets and models to others, compiled from what is on record
    webhooks   others are told what the evidence says
    project    opens the store of a project; the only place that picks backends
    files_now  the files that sections name, as they are now
    project_file  tunesmith.toml: its sections, and whether they refer to what is there
    sections   [project] and [review.NAME], which are of no stage
    testing    fakes and conformance suites for plug-ins
    core       what ran, on what, with what result: store, step keys, runner, evidence
    records    nouns: frozen dataclasses that flow between steps
    text       pure functions on text          lm        using a model, never training it
    asset      what the tables of a data asset are made of, whichever stage makes one
    paired     two models on the same items: tests, intervals, what so many could show
    signing    signatures, and models that are used only as they were signed
    retrieve   passages and citations          stages    verbs, a folder each
    ledger     the accounting side (IAS 38)    cli       parse, call, print

Imports point one way (`|` may not import each other):
cli -> search -> rivals | review | schedule -> pipeline | lineage | interop -> judging | expected
-> graph | registry | endpoint | webhooks -> documents -> model_graph -> data_graph
-> project | testing -> files_now -> project_file -> sections -> stages | ledger -> retrieve
-> lm | text | asset | paired | signing -> records -> core
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_NAMES = {
    "GateFailed": "tunesmith.core.errors",
    "Project": "tunesmith.project",
    "TunesmithError": "tunesmith.core.errors",
    "ask": "tunesmith.retrieve.answer",
    "books": "tunesmith.pipeline",
    "build": "tunesmith.graph",
    "open_project": "tunesmith.project",
    "retrain": "tunesmith.pipeline",
    "run": "tunesmith.pipeline",
    "steps": "tunesmith.graph",
}
__all__ = [  # noqa: PLE0604  (each is loaded when it is first used: importing stays light)
    *sorted([*_NAMES, "__version__"])
]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'tunesmith' has no attribute {name!r}")
