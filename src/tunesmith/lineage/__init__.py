"""Versions of data: what differs, where a row came from and went, and how a person is forgotten."""
