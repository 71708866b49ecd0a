"""What every section of the project file is: frozen, closed, keyword-only."""

from __future__ import annotations

import pydantic


class Section(pydantic.BaseModel):
    """Base of the configuration models; each lives beside the code that it drives."""

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=()
    )
