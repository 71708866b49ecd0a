"""The ML-BOM is valid by CycloneDX's own schemas, and its numbers are in the units that these want.

The validator is the reference library's, offline, and strict: an unknown key fails.
"""

from __future__ import annotations

import importlib.resources
import json

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tunesmith.documents.compile import compiled
from tunesmith.documents.environment import emissions_of, energy_of
from tunesmith.documents.ml_bom import data
from tunesmith.documents.model_card import metadata
from tunesmith.documents.sheet import Reading
from tunesmith.records.energy import Emissions, Energy, emitted
from tunesmith.text.licences import LICENCES

VERSIONS = {"1.6": SchemaVersion.V1_6, "1.7": SchemaVersion.V1_7}


def problem(text: str, version: str = "1.6") -> object:
    return JsonStrictValidator(VERSIONS[version]).validate_str(text)


@pytest.mark.parametrize("version", VERSIONS)
def test_it_is_valid(with_facts, version):
    text = compiled(with_facts({"declared.cyclonedx": version}), "ml-bom").text
    assert json.loads(text)["specVersion"] == version
    assert problem(text, version) is None


def test_the_validator_sees_what_is_wrong(base):
    """A test that cannot fail shows nothing."""
    text = compiled(base, "ml-bom").text
    assert problem(text.replace('"kWh"', '"J"')) is not None
    assert problem(text.replace('"tCO2eq"', '"g"')) is not None
    assert problem(text.replace('"considerations"', '"consideration"')) is not None
    assert problem(text.replace('"value": "0.25"', '"value": 0.25')) is not None


def test_with_little_known_and_with_odd_texts_it_is_valid_too(with_facts, base):
    few = {key: None for key in base.facts if not key.startswith(("model.", "base."))}
    assert problem(compiled(with_facts(few), "ml-bom").text) is None
    odd = {
        "declared.provider": 'Müller & "Söhne" \u2028 | <b>',
        "declared.contact": "the desk, room 4",
        "declared.licence": "our terms",
        "base.licence": "MIT OR Apache-2.0",
        "base.origin": "pypi:Big_Model==1.0+cpu",
        "dataset.licences": ["internal", "CC-BY-4.0", "internal"],
    }
    made = with_facts(odd)
    assert problem(compiled(made, "ml-bom").text) is None
    model = data(Reading(made))["metadata"]["component"]
    assert model["licenses"] == [{"license": {"name": "our terms"}}]
    assert model["supplier"]["contact"] == [{"name": "the desk, room 4"}]


def test_the_bases_licence_is_said_of_the_base_alone(with_facts):
    made = with_facts({"declared.licence": None, "base.licence": "CC0-1.0"})
    said = data(Reading(made))
    assert "licenses" not in said["metadata"]["component"]
    (base,) = [each for each in said["components"] if each["bom-ref"].startswith("base:")]
    assert base["licenses"] == [{"license": {"id": "CC0-1.0"}}]
    assert "component.licenses" in {
        each.what for each in compiled(made, "ml-bom").completeness.lacks
    }
    assert problem(compiled(made, "ml-bom").text) is None


def test_licences_that_are_called_spdx_ids_are_some():
    folder = importlib.resources.files("cyclonedx.schema") / "_res"
    known = json.loads((folder / "spdx.SNAPSHOT.schema.json").read_text())["enum"]
    assert set(LICENCES) <= set(known)


def test_it_names_what_the_model_is_made_of(base):
    made = data(Reading(base))
    parts = {each["bom-ref"]: each for each in made["components"]}
    tiny, triage = parts["base:tiny"], parts["dataset:triage@1"]
    assert tiny["hashes"] == [{"alg": "SHA-256", "content": base.value("base.weights")["sha256"]}]
    assert tiny["purl"] == "pkg:pypi/mini-llm@1.0"
    assert triage["hashes"][0]["content"] == base.value("dataset.digest")
    (croissant,) = triage["externalReferences"]
    assert croissant["hashes"][0]["content"] == base.value("dataset.croissant")["sha256"]
    software = base.value("tuning.software")
    assert {each.partition(":")[2] for each in parts if each.startswith("software:")} == set(
        software
    )
    assert parts["software:torch"]["version"] == software["torch"]
    (source,) = (each for each in parts if each.startswith("source:"))
    needs = {each["ref"]: each.get("dependsOn", []) for each in made["dependencies"]}
    assert needs["dataset:triage@1"] == [source]
    assert {"base:tiny", "dataset:triage@1"} <= set(needs["model:desk@1"])
    assert set(needs) == {*parts, "model:desk@1"}


