"""Personal data in rows: counted, masked, replaced by keyed pseudonyms, or a reason to stop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.core.canonical import parse, plain
from tunesmith.core.errors import DataError
from tunesmith.core.ref import from_plain
from tunesmith.records.rows import Content, Tagged
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.curate.content import NotInFormat, problem
from tunesmith.stages.curate.pseudonym_key import key_id, read_key
from tunesmith.stages.curate.rows import Row
from tunesmith.text.names import require, with_names
from tunesmith.text.pii import Finding, find_pii, mask, pseudonym, replace_pii

_NOT_SAID = frozenset({"label", "tags"})
"""Fields of a row that are answers of a closed set, not texts."""
_NUM_EXAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """What is done about personal data."""

    find: Callable[[str], tuple[Finding, ...]]
    name: Callable[[Finding], str] | None
    """What a finding is replaced by; None to leave it."""


def privacy_of(config: DatasetConfig, project: Path | None) -> Privacy:
    """What `config` wants done.

    Raises:
        DataError: the key cannot be used.
        MissingExtra: names are asked for, and the extra `pii` is not installed.
    """
    if config.pii_names:
        require()
    key = read_key(config, project or Path()) if config.pii == "pseudonymise" else b""
    if config.pii_key_id and key_id(key) != config.pii_key_id:
        raise DataError(
            f"dataset {config.name!r}: the key in {config.pii_key_file} is another one "
            f"({key_id(key)}, not {config.pii_key_id})",
            remedy="use the key that the dataset was made with, or run again if the file was "
            "changed just now; another key makes other pseudonyms",
        )
    return privacy_by(config, key)


def privacy_by(config: DatasetConfig, key: bytes) -> Privacy:
    """The same, with pseudonyms made by `key`; those of every key are as long."""

    def find(text: str) -> tuple[Finding, ...]:
        found = find_pii(text, config.pii_regions)
        return with_names(text, found, config.pii_names) if config.pii_names else found

    names: Mapping[str, Callable[[Finding], str]] = {
        "mask": mask,
        "pseudonymise": lambda finding: pseudonym(finding, key),
    }
    return Privacy(find=find, name=names.get(config.pii))


def treated(content: Content, privacy: Privacy) -> tuple[Content, tuple[str, ...]]:
    """The row with what was found replaced, and the kind of each finding.

    Raises:
        NotInFormat: without what was replaced it is no row any more.
    """
    if privacy.name is None:
        return content, ()
    kinds: list[str] = []
    name = privacy.name

    def said(text: str) -> str:
        found = privacy.find(text)
        kinds.extend(each.kind for each in found)
        return replace_pii(text, found, name)

    if isinstance(content, Tagged):
        changed: Content = _retagged(content, privacy, kinds)
    else:
        changed = from_plain(type(content), _row_mapped(plain(content), said))
    if kinds and (wrong := problem(changed)):
        raise NotInFormat(f"with personal data replaced, {wrong}")
    return changed, tuple(kinds)


def found_in(row: Row, privacy: Privacy) -> tuple[str, ...]:
    """The kind of each finding in a row: of what was replaced, or of what still stands there."""
    if privacy.name is not None:
        return row.pii
    value = parse(row.content.encode())
    if isinstance(value.get("tokens"), list):
        texts: Iterable[str] = [" ".join(value["tokens"])]
    else:
        texts = texts_of(value)
    return tuple(each.kind for text in texts for each in privacy.find(text))


def counts(config: DatasetConfig, rows: Sequence[Row], privacy: Privacy) -> Mapping[str, int]:
    """By kind, how often it was found in the rows of a dataset.

    Raises:
        DataError: there is any, and `config` refuses it; the message names rows, not values.
    """
    if config.pii == "off":
        return {}
    found = [found_in(row, privacy) for row in rows]
    by_kind = Counter(kind for kinds in found for kind in kinds)
    if by_kind and config.pii == "refuse":
        holding = [row.pointer for row, kinds in zip(rows, found, strict=True) if kinds]
        said = ", ".join(f"{count} {kind}" for kind, count in sorted(by_kind.items()))
        others = f" and {len(holding) - _NUM_EXAMPLES} more" if len(holding) > _NUM_EXAMPLES else ""
        raise DataError(
            f"dataset {config.name!r} has personal data in {len(holding)} rows ({said}): "
            f"{', '.join(sorted(holding)[:_NUM_EXAMPLES])}{others}",
            remedy='take them out of the source, or set pii = "mask" or "pseudonymise"',
        )
    return dict(sorted(by_kind.items()))


def _mapped(value: Any, said: Callable[[str], str]) -> Any:
    """JSON with every text mapped, and a number that is one of somebody's made a text."""
    if isinstance(value, str):
        return said(value)
    if isinstance(value, int) and not isinstance(value, bool):
        digits = str(value)
        changed = said(digits)
        return value if changed == digits else changed
    if isinstance(value, Mapping):
        return {name: _mapped(each, said) for name, each in value.items()}
    if isinstance(value, list):
        return [_mapped(each, said) for each in value]
    return value


def _row_mapped(row: Mapping[str, Any], said: Callable[[str], str]) -> dict[str, Any]:
    """A row's JSON with all that it says mapped."""
    return {
        name: value if name in _NOT_SAID else _mapped(value, said) for name, value in row.items()
    }


def texts_of(row: Mapping[str, Any]) -> list[str]:
    """All that a row's JSON says, one by one."""
    said: list[str] = []

    def keep(text: str) -> str:
        said.append(text)
        return text

    _row_mapped(row, keep)
    return said


def _retagged(content: Tagged, privacy: Privacy, kinds: list[str]) -> Tagged:
    """Words with their parts of a finding replaced; there are as many as before."""
    assert privacy.name is not None
    tokens, at = [], 0
    found = privacy.find(" ".join(content.tokens))
    kinds.extend(each.kind for each in found)
    for token in content.tokens:
        inside = [
            Finding(
                kind=each.kind,
                start=max(each.start - at, 0),
                end=min(each.end - at, len(token)),
                canonical=each.canonical,
            )
            for each in found
            if each.start < at + len(token) and at < each.end
        ]
        tokens.append(replace_pii(token, inside, privacy.name))
        at += len(token) + 1
    return Tagged(tokens=tuple(tokens), tags=content.tags)
