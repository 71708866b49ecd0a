"""The gate before the freeze: whether rows may be used under the licences of their sources."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.core.errors import DataError
from tunesmith.records.data import DataAsset
from tunesmith.records.licence import LicenceStatements, Statement
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.text.licences import NOT_STATED, disallowed, doubts, licence_of, restrictions, stated

_SHOWN = 3
_ALLOWED = (
    "leave the source out of `sources`; or add the licence to `licences`, if whoever answers for "
    "that agrees"
)
_DECIDE = (
    "whoever answers for licences decides: leave the source out of `sources`; or write down who "
    'decided, when and why, as `licence_cleared = {{ {name} = "WHO, WHEN: WHY" }}` of dataset.{of};'
    " it is on the card. `tunesmith data show {name}` shows the sentences"
)


def require_licences(
    config: DatasetConfig, assets: Sequence[DataAsset], found: Sequence[LicenceStatements]
) -> None:
    """Refuse sources whose licence is not allowed, or doubtful, and that nobody cleared.

    `found` is what packages and files say of the licences of all that the assets are read from.

    Raises:
        DataError: there is such a source; the message says where what is doubtful stands.
    """
    said = {each.name: each for each in found}
    for asset in assets:
        own = said.get(asset.name) or LicenceStatements(
            name=asset.name, declared=asset.licence, statements=(), num_files=0
        )
        _require_allowed(config, own)
    for each in found:
        if each.name not in config.licence_cleared and (why := doubts(each)):
            raise DataError(
                f"dataset {config.name!r} may not use source {each.name!r}: its licence, "
                f"{each.declared}, is doubtful: {_listed(why)}",
                remedy=_DECIDE.format(name=each.name, of=config.name),
            )


def cleared_section(config: DatasetConfig, found: Sequence[LicenceStatements]) -> str:
    """What the card says of sources that somebody cleared."""
    said = {each.name: doubts(each) for each in found}
    lines = [
        f"- {name}: {' '.join(who.split())}"
        + (f"\n  It was doubtful: {_listed(said[name])}." if said.get(name) else "")
        for name, who in config.licence_cleared.items()
    ]
    return "\n".join(["## Licences that somebody decided about", "", *lines])


def _require_allowed(config: DatasetConfig, found: LicenceStatements) -> None:
    if config.licences:
        wrong = disallowed(found.declared, config.licences)
        where = " and ".join(dict.fromkeys(each.file for each in found.statements if each.says))
        if wrong and found.declared == NOT_STATED:
            hint = f"; {', '.join(stated(found))} is named in {where}" if stated(found) else ""
            raise DataError(
                f"dataset {config.name!r} may not use source {found.name!r}: it states no licence"
                f"{hint}",
                remedy=f"find out which it has, and say so: `licence` of source.{found.name}",
            )
        if wrong:
            raise DataError(
                f"dataset {config.name!r} may not use source {found.name!r}: its licence is "
                f"{found.declared}, and {', '.join(wrong)} is not among the allowed "
                f"{', '.join(config.licences)}",
                remedy=_ALLOWED,
            )
        return
    for licence in stated(found):
        if disallowed(licence, ()) and found.name not in config.licence_cleared:
            words = " and ".join(map(repr, restrictions(licence)))
            why = (
                f"none that is known, and says {words}: it is doubtful"
                if words
                else licence_of(licence).family
            )
            raise DataError(
                f"dataset {config.name!r} may not use source {found.name!r}: its licence is "
                f"{licence}, which is {why}",
                remedy=f"{_ALLOWED}; or " + _DECIDE.format(name=found.name, of=config.name),
            )


def _listed(why: Sequence[Statement]) -> str:
    shown = [f"{each.says} ({each.file}, line {each.line})" for each in why[:_SHOWN]]
    more = f", and {len(why) - _SHOWN} more" if len(why) > _SHOWN else ""
    return f"{', '.join(shown)}{more}"
