"""Energy of the run, and what was emitted for it."""

from __future__ import annotations

from tunesmith.documents.sheet import Reading
from tunesmith.records.energy import Emissions, Energy, emitted


def energy_of(reading: Reading) -> Energy | None:
    """Of the run that made the version; None where it was not measured."""
    usage = reading.value("tuning.usage")
    return Energy(joules=usage["joules"]) if usage else None


def emissions_of(reading: Reading) -> Emissions | None:
    """... by what is declared of the electricity; None where nothing is."""
    energy, grams = energy_of(reading), reading.value("declared.grams_co2_per_kwh")
    return emitted(energy, grams) if energy and grams else None
