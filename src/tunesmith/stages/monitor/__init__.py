"""Traffic -> signal: changed, unchanged, or not enough to tell."""
