"""The model card in Hugging Face's form: the metadata block, and the headings of its template.

The card of a release (`stages/release/card.py`) is what was known when the gate was passed. This
one is compiled for whoever publishes the model, from everything that is known now.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from tunesmith.documents.checks import CHECKS, failures, headline, results
from tunesmith.documents.checks import said as checks_said
from tunesmith.documents.environment import emissions_of, energy_of
from tunesmith.documents.markdown import line, table
from tunesmith.documents.outline import croissant_link
from tunesmith.documents.say import comparisons, said, sources
from tunesmith.documents.sheet import Need, Reading
from tunesmith.records.export import Export
from tunesmith.text.licences import NOT_STATED

NEEDED = "[More Information Needed]"
"""What the template says where nothing is."""
_HUB = """\
apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0
bigcode-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear
c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0
cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0
cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl
ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl
lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0 odc-by odbl openrail++ osl-3.0 postgresql ofl-1.1
ncsa unlicense zlib pddl lgpl-lr gemma llama2 llama3 llama3.1 llama3.2 llama3.3 llama4"""
HUB_LICENCES = frozenset(_HUB.split())
"""Licences by the names that the hub knows; another is `other`, with its name beside."""
_NO_REPOSITORY = "unknown"
LIES_AS = {
    "adapter": ("peft", "adapter"),
    "merged": ("transformers", "finetune"),
    "gguf": ("gguf", "finetune"),
    "gguf-adapter": ("gguf", "adapter"),
    "onnx": ("onnx", "finetune"),
}
"""By the format of an export: the hub's name of what loads it, and its relation to its base."""
NEEDS = (
    Need(what="license", keys=("declared.licence",)),
    Need(what="Finetuned from model", keys=("base.name",)),
    Need(what="model-index", keys=("evaluation.tuned",)),
    Need(what="language", keys=("declared.languages", "dataset.languages")),
    Need(what="library_name", keys=("model.form",)),
    Need(what="co2_eq_emissions", keys=("declared.grams_co2_per_kwh",)),
    Need(what="Developed by", keys=("declared.provider",)),
    Need(what="Direct Use", keys=("declared.intended_purpose",)),
    Need(what="Out-of-Scope Use", keys=("declared.out_of_scope",)),
    Need(what="Bias, Risks, and Limitations", keys=("declared.limitations",)),
    Need(what="Recommendations", keys=("declared.oversight",)),
    Need(what="How to Get Started with the Model", keys=("declared.instructions", "exports")),
    Need(what="Training Data", keys=("dataset.sources",)),
    Need(what="Preprocessing", keys=("dataset.preprocessing",)),
    Need(what="Training Hyperparameters", keys=("tuning.settings",)),
    Need(what="Speeds, Sizes, Times", keys=("tuning.usage",)),
    Need(what="Testing Data", keys=("dataset.test",)),
    Need(what="Factors", keys=("declared.fairness",)),
    Need(what="Metrics", keys=("declared.metrics_rationale",)),
    Need(what="Results", keys=("gate.comparisons",)),
    Need(what="Model Examination", keys=CHECKS),
    Need(what="Hardware", keys=("declared.hardware_used",)),
    Need(what="Software", keys=("tuning.software",)),
    Need(what="Model Card Contact", keys=("declared.contact",)),
)
"""What it is to say."""


def needs(_reading: Reading) -> Iterator[Need]:
    """What it is to say."""
    yield from NEEDS


def markdown(reading: Reading, export: Export | None = None) -> str:
    """The card; beside an `export` it is of what lies there."""
    block = yaml.safe_dump(metadata(reading, export), sort_keys=False, allow_unicode=True)
    body = "\n\n".join(
        [
            *_details(reading),
            *_uses(reading),
            *_start(reading, export),
            *_training(reading),
            *_evaluation(reading),
            *_environment(reading),
            *_specifications(reading),
            *_rest(reading),
        ]
    )
    return f"---\n{block}---\n\n{body}\n"


