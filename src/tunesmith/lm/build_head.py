"""A transformers model that says something of the states of a text: its class, its tags, a number
or a vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import transformers

from tunesmith.core.errors import DataError
from tunesmith.lm.attention import reads_both_ways
from tunesmith.lm.build import build_encoder, drawn_from, empty, filled
from tunesmith.lm.heads import head_modules
from tunesmith.records.model import Task

KINDS = {
    "classify": transformers.AutoModelForSequenceClassification,
    "reward": transformers.AutoModelForSequenceClassification,
    "rerank": transformers.AutoModelForSequenceClassification,
    "tag": transformers.AutoModelForTokenClassification,
    "embed": transformers.AutoModel,
}
ON_DECODERS = ("classify", "reward")
"""Tasks for which the state of the last token is enough."""


def build_head(
    config: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor] | None,
    task: Task,
    labels: Sequence[str],
    seed: int,
) -> Any:
    """transformers' class for `task` with `tensors` as its weights, in float32 and in evaluation
    mode, without dropout; no parameter needs a gradient.

    What `tensors` lack of the head is drawn from `seed`, as transformers draws it for training; so
    is a last layer that tells other classes apart than `labels`. Without `tensors` all is drawn. Of
    a decoder the last token's state is read, wherever it stands and whatever it is.

    Raises:
        DataError: the architecture is not known or cannot do the task, or a tensor is missing or
            misshapen.
    """
    names = list(labels) if task in ("classify", "tag") else ["LABEL_0"]
    settings = _settings(config, names)
    what = f"model to {task}"
    with drawn_from(seed):
        model = empty(settings, KINDS[task], what, drawn=True)
    if task not in ON_DECODERS and not reads_both_ways(model.config):
        raise DataError(
            f"{model.config.model_type!r} models read one way only, so a state does not know what "
            f"follows: they cannot {task}",
            remedy="use an encoder as the base model, such as BERT, MiniLM or ModernBERT",
        )
    if hasattr(model, "score"):
        # By it transformers looks for the last token, and would take one too early where the end
        # of a turn is also the padding.
        model.config.pad_token_id = None
    if task == "embed":
        model.pooler = None
        if tensors is not None:
            return build_encoder(settings, tensors)
    if tensors is None:
        return model.eval().requires_grad_(False)
    known = _known(model, tensors)
    if _names(config) != names:
        known = {name: t for name, t in known.items() if name.split(".")[0] not in _LAST}
    heads = tuple(f"{name}." for name in head_modules(model))
    lacking = {name for name in model.state_dict() if name.startswith(heads) and name not in known}
    return filled(model, known, optional=lacking)


_LAST = ("classifier", "score")
"""What transformers calls the layer that tells classes apart."""


def _settings(config: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """`config` without dropout, for outputs of those names."""
    plain = {key: 0.0 if "dropout" in key else value for key, value in config.items()}
    plain.pop("num_labels", None)
    return plain | {
        "classifier_dropout": 0.0,
        "id2label": dict(enumerate(names)),
        "label2id": {name: number for number, name in enumerate(names)},
    }


def _names(config: Mapping[str, Any]) -> list[str]:
    """The names of the outputs of a model as it was saved."""
    given = config.get("id2label") or {}
    return [str(given[key]) for key in sorted(given, key=int)]


def _known(model: Any, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Those of `tensors` that `model` has a place for, whatever head they were saved with."""
    wanted = model.state_dict().keys()
    prefix = f"{model.base_model_prefix}."
    known = {name: tensor for name, tensor in tensors.items() if name in wanted}
    inside = {f"{prefix}{name}": tensor for name, tensor in tensors.items()}
    return {name: t for name, t in inside.items() if name in wanted} | known
