"""The bill of materials of a model, in CycloneDX 1.6 or 1.7 (ECMA-424): the model with its card,
its base model, its datasets and their sources, and the software that it was tuned with.

A pure function of the facts: the serial number and the time follow from them, too. Energy is in
kWh, emissions are in tonnes, as the schema wants; numbers of metrics are strings there.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import tunesmith
from tunesmith.documents.checks import SUITES, failures, figures, results
from tunesmith.documents.environment import emissions_of, energy_of
from tunesmith.documents.outline import croissant_of
from tunesmith.documents.sheet import Need, Reading
from tunesmith.text.licences import LICENCES, NOT_STATED

NEEDS = (
    Need(what="component.name and version", keys=("model.number",)),
    Need(what="component.supplier", keys=("declared.provider",)),
    Need(what="component.supplier.contact", keys=("declared.contact",)),
    Need(what="component.hashes", keys=("model.weights",)),
    Need(what="component.licenses", keys=("declared.licence",)),
    Need(what="modelParameters.approach", keys=("model.objective",)),
    Need(what="modelParameters.task", keys=("model.does",)),
    Need(what="modelParameters.datasets", keys=("dataset.ref",)),
    Need(what="quantitativeAnalysis.performanceMetrics", keys=("evaluation.tuned",)),
    Need(what="confidenceInterval of a difference", keys=("gate.comparisons",)),
    Need(what="performanceMetrics beyond its task", keys=SUITES, required=False),
    Need(what="considerations.users", keys=("declared.users",)),
    Need(what="considerations.useCases", keys=("declared.intended_purpose",)),
    Need(what="considerations.technicalLimitations", keys=("declared.limitations",)),
    Need(what="considerations.performanceTradeoffs", keys=("declared.design",)),
    Need(what="considerations.ethicalConsiderations", keys=("declared.risks", "declared.fairness")),
    Need(what="energyConsumptions.activityEnergyCost", keys=("tuning.usage",)),
    Need(what="energyConsumptions.energyProviders", keys=("declared.energy_provider",)),
    Need(what="energyConsumptions.co2CostEquivalent", keys=("declared.grams_co2_per_kwh",)),
    Need(what="base model", keys=("base.weights",)),
    Need(what="data.governance of the sources", keys=("dataset.sources",)),
    Need(what="software", keys=("tuning.software",)),
)
"""What it is to say."""
APPROACHES = {"grpo": "reinforcement-learning", "cpt": "self-supervised"}
"""By objective, where it is not supervised."""
_PURL = {"pypi": "pypi", "npm": "npm"}
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")
_NAMESPACE = uuid.UUID("6e1c0a4e-3f4f-5f5b-9a39-0d2f6b1f7a10")
"""Of serial numbers that are made of the facts."""


def needs(_reading: Reading) -> Iterator[Need]:
    """What it is to say."""
    yield from NEEDS


def text(reading: Reading) -> str:
    """The file."""
    return json.dumps(data(reading), ensure_ascii=False, indent=2) + "\n"


def data(reading: Reading) -> dict[str, Any]:
    """The bill of materials."""
    spec = reading.value("declared.cyclonedx", "1.6")
    model = _model(reading)
    base = _base(reading)
    datasets = list(_datasets(reading))
    software = list(_software(reading))
    own = {"type": "application", "name": "tunesmith", "version": tunesmith.__version__}
    direct, behind = [base, *datasets[:1], *software], [each["bom-ref"] for each in datasets[1:]]
    facts = reading.base.facts
    dates = [facts[key].at for key in reading.used if key in facts]
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{spec}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": spec,
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, reading.digest())}",
        "version": 1,
        "metadata": {
            "timestamp": max(dates, default=""),
            "tools": {"components": [own]},
            "component": model,
        },
        "components": [base, *datasets, *software],
        "dependencies": [
            {"ref": model["bom-ref"], "dependsOn": [each["bom-ref"] for each in direct]},
            *[{"ref": each["bom-ref"], "dependsOn": behind} for each in datasets[:1]],
            *[{"ref": each["bom-ref"]} for each in [base, *datasets[1:], *software]],
        ],
        "properties": _properties({"facts.sha256": reading.base.digest}),
    }


def _model(reading: Reading) -> dict[str, Any]:
    stated = reading.value("declared.licence", NOT_STATED)  # the base's is said of the base
    return _without_empty(
        {
            "type": "machine-learning-model",
            "bom-ref": f"model:{reading.base.version}",
            "name": reading.value("model.name"),
            "version": str(reading.value("model.number")),
            "description": reading.value("declared.intended_purpose", ""),
            "supplier": _supplier(reading),
            "licenses": _licences([stated]),
            "hashes": _hashes(reading.value("model.weights", {}).get("sha256")),
            "modelCard": _without_empty(
                {
                    "modelParameters": _parameters(reading),
                    "quantitativeAnalysis": {"performanceMetrics": list(_metrics(reading))},
                    "considerations": _considerations(reading),
                }
            ),
            "properties": _properties(
                {
                    "record.sha256": reading.value("model.digest"),
                    "method": reading.value("model.method"),
                    "objective": reading.value("model.objective"),
                    "status": "; ".join(reading.value("release.status", {}).get("said", [])),
                    "gate": _verdict(reading),
                    **{f"check.{each['name']}": each["verdict"] for each in results(reading)},
                }
            ),
        }
    )


def _verdict(reading: Reading) -> str:
    judged = reading.value("gate.reports")
    if not judged:
        return ""
    signed = "signed" if judged[-1]["signed"] else "not signed"
    return f"{judged[-1]['verdict']}, {judged[-1]['at']}, {signed}, sha256 {judged[-1]['digest']}"


def _supplier(reading: Reading) -> dict[str, Any]:
    name, contact = reading.value("declared.provider"), reading.value("declared.contact")
    if not name:
        return {}
    if not contact:
        return {"name": name}
    how = "email" if _EMAIL.fullmatch(contact) else "name"
    return {"name": name, "contact": [{how: contact}]}


def _parameters(reading: Reading) -> dict[str, Any]:
    objective, does = reading.value("model.objective"), reading.value("model.does", {})
    ref = reading.value("dataset.ref")
    return _without_empty(
        {
            "approach": {"type": APPROACHES.get(objective, "supervised")},
            "task": does.get("tag", ""),
            "datasets": [{"ref": f"dataset:{ref}"}] if ref else [],
            "inputs": [{"format": "text"}],
            "outputs": [
                {"format": "text" if does.get("pipeline") == "text-generation" else "json"}
            ],
        }
    )


def _metrics(reading: Reading) -> Iterator[dict[str, Any]]:
    found = reading.value("evaluation.tuned")
    where = f"test split of {reading.value('dataset.ref', NOT_STATED)}"
    if found:
        head: dict[str, Any] = {"type": found["metric"], "value": _number(found["value"])}
        if "low" in found:
            head["confidenceInterval"] = _interval(found["low"], found["high"])
        yield {**head, "slice": where}
        intervals = found.get("intervals", {})
        for name, value in found["others"].items():
            within = (
                {"confidenceInterval": _interval(*intervals[name])} if name in intervals else {}
            )
            yield {"type": name, "value": _number(value), "slice": where, **within}
        for name, value in found["per_label_f1"].items():
            yield {"type": "F1", "value": _number(value), "slice": f"{where}, label {name}"}
    for each in reading.value("gate.comparisons", []):
        yield {
            "type": f"{each['metric']}: difference from {each['versus']}",
            "value": _number(each["difference"]),
            "slice": _compared(each) or where,
            "confidenceInterval": _interval(each["low"], each["high"]),
        }
    for suite, figure in figures(reading):
        beside = f"{figure.name}: difference from the base model"
        for what, of in ((figure.name, figure.tuned), (beside, figure.difference)):
            yield {
                "type": what,
                "value": _number(of.value),
                "slice": f"suite {suite}, {figure.num_rows} examples",
                "confidenceInterval": _interval(of.low, of.high),
            }


def _compared(comparison: Mapping[str, Any]) -> str:
    """Of which task and which rows; empty for the test split, asked as it was tuned."""
    task, rows = comparison.get("task"), comparison.get("slice")
    return ", ".join([*([f"task {task}"] if task else []), *([f"rows of {rows}"] if rows else [])])


def _number(value: float) -> str:
    return f"{value:.6g}"


def _interval(low: float, high: float) -> dict[str, str]:
    return {"lowerBound": _number(low), "upperBound": _number(high)}


def _considerations(reading: Reading) -> dict[str, Any]:
    def stated(key: str) -> list[str]:
        said = reading.value(f"declared.{key}")
        return [said] if said else []

    limits = [
        *stated("limitations"),
        *reading.value("dataset.limitations", []),
        *failures(reading),
    ]
    ethical = [
        _without_empty({"name": name, "mitigationStrategy": "; ".join(stated("risk_management"))})
        for name in [*stated("risks"), *stated("fairness")]
    ]
    energy = _energy(reading)
    return _without_empty(
        {
            "users": stated("users"),
            "useCases": stated("intended_purpose"),
            "technicalLimitations": limits,
            "performanceTradeoffs": stated("design"),
            "ethicalConsiderations": ethical,
            "environmentalConsiderations": {"energyConsumptions": [energy]} if energy else {},
        }
    )


def _energy(reading: Reading) -> dict[str, Any]:
    """Of the run of tuning: in kWh, and in tonnes."""
    energy, emissions = energy_of(reading), emissions_of(reading)
    if energy is None:
        return {}
    cost = {"value": energy.kwh, "unit": "kWh"}
    provider = {
        "organization": {"name": reading.value("declared.energy_provider", NOT_STATED)},
        "energySource": reading.value("declared.energy_source", "unknown"),
        "energyProvided": cost,
    }
    found: dict[str, Any] = {
        "activity": "fine-tuning",
        "energyProviders": [provider],
        "activityEnergyCost": cost,
    }
    if emissions is not None:
        found["co2CostEquivalent"] = {"value": emissions.tonnes, "unit": "tCO2eq"}
    method = (reading.value("tuning.usage") or {}).get("joules_method", "")
    return found | {"properties": _properties({"energy.method": method})}


def _base(reading: Reading) -> dict[str, Any]:
    origin = reading.value("base.origin", "")
    return _without_empty(
        {
            "type": "machine-learning-model",
            "bom-ref": f"base:{reading.value('base.name')}",
            "name": reading.value("base.name"),
            "licenses": _licences([reading.value("base.licence", NOT_STATED)]),
            "hashes": _hashes(reading.value("base.weights", {}).get("sha256")),
            "purl": _package(origin),
            "properties": _properties({"origin": origin}),
        }
    )


def _datasets(reading: Reading) -> Iterator[dict[str, Any]]:
    """The dataset, and then its sources."""
    ref, sources = reading.value("dataset.ref"), reading.value("dataset.sources", [])
    if not ref:
        return
    sides = {side: reading.value(f"dataset.{side}", {}) for side in ("train", "test")}
    described = croissant_of(reading)
    croissant = {
        "type": "documentation",
        "url": described["url"],
        "comment": f"Croissant: {described.get('command')}",
        "hashes": _hashes(described.get("sha256")),
    }
    name, _, number = ref.rpartition("@")
    yield _without_empty(
        {
            "type": "data",
            "bom-ref": f"dataset:{ref}",
            "name": name,
            "version": number,
            "licenses": _licences(reading.value("dataset.licences", [])),
            "hashes": _hashes(reading.value("dataset.digest")),
            "data": [_data(name, reading.value("dataset.personal_data", []), "")],
            "externalReferences": [croissant],
            "properties": _properties(
                {f"{side}.sha256": of.get("rows", {}).get("sha256") for side, of in sides.items()}
                | {f"{side}.rows": str(of.get("num_rows")) for side, of in sides.items()}
            ),
        }
    )
    for source in sources:
        yield _without_empty(
            {
                "type": "data",
                "bom-ref": f"source:{source['name']}:{source['digest'][:12]}",
                "name": source["name"],
                "licenses": _licences([source["licence"]]),
                "hashes": _hashes(source["digest"]),
                "purl": _package(source["origin"]),
                "data": [_data(source["name"], [], source["owner"])],
                "properties": _properties(
                    {"origin": source["origin"], "purpose": source["purpose"]}
                ),
            }
        )


def _data(name: str, sensitive: list[str], owner: str) -> dict[str, Any]:
    owners = [{"organization": {"name": owner}}] if owner and owner != NOT_STATED else []
    return _without_empty(
        {
            "type": "dataset",
            "name": name,
            "sensitiveData": sensitive,
            "governance": {"owners": owners} if owners else {},
        }
    )


def _software(reading: Reading) -> Iterator[dict[str, Any]]:
    for name, version in sorted((reading.value("tuning.software") or {}).items()):
        found = {"type": "library", "bom-ref": f"software:{name}", "name": name, "version": version}
        if name == "python":
            yield found | {"type": "platform"}
        else:
            yield found | {"purl": f"pkg:pypi/{name.lower()}@{_escaped(version)}"}


def _package(origin: str) -> str:
    """The package URL of what came from a package index; empty for anything else."""
    kind, _, requirement = origin.partition(":")
    name, _, version = requirement.partition("==" if kind == "pypi" else "@")
    if kind not in _PURL or not version or name.startswith("@"):
        return ""
    return f"pkg:{_PURL[kind]}/{name.lower()}@{_escaped(version)}"


def _escaped(version: str) -> str:
    return version.replace("+", "%2B")


def _hashes(digest: str | None) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": digest}] if digest else []


def _licences(names: list[str]) -> list[dict[str, Any]]:
    return [
        {"license": {"id": name} if name in LICENCES else {"name": name}}
        for name in dict.fromkeys(names)
        if name != NOT_STATED
    ]


def _properties(said: Mapping[str, str | None]) -> list[dict[str, str]]:
    return [{"name": f"tunesmith:{name}", "value": value} for name, value in said.items() if value]


def _without_empty(value: dict[str, Any]) -> dict[str, Any]:
    return {key: each for key, each in value.items() if each not in ("", [], {}, None)}