def metadata(reading: Reading, export: Export | None = None) -> dict[str, Any]:
    """The metadata block. Emissions are in grams."""
    does = reading.value("model.does", {})
    languages = reading.value("declared.languages") or reading.value("dataset.languages")
    block = {
        **_licence(reading),
        "language": list(languages or ()),
        **_lies_as(reading, export),
        "pipeline_tag": does.get("pipeline"),
        "tags": [reading.value("model.method"), does.get("tag"), "tunesmith"],
        "metrics": _metrics(reading),
        "co2_eq_emissions": _emissions(reading),
        "model-index": [{"name": reading.base.version, "results": _results(reading)}],
    }
    return {name: value for name, value in block.items() if value}


def _lies_as(reading: Reading, export: Export | None) -> dict[str, Any]:
    """What loads it, and how it came of its base. A name of ours would lead to somebody else's
    repository, so only one that people state is given."""
    form, base = reading.value("model.form", {}), reading.value("declared.base_model")
    library, relation = form.get("library"), form.get("relation")
    if export is not None:
        library, relation = LIES_AS[export.format]
        if export.format == "merged" and reading.value("model.objective") == "embed":
            library = "sentence-transformers"
    of_base = {"base_model": base, "base_model_relation": relation} if base else {}
    return {**of_base, "library_name": library}


def _licence(reading: Reading) -> dict[str, str]:
    """As the hub writes it. The base model's is no licence of what was tuned from it: whoever
    passes that on says under which, and nobody else can."""
    stated = reading.value("declared.licence")
    if not stated:
        return {}
    name = stated.lower()
    if name in HUB_LICENCES:
        return {"license": name}
    return {"license": "other", "license_name": name.replace(" ", "-")}


def _metrics(reading: Reading) -> list[str]:
    found = reading.value("evaluation.tuned")
    return sorted({found["metric"], *found["others"]}) if found else []


def _results(reading: Reading) -> list[dict[str, Any]]:
    found, does = reading.value("evaluation.tuned"), reading.value("model.does", {})
    if not found:
        return []
    every = {found["metric"]: found["value"], **found["others"]}
    name = reading.value("dataset.name", NOT_STATED)
    # The hub takes the type for a dataset of its own, and asks for one: ours is none.
    of = {"name": name, "type": _NO_REPOSITORY, "split": "test"}
    revision = reading.value("dataset.digest")
    return [
        {
            "task": {"type": does.get("tag", "other")},
            "dataset": {**of, "revision": revision},
            "metrics": [
                {"type": metric, "name": metric, "value": round(value, 6)}
                for metric, value in every.items()
            ],
        }
    ]


def _emissions(reading: Reading) -> dict[str, Any] | None:
    found = emissions_of(reading)
    if found is None:
        return None
    said = {
        "emissions": round(found.grams, 6),
        "source": "energy of the tuning run, times what is declared of the electricity",
        "training_type": "fine-tuning",
        "geographical_location": reading.value("declared.electricity_region"),
        "hardware_used": reading.value("declared.hardware_used"),
    }
    return {name: value for name, value in said.items() if value is not None}


def _stated(reading: Reading, key: str) -> str:
    """What the provider states, marked as that."""
    text = reading.value(f"declared.{key}")
    return f"{line(text)} *(declared)*" if text else NEEDED


def _list(reading: Reading, key: str) -> str:
    value = reading.value(key)
    return "\n".join(f"- {line(each)}" for each in value) if value else NEEDED


