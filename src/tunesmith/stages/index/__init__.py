"""Data asset -> index: documents, passages, sentences, and a calibrated threshold."""
