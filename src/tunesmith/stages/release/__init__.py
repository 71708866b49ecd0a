"""Model version that passed -> release under an alias, with its card."""
