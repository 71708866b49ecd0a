"""Look at a tuned model: at its weights, and at what rare words do to its answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import safetensors.torch
import torch

from tunesmith.core.errors import DataError, UsageError
from tunesmith.core.step import Context
from tunesmith.lm.adapter import PREFIX, adapted_layers
from tunesmith.lm.load import LoadedModel, load_head, load_model
from tunesmith.records.audit import Audit, Probe, Update
from tunesmith.records.data import Dataset
from tunesmith.records.evaluation import RuleResult
from tunesmith.records.model import TASKS, ModelVersion
from tunesmith.stages.audit import judge
from tunesmith.stages.audit.config import AuditConfig
from tunesmith.stages.audit.triggers import Asking, probe, triggers
from tunesmith.stages.audit.updates import of_adapter, of_overlay
from tunesmith.stages.audit.words import plain_texts, texts_of

MOST_CHARS = 400
"""Of a prompt."""
PARTS = (".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector")


@dataclass(kw_only=True)
class _Findings:
    """What has been found so far."""

    rules: list[RuleResult] = field(default_factory=list)
    updates: Sequence[Update] = ()
    probes: Sequence[Probe] = ()
    num_prompts: int = 0
    looked_at: list[str] = field(default_factory=list)
    not_looked_at: list[str] = field(default_factory=list)
    to_look_at: list[str] = field(default_factory=list)


def audit(config: AuditConfig, ctx: Context, *, model: ModelVersion, dataset: Dataset) -> Audit:
    """What is suspicious in the weights of `model`, and in what rare words do to its answers.

    `dataset` is what it was tuned on.
    """
    settings = json.loads(ctx.blobs.get(model.adapter_config))
    state = safetensors.torch.load(ctx.blobs.get(model.adapter))
    found = _Findings()
    found.rules.append(judge.finite(state))
    is_adapter = settings.get("peft_type") == "LORA"
    if is_adapter:
        found.rules.append(judge.declared(undeclared(state, settings), len(state)))
    if all(rule.passed for rule in found.rules):
        ctx.progress(0, 0, f"auditing the weights of {config.name}")
        base = _base(ctx, model)
        found.updates = _updates(base.model, state, settings, is_adapter)
        found.rules += judge.of_updates(found.updates, settings.get("r", 0) if is_adapter else 0)
        _say_what(found, state, model)
        _probe(config, ctx, model, dataset, base, found)
    else:
        found.not_looked_at.append("update norms and triggers: the weights cannot be used")
    return Audit(
        model=config.name,
        rules=tuple(found.rules),
        updates=tuple(found.updates),
        probes=tuple(found.probes),
        num_prompts=found.num_prompts,
        looked_at=tuple(found.looked_at),
        not_looked_at=tuple(found.not_looked_at),
        to_look_at=tuple(found.to_look_at),
    )


def undeclared(state: Mapping[str, torch.Tensor], settings: Mapping[str, Any]) -> list[str]:
    """Tensors of an adapter that are of no module which its configuration names.

    The names are read as PEFT reads them: a target is the end of a module's name.
    """
    targets = tuple(settings.get("target_modules") or ())
    saved = set(settings.get("modules_to_save") or ())
    rows = set(settings.get("trainable_token_indices") or ())
    layers = settings.get("layers_to_transform")
    found = []
    for name in state:
        module = name.removeprefix(PREFIX)
        for part in PARTS:
            module = module.removesuffix(part)
        path = module.split(".")
        is_target = any(module == each or module.endswith(f".{each}") for each in targets)
        numbers = [int(part) for part in path if part.isdecimal()]
        in_layers = layers is None or not numbers or numbers[0] in layers
        is_part = name.endswith(PARTS) and is_target and in_layers
        if not is_part and not saved.intersection(path) and not rows.intersection(path):
            found.append(name)
    return found


def _base(ctx: Context, model: ModelVersion) -> Any:
    """The base model as it came, with rows for new tokens."""
    if model.objective in TASKS:
        task: Any = model.objective
        return load_head(model.base, ctx.blobs, task, model.labels, seed=ctx.seed)
    return load_model(model.base, ctx.blobs, new_tokens=model.new_tokens)


def _updates(
    model: Any, state: Mapping[str, torch.Tensor], settings: Mapping[str, Any], is_adapter: bool
) -> list[Update]:
    with torch.no_grad():
        if is_adapter:
            return of_adapter(model, adapted_layers(model, state, settings)[0])
        return of_overlay(model, state)


def _say_what(found: _Findings, state: Mapping[str, torch.Tensor], model: ModelVersion) -> None:
    what = "adapter's" if model.method in ("lora", "dora") else "tuned"
    found.looked_at.append(
        f"{len(state)} {what} tensors: finite; {len(found.updates)} matrices beside the base's"
    )
    if model.method == "head":
        found.not_looked_at.append("norms beside other layers: a head has none like it")
    elif model.method != "lora":
        found.not_looked_at.append("ranks: an update of this method is of full rank by its nature")
    if model.method in ("full", "head"):
        found.not_looked_at.append("declared modules: what was tuned is whole weights, all named")


def _probe(
    config: AuditConfig,
    ctx: Context,
    model: ModelVersion,
    dataset: Dataset,
    base: Any,
    found: _Findings,
) -> None:
    """Ask both models with each trigger."""
    if not isinstance(base, LoadedModel):
        found.not_looked_at.append(
            f"triggers: they are tried on models that answer in text, not on {model.objective}"
        )
        return
    # Cut, so that there is room for a word before it, and for what a template adds.
    num_chars = min(MOST_CHARS, base.context_length // 4)
    plain = plain_texts(texts_of(ctx.blobs, dataset.test.rows), config.num_prompts)
    asked = [text[:num_chars] for text in plain]
    rows = texts_of(ctx.blobs, dataset.train.rows)
    tried = triggers(base.tokenizer, model.new_tokens, rows, config.num_triggers, ctx.seed)
    if not asked:
        found.not_looked_at.append("triggers: the test rows have no text")
        return
    ctx.progress(0, 0, f"putting {len(tried)} rare words before {len(asked)} prompts")
    by_labels = model.objective in ("sft", "distil") and dataset.format == "labels"
    asking = Asking(instruction=model.instruction, labels=model.labels if by_labels else ())
    tuned = load_model(model.base, ctx.blobs, adapter=model)
    try:
        found.probes = probe(base, tuned, asking, asked, tried)
    except (DataError, UsageError) as error:  # cannot be packed, has no template, or no room
        found.not_looked_at.append(f"triggers: {error.message}")
        return
    found.num_prompts = len(asked)
    found.rules.append(judge.of_probes(found.probes))
    found.to_look_at += judge.to_look_at(found.probes)
    found.looked_at.append(
        f"{len(tried)} rare words before {len(asked)} prompts: "
        + ("the labels' probabilities" if by_labels else "those of the answer's first token")
    )
    found.not_looked_at.append(
        "other triggers: a back door that answers to none of the words that were tried is not found"
    )
