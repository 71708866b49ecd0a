"""Settings of the audit of tuned weights. It has none but the model's name: what is suspicious was
measured on honest runs, and is no matter of taste."""

from __future__ import annotations

from pydantic import Field

from tunesmith.core.section import Section


class AuditConfig(Section):
    """What is audited."""

    name: str
    """Name of the model."""
    num_triggers: int = Field(default=24, ge=8)
    """Texts that are put before the prompts."""
    num_prompts: int = Field(default=4, ge=1)
    """Prompts, of the test rows."""