def _details(reading: Reading) -> Iterator[str]:
    form, does = reading.value("model.form", {}), reading.value("model.does", {})
    base = f"{reading.value('base.name')} ({reading.value('base.origin')})"
    languages = reading.value("declared.languages") or reading.value("dataset.languages")
    yield f"# Model Card for {reading.base.version}"
    yield f"{form.get('what', 'A model')} of {base} that {does.get('what', 'was tuned')}."
    yield "## Model Details"
    yield "### Model Description"
    yield "\n".join(
        [
            f"- **Developed by:** {_stated(reading, 'provider')}",
            f"- **Funded by [optional]:** {NEEDED}",
            f"- **Shared by [optional]:** {NEEDED}",
            f"- **Model type:** {does.get('pipeline', NEEDED)}",
            f"- **Language(s) (NLP):** {', '.join(languages) if languages else NEEDED}",
            f"- **License:** {' '.join(_licence(reading).values()) or NEEDED}",
            f"- **License of the base model:** {reading.value('base.licence', NOT_STATED)}",
            f"- **Finetuned from model [optional]:** {base}",
        ]
    )
    yield "### Model Sources [optional]"
    status = reading.value("release.status", {}).get("said", [])
    yield (
        f"- **Version:** {reading.base.version}, sha256 {reading.value('model.digest')}\n"
        f"- **Status:** {line('; '.join(status)) or NEEDED}\n"
        f"- **Weights:** sha256 {reading.value('model.weights', {}).get('sha256')}\n"
        f"- **Base model's weights:** sha256 {reading.value('base.weights', {}).get('sha256')}"
    )


def _uses(reading: Reading) -> Iterator[str]:
    yield "## Uses"
    yield "### Direct Use"
    yield _stated(reading, "intended_purpose")
    yield "### Downstream Use [optional]"
    yield _stated(reading, "users")
    yield "### Out-of-Scope Use"
    yield _stated(reading, "out_of_scope")
    yield "## Bias, Risks, and Limitations"
    yield _stated(reading, "limitations")
    yield _list(reading, "dataset.limitations")
    if failed := failures(reading):
        yield "What checks found that was to be otherwise, or could not decide:"
        yield "\n".join(f"- {line(each)}" for each in failed)
    yield "### Recommendations"
    yield _stated(reading, "oversight")


def _start(reading: Reading, export: Export | None) -> Iterator[str]:
    yield "## How to Get Started with the Model"
    if export is not None:
        yield (
            f"This folder holds it as {export.format}, {export.quantisation}. Loaded again from "
            f"these files and asked {export.parity.num_prompts} held-out rows, it was shown to be "
            "the model that was tuned."
        )
    yield _stated(reading, "instructions")
    instruction, labels = reading.value("model.instruction"), reading.value("model.labels")
    if instruction and reading.value("model.does", {}).get("pipeline") == "text-generation":
        yield f'Conversations start with the system message "{line(instruction)}".'
    if labels:
        yield f"It was tuned to answer with: {', '.join(map(line, labels))}."


def _training(reading: Reading) -> Iterator[str]:
    yield "## Training Details"
    yield "### Training Data"
    found = reading.value("dataset.sources")
    yield (
        f"{reading.value('dataset.ref', NEEDED)}, sha256 {reading.value('dataset.digest')}. "
        + croissant_link(reading)
    )
    if found:
        yield "\n".join(sources(found)[1:])
    yield "### Training Procedure"
    yield "#### Preprocessing [optional]"
    yield _list(reading, "dataset.preprocessing")
    yield _list(reading, "dataset.personal_data")
    yield "#### Training Hyperparameters"
    settings = reading.value("tuning.settings") or {}
    rows = [[f"`{name}`", value] for name, value in sorted(settings.items())]
    regime = f"{reading.value('model.method')}, {reading.value('model.objective')}, as set below"
    yield "\n".join([f"- **Training regime:** {regime}", "", *table(["setting", "value"], rows)])
    yield "#### Speeds, Sizes, Times [optional]"
    yield (
        f"{reading.value('model.num_steps')} steps, "
        f"{reading.value('model.num_trained_tokens'):,} tokens, of which "
        f"{reading.value('model.num_labelled_tokens'):,} count in the loss, which went from "
        f"{reading.value('model.first_loss'):.3f} to {reading.value('model.last_loss'):.3f}. "
        + " ".join(_said(reading, "tuning.usage"))
    )


def _said(reading: Reading, key: str) -> list[str]:
    facts = reading.facts(Need(what="", keys=(key,)))
    return said(facts[0]) if facts else [NEEDED]


