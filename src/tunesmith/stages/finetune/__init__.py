"""Base model and dataset -> model version."""
