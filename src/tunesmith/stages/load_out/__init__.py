"""Data that leave the store: as files, or as a table of a database."""
