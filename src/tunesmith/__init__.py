"""Tunesmith: from a pre-trained model and your own data to a specialised model that you own."""

__version__ = "0.1.0"
