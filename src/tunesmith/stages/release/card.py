"""The model card: Markdown, with the metadata block that model hubs read.

Everything on it was recorded by an earlier step; what was not recorded is not on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from tunesmith.records.data import Dataset
from tunesmith.records.evaluation import Comparison, GateResult
from tunesmith.records.model import TASKS, ModelVersion
from tunesmith.text.licences import MEANINGS, obligations, unclear

NUM_DIGITS = 12
"""Of a digest, as shown to people."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """What a method of tuning leaves, in the words of people and of the metadata."""

    what: str
    part: str
    relation: str
    library: str


_ADAPTER = {"part": "adapter", "relation": "adapter", "library": "peft"}
_WEIGHTS = {"part": "tuned weights", "relation": "finetune", "library": "transformers"}
FORMS = {
    "lora": Form(what="An adapter (LoRA)", **_ADAPTER),
    "dora": Form(what="An adapter (DoRA)", **_ADAPTER),
    "full": Form(what="Weights, tuned as a whole,", **_WEIGHTS),
    "head": Form(what="An output head, tuned alone,", **_WEIGHTS),
}
"""By method."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Does:
    """What a model of an objective does, in the words of people and of the metadata."""

    what: str
    pipeline: str
    tag: str


_ANSWERS = {"pipeline": "text-generation", "tag": "conversational"}
NAMES_LABELS = Does(
    what="names the label of a text", pipeline="text-generation", tag="text-classification"
)
"""What a model does that learnt to answer with labels."""
DOES = {
    "sft": Does(what="answers as the dataset does", **_ANSWERS),
    "cpt": Does(
        what="goes on with texts like the dataset's", pipeline="text-generation", tag="text"
    ),
    "distil": Does(what="answers as its teacher does", **_ANSWERS),
    "grpo": Does(what="answers as rules reward it", **_ANSWERS),
    "kto": Does(what="answers as was liked", **_ANSWERS),
    **{
        name: Does(what="answers as was preferred", **_ANSWERS)
        for name in ("dpo", "ipo", "orpo", "simpo")
    },
    "classify": Does(
        what="names the class of a text", pipeline="text-classification", tag="text-classification"
    ),
    "tag": Does(
        what="tags the words of a text", pipeline="token-classification", tag="token-classification"
    ),
    "reward": Does(
        what="says how good an answer is", pipeline="text-classification", tag="reward-model"
    ),
    "rerank": Does(
        what="says how well a passage answers a query", pipeline="text-ranking", tag="reranker"
    ),
    "embed": Does(
        what="gives alike texts alike vectors",
        pipeline="sentence-similarity",
        tag="feature-extraction",
    ),
}
"""By objective, where it does not answer with labels."""


def does(model: ModelVersion, dataset: Dataset) -> Does:
    """What `model` does."""
    by_labels = model.objective in ("sft", "distil") and dataset.format == "labels"
    return NAMES_LABELS if by_labels else DOES[model.objective]


def model_card(
    name: str, model: ModelVersion, dataset: Dataset, gate: GateResult, beyond: str = ""
) -> str:
    """The card of `model`, released as `name`; `beyond` is its section on what is beyond its
    task."""
    block = yaml.safe_dump(
        metadata(name, model, dataset, gate), sort_keys=False, allow_unicode=True
    )
    sections = (
        _summary(name, model, dataset),
        _use(model, dataset),
        _tuning(model, dataset),
        _results(dataset, gate),
        *([beyond] if beyond else []),
        _licences(model, dataset),
    )
    body = "\n\n".join(sections)
    return f"---\n{block}---\n\n{body}\n"


def metadata(name: str, model: ModelVersion, dataset: Dataset, gate: GateResult) -> dict[str, Any]:
    """The metadata block, with the keys of the Hugging Face model card format.

    The licence is that of the base model, without which what was tuned is of no use.
    """
    form = FORMS[model.method]
    results = [_result(model, dataset, gate)] if gate.comparisons else []
    return {
        "license": model.base.licence.lower(),
        "base_model": model.base.name,
        "base_model_relation": form.relation,
        "library_name": form.library,
        "pipeline_tag": does(model, dataset).pipeline,
        "tags": [model.method, does(model, dataset).tag, "tunesmith"],
        "datasets": [dataset.name],
        "metrics": sorted({comparison.metric for comparison in gate.comparisons}),
        "model-index": [{"name": name, "results": results}],
    }


def _result(model: ModelVersion, dataset: Dataset, gate: GateResult) -> dict[str, Any]:
    return {
        "task": {"type": does(model, dataset).tag, "name": dataset.instruction or dataset.name},
        "dataset": {"name": dataset.name, "type": dataset.name, "split": "test"},
        "metrics": [
            {
                "type": comparison.metric,
                "name": comparison.metric,
                "value": round(comparison.tuned, 6),
            }
            for comparison in _with_base(gate)
        ],
    }


def _with_base(gate: GateResult) -> list[Comparison]:
    """The comparisons with the base model, one of each metric."""
    of_base = [each for each in gate.comparisons if each.versus == "base" and each.is_of_all]
    return list({each.metric: each for each in reversed(of_base)}.values())[::-1]


