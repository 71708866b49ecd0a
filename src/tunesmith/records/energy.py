"""Energy and emissions, each kept in one unit and read in the unit that a document asks for."""

from __future__ import annotations

from dataclasses import dataclass

JOULES_PER_KWH = 3_600_000
GRAMS_PER_TONNE = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Energy:
    """Electrical energy."""

    joules: float

    @property
    def kwh(self) -> float:
        """In kilowatt-hours."""
        return self.joules / JOULES_PER_KWH


@dataclass(frozen=True, kw_only=True, slots=True)
class Emissions:
    """Greenhouse gases, as the mass of CO2 that warms as much."""

    grams: float
    """Model cards of Hugging Face say grams ..."""

    @property
    def tonnes(self) -> float:
        """... CycloneDX says tonnes."""
        return self.grams / GRAMS_PER_TONNE


def emitted(energy: Energy, grams_per_kwh: float) -> Emissions:
    """What a grid emits for that energy."""
    return Emissions(grams=energy.kwh * grams_per_kwh)
