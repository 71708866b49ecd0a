"""What a repair makes of the fields of a record, or of a row that was made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tunesmith.records.repair import Repair


def repaired(fields: Mapping[str, Any], repair: Repair) -> dict[str, Any]:
    """The fields with a repair's changes; those that were there keep their order."""
    made = dict(fields)
    for change in repair.changes:
        if change.after is None:
            made.pop(change.field, None)
        else:
            made[change.field] = json.loads(change.after)
    return made
