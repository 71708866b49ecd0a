"""When something is run: the times of a schedule."""
