"""What ran, on what, with what result. Knows no stage and imports no machine learning."""
