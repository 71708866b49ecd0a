"""Signals -> proposal; pipeline.py acts on it."""
