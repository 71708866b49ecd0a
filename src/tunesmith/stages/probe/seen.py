"""Which rows a model was tuned on."""

from __future__ import annotations

import json

from tunesmith.core.blobs import Blobs
from tunesmith.records.model import ModelVersion


def seen_by(model: ModelVersion, blobs: Blobs) -> set[str]:
    """The ids of the rows that `model` was tuned on, from its own log of steps."""
    seen: set[str] = set()
    for line in blobs.get(model.curve).splitlines():
        seen.update(json.loads(line)["row_ids"])
    return seen
