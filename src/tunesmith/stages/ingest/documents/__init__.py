"""Documents: each reader makes one canonical text of a file, and a map of its pages or sections."""
