"""Two models on the same items: what differs, whether that is more than chance, and how little of
it so many items could show. Evaluations, gates and suites of checks ask here, and nowhere else."""
