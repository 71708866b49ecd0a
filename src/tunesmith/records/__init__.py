"""Nouns: frozen dataclasses that flow between steps. No behaviour beyond checking themselves."""
