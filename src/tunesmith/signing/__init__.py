"""Signatures: of what a model version is made of, of files for others, of reports; and what is read
only if it is what was signed."""
