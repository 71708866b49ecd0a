"""What only people know of a model, and how complete its documents must be."""
