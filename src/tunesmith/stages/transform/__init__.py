"""Data assets to a data asset: by a query, or by a function that is given each row."""
