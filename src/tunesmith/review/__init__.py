"""Rows that people look at: each by two on their own, and by a third where the two differ."""
