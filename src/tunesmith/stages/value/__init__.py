"""Dataset -> what each of its rows is worth."""
