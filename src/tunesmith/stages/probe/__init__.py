"""Checks of a model beyond its task: what it forgot, how it bears noise, what it gives away."""
