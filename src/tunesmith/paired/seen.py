"""Which rows a model was tuned on: what it knows tells nothing of how good it is."""

from __future__ import annotations

import json

from tunesmith.core.blobs import Blobs
from tunesmith.records.model import ModelVersion


def trained_on(blobs: Blobs, model: ModelVersion) -> set[str]:
    """The ids of the rows that `model` was tuned on, from its own log of steps."""
    seen: set[str] = set()
    for line in blobs.get(model.curve).splitlines():
        seen.update(json.loads(line)["row_ids"])
    return seen
