"""Source -> package, data asset, base model: read what others keep, say what was refused."""
