"""Technical documentation as Annex IV of the EU's AI Act, Regulation (EU) 2024/1689, orders it.

The points are the annex's, in our words and order of numbers; each is filled with facts, or says
what is missing and who has to supply it. It is a draft for the provider, and no legal advice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tunesmith.core.ref import to_plain
from tunesmith.documents.compute import one_third_meter
from tunesmith.documents.outline import as_json, as_markdown
from tunesmith.documents.sheet import Need, Part, Reading

ATTACKS = (
    "checks.audit", "checks.injection", "checks.leakage", "checks.membership", "checks.canaries",
)  # fmt: skip
"""What bears on cybersecurity: of back doors, of orders in what it reads, of what it gives away."""
TITLE = "Technical documentation (Annex IV of Regulation (EU) 2024/1689)"
SCOPE = (
    "This is a draft, compiled from what is on record of one model version and from what its "
    "provider states. What is marked as declared is the provider's word; what is marked as recorded"
    " was written by a run or into the evidence. A high-risk AI system is more than its model: the "
    "provider completes it, keeps it for ten years (Article 18) and answers for it. It is no legal "
    "advice."
)


def _said(what: str, *keys: str, required: bool = True) -> Need:
    return Need(what=what, keys=keys, required=required)


def _more(what: str, *keys: str) -> Need:
    return _said(what, *keys, required=False)


PARTS: tuple[Part, ...] = (
    Part(number="1", title="General description"),
    Part(
        number="1(a)",
        title="Intended purpose, provider, version",
        needs=(
            _said("intended purpose", "declared.intended_purpose"),
            _said("provider", "declared.provider"),
            _said("version", "model.number"),
            _more("version before", "model.previous"),
            _more("digest of the version", "model.digest"),
            _more("made by", "model.made_by"),
            _more("made at", "model.made_at"),
            _more("users", "declared.users"),
        ),
    ),
    Part(
        number="1(b)",
        title="Interaction with other hardware, software and AI systems",
        needs=(_said("interactions", "declared.interactions"),),
    ),
    Part(
        number="1(c)",
        title="Versions of software and firmware",
        needs=(_said("software it was tuned with", "tuning.software"),),
    ),
    Part(
        number="1(d)",
        title="Forms in which it is placed on the market or put into service",
        needs=(_said("forms", "declared.placed_as"), _more("exports on record", "exports")),
    ),
    Part(
        number="1(e)",
        title="Hardware that it is meant to run on",
        needs=(_said("hardware", "declared.hardware"),),
    ),
    Part(
        number="1(f)",
        title="Of a product: pictures, markings, layout",
        needs=(_said("product", "declared.product"),),
    ),
    Part(
        number="1(g)",
        title="User interface for the deployer",
        needs=(_said("user interface", "declared.user_interface"), _more("served as", "services")),
    ),
    Part(
        number="1(h)",
        title="Instructions for use",
        needs=(_said("instructions", "declared.instructions"),),
    ),
    Part(number="2", title="Detailed description of the elements and of the development"),
    Part(
        number="2(a)",
        title="Methods and steps of development; pre-trained systems and how they were modified",
        needs=(
            _said("objective", "model.objective"),
            _said("method", "model.method"),
            _said("settings of the run", "tuning.settings"),
            _more("seed", "tuning.seed"),
            _said("pre-trained model", "base.name"),
            _said("its origin", "base.origin"),
            _said("its licence", "base.licence"),
            _said("its bytes", "base.weights"),
            _more("teacher", "tuning.teacher"),
            _said("what was shown of the run", "tuning.certificate"),
        ),
    ),
    Part(
        number="2(b)",
        title="Design: general logic, main choices, reasons, trade-offs",
        needs=(
            _said("design", "declared.design"),
            _more("what it does", "model.does"),
            _more("what it is told", "model.instruction"),
            _more("what it may answer", "model.labels"),
        ),
    ),
    Part(
        number="2(c)",
        title="Architecture, and compute used to develop, train, test and validate",
        needs=(
            _said("parameters", "model.num_parameters"),
            _said("of them tuned", "model.num_trainable"),
            _said("tokens of the run", "model.num_trained_tokens"),
            _said("what the run used", "tuning.usage"),
            _more("machine", "declared.hardware_used"),
        ),
    ),
    Part(
        number="2(d)",
        title="Data sheets: provenance, selection, labelling, cleaning",
        needs=(
            _said("dataset", "dataset.ref"),
            _said("sources", "dataset.sources"),
            _said("collection and labelling", "declared.collection", "data.reviews"),
            _said("rows to tune on", "dataset.train"),
            _said("rows to test on", "dataset.test"),
            _more("settings of the dataset", "dataset.settings"),
            _said("preparation", "dataset.preprocessing"),
            _said("personal data", "dataset.personal_data"),
            _more("people who were forgotten", "data.erasures"),
            _said("limitations of the data", "dataset.limitations"),
            _said("languages", "dataset.languages", "declared.languages"),
            _said("licences", "dataset.licences"),
            _more("synthetic rows", "dataset.synthetic"),
            _more("quality of the sources", "data.assessments"),
            _said("machine-readable description", "dataset.croissant"),
        ),
    ),
    Part(
        number="2(e)",
        title="Human oversight",
        needs=(
            _said("measures", "declared.oversight"),
            _more("who approves versions", "registry"),
        ),
    ),
    Part(
        number="2(f)",
        title="Changes that were decided beforehand",
        needs=(
            _said("planned changes", "declared.planned_changes"),
            _more("what runs by itself", "schedules"),
        ),
    ),
    Part(
        number="2(g)",
        title="Validation and testing: data, metrics, dated and signed reports",
        needs=(
            _said("evaluation", "evaluation.tuned"),
            _said("evaluation of the base model", "evaluation.base"),
            _said("differences", "gate.comparisons"),
            _said("what the gate asks", "gate.settings"),
            _said("test reports", "gate.reports"),
            _said("signature of the newest report", "gate.signed"),
            _said(
                "robustness",
                "checks.robustness",
                "checks.behaviour",
                "declared.robustness",
            ),
            _more("what tuning made it forget", "checks.forgetting"),
            _more("what it refuses", "checks.refusals"),
            _more("checks that could not be run", "checks.not_run"),
            _said("discriminatory impact", "declared.fairness"),
        ),
    ),
    Part(
        number="2(h)",
        title="Cybersecurity",
        needs=(
            _said("measures", "declared.cybersecurity"),
            _said("what was tried against it", *ATTACKS),
            _more("digest of the weights", "model.weights"),
        ),
    ),
    Part(
        number="3",
        title="Monitoring, functioning and control",
        needs=(
            _said("limits of what it can do", "declared.limitations"),
            _said("foreseeable unintended outcomes and risks", "declared.risks"),
            _said("what inputs must be like", "declared.input_specification"),
            _said("accuracy, as a whole and by label", "evaluation.tuned"),
            _more("what checks beyond its task found", "checks.robustness", "checks.forgetting"),
            _more("what it must not be used for", "declared.out_of_scope"),
        ),
    ),
    Part(
        number="4",
        title="Why the metrics are appropriate",
        needs=(_said("reasons", "declared.metrics_rationale"),),
    ),
    Part(
        number="5",
        title="Risk management system (Article 9)",
        needs=(_said("risk management", "declared.risk_management"),),
    ),
    Part(
        number="6",
        title="Changes during the life of the system",
        needs=(
            _said("changes", "declared.lifecycle_changes", "release.changes"),
            _more("releases", "release.releases"),
        ),
    ),
    Part(
        number="7",
        title="Harmonised standards, or other solutions",
        needs=(_said("standards", "declared.standards"),),
    ),
    Part(
        number="8",
        title="EU declaration of conformity",
        needs=(_said("declaration", "declared.declaration"),),
    ),
    Part(
        number="9",
        title="Post-market monitoring (Article 72)",
        needs=(
            _said("plan", "declared.post_market"),
            _said("what is watched", "monitors"),
            _said("what was found", "monitor.signals"),
            _more("what follows", "retrain.proposal"),
        ),
    ),
)


def markdown(reading: Reading) -> str:
    """The draft, for people."""
    return as_markdown(reading, TITLE, SCOPE, PARTS, extra={"2(c)": _compute(reading)})


def data(reading: Reading) -> dict[str, Any]:
    """The same, for programs."""
    meter = one_third_meter(reading)
    return as_json(reading, "annex-iv", TITLE, SCOPE, PARTS) | {"compute": to_plain(meter)}


def needs(_reading: Reading) -> Iterator[Need]:
    """What it is to say."""
    for part in PARTS:
        yield from part.needs


def _compute(reading: Reading) -> list[str]:
    meter = one_third_meter(reading)
    if meter is None:
        return []
    return ["", "The one-third meter:", "", *[f"- {each}" for each in meter.sentences]]
