"""Data assets -> dataset: normalise, de-duplicate, split without leaks, count."""
