"""Exports of the evidence whose head has to be signed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tunesmith.core.audit import Checked
from tunesmith.signing.checkpoint import Checkpoint, signed_with


def signed(checked: Checked, public_key: Path) -> tuple[Checked, Checkpoint | None]:
    """What was found of a file, with what is wrong with its checkpoints; and that of its header, if
    it is signed with the key and of the whole file.

    Raises:
        SignatureError: the key cannot be read.
        MissingExtra: signatures cannot be looked at here.
    """
    wrong = [each for each in signed_with(checked.claims, public_key) if isinstance(each, str)]
    sealed = [checked.sealed] if checked.sealed is not None else []
    found = next(iter(signed_with(sealed, public_key)), None)
    if isinstance(found, str):
        wrong.append(found)
    elif found is None:
        wrong.append(f"the header has no checkpoint that is signed with the key of {public_key}")
    elif str(found) != checked.head:
        wrong.append(f"it ends with {checked.head}, and {found} is what was signed")
    seal = found if isinstance(found, Checkpoint) and not wrong else None
    return replace(checked, problems=(*checked.problems, *dict.fromkeys(wrong))), seal
