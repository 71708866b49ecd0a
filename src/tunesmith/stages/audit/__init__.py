"""Model version -> what is suspicious in its weights, and in what rare words do to its answers."""