def test_metrics_are_strings_with_their_intervals(base):
    made = data(Reading(base))
    metrics = made["metadata"]["component"]["modelCard"]["quantitativeAnalysis"][
        "performanceMetrics"
    ]
    found, (beside,) = base.value("evaluation.tuned"), base.value("gate.comparisons")
    assert metrics[0]["value"] == f"{found['value']:.6g}"
    assert metrics[0]["confidenceInterval"]["lowerBound"] == f"{found['low']:.6g}"
    (macro,) = (each for each in metrics if each["type"] == "macro-F1")
    low, high = found["intervals"]["macro-F1"]
    assert macro["confidenceInterval"] == {"lowerBound": f"{low:.6g}", "upperBound": f"{high:.6g}"}
    metrics = [each for each in metrics if not each["slice"].startswith("suite ")]
    assert metrics[-1]["type"] == "accuracy: difference from base"
    assert metrics[-1]["confidenceInterval"]["upperBound"] == f"{beside['high']:.6g}"
    assert {each["slice"].rpartition(" ")[2] for each in metrics} > {"cough", "rash"}


def test_the_same_facts_have_the_same_serial_number(base, with_facts):
    def serial(of):
        return data(Reading(of))["serialNumber"]

    assert serial(base) == serial(base)
    assert serial(base) != serial(with_facts({"declared.users": "others"}))
    assert serial(base) == serial(with_facts({"declared.cybersecurity": "it says nothing of this"}))


def test_grams_and_tonnes_joules_and_kwh_are_not_confused(with_facts):
    """One machine drew 36 MJ, which is 10 kWh, at 350 g a kWh: 3,500 g, which is 0.0035 t."""
    usage = {
        "wall_s": 1.0, "cpu_s": 1.0, "peak_bytes": 1, "joules": 36e6, "joules_method": "measured",
    }  # fmt: skip
    made = with_facts({"tuning.usage": usage, "declared.grams_co2_per_kwh": 350.0})
    reading = Reading(made)
    assert energy_of(reading) == Energy(joules=36e6)
    assert emissions_of(reading) == Emissions(grams=3500.0) == emitted(Energy(joules=36e6), 350.0)

    assert metadata(reading)["co2_eq_emissions"]["emissions"] == 3500.0
    card = compiled(made, "model-card").text
    assert "**Energy:** 10 kWh (measured)" in card
    assert "**Carbon Emitted:** 3.5e+03 g of CO2 equivalent" in card

    model = data(reading)["metadata"]["component"]["modelCard"]
    (found,) = model["considerations"]["environmentalConsiderations"]["energyConsumptions"]
    assert found["activityEnergyCost"] == {"value": 10.0, "unit": "kWh"}
    assert found["co2CostEquivalent"] == {"value": 0.0035, "unit": "tCO2eq"}


def test_without_a_grid_nothing_is_said_of_emissions(with_facts):
    made = with_facts({"declared.grams_co2_per_kwh": None})
    assert "co2" not in compiled(made, "ml-bom").text.lower()
    assert problem(compiled(made, "ml-bom").text) is None


def test_a_comparison_says_what_it_is_of(base, with_facts):
    """A task's rows, or some of them, are not the test split."""
    (beside,) = base.value("gate.comparisons")
    of = [("", ""), ("answers", ""), ("", "language = de"), ("answers", "language = de")]
    made = with_facts(
        {"gate.comparisons": [{**beside, "task": task, "slice": rows} for task, rows in of]}
    )

    model = data(Reading(made))["metadata"]["component"]["modelCard"]
    found = [
        each["slice"]
        for each in model["quantitativeAnalysis"]["performanceMetrics"]
        if each["type"] == "accuracy: difference from base"
    ]

    assert found == [
        f"test split of {base.value('dataset.ref')}",
        "task answers",
        "rows of language = de",
        "task answers, rows of language = de",
    ]
    for kind in ("model-card", "annex-iv"):
        text = compiled(made, kind).text
        assert "| metric | task | rows of | beside |" in text
        assert "| accuracy | its own | all | base |" in text
        assert "| accuracy | answers | language = de | base |" in text
