"""Settings of a model's documents: the `[document.NAME]` sections of the project file.

A field that is filled becomes a statement of the people who look after the project file: documents
mark it as declared. Empty means that nobody said it, and documents name it as missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, field_validator

from tunesmith.core.errors import ConfigError
from tunesmith.core.section import Section
from tunesmith.records.document import DocumentKind

Source = Literal[
    "coal", "oil", "natural-gas", "nuclear", "wind", "solar", "geothermal", "hydropower",
    "biofuel", "unknown", "other",
]  # fmt: skip
"""Of electricity, as CycloneDX tells them apart."""
Subcategory = Annotated[
    str, StringConstraints(pattern=r"^(GOVERN|MAP|MEASURE|MANAGE) \d\.\d{1,2}$")
]
Share = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, StringConstraints(strip_whitespace=True)]
_ISO_639_1 = """\
aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de
dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia
id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo
lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl
ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk
tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu"""
LANGUAGES = frozenset(_ISO_639_1.split())
"""The codes of ISO 639-1."""


def _language(code: str) -> str:
    if code not in LANGUAGES:
        raise ValueError('it must be a code of two letters (ISO 639-1), such as "en"')
    return code


Language = Annotated[Text, AfterValidator(_language)]


class DocumentConfig(Section):
    """What documents say of a model that no run can record. It is read from the project file alone;
    without a section, documents name all of this as missing."""

    name: str = ""
    """Name of the section: what follows `document.` in its heading."""
    model: str
    """Name of the model that it is about."""
    required: dict[DocumentKind, Share] = Field(default_factory=dict)
    """How complete which documents must be before a version is promoted, e.g.
    { annex-iv = 0.8 }: the share of what the document is to say that is there."""

    provider: Text = ""
    """Who answers for the model: name of the person or organisation."""
    contact: Text = ""
    """How to reach the provider."""
    representative: Text = ""
    """Authorised representative in the Union, with contact; of a provider outside of it."""
    licence: Text = ""
    """Licence under which the model is passed on, in SPDX's form. The base model's is not taken for
    it: without one, documents name it as missing."""
    languages: tuple[Language, ...] = ()
    """Languages of the texts that it is for (ISO 639-1)."""
    intended_purpose: Text = ""
    """What the model is for: by whom, on what, to decide what."""
    users: Text = ""
    """Who uses it, and who is affected by what it says."""
    out_of_scope: Text = ""
    """What it must not be used for."""
    limitations: Text = ""
    """What it does badly, and what follows for those who rely on it."""
    fairness: Text = ""
    """Groups of people for whom it could do worse, what was looked at, and what was found."""
    risks: Text = ""
    """Foreseeable unintended outcomes and risks to health, safety and fundamental rights."""
    risk_management: Text = ""
    """The risk management system: how risks are found, weighed, reduced and looked at again."""
    oversight: Text = ""
    """Who oversees its use, and how they can understand, stop or overrule it."""
    instructions: Text = ""
    """Instructions for those who deploy it, or where these are."""
    interactions: Text = ""
    """Hardware, software and other AI systems that it works with and that are not part of it."""
    placed_as: Text = ""
    """In which forms it is placed on the market or put into service: package, download, API."""
    hardware: Text = ""
    """Hardware that it is meant to run on."""
    product: Text = ""
    """The product that it is part of: where its pictures, markings and layout are; "none"."""
    user_interface: Text = ""
    """The interface that its users have, or where it is described."""
    design: Text = ""
    """The main choices of design, their reasons and assumptions, and what was traded for what."""
    input_specification: Text = ""
    """What its inputs must be like."""
    collection: Text = ""
    """How and why the data were collected, and who labelled them."""
    planned_changes: Text = ""
    """Changes to the system and its performance that were decided beforehand; "none"."""
    robustness: Text = ""
    """How robustness was shown, where no suite of checks can be asked (a model with a head)."""
    cybersecurity: Text = ""
    """Measures of cybersecurity."""
    metrics_rationale: Text = ""
    """Why the metrics of its gate are the right ones for what it is for."""
    lifecycle_changes: Text = ""
    """What the provider changes during its life, beside what the versions on record show."""
    standards: Text = ""
    """Harmonised standards applied, else how the requirements are met otherwise."""
    declaration: Text = ""
    """The EU declaration of conformity, or where its copy is."""
    post_market: Text = ""
    """The post-market monitoring plan, or where it is."""
    market_date: Text = ""
    """When the model is, or was, placed on the Union market."""

    base_model: Annotated[str, StringConstraints(pattern=r"^$|^[\w.-]+/[\w.-]+$")] = ""
    """Repository of the base model on the hub, OWNER/NAME, which the model card links to."""
    base_training_flops: float = Field(default=0, ge=0)
    """Compute that the base model was trained with, in floating-point operations, as its provider
    says; else about 6 times its parameters times its training tokens. 0 where it is not known."""
    base_flops_source: Text = ""
    """Where that number is from."""
    grams_co2_per_kwh: float = Field(default=0, ge=0)
    """Grams of CO2 equivalent that the electricity of the machine emits per kWh; 0: not known."""
    electricity_region: Text = ""
    """Where that electricity is from, e.g. "DE"."""
    energy_provider: Text = ""
    """Who sells that electricity."""
    energy_source: Source = "unknown"
    """What it is made of, mostly."""
    hardware_used: Text = ""
    """The machine that it was tuned on."""
    croissant_url: Text = ""
    """Where the description of its dataset in Croissant is published."""
    cyclonedx: Literal["1.6", "1.7"] = "1.6"
    """Version of CycloneDX that the ML-BOM is written in."""
    answers: dict[Text, Text] = Field(default_factory=dict)
    """Answers to questions of the training-content summary, by the question as the draft asks it,
    e.g. { "Measures taken:" = "..." }."""
    nist: dict[Subcategory, Text] = Field(default_factory=dict)
    """What your organisation does, by subcategory of NIST's AI RMF, where nothing in the store can
    show it, e.g. { "GOVERN 2.1" = "roles: policy 7, section 3" }."""

    @field_validator("provider", "contact", "licence", "market_date")
    @classmethod
    def _is_one_line(cls, text: str) -> str:
        if "\n" in text:
            raise ValueError("it must be one line")
        return text

    def statements(self) -> dict[str, object]:
        """What it states, by key: each field that says something of the model."""
        said = self.model_dump(mode="json", exclude={"name", "model", "required"})
        unsaid = {"energy_source": "unknown", "cyclonedx": "1.6"}
        return {key: value for key, value in said.items() if value and value != unsaid.get(key)}


def one_of_each_model(sections: Mapping[str, DocumentConfig]) -> None:
    """See that a model has one section at most.

    Raises:
        ConfigError: it has two, which could say different things.
    """
    seen: dict[str, str] = {}
    for name, section in sections.items():
        other = seen.setdefault(section.model, name)
        if other != name:
            raise ConfigError(
                f"document.{name}.model",
                f"[document.{other}] is about {section.model!r} already",
                remedy="put all that is stated of a model into one section",
            )
