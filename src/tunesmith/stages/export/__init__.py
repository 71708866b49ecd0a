"""Model version -> files that other software loads, if they are shown to be the same model."""
