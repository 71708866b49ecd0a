"""Verbs: each folder is one stage, `run.py` is its one function, `config.py` its settings."""