def _summary(name: str, model: ModelVersion, dataset: Dataset) -> str:
    form = FORMS[model.method]
    labels = f", {len(dataset.labels)} labels" if dataset.labels else ""
    return f"""# {name}

{form.what} of {model.base.name} ({model.base.origin}) that
{does(model, dataset).what} (objective {model.objective}).
{model.num_trainable:,} parameters were tuned beside {model.num_parameters:,} of the base model.

- {form.part}: sha256 {model.adapter.sha256[:NUM_DIGITS]}
- base model: sha256 {model.base.weights.sha256[:NUM_DIGITS]}
- dataset: {dataset.name}{labels}, {dataset.train.num_rows} rows to tune on,
  {dataset.test.num_rows} to test"""


def _use(model: ModelVersion, dataset: Dataset) -> str:
    if does(model, dataset) is not NAMES_LABELS:
        said = f'Conversations start with the system message "{model.instruction}". '
        kinds = f"It knows: {', '.join(model.labels)}." if model.labels else ""
        return f"""## Use

{said if model.instruction and model.objective not in TASKS else ""}It is for texts like those of
dataset {dataset.name}, in which one row is of the format "{dataset.format}". {kinds}"""
    labels = "\n".join(f"- {label}" for label in model.labels)
    return f"""## Use

Every conversation starts with the system message "{model.instruction}"; the user's message is the
text, normalised as the dataset's texts are. Under that message and at temperature 0 the service
answers with the likeliest of these {len(model.labels)} labels, as in the evaluation below, for
texts of other kinds too:

{labels}

Under another system message, at a higher temperature, or served by other software, the model may
answer with anything."""


def _tuning(model: ModelVersion, dataset: Dataset) -> str:
    tokens = " ".join(f"`{token}`" for token in model.new_tokens)
    new = f" Its vocabulary has new tokens: {tokens}." if tokens else ""
    return f"""## Tuning

On the {dataset.train.num_rows} rows of the train split of {dataset.name}: {model.num_steps} steps,
{model.num_trained_tokens:,} tokens, of which {model.num_labelled_tokens:,} were answers. The mean
loss went from {model.first_loss:.3f} to {model.last_loss:.3f}.{new}"""


def _way(comparison: Comparison) -> str:
    return " (lower is better)" if comparison.lower_is_better else ""


def _results(dataset: Dataset, gate: GateResult) -> str:
    head = "| metric | base model | this model | difference | interval | rows |"
    rows = [
        f"| {each.metric}{_way(each)} | {each.base:.3f} | {each.tuned:.3f} "
        f"| {each.difference:+.3f} "
        f"| {each.low:+.3f} to {each.high:+.3f} ({each.confidence:.0%}) | {each.num_rows} |"
        for each in _with_base(gate)
    ]
    limits = [
        f"On {each.metric}, {each.num_rows} rows can be expected to show a difference of "
        f"{each.detectable:.3f} or more."
        for each in _with_base(gate)
    ]
    limits += [
        f"Beside {each.versus}, on {each.num_rows} {each.rows_said}, {each.metric}{_way(each)} "
        "differs by "
        f"{each.difference:+.3f} ({each.low:+.3f} to {each.high:+.3f})."
        for each in gate.comparisons
        if each.versus != "base" or not each.is_of_all
    ]
    says = {"pass": "met", "fail": "not met", "inconclusive": "not decided"}
    rules = [
        f"- {says[rule.said]}: {rule.rule}: {rule.observed}, required {rule.required}"
        for rule in gate.rules
    ]
    table = "\n".join([head, "|---|---|---|---|---|---|", *rows, "", *limits])
    return f"""## Results

On the {dataset.test.num_rows} rows of the test split of {dataset.name}, which shares with the train
split no near-duplicate as the dataset's card measures it.

{table}

Gate {gate.gate}: {gate.verdict}.

""" + "\n".join(rules + _opinions(gate))


def _opinions(gate: GateResult) -> list[str]:
    """What models that judge held of the answers, apart from what was measured."""
    if not gate.win_rates:
        return []
    lines = [f"- {said}" for each in gate.win_rates for said in each.said()]
    return [
        "",
        "### Judged by a model",
        "",
        "What follows was not measured: another model said which of two answers is better.",
        "",
        *lines,
    ]


def _licences(model: ModelVersion, dataset: Dataset) -> str:
    data = ", ".join(dataset.licences) or "not recorded"
    every = (model.base.licence, *dataset.licences)
    asked = [f"- {MEANINGS[name]} ({', '.join(who)})" for name, who in obligations(every).items()]
    if unknown := unclear(every):
        asked.append(f"- not known here, and to be read: what {', '.join(unknown)} asks for")
    return f"""## Licences

- base model: {model.base.licence}
- data: {data}

Whoever passes the model on has to look at what these ask for; whether a model is derived from its
data is for counsel to say:

""" + "\n".join(asked or ["- nothing"])