def _evaluation(reading: Reading) -> Iterator[str]:
    yield "## Evaluation"
    yield "### Testing Data, Factors & Metrics"
    yield "#### Testing Data"
    test = reading.value("dataset.test")
    yield (
        f"{test['num_rows']} rows, held out of {reading.value('dataset.ref')}." if test else NEEDED
    )
    yield "#### Factors"
    yield _stated(reading, "fairness")
    yield "#### Metrics"
    yield f"{', '.join(_metrics(reading)) or NEEDED}. {_stated(reading, 'metrics_rationale')}"
    yield "### Results"
    yield f"- this model: {_said(reading, 'evaluation.tuned')[0]}\n" + (
        f"- base model: {_said(reading, 'evaluation.base')[0]}"
    )
    found = reading.value("gate.comparisons")
    if found:
        yield "\n".join(comparisons(found)[1:])
    yield "#### Summary"
    judged = reading.value("gate.reports")
    yield (
        f"Gate {judged[-1]['gate']}: {judged[-1]['verdict']} ({judged[-1]['at']}, run "
        f"{judged[-1]['run']})."
        if judged
        else NEEDED
    )
    yield "\n".join(f"- {headline(each)}" for each in results(reading)) or (
        f"What it does beyond its task: {NEEDED}"
    )
    yield "## Model Examination [optional]"
    yield "\n".join(_said(reading, "tuning.certificate"))
    if found := results(reading):
        yield "\n".join(checks_said(found)[1:])


def _environment(reading: Reading) -> Iterator[str]:
    yield "## Environmental Impact"
    found, energy = emissions_of(reading), energy_of(reading)
    usage = reading.value("tuning.usage") or {}
    emitted = f"{found.grams:.3g} g of CO2 equivalent" if found else NEEDED
    yield "\n".join(
        [
            f"- **Hardware Type:** {_stated(reading, 'hardware_used')}",
            f"- **Hours used:** {usage['wall_s'] / 3600:.4g}" if usage else "- **Hours used:**",
            f"- **Energy:** {energy.kwh:.3g} kWh ({usage['joules_method']})" if energy else "",
            f"- **Compute Region:** {_stated(reading, 'electricity_region')}",
            f"- **Carbon Emitted:** {emitted}",
        ]
    )


def _specifications(reading: Reading) -> Iterator[str]:
    yield "## Technical Specifications [optional]"
    yield "### Model Architecture and Objective"
    yield (
        f"{reading.value('model.num_parameters'):,} parameters, of which "
        f"{reading.value('model.num_trainable'):,} were tuned; objective "
        f"{reading.value('model.objective')}, method {reading.value('model.method')}."
    )
    yield "### Compute Infrastructure"
    yield "#### Hardware"
    yield _stated(reading, "hardware")
    yield "#### Software"
    software = reading.value("tuning.software") or {}
    yield ", ".join(f"{name} {version}" for name, version in sorted(software.items())) or NEEDED


def _rest(reading: Reading) -> Iterator[str]:
    yield "## Citation [optional]"
    yield NEEDED
    yield "## Glossary [optional]"
    yield NEEDED
    yield "## More Information [optional]"
    asked = reading.value("licences.obligations") or {}
    if asked:
        yield "Whoever passes the model on has to look at what the licences ask for:"
        yield "\n".join(f"- {what} ({', '.join(who)})" for what, who in asked.items())
    if unclear := reading.value("licences.unclear"):
        yield f"What these ask for is not known here, and to be read: {', '.join(unclear)}."
    newest = max((each.at for each in reading.base.facts.values()), default="")
    yield (
        f"Compiled from the facts of {reading.base.version} in its store, the newest of which is "
        f"of {newest}; the fact base has the sha256 {reading.base.digest}. What is marked as "
        "declared is its provider's word."
    )
    yield "## Model Card Authors [optional]"
    yield _stated(reading, "provider")
    yield "## Model Card Contact"
    yield _stated(reading, "contact")
