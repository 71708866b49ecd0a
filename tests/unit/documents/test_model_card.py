"""The model card is what Hugging Face's own library reads, and has its template's headings."""

from __future__ import annotations

import importlib.resources
import re

import huggingface_hub
import pytest
import yaml
from huggingface_hub import ModelCard

from tunesmith.documents.compile import compiled
from tunesmith.documents.model_card import markdown, metadata
from tunesmith.documents.sheet import Reading
from tunesmith.records.export import Export, Parity

TEMPLATE = importlib.resources.files(huggingface_hub) / "templates" / "modelcard_template.md"

EXPORT = {
    "name": "desk",
    "quantisation": "f32",
    "files": {},
    "parity": Parity(
        num_prompts=16,
        num_positions=16,
        mean_kl=0.0,
        max_kl=0.0,
        required_kl=1e-4,
        same_prompts=1.0,
        same_answers=1.0,
        required_answers=1.0,
        same_stops=1.0,
        stops_at_turn=True,
        verdict="pass",
    ),
}


def headings(text: str) -> list[str]:
    _, _, body = text.split("---\n", 2)
    return [line for line in body.splitlines() if re.match(r"#+ ", line)][1:]  # but the title


def card(base):
    return compiled(base, "model-card").text


def test_its_headings_are_those_of_the_template_in_order(base):
    assert headings(card(base)) == headings(TEMPLATE.read_text())


def test_hugging_face_reads_its_metadata(base):
    read = ModelCard(card(base))
    data = read.data
    assert (data.license, data.library_name) == ("apache-2.0", "peft")
    assert data.base_model == "example/tiny"
    assert data.language == ["en"]
    found = base.value("evaluation.tuned")
    (accuracy, _) = data.eval_results
    assert accuracy.metric_type == found["metric"] == "accuracy"
    assert accuracy.metric_value == pytest.approx(found["value"])
    assert (accuracy.dataset_name, accuracy.dataset_split) == ("triage", "test")
    assert accuracy.dataset_revision == base.value("dataset.digest")
    assert read.text.lstrip().startswith("# Model Card for desk@1")


def test_hugging_face_writes_the_same_metadata_back(base):
    """So nothing of the block is in a form that its classes do not know."""
    block = metadata(Reading(base))
    again = yaml.safe_load(ModelCard(card(base)).data.to_yaml())
    assert again == block


def test_a_name_of_ours_is_no_repository_of_a_hub(with_facts):
    """Somebody else's may be called so."""
    block = metadata(Reading(with_facts({"declared.base_model": None})))
    assert "base_model" not in block
    assert "base_model_relation" not in block
    assert "datasets" not in block
    (result,) = block["model-index"][0]["results"]
    assert (result["dataset"]["name"], result["dataset"]["type"]) == ("triage", "unknown")
    assert "**Finetuned from model [optional]:** tiny" in card(with_facts({"base.name": "tiny"}))


@pytest.mark.parametrize(
    ("form", "objective", "library", "relation"),
    [
        ("adapter", "sft", "peft", "adapter"),
        ("merged", "sft", "transformers", "finetune"),
        ("merged", "embed", "sentence-transformers", "finetune"),
        ("gguf", "sft", "gguf", "finetune"),
        ("onnx", "classify", "onnx", "finetune"),
    ],
)
def test_beside_an_export_it_says_what_loads_that(with_facts, form, objective, library, relation):
    """The facts are of an adapter; merged, it is none any more."""
    reading = Reading(with_facts({"model.objective": objective}))
    text = markdown(reading, Export(**{**EXPORT, "format": form}))
    data = ModelCard(text).data.to_dict()
    assert (data["library_name"], data["base_model_relation"]) == (library, relation)
    assert f"This folder holds it as {form}, f32. Loaded again" in text
    assert headings(text) == headings(TEMPLATE.read_text())


def test_it_is_dated_by_the_newest_of_its_facts(base):
    newest = max(each.at for each in base.facts.values())
    assert f"the newest of which is of {newest};" in card(base)


@pytest.mark.parametrize(
    ("licence", "said"),
    [
        ("CC-BY-4.0", {"license": "cc-by-4.0"}),
        ("MIT", {"license": "mit"}),
        ("House rules 2", {"license": "other", "license_name": "house-rules-2"}),
        (None, {}),
    ],
)
def test_a_licence_is_one_of_the_hubs_or_other_with_its_name(with_facts, licence, said):
    block = metadata(Reading(with_facts({"declared.licence": licence})))
    assert {name: block[name] for name in block if name.startswith("license")} == said


def test_a_licence_that_nobody_states_is_missing_and_the_bases_is_said_of_the_base(with_facts):
    """The tuned model's is for its owner to say: that of its base asserts nothing of it."""
    made = compiled(with_facts({"declared.licence": None, "base.licence": "CC0-1.0"}), "model-card")
    assert "license" not in ModelCard(made.text).data.to_dict()
    assert "- **License:** [More Information Needed]" in made.text
    assert "- **License of the base model:** CC0-1.0" in made.text
    (lack,) = [each for each in made.completeness.lacks if each.what == "license"]
    assert "`licence` in [document." in lack.remedy


def test_what_nobody_said_is_said_in_the_templates_words(with_facts):
    text = card(with_facts({"declared.intended_purpose": None, "declared.provider": None}))
    assert "### Direct Use\n\n[More Information Needed]" in text
    assert "**Developed by:** [More Information Needed]" in text


def test_statements_are_marked_and_stay_one_line(with_facts):
    text = card(with_facts({"declared.limitations": "Two\n\n## lines | of it"}))
    assert "Two ## lines | of it *(declared)*" in text
    assert headings(text) == headings(TEMPLATE.read_text())


def test_a_model_of_which_little_is_known_has_a_card(with_facts, base):
    others = {key: None for key in base.facts if not key.startswith(("model.", "base."))}
    text = card(with_facts(others))
    assert headings(text) == headings(TEMPLATE.read_text())
    assert "co2_eq_emissions" not in text
