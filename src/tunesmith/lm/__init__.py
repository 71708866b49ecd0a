"""Using a model, never training it."""
