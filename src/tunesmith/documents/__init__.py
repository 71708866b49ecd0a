"""What is said of datasets and models to others: descriptions, compiled from what is on record."""
