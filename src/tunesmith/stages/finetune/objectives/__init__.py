"""What is learnt from rows: each objective turns them into a sum of losses and a sum of weights."""
