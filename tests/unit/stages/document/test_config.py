"""What people state of a model."""

from __future__ import annotations

import locale

import pytest

from tunesmith.core import settings
from tunesmith.core.errors import ConfigError
from tunesmith.stages.document.config import LANGUAGES, DocumentConfig
from tunesmith.text.language import known_languages


@pytest.mark.parametrize("code", ["english", "xx", "EN", "eng", "", "e n"])
def test_a_language_is_one_of_iso_639(code: str) -> None:
    """Another becomes the metadata of a card that others search."""
    with pytest.raises(ConfigError, match=r"^languages\.1: it must be a code of two letters"):
        settings.validate(DocumentConfig, {"model": "m", "languages": ["en", code]})


def test_the_codes_are_those_that_others_know() -> None:
    assert len(LANGUAGES) == 183
    assert {code for code in known_languages() if len(code) == 2} <= LANGUAGES
    theirs = {name.partition("_")[0] for name in locale.locale_alias.values()}
    withdrawn, of_x11 = {"bh", "in", "iw", "ji", "mo", "sh"}, {"pd", "ph", "pp"}
    assert {code for code in theirs if len(code) == 2} - withdrawn - of_x11 <= LANGUAGES
    assert settings.validate(
        DocumentConfig, {"model": "m", "languages": [" de ", *sorted(LANGUAGES)]}
    ).languages == ("de", *sorted(LANGUAGES))
