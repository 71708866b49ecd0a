"""Data asset -> how good its rows are, in numbers; and which fields they have."""
