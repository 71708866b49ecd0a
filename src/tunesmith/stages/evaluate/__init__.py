"""Model and dataset -> evaluation; evaluations -> the verdict of a gate."""
