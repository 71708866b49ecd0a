"""Data asset -> how good its rows are, in numbers."""
