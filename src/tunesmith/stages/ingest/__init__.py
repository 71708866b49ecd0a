"""Source -> package or local files -> data asset, base model; what was refused is said."""
